//! Reading, beside the writer: each statement sees everything that was committed before it began.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::StoreError;
use crate::sql::{Arg, Link, Row};
use crate::tx::Scope;

/// How long one read may take; a server that does not answer by then is unavailable.
const READ_WAIT: Duration = Duration::from_secs(7);

/// The connections for reading.
#[derive(Clone)]
pub(crate) enum Reads {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

impl Reads {
    /// Runs one reading statement. In a tenant's scope `$1` is the tenant.
    pub(crate) async fn rows(
        &self,
        scope: Scope,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<Vec<Row>, StoreError> {
        let all = scope.arguments(sql, own);
        tokio::time::timeout(READ_WAIT, self.read(scope, sql, all))
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("reading")))
    }

    /// Runs one reading statement and gives its first row.
    pub(crate) async fn row(
        &self,
        scope: Scope,
        sql: &'static str,
        own: Vec<Arg>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(scope, sql, own).await?.into_iter().next())
    }

    async fn read(
        &self,
        scope: Scope,
        sql: &'static str,
        all: Vec<Arg>,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                let mut connection = pool.acquire().await?;
                Link::Sqlite(&mut connection).rows(sql, &all).await
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                let begin = format!("BEGIN READ ONLY; {}", scope.wall());
                let mut inside = connection.begin_with(AssertSqlSafe(begin)).await?;
                let rows = Link::Postgres(&mut inside).rows(sql, &all).await?;
                inside.commit().map_ok(|()| rows).err_into().await
            }
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
