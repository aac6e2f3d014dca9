//! What only PostgreSQL has to show: the second wall, several gateways, a server that goes away.

use adit_domain::{GatewayId, TenantId};
use adit_store::{Opening, Redemption, Session, Store, StoreError, silent};
use futures_util::future::join_all;
use uuid::Uuid;

use super::database::{Database, Server};
use super::world::{
    NOW, World, event, later, new_user, open, open_session, told, user_of, verified,
};

/// Runs SQL as the store's own user, past the store.
fn as_store(world: &World, sql: &str) -> String {
    let Database::Postgres(name) = &world.database else { panic!("not PostgreSQL") };
    Server::get().psql_as("adit", name, sql)
}

#[tokio::test]
async fn a_statement_that_forgot_its_tenant_sees_no_other() {
    // DESK-7
    let world = World::postgres().await;
    let other = world.other_tenant().await;
    world.user("ann").await;
    user_of(&other, "bob").await;
    let all = "SELECT string_agg(name, ' ' ORDER BY name) FROM principals";
    let seen_by =
        |tenant: TenantId| as_store(&world, &format!("SET adit.tenant = '{tenant}'; {all}"));
    assert_eq!(as_store(&world, all), "", "no tenant named");
    assert_eq!(seen_by(TenantId(Uuid::nil())), "", "a tenant that is not there");
    assert_eq!(seen_by(world.tenant.id()), "ann");
    assert_eq!(seen_by(other.id()), "bob");
    let ours = world.tenant.id();
    let theirs = other.id();
    let change = format!("SET adit.tenant = '{ours}'; UPDATE principals SET name = 'eve'");
    as_store(&world, &change);
    assert_eq!(seen_by(theirs), "bob", "a change without a tenant changes no other's");
}

#[tokio::test]
async fn a_row_of_another_tenant_cannot_be_written() {
    // DESK-7
    let world = World::postgres().await;
    let other = world.other_tenant().await;
    let sql = format!(
        "SET adit.tenant = '{}'; INSERT INTO settings VALUES ('{}', 'theme', 'dark', 0)",
        world.tenant.id(),
        other.id()
    );
    let Database::Postgres(name) = &world.database else { panic!("not PostgreSQL") };
    let why = Server::get().refusal("adit", name, &sql);
    assert!(why.contains("row-level security"), "{why}");
    assert_eq!(other.find_setting("theme").await.unwrap(), None);
}

#[tokio::test]
async fn every_table_stands_behind_the_wall() {
    // DESK-7
    let world = World::postgres().await;
    let sql = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
         AND NOT (relrowsecurity AND relforcerowsecurity)";
    assert_eq!(world.database.tamper(sql), "schema_steps");
}

