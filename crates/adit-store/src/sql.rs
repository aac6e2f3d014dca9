//! One way to run a statement on either database: the SQL is written once, with `$1` placeholders that both read.

use adit_domain::{Capabilities, Capability, Timestamp};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Postgres, Row as _, Sqlite};
use uuid::Uuid;

use crate::StoreError;

/// A value for a placeholder, with its column's type.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Uuid(Option<Uuid>),
    Bool(bool),
}

/// Makes the list of arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::Arg::from($value)),*] };
}
pub(crate) use args;

macro_rules! from {
    ($($type:ty => $variant:ident, |$value:ident| $made:expr;)*) => {$(
        impl From<$type> for Arg {
            fn from($value: $type) -> Self { Self::$variant(Some($made)) }
        }
        impl From<Option<$type>> for Arg {
            fn from(optional: Option<$type>) -> Self { Self::$variant(optional.map(|$value| $made)) }
        }
    )*};
}

from! {
    i64 => Int, |value| value;
    Timestamp => Int, |value| value.0;
    String => Text, |value| value;
    &str => Text, |value| value.to_owned();
    Vec<u8> => Bytes, |value| value;
    [u8; 32] => Bytes, |value| value.to_vec();
    Uuid => Uuid, |value| value;
    adit_domain::TenantId => Uuid, |value| value.0;
    adit_domain::PrincipalId => Uuid, |value| value.0;
    adit_domain::MachineId => Uuid, |value| value.0;
    adit_domain::SessionId => Uuid, |value| value.0;
    adit_domain::TicketId => Uuid, |value| value.0;
    adit_domain::InstanceId => Uuid, |value| value.0;
    adit_domain::TokenId => Uuid, |value| value.0;
    adit_domain::FamilyId => Uuid, |value| value.0;
    adit_domain::JobId => Uuid, |value| value.0;
    adit_domain::AlertId => Uuid, |value| value.0;
    adit_domain::KeyId => Uuid, |value| value.0;
    adit_domain::CertificateId => Uuid, |value| value.0;
    adit_domain::GrantId => Uuid, |value| value.0;
    adit_domain::IdentityId => Uuid, |value| value.0;
    adit_domain::RoleId => Uuid, |value| value.0;
    adit_domain::TeamId => Uuid, |value| value.0;
    adit_domain::RequestId => Uuid, |value| value.0;
    adit_domain::EventId => Uuid, |value| value.0;
    adit_domain::GatewayId => Uuid, |value| value.0;
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Which database it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A connection to one of the two, borrowed for some statements.
pub(crate) enum Link<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Link<'_> {
    /// Runs a statement and gives the number of rows that it changed.
    pub(crate) async fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(link) => sqlite(sql, args).execute(&mut **link).await?.rows_affected(),
            Self::Postgres(link) => postgres(sql, args).execute(&mut **link).await?.rows_affected(),
        })
    }

    /// Runs a statement and gives its rows.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(link) => {
                let rows = sqlite(sql, args).fetch_all(&mut **link).await?;
                rows.into_iter().map(|row| Row { row: AnyRow::Sqlite(row), at: 0 }).collect()
            }
            Self::Postgres(link) => {
                let rows = postgres(sql, args).fetch_all(&mut **link).await?;
                rows.into_iter().map(|row| Row { row: AnyRow::Postgres(row), at: 0 }).collect()
            }
        })
    }

    /// Runs statements without arguments as they stand.
    pub(crate) async fn raw(&mut self, sql: impl sqlx::SqlSafeStr) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(link) => {
                sqlx::raw_sql(sql).execute(&mut **link).await?;
            }
            Self::Postgres(link) => {
                sqlx::raw_sql(sql).execute(&mut **link).await?;
            }
        }
        Ok(())
    }
}

fn sqlite<'q>(sql: &'static str, args: &'q [Arg]) -> Query<'q, Sqlite, SqliteArguments> {
    args.iter().fold(sqlx::query(sql), |query, arg| match arg {
        Arg::Int(value) => query.bind(*value),
        Arg::Text(value) => query.bind(value.clone()),
        Arg::Bytes(value) => query.bind(value.clone()),
        Arg::Uuid(value) => query.bind(*value),
        Arg::Bool(value) => query.bind(*value),
    })
}

