//! The schema's history, walked from each of its steps.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_domain::{Secret, TenantId};
use adit_store::{NEWEST_SCHEMA, StoreConfig, StoreError, silent};

use super::database::{Database, Server};
use super::world::{GATEWAY, NOW, World, new_user, open};

/// Gives the steps of a dialect in their order.
fn steps(dialect: &str) -> Vec<PathBuf> {
    let inside = |root: &Path| root.join("crates/adit-store/migrations").join(dialect);
    let mut roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(inside);
    let files = std::fs::read_dir(roots.find(|folder| folder.is_dir()).unwrap()).unwrap();
    let mut steps: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    steps.sort();
    assert_eq!(steps.len() as i64, NEWEST_SCHEMA);
    steps
}

/// Brings a database to an earlier version, with a row that must be there afterwards.
fn begin_at(database: &Database, dialect: &str, version: usize) {
    let history = "CREATE TABLE schema_steps (number BIGINT PRIMARY KEY, name TEXT NOT NULL);";
    let mut sql = history.to_owned();
    for (step, number) in steps(dialect).iter().take(version).zip(1..) {
        sql.push_str(&std::fs::read_to_string(step).unwrap());
        sql.push_str(&format!("INSERT INTO schema_steps VALUES ({number}, 'step');"));
    }
    if version > 0 {
        if dialect == "postgres" {
            sql.push_str("SET adit.tenant = 'system';");
        }
        sql.push_str("UPDATE tenants SET name = 'kept';");
    }
    match database {
        Database::Postgres(name) => Server::get().psql_as("adit", name, &sql),
        _ => database.tamper(&sql),
    };
}

async fn arrives(database: Database, version: usize) {
    let world = World::on(database).await;
    world.user("ann").await;
    world.machine("web").await;
    let world = world.reopen().await;
    let name = if version > 0 { "kept" } else { "default" };
    assert_eq!(world.database.tamper("SELECT name FROM tenants"), name, "from version {version}");
    let newest = world.database.tamper("SELECT max(number) FROM schema_steps");
    assert_eq!(newest, NEWEST_SCHEMA.to_string());
    world.store.close().await;
}

#[tokio::test]
async fn sqlite_comes_to_the_newest_schema_from_each_earlier_one() {
    // DESK-8
    for version in 0..=steps("sqlite").len() {
        let database = Database::sqlite();
        begin_at(&database, "sqlite", version);
        arrives(database, version).await;
    }
}

#[tokio::test]
async fn postgresql_comes_to_the_newest_schema_from_each_earlier_one() {
    // DESK-8
    for version in 0..=steps("postgres").len() {
        let database = Database::postgres();
        begin_at(&database, "postgres", version);
        arrives(database, version).await;
    }
}

/// The database that the process below opens: a path, or a PostgreSQL address. Without it the process ends at once.
const OPENS: &str = "ADIT_TEST_OPENS";

/// Not a test: the process that the tests below start and kill. It opens a database and brings it to the newest schema.
#[tokio::test]
#[ignore = "other tests start it"]
async fn the_process_that_migrates() {
    let Ok(opens) = std::env::var(OPENS) else { return };
    let config = if opens.starts_with("postgres:") {
        StoreConfig::Postgres { url: Secret::new(opens) }
    } else {
        StoreConfig::Sqlite { path: opens.into() }
    };
    let store = open(config, GATEWAY).await.unwrap();
    store.close().await;
}

/// How the process that migrates goes on.
#[derive(PartialEq)]
enum Fate {
    Ended,
    Killed,
}

/// Runs the process that migrates under strace, with what else strace is told.
fn migrates(database: &Database, told: &[&str]) -> Fate {
    let opens = match database.config() {
        StoreConfig::Sqlite { path } => path.to_str().unwrap().to_owned(),
        StoreConfig::Postgres { url } => url.expose().to_owned(),
    };
    let inside = module_path!().split_once("::").map_or("", |(_, inside)| inside);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(told).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", &format!("{inside}::the_process_that_migrates")]);
    strace.args(["--ignored", "--test-threads=1"]).env(OPENS, opens);
    let ended = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = ended.expect("strace is missing: apt-get install strace");
    assert!(status.success() || status.signal() == Some(9), "neither ended nor killed: {status}");
    if status.success() { Fate::Ended } else { Fate::Killed }
}

/// Counts how often the thread that does it most makes a call while a database is migrated; strace counts by thread too.
fn calls(database: &Database, call: &str) -> usize {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let told = ["-e", &format!("trace={call}"), "-o", trace.path().to_str().unwrap()];
    assert!(migrates(database, &told) == Fate::Ended);
    let mut counts = HashMap::new();
    for line in std::fs::read_to_string(trace.path()).unwrap().lines() {
        let thread = line.split_whitespace().next().unwrap().to_owned();
        *counts.entry(thread).or_insert(0) += usize::from(line.contains(&format!("{call}(")));
    }
    counts.into_values().max().unwrap_or(0)
}

