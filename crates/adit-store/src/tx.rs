//! The writer's connection inside a transaction, and the one place that scopes statements to a tenant.

use adit_domain::{GatewayId, TenantId};
use adit_wire::audit::Chain;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::sql::{Arg, Dialect, Link, Row, args};
use crate::{NewEvent, StoreError};

/// Whose rows a statement may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// One tenant's: `$1` of every statement is that tenant.
    Tenant(TenantId),
    /// All: looking up a secret's hash before its tenant is known, the chain, what a start has to tidy.
    System,
}

impl Scope {
    /// Puts the tenant before a statement's own arguments. Nothing else does.
    pub(crate) fn arguments(self, sql: &str, own: Vec<Arg>) -> Vec<Arg> {
        match self {
            Self::System => own,
            Self::Tenant(tenant) => {
                debug_assert!(names_tenant(sql), "a statement without its tenant: {sql}");
                let mut all = Vec::with_capacity(own.len() + 1);
                all.push(Arg::from(tenant));
                all.extend(own);
                all
            }
        }
    }

    /// Gives the statement that names the scope to PostgreSQL's row-level security.
    pub(crate) fn wall(self) -> String {
        match self {
            Self::System => "SET LOCAL adit.tenant = 'system'".to_owned(),
            Self::Tenant(tenant) => format!("SET LOCAL adit.tenant = '{tenant}'"),
        }
    }
}

/// Tells whether a statement keeps to the tenant that is its `$1`, by the few forms in which ours say it.
fn names_tenant(sql: &str) -> bool {
    let inserts = sql.starts_with("INSERT INTO") && sql.contains("(tenant_id, ");
    let of_tenants = sql.starts_with("UPDATE tenants ") || sql.starts_with("INSERT INTO tenants ");
    sql.contains("tenant_id = $1")
        || inserts && (sql.contains("VALUES ($1, ") || sql.contains("SELECT $1, "))
        || of_tenants && (sql.contains("WHERE id = $1") || sql.contains("VALUES ($1, "))
}

/// A connection of the writer's own.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(crate) fn link(&mut self) -> Link<'_> {
        match self {
            Self::Sqlite(link) => Link::Sqlite(link),
            Self::Postgres(link) => Link::Postgres(link),
        }
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(link) => link.close().await,
            Self::Postgres(link) => link.close().await,
        }
    }
}

/// A transaction of the writer.
pub(crate) struct Tx {
    pub(crate) connection: Connection,
    pub(crate) gateway: GatewayId,
    scope: Scope,
    walled: Option<Scope>,
    access_changed: bool,
}

impl Tx {
    pub(crate) fn new(connection: Connection, gateway: GatewayId) -> Self {
        Self { connection, gateway, scope: Scope::System, walled: None, access_changed: false }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.connection {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        self.walled = None;
        self.access_changed = false;
        let begin = match self.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        self.plain(begin).await
    }

    /// Runs a statement that touches no rows: `COMMIT`, `SAVEPOINT` and so on.
    pub(crate) async fn plain(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.connection.link().run(sql, &[]).await.map(|_| ())
    }

    /// Goes back to a savepoint; the wall's setting went with it.
    pub(crate) async fn undo(&mut self) -> Result<(), StoreError> {
        self.walled = None;
        self.plain("ROLLBACK TO SAVEPOINT operation").await?;
        self.plain("RELEASE SAVEPOINT operation").await
    }

    /// Goes on in a scope.
    pub(crate) async fn enter(&mut self, scope: Scope) -> Result<(), StoreError> {
        self.scope = scope;
        if self.dialect() == Dialect::Postgres && self.walled != Some(scope) {
            self.connection.link().raw(AssertSqlSafe(scope.wall())).await?;
            self.walled = Some(scope);
        }
        Ok(())
    }

    /// Gives the tenant whose events these are: the scope's, or the seed tenant where it is not known.
    pub(crate) fn tenant(&self) -> TenantId {
        match self.scope {
            Scope::Tenant(tenant) => tenant,
            Scope::System => TenantId::SEED,
        }
    }

    /// Runs a statement and gives the number of rows that it changed. In a tenant's scope `$1` is the tenant.
    pub(crate) async fn run(
        &mut self,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<u64, StoreError> {
        let all = self.scope.arguments(sql, own);
        self.connection.link().run(sql, &all).await
    }

    /// Runs a statement and gives its rows. In a tenant's scope `$1` is the tenant.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<Vec<Row>, StoreError> {
        let all = self.scope.arguments(sql, own);
        self.connection.link().rows(sql, &all).await
    }

    /// Runs a statement and gives its first row.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, own).await?.into_iter().next())
    }

    /// Marks that what decisions rest on has changed, in the database and for this process.
    pub(crate) async fn change_access(&mut self) -> Result<(), StoreError> {
        self.access_changed = true;
        let sql = "UPDATE tenants SET access_version = access_version + 1 WHERE id = $1";
        self.run(sql, args![]).await.map(|_| ())
    }

    pub(crate) fn access_changed(&self) -> bool {
        self.access_changed
    }

    /// Appends events to the gateway's chain, whose end is `chain`.
    pub(crate) async fn append(
        &mut self,
        chain: &mut Chain,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let tenant = self.tenant();
        if !events.is_empty() {
            self.enter(Scope::Tenant(tenant)).await?;
        }
        for event in events {
            let event = event.of(tenant, self.gateway);
            let record = chain.append(event.canonical().into_bytes());
            self.run(INSERT_EVENT, crate::audit::columns(event, record)?).await?;
        }
        Ok(())
    }
}

const INSERT_EVENT: &str = "INSERT INTO audit_events (tenant_id, gateway_id, seq, id, at, event, actor_kind, actor_id, actor_name, \
     target_kind, target_id, target_name, outcome, body, prev, hash) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_leaves_its_tenant_out_is_noticed() {
        // DESK-7
        assert!(names_tenant("SELECT name FROM principals WHERE tenant_id = $1 AND id = $2"));
        assert!(names_tenant("INSERT INTO grants (tenant_id, id) VALUES ($1, $2)"));
        for bad in [
            "SELECT name FROM principals WHERE id = $1",
            "UPDATE principals SET tenant_id = $2 WHERE id = $1",
            "INSERT INTO grants (id, tenant_id) VALUES ($1, $2)",
            "DELETE FROM principals",
        ] {
            assert!(!names_tenant(bad), "{bad}");
        }
    }
}
