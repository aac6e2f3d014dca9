//! PostgreSQL: how its connections are set.

use std::time::Duration;

use adit_domain::GatewayId;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::StoreError;
use crate::sql::Link;

/// How long a read waits for a connection.
const ACQUIRE_WAIT: Duration = Duration::from_secs(2);

/// Connections for reading; with the writer's one, eleven gateways fit into PostgreSQL's usual hundred.
const READERS: u32 = 8;

/// How long one statement may take, in milliseconds.
const STATEMENT_MS: &str = "5000";

/// How long one statement may wait for a row that somebody else holds, in milliseconds.
const LOCK_MS: &str = "2000";

/// Reads a connection's address and gives the settings of every connection.
pub(crate) fn options(url: &str, gateway: GatewayId) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options
        .application_name(&application(gateway))
        .options([("statement_timeout", STATEMENT_MS), ("lock_timeout", LOCK_MS)]))
}

/// Gives the name under which the server lists this gateway's connections.
pub(crate) fn application(gateway: GatewayId) -> String {
    format!("adit {gateway}")
}

pub(crate) fn readers(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE_WAIT)
        .connect_lazy_with(options.clone())
}

/// Warns when the second wall does not stand: row-level security does not bind superusers.
pub(crate) async fn warn_of_superuser(link: &mut Link<'_>) -> Result<(), StoreError> {
    let sql = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
    let mut rows = link.rows(sql, &[]).await?;
    if rows.first_mut().map_or(Ok(false), crate::sql::Row::flag)? {
        tracing::warn!(
            "the database's user is above row-level security; give Adit a user of its own without SUPERUSER and BYPASSRLS"
        );
    }
    Ok(())
}
