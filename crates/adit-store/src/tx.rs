//! The writer's connection inside a transaction, and the one place that scopes statements to a tenant.

use std::sync::LazyLock;

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
    /// Whether the operation that runs has changed a row.
    changed: bool,
    /// Events that are linked and not yet written.
    unwritten: Vec<(TenantId, Vec<Arg>)>,
}

impl Tx {
    pub(crate) fn new(connection: Connection, gateway: GatewayId) -> Self {
        Self {
            connection,
            gateway,
            scope: Scope::System,
            walled: None,
            access_changed: false,
            changed: false,
            unwritten: Vec::new(),
        }
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
        self.unwritten.clear();
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

    /// Begins an operation in its scope.
    pub(crate) async fn enter_operation(&mut self, scope: Scope) -> Result<(), StoreError> {
        self.changed = false;
        self.enter(scope).await
    }

    /// Tells whether the operation that runs has changed, or may have changed, a row.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
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
        let rows = self.connection.link().run(sql, &all).await?;
        self.changed |= rows > 0;
        Ok(rows)
    }

    /// Runs a statement and gives its rows. In a tenant's scope `$1` is the tenant.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<Vec<Row>, StoreError> {
        let all = self.scope.arguments(sql, own);
        let rows = self.connection.link().rows(sql, &all).await?;
        self.changed |= !rows.is_empty() && !sql.starts_with("SELECT ");
        Ok(rows)
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

    /// Links events to the gateway's chain, whose end is `chain`. PostgreSQL gets them at once, so that one which it refuses fails its own
    /// operation; SQLite, which refuses none, gets those of a batch together.
    pub(crate) async fn append(
        &mut self,
        chain: &mut Chain,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let tenant = self.tenant();
        let link = |event: NewEvent| {
            let event = event.of(tenant, self.gateway);
            let record = chain.append(event.canonical().into_bytes());
            crate::audit::columns(event, record).map(|columns| (tenant, columns))
        };
        // Of an operation that fails none is kept.
        let linked: Vec<_> = events.into_iter().map(link).collect::<Result<_, _>>()?;
        self.unwritten.extend(linked);
        match self.dialect() {
            Dialect::Postgres => self.flush().await,
            Dialect::Sqlite => Ok(()),
        }
    }

    /// Writes the events that are linked and not yet written.
    pub(crate) async fn flush(&mut self) -> Result<(), StoreError> {
        let mut left = std::mem::take(&mut self.unwritten);
        while let Some((tenant, _)) = left.first() {
            let tenant = *tenant;
            let same = left.iter().take_while(|(whose, _)| *whose == tenant).count();
            let (sql, count) = insert_of(same);
            let rest = left.split_off(count);
            let own = left.into_iter().flat_map(|(_, columns)| columns).collect();
            self.enter(Scope::Tenant(tenant)).await?;
            self.run(sql, own).await?;
            left = rest;
        }
        Ok(())
    }
}

/// Gives the statement that writes the most events of so many, and how many it writes. There are few statements, so that each is prepared
/// once; SQLite takes 32,766 values in one.
fn insert_of(events: usize) -> (&'static str, usize) {
    static INSERTS: LazyLock<[(usize, String); 4]> =
        LazyLock::new(|| [64, 16, 4, 1].map(|count| (count, insert_events(count))));
    let fits = INSERTS.iter().find(|(count, _)| *count <= events);
    fits.map_or((INSERTS[3].1.as_str(), 1), |(count, sql)| (sql.as_str(), *count))
}

/// Writes the statement for so many events. `$1` is the tenant of all.
fn insert_events(count: usize) -> String {
    let mut sql = String::from(
        "INSERT INTO audit_events (tenant_id, gateway_id, seq, id, at, event, actor_kind, actor_id, actor_name, target_kind, target_id, \
         target_name, outcome, body, prev, hash) VALUES ",
    );
    for event in 0..count {
        sql.push_str(if event == 0 { "($1" } else { ", ($1" });
        for column in 0..EVENT_COLUMNS {
            sql.push_str(&format!(", ${}", event * EVENT_COLUMNS + column + 2));
        }
        sql.push(')');
    }
    sql
}

/// The columns of an event after its tenant.
const EVENT_COLUMNS: usize = 15;

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