/// Opens a second gateway on a world's database.
pub async fn second_gateway(world: &World) -> Store {
    open(world.database.config(), GatewayId(Uuid::from_u128(2))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_gateways_that_redeem_a_ticket_one_gets_it() {
    // TKT-02
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    for _ in 0..20 {
        let (hash, _) = world.ticket(ann, web).await;
        let attempts = (0..50).map(|number| {
            let store = if number % 2 == 0 { world.store.clone() } else { second.clone() };
            tokio::spawn(async move {
                store.redeem_ticket(hash, None, NOW, told("redeem")).await.unwrap()
            })
        });
        let outcomes = join_all(attempts).await;
        let is_won = |outcome: &Redemption| matches!(outcome, Redemption::Redeemed(_));
        let won = outcomes.into_iter().filter(|outcome| is_won(outcome.as_ref().unwrap()));
        assert_eq!(won.count(), 1);
    }
    assert_eq!(verified(&world.store).await.len() + verified(&second).await.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_count_a_users_sessions_together() {
    // TERM-6
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    for round in 1..=5 {
        let mut reserved = Vec::new();
        for _ in 0..10 {
            reserved.push(world.ticket(ann, web).await.1);
        }
        let attempts = reserved.into_iter().zip(0..).map(|(id, number)| {
            let store = if number % 2 == 0 { &world.store } else { &second };
            let (tenant, open) = (store.tenant(TenantId::SEED), open_session(id, Some(round), NOW));
            tokio::spawn(async move { tenant.open_session(open, silent).await.unwrap() })
        });
        let outcomes = join_all(attempts).await;
        let opened = outcomes.iter().filter(|o| matches!(o, Ok(Opening::Opened(_))));
        assert_eq!(opened.count(), 1, "of the one place that round {round} adds");
    }
}

#[tokio::test]
async fn another_gateways_change_of_rights_shows_in_the_version() {
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let ann = world.user("ann").await;
    let before = second.load_access_version().await.unwrap();
    world.tenant.deactivate_principal(ann, NOW, silent).await.unwrap();
    assert!(second.load_access_version().await.unwrap() > before);
}

#[tokio::test]
async fn a_gateway_that_starts_takes_up_its_own_sessions_only() {
    // DESK-9, R19
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (first, reserved) = (world.session(ann, web, NOW).await, world.ticket(ann, web).await.1);
    let there = second.tenant(TenantId::SEED);
    there.open_session(open_session(reserved, None, NOW), silent).await.unwrap();
    let ids = |sessions: Vec<Session>| sessions.iter().map(|s| s.id).collect::<Vec<_>>();
    assert_eq!(ids(world.store.list_unended_sessions().await.unwrap()), [first]);
    assert_eq!(ids(second.list_unended_sessions().await.unwrap()), [reserved]);
    let here = world.store.list_running_recordings().await.unwrap();
    assert_eq!(here, [(TenantId::SEED, first)]);
    let there = second.list_running_recordings().await.unwrap();
    assert_eq!(there, [(TenantId::SEED, reserved)]);
}

#[tokio::test]
async fn sessions_of_a_gateway_that_is_gone_are_told_to_the_others() {
    // R19
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let session = world.session(ann, web, NOW).await;
    world.store.show_gateway(later(10), "https://one", "https://one:7892").await.unwrap();
    let forsaken = async |since| {
        let found = second.list_forsaken_sessions(since).await.unwrap();
        found.iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(forsaken(later(9)).await, []);
    assert_eq!(forsaken(later(10)).await, [session]);
    assert!(world.store.list_forsaken_sessions(later(10)).await.unwrap().is_empty(), "its own");
    let shown = second.find_gateway(world.store.gateway()).await.unwrap().unwrap();
    assert_eq!((&*shown.url, &*shown.machines_url), ("https://one", "https://one:7892"));
    assert_eq!(shown.seen_at, Some(later(10)));
}

#[tokio::test]
async fn a_machine_that_came_to_another_gateway_does_not_leave_with_the_first() {
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    let web = world.machine("web").await;
    let there = second.tenant(TenantId::SEED);
    let at = async || world.tenant.find_machine(web).await.unwrap().unwrap().gateway;
    world.tenant.touch_machine(web, later(1), None, None).await.unwrap();
    assert_eq!(at().await, Some(world.store.gateway()));
    there.touch_machine(web, later(2), None, None).await.unwrap();
    world.tenant.leave_machine(web, later(3)).await.unwrap();
    assert_eq!(at().await, Some(second.gateway()));
    there.leave_machine(web, later(4)).await.unwrap();
    assert_eq!(at().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ends_lose_and_double_nothing() {
    // N3
    let world = World::postgres().await;
    let Database::Postgres(name) = &world.database else { panic!("not PostgreSQL") };
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'adit' AND datname = '{name}'"
    );
    let mut added = 0;
    for round in 0..10 {
        let writes = (0..20).map(|number| {
            let tenant = world.tenant.clone();
            let new = new_user(&format!("user{round}-{number}"));
            tokio::spawn(async move { tenant.create_principal(new, told("user.added")).await })
        });
        let writes: Vec<_> = writes.collect();
        Server::get().psql("postgres", &end);
        for write in join_all(writes).await {
            match write.unwrap() {
                Ok(()) => added += 1,
                Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
            }
        }
    }
    world.tenant.append_events(vec![event("after")]).await.unwrap();
    assert_eq!(world.verified().await.len(), added + 1);
    assert_eq!(world.database.tamper("SELECT count(*) FROM principals"), added.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_said_to_be_and_comes_back() {
    let server = Server::start();
    server.psql("postgres", "CREATE DATABASE adit OWNER adit");
    let world = World::on(Database::Server(server)).await;
    let Database::Server(server) = &world.database else { panic!("another database") };
    world.tenant.append_events(vec![event("before")]).await.unwrap();
    server.stop();
    let away = world.tenant.append_events(vec![event("away")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable { .. })));
    assert!(world.store.check().await.is_err());
    server.restart();
    world.store.check().await.unwrap();
    world.tenant.append_events(vec![event("back")]).await.unwrap();
    assert_eq!(world.verified().await, ["before", "back"]);
}

#[tokio::test]
async fn the_databases_tables_are_made_by_an_ordinary_user() {
    let world = World::postgres().await;
    world.tenant.create_principal(new_user("ann"), silent).await.unwrap();
    let sql = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'adit'";
    assert_eq!(world.database.tamper(sql), "f");
}
