//! Machines that reach each other: what a decision rests on, tickets that are used once, and what goes with what.

use std::collections::HashMap;

use adit_domain::certificate::Carried;
use adit_domain::reach::scope::{Action, NewScope, Protocol, ScopeTransport, Transport};
use adit_domain::reach::{Lapse, Reach, Strategy};
use adit_domain::{CertificateId, CertificateName, InstanceId, SessionId, TicketId, Timestamp};
use adit_store::{
    IssuedMachineTicket, MachineSession, NewCertificate, NewInstance, NewMachineTicket, Offered,
    Opened, Question, ReachCutoffs, ReachLimits, SecretHash, Store, StoreConfig, TenantStore, Used,
    silent,
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::crash::Writer;
use super::database::{Database, sqlite3};
use super::on_both;
use super::server::second_gateway;
use super::world::{GATEWAY, NOW, World, later, open, some_hash, told};

on_both!(
    what_a_decision_rests_on_is_read_as_it_is,
    an_instance_goes_with_all_that_hangs_on_it,
    a_scope_takes_its_capabilities_from_whoever_holds_them,
    an_epoch_ends_what_was_handed_out_between_machines,
    a_hundred_thousand_rows_are_cleared_away_in_pieces,
);

const LIMITS: ReachLimits = ReachLimits {
    tickets_per_minute: 0,
    tickets: 1_000_000,
    instances: 1_000,
    sessions: 1_000_000,
};

fn shell() -> Carried {
    "shell:connect".parse().unwrap()
}

fn name(label: &str) -> CertificateName {
    CertificateName::Agent(label.parse().unwrap())
}

/// Gives a machine a certificate that counts for a day.
async fn certify(tenant: &TenantStore, label: &str) {
    let new = NewCertificate {
        id: CertificateId(Uuid::now_v7()),
        serial: label.to_owned(),
        fingerprint: some_hash().0,
        name: name(label),
        machine: None,
        principal: None,
        capabilities: vec![shell()],
        gives: vec![shell()],
        pem: String::new(),
        issued_by: "a test".to_owned(),
        issuer: "a test".to_owned(),
        retires: false,
        at: NOW,
        not_before: NOW,
        not_after: later(86_400_000),
    };
    tenant.add_certificate(new, silent).await.unwrap();
}

/// Registers `shell`, and makes an instance of `alpha` to which `beta` is assigned.
pub async fn pair(tenant: &TenantStore) -> InstanceId {
    let action = Action { name: shell(), description: String::new(), instance_scoped: true };
    let every = Strategy::ALL.to_vec();
    let transport = ScopeTransport {
        strategies: every.clone(),
        preferred: Strategy::Relay,
        port: 0,
        protocol: Protocol::Tcp,
    };
    let scope = NewScope {
        name: "shell".parse().unwrap(),
        version: "1".to_owned(),
        description: String::new(),
        actions: vec![action],
        transport,
    };
    tenant.register_scope(scope, NOW, "ann".to_owned(), silent).await.unwrap();
    certify(tenant, "alpha").await;
    certify(tenant, "beta").await;
    let transport = Transport { strategies: vec![Strategy::Relay], preferred: None, direct: None };
    let id = InstanceId(Uuid::now_v7());
    let new = NewInstance { id, capability: shell(), owner: name("alpha"), transport, at: NOW };
    assert_eq!(tenant.offer_instance(new, LIMITS, silent).await.unwrap(), Offered::New(id));
    tenant.assign(id, &name("beta"), NOW, "ann".to_owned(), silent).await.unwrap().unwrap();
    id
}

fn new_ticket(instance: InstanceId, at: Timestamp) -> NewMachineTicket {
    NewMachineTicket {
        id: TicketId(Uuid::now_v7()),
        hash: some_hash(),
        capability: shell(),
        instance,
        source: name("alpha"),
        target: name("beta"),
        at,
        expires_at: at + adit_domain::reach::TICKET_LIFE,
    }
}

async fn issue(tenant: &TenantStore, instance: InstanceId) -> SecretHash {
    let new = new_ticket(instance, NOW);
    let hash = new.hash;
    let issued = tenant.issue_machine_ticket(new, LIMITS, told("issue")).await.unwrap();
    assert_eq!(issued, IssuedMachineTicket::Issued);
    hash
}

async fn use_once(store: &Store, hash: SecretHash) -> bool {
    let tenant = store.tenant(adit_domain::TenantId::SEED);
    let used = tenant.use_machine_ticket(hash, &name("beta"), NOW, None, told("use")).await;
    matches!(used.unwrap(), Used::Once(_))
}

async fn session(tenant: &TenantStore, hash: SecretHash) -> MachineSession {
    let id = SessionId(Uuid::now_v7());
    let target = name("beta");
    let opened = tenant.open_machine_session((id, hash), &target, (NOW, NOW), LIMITS, told("open"));
    match opened.await.unwrap() {
        Opened::New(session) => *session,
        other => panic!("{other:?}"),
    }
}

async fn facts(tenant: &TenantStore, instance: InstanceId) -> Reach {
    let question =
        Question { capability: shell(), source: name("alpha"), target: name("beta"), instance };
    tenant.load_reach(question, NOW).await.unwrap()
}

async fn what_a_decision_rests_on_is_read_as_it_is(world: World) {
    // TIX-40
    let tenant = &world.tenant;
    let instance = pair(tenant).await;
    let good = facts(tenant, instance).await;
    let ends = [&good.source, &good.target];
    assert!(ends.iter().all(|end| end.active && end.capable));
    assert!(
        good.offer.as_ref().is_some_and(|offer| offer.assigned && offer.owner == name("alpha"))
    );
    let other = facts(tenant, InstanceId(Uuid::now_v7())).await;
    assert_eq!(other.offer, None);
    tenant.set_holdings(&name("beta"), vec![], NOW, "ann".to_owned(), silent).await.unwrap();
    assert!(!facts(tenant, instance).await.target.capable);
    tenant.unassign(instance, &name("beta"), silent).await.unwrap();
    assert!(!facts(tenant, instance).await.offer.unwrap().assigned);
    let late =
        Question { capability: shell(), source: name("alpha"), target: name("beta"), instance };
    let late = tenant.load_reach(late, later(86_400_000)).await.unwrap();
    assert!(!late.source.active && !late.target.active, "their certificates are over");
    let stranger = world.other_tenant().await;
    let question =
        Question { capability: shell(), source: name("alpha"), target: name("beta"), instance };
    let theirs = stranger.load_reach(question, NOW).await.unwrap();
    assert!(theirs.offer.is_none() && !theirs.source.active && !theirs.source.capable);
}

async fn an_instance_goes_with_all_that_hangs_on_it(world: World) {
    // TKT-22
    let tenant = &world.tenant;
    let instance = pair(tenant).await;
    let live = issue(tenant, instance).await;
    let used = issue(tenant, instance).await;
    assert!(use_once(&world.store, used).await);
    let session = session(tenant, used).await;
    let removed = tenant.remove_instance(instance, silent).await.unwrap().unwrap();
    assert_eq!(removed.sessions, std::slice::from_ref(&session));
    assert!(!use_once(&world.store, live).await);
    assert!(tenant.list_assignments(None, None).await.unwrap().is_empty());
    assert!(tenant.find_machine_session(session.id, NOW).await.unwrap().is_none());
    assert!(tenant.list_inbox(&name("beta"), NOW).await.unwrap().is_empty());
}

async fn a_scope_takes_its_capabilities_from_whoever_holds_them(world: World) {
    // TIX-2
    let tenant = &world.tenant;
    let instance = pair(tenant).await;
    let hash = issue(tenant, instance).await;
    assert_eq!(tenant.list_holdings().await.unwrap().len(), 2);
    let gone = tenant.remove_scope(&"shell".parse().unwrap(), silent).await.unwrap();
    assert_eq!(gone, Some(vec![]));
    assert!(tenant.list_holdings().await.unwrap().is_empty());
    assert!(tenant.list_instances().await.unwrap().is_empty());
    assert!(!use_once(&world.store, hash).await);
}

async fn an_epoch_ends_what_was_handed_out_between_machines(world: World) {
    // R18
    let tenant = &world.tenant;
    let instance = pair(tenant).await;
    let (live, used) = (issue(tenant, instance).await, issue(tenant, instance).await);
    assert!(use_once(&world.store, used).await);
    let session = session(tenant, used).await;
    world.store.begin_epoch(NOW, silent).await.unwrap();
    assert!(!use_once(&world.store, live).await);
    let (session, _) = tenant.find_machine_session(session.id, NOW).await.unwrap().unwrap();
    assert_eq!(session.reason, Some(Lapse::Restored));
}

async fn a_hundred_thousand_rows_are_cleared_away_in_pieces(world: World) {
    // TIX-44, TIX-53
    let instance = pair(&world.tenant).await;
    let at = NOW.0;
    let rows = match &world.database {
        Database::Sqlite(_) => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n"
        }
        Database::Postgres(_) | Database::Server(_) => "SELECT generate_series(1, 100000) AS i",
    };
    let (id, hash, tenant, own) = match &world.database {
        Database::Sqlite(_) => (
            "randomblob(16)",
            "randomblob(32)",
            format!("x'{}'", world.tenant.id().0.simple()),
            format!("x'{}'", instance.0.simple()),
        ),
        Database::Postgres(_) | Database::Server(_) => (
            "gen_random_uuid()",
            "sha256(i::text::bytea)",
            format!("'{}'", world.tenant.id()),
            format!("'{}'", instance.0),
        ),
    };
    world.database.tamper(&format!(
        "INSERT INTO machine_tickets (id, tenant_id, hash, capability, instance_id, source, target, state, issued_at, expires_at) \
         SELECT {id}, {tenant}, {hash}, 'shell:connect', {own}, 'agent:alpha', 'agent:beta', 'issued', {at} - 7200000, {at} - 7170000 FROM ({rows}) AS n"
    ));
    let kept = issue(&world.tenant, instance).await;
    let ago = |seconds: i64| Timestamp(at - seconds * 1000);
    let cutoffs = ReachCutoffs {
        now: NOW,
        instances: ago(3600),
        tickets: ago(3600),
        silent: ago(600),
        grace: ago(60),
        ended: ago(86_400),
    };
    let mut pieces = 0;
    loop {
        let tidied = world.store.tidy_reach(cutoffs).await.unwrap();
        assert!(tidied.instances.is_empty() && tidied.lapsed.is_empty());
        pieces += 1;
        if tidied.deleted == 0 {
            break;
        }
        assert!(tidied.deleted <= 5_000, "what else is written does not wait for long");
    }
    assert!(pieces > 20);
    assert!(use_once(&world.store, kept).await);
}