fn postgres<'q>(sql: &'static str, args: &'q [Arg]) -> Query<'q, Postgres, PgArguments> {
    args.iter().fold(sqlx::query(sql), |query, arg| match arg {
        Arg::Int(value) => query.bind(*value),
        Arg::Text(value) => query.bind(value.clone()),
        Arg::Bytes(value) => query.bind(value.clone()),
        Arg::Uuid(value) => query.bind(*value),
        Arg::Bool(value) => query.bind(*value),
    })
}

/// A row, read column by column from the left.
pub(crate) struct Row {
    row: AnyRow,
    at: usize,
}

enum AnyRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($row:expr, $type:ty) => {{
        let at = $row.at;
        $row.at += 1;
        match &$row.row {
            AnyRow::Sqlite(row) => row.try_get::<$type, _>(at),
            AnyRow::Postgres(row) => row.try_get::<$type, _>(at),
        }
        .map_err(|_| StoreError::Corrupt("column"))
    }};
}

impl Row {
    /// Tells whether the next column, a text, is empty, and stays before it unless it is.
    pub(crate) fn peek_empty(&mut self) -> Result<bool, StoreError> {
        let at = self.at;
        let empty = self.maybe_text()?.is_none();
        if !empty {
            self.at = at;
        }
        Ok(empty)
    }

    /// Passes over columns that are empty.
    pub(crate) fn skip(&mut self, columns: usize) {
        self.at += columns;
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        column!(self, i64)
    }

    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, StoreError> {
        column!(self, Option<i64>)
    }

    /// Reads a number that was stored from an unsigned one.
    pub(crate) fn count<N: TryFrom<i64>>(&mut self) -> Result<N, StoreError> {
        N::try_from(self.int()?).map_err(|_| StoreError::Corrupt("number"))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        column!(self, bool)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp)
    }

    pub(crate) fn maybe_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_int()?.map(Timestamp))
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        column!(self, String)
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, StoreError> {
        column!(self, Option<String>)
    }

    /// Reads a text that a type of the domain wrote.
    pub(crate) fn word<W: std::str::FromStr>(
        &mut self,
        what: &'static str,
    ) -> Result<W, StoreError> {
        self.text()?.parse().map_err(|_| StoreError::Corrupt(what))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, StoreError> {
        column!(self, Uuid)
    }

    pub(crate) fn maybe_uuid(&mut self) -> Result<Option<Uuid>, StoreError> {
        column!(self, Option<Uuid>)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        column!(self, Vec<u8>)
    }

    pub(crate) fn hash(&mut self) -> Result<[u8; 32], StoreError> {
        self.bytes()?.try_into().map_err(|_| StoreError::Corrupt("hash"))
    }

    pub(crate) fn maybe_hash(&mut self) -> Result<Option<[u8; 32]>, StoreError> {
        let bytes: Option<Vec<u8>> = column!(self, Option<Vec<u8>>)?;
        bytes.map(|b| b.try_into().map_err(|_| StoreError::Corrupt("hash"))).transpose()
    }

    pub(crate) fn maybe_capabilities(&mut self) -> Result<Option<Capabilities>, StoreError> {
        self.maybe_text()?.map(|text| read_capabilities(&text)).transpose()
    }

    pub(crate) fn capabilities(&mut self) -> Result<Capabilities, StoreError> {
        read_capabilities(&self.text()?)
    }
}

/// Turns a count of bytes or the like into what the database stores.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Writes a set of capabilities as names between spaces.
pub(crate) fn write_capabilities(set: Capabilities) -> String {
    set.names().join(" ")
}

fn read_capabilities(text: &str) -> Result<Capabilities, StoreError> {
    text.split(' ')
        .filter(|name| !name.is_empty())
        .map(|name| name.parse::<Capability>().map_err(|_| StoreError::Corrupt("capability")))
        .collect()
}
