//! The schema's history, walked from each of its steps.

use std::path::{Path, PathBuf};

use adit_domain::TenantId;
use adit_store::{NEWEST_SCHEMA, StoreError, silent};

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