/// Has fifty use each of a thousand tickets at once; one does.
async fn race(world: &World, stores: &[Store]) {
    let instance = pair(&world.tenant).await;
    for _ in 0..1_000 {
        let hash = issue(&world.tenant, instance).await;
        let attempts = (0..50).map(|number| {
            let store = stores[number % stores.len()].clone();
            tokio::spawn(async move { use_once(&store, hash).await })
        });
        let won =
            join_all(attempts).await.into_iter().filter(|used| *used.as_ref().unwrap()).count();
        assert_eq!(won, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_that_use_a_ticket_one_does_a_thousand_times() {
    // R52, TIX-42, TKT-02
    let world = World::sqlite().await;
    race(&world, std::slice::from_ref(&world.store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_at_two_gateways_one_uses_the_ticket_a_thousand_times() {
    // R52, TIX-42, TKT-02
    let world = World::postgres().await;
    let second = second_gateway(&world).await;
    race(&world, &[world.store.clone(), second]).await;
}

/// The steps of a ticket, over and over, by a process that is killed; each is said once it was acknowledged.
pub async fn cycle_for_ever(store: &Store) {
    let tenant = store.tenant(adit_domain::TenantId::SEED);
    let found = tenant.list_instances().await.unwrap();
    let instance = match found.first() {
        Some(one) => one.id,
        None => pair(&tenant).await,
    };
    loop {
        let new = new_ticket(instance, NOW);
        let (id, hash) = (new.id.0.simple(), new.hash);
        tenant.issue_machine_ticket(new, LIMITS, told("issue")).await.unwrap();
        println!("acked issued {id}");
        assert!(use_once(store, hash).await);
        println!("acked redeemed {id}");
        let session = session(&tenant, hash).await;
        println!("acked active {}", session.id.0.simple());
        tenant.end_machine_session(session.id, Lapse::AdminKilled, NOW, told("end")).await.unwrap();
        println!("acked dead {}", session.id.0.simple());
    }
}

fn at_least(stands: &str) -> &'static [&'static str] {
    match stands {
        "issued" => &["issued", "redeemed"],
        "redeemed" => &["redeemed"],
        "active" => &["active", "dead"],
        _ => &["dead"],
    }
}

/// How often the process is killed; `ADIT_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var("ADIT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

#[tokio::test]
async fn a_ticket_stays_used_whenever_the_process_is_killed() {
    // R53, TIX-54
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adit.db");
    let mut stands: HashMap<String, String> = HashMap::new();
    // The schema is there before anything can be killed.
    open(StoreConfig::Sqlite { path: path.clone() }, GATEWAY).await.unwrap().close().await;
    for round in 0..kills() {
        let mut writer = Writer::start(folder.path(), "reach");
        writer.wait_for(1 + round * 7 % 40);
        writer.end();
        for said in writer.acknowledged() {
            let (how, id) = said.split_once(' ').unwrap();
            stands.insert(id.to_owned(), how.to_owned());
        }
        assert_eq!(sqlite3(&path, "PRAGMA integrity_check"), "ok");
        let rows = "SELECT lower(hex(id)), state FROM machine_tickets UNION ALL SELECT lower(hex(id)), status FROM machine_sessions";
        let found = sqlite3(&path, rows);
        let found: HashMap<&str, &str> =
            found.lines().filter_map(|line| line.split_once('|')).collect();
        for (id, how) in &stands {
            let now = found.get(id.as_str()).copied().unwrap_or("not there");
            assert!(at_least(how).contains(&now), "{id} was {how}, and is {now}");
        }
        let orphans = "SELECT count(*) FROM machine_sessions s LEFT JOIN machine_tickets t ON t.id = s.ticket_id WHERE t.state IS NOT 'redeemed'";
        assert_eq!(sqlite3(&path, orphans), "0");
    }
    let store = open(StoreConfig::Sqlite { path }, GATEWAY).await.unwrap();
    super::world::verified(&store).await;
    store.close().await;
}