/// Gives the tables and their columns, after the database's version.
fn schema_of(database: &Database) -> String {
    database.tamper(match database {
        Database::Sqlite(_) => {
            "SELECT 'version ' || coalesce(max(number), 0) FROM schema_steps;
             SELECT type, name, sql FROM sqlite_master WHERE name <> 'schema_steps' ORDER BY 1, 2"
        }
        _ => {
            "SELECT 'version ' || (SELECT coalesce(max(number), 0) FROM schema_steps) || E'\n' ||
             string_agg(concat_ws(' ', table_name, column_name, data_type, is_nullable), E'\n'
             ORDER BY table_name, column_name) FROM information_schema.columns
             WHERE table_schema = 'public'"
        }
    })
}

/// Gives what `schema_of` may say: the schema of each version, whole.
fn whole_schemas(dialect: &'static str, make: fn() -> Database) -> Vec<String> {
    let of = |version| {
        let database = make();
        begin_at(&database, dialect, version);
        schema_of(&database)
    };
    (FIRST..=steps(dialect).len()).map(of).collect()
}

/// The version from which the killed migrations go: the first that holds a row to keep.
const FIRST: usize = 1;

/// How many of a call's places are tried at most; with more calls than that, every second, third and so on.
const PLACES: usize = 16;

/// Kills a migration at one call after the other, until one ends: what is left is the whole schema of some version, and opening it
/// completes it.
async fn is_killed_anywhere(call: &str, dialect: &'static str, make: fn() -> Database) {
    let whole = whole_schemas(dialect, make);
    let begun = || {
        let database = make();
        begin_at(&database, dialect, FIRST);
        database
    };
    let last = calls(&begun(), call);
    assert!(last >= steps(dialect).len() - FIRST, "{last} calls of {call}");
    let mut left = Vec::new();
    for place in (1..).step_by(last.div_ceil(PLACES)) {
        let database = begun();
        let inject = format!("inject={call}:signal=KILL:when={place}");
        let fate = migrates(&database, &["-e", &format!("trace={call}"), "-e", &inject]);
        let schema = schema_of(&database);
        let version = whole.iter().position(|whole| *whole == schema);
        left.push(version.unwrap_or_else(|| panic!("half a schema at {call} {place}: {schema}")));
        arrives(database, FIRST).await;
        if fate == Fate::Ended {
            break;
        }
    }
    left.dedup();
    assert!(left.len() > 5, "the kills came between few steps only: {left:?}");
}

#[tokio::test]
async fn a_migration_that_is_killed_at_a_write_leaves_no_half_schema_and_completes() {
    // R41
    is_killed_anywhere("pwrite64", "sqlite", Database::sqlite).await;
}

#[tokio::test]
async fn a_migration_that_is_killed_at_a_sync_leaves_no_half_schema_and_completes() {
    // R41
    is_killed_anywhere("fsync", "sqlite", Database::sqlite).await;
}

#[tokio::test]
async fn a_migration_of_postgresql_that_is_killed_between_statements_completes() {
    // R41
    is_killed_anywhere("sendto", "postgres", Database::postgres).await;
}

#[tokio::test]
async fn both_dialects_have_the_same_steps() {
    let names = |dialect| -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        steps(dialect).iter().map(name).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn gateways_that_start_at_once_migrate_once() {
    let database = Database::postgres();
    let starts = (1..=5).map(|number| {
        let gateway = adit_domain::GatewayId(uuid::Uuid::from_u128(number));
        open(database.config(), gateway)
    });
    let stores = futures_util::future::join_all(starts).await;
    for (store, number) in stores.into_iter().zip(0..) {
        let tenant = store.unwrap().tenant(TenantId::SEED);
        tenant.create_principal(new_user(&format!("user{number}")), silent).await.unwrap();
    }
    assert_eq!(database.tamper("SELECT count(*) FROM principals"), "5");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    // R42
    for world in [World::sqlite().await, World::postgres().await] {
        world.store.close().await;
        world.database.tamper("INSERT INTO schema_steps VALUES (99, '0099_future')");
        let refused = open(world.database.config(), GATEWAY).await;
        assert!(matches!(refused, Err(StoreError::SchemaNewer { found: 99, .. })));
    }
}

#[tokio::test]
async fn a_setting_survives_a_second_start() {
    let world = World::sqlite().await;
    world.tenant.set_setting("theme", "dark", NOW, silent).await.unwrap();
    let first = world.store.begin_epoch(NOW, silent).await.unwrap();
    assert_eq!(first, NOW.seconds());
    let world = world.reopen().await;
    assert_eq!(world.tenant.find_setting("theme").await.unwrap().as_deref(), Some("dark"));
    assert_eq!(world.store.begin_epoch(NOW, silent).await.unwrap(), first + 1);
    assert_eq!(world.tenant.load_epoch().await.unwrap(), first + 1);
}
