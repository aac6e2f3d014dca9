//! The schema's history: numbered steps, each in a transaction of its own, a file for each dialect.

use crate::StoreError;
use crate::sql::{Dialect, Link};

/// One step of the schema.
struct Step {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! steps {
    ($($number:literal $name:literal;)*) => {
        &[$(Step {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $name, ".sql")),
        },)*]
    };
}

const STEPS: &[Step] = steps! {
    1 "0001_people";
    2 "0002_machines";
    3 "0003_sessions";
    4 "0004_records";
    5 "0005_support";
    6 "0006_ticket_credential";
    7 "0007_policy";
    8 "0008_sign_in";
    9 "0009_machines";
    10 "0010_oauth";
    11 "0011_company";
    12 "0012_support";
    13 "0013_ticket_key";
    14 "0014_reach";
    15 "0015_gateways";
    16 "0016_jobs";
    17 "0017_alerts";
};

/// The schema's newest version.
pub const NEWEST: i64 = STEPS[STEPS.len() - 1].number;

/// Brings the schema up to version `to`; what was done before is not done again.
pub(crate) async fn migrate(
    link: &mut Link<'_>,
    dialect: Dialect,
    to: i64,
) -> Result<(), StoreError> {
    begin(link, dialect).await?;
    let history =
        "CREATE TABLE IF NOT EXISTS schema_steps (number BIGINT PRIMARY KEY, name TEXT NOT NULL)";
    link.raw(history).await?;
    link.raw("COMMIT").await?;
    let found = version(link).await?;
    if found > NEWEST {
        return Err(StoreError::SchemaNewer { found, known: NEWEST });
    }
    for step in STEPS.iter().filter(|step| step.number <= to) {
        begin(link, dialect).await?;
        // Another gateway may have done the step while this one waited.
        if version(link).await? < step.number {
            apply(link, dialect, step).await?;
        }
        link.raw("COMMIT").await?;
    }
    Ok(())
}

async fn apply(link: &mut Link<'_>, dialect: Dialect, step: &Step) -> Result<(), StoreError> {
    tracing::info!(step.name = step.name, "the schema takes a step");
    link.raw(match dialect {
        Dialect::Sqlite => step.sqlite,
        Dialect::Postgres => step.postgres,
    })
    .await?;
    let done = "INSERT INTO schema_steps (number, name) VALUES ($1, $2)";
    link.run(done, &[step.number.into(), step.name.into()]).await?;
    Ok(())
}

async fn begin(link: &mut Link<'_>, dialect: Dialect) -> Result<(), StoreError> {
    match dialect {
        Dialect::Sqlite => link.raw("BEGIN IMMEDIATE").await,
        Dialect::Postgres => {
            // One number for all gateways of this database, so that one of them migrates at a time; a step may take long.
            link.raw(
                "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(7018152903)",
            )
            .await
        }
    }
}

async fn version(link: &mut Link<'_>) -> Result<i64, StoreError> {
    let mut rows = link.rows("SELECT coalesce(max(number), 0) FROM schema_steps", &[]).await?;
    rows.first_mut().ok_or(StoreError::Corrupt("schema version"))?.int()
}
