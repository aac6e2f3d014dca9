//! A store with a tenant, and what its tests make.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_domain::policy::{Conditions, Selection};
use adit_domain::principal::{PrincipalKind, PrincipalName};
use adit_domain::ticket::{Purpose, Ticket};
use adit_domain::{
    Capabilities, EventId, GatewayId, GrantId, MachineId, PrincipalId, RecordingMode, SessionId,
    TenantId, TicketId, Timestamp, TokenId,
};
use adit_store::{
    Chain, Holder, MachineFacts, NewEnrolmentToken, NewEvent, NewGrant, NewMachine, NewMachineKey,
    NewPrincipal, NewSession, NoMeter, OpenSession, Opening, Outcome, Party, SecretHash,
    SessionKind, Store, StoreConfig, StoreError, StoreOptions, TenantStore, silent,
};
use adit_wire::audit::ChainVerifier;
use uuid::Uuid;

use super::database::Database;

/// When everything happens.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub const GATEWAY: GatewayId = GatewayId(Uuid::from_u128(0x6a7e));

pub struct World {
    pub database: Database,
    pub store: Store,
    pub tenant: TenantStore,
}

impl World {
    pub async fn sqlite() -> Self {
        Self::on(Database::sqlite()).await
    }

    pub async fn postgres() -> Self {
        Self::on(Database::postgres()).await
    }

    pub async fn on(database: Database) -> Self {
        let store = open(database.config(), GATEWAY).await.unwrap();
        Self { database, tenant: store.tenant(TenantId::SEED), store }
    }

    /// Closes the store and opens it again.
    pub async fn reopen(self) -> Self {
        self.store.close().await;
        Self::on(self.database).await
    }

    /// Adds a second tenant and gives the store as it sees it.
    pub async fn other_tenant(&self) -> TenantStore {
        let id = TenantId(Uuid::now_v7());
        self.store.create_tenant(id, "other", NOW, silent).await.unwrap();
        self.store.tenant(id)
    }

    /// Checks the gateway's whole chain and gives the names of its events.
    pub async fn verified(&self) -> Vec<String> {
        verified(&self.store).await
    }

    pub async fn user(&self, name: &str) -> PrincipalId {
        user_of(&self.tenant, name).await
    }

    pub async fn machine(&self, label: &str) -> MachineId {
        machine_of(&self.store, &self.tenant, label).await
    }

    /// Issues a ticket for a new session and gives its hash and the session.
    pub async fn ticket(&self, user: PrincipalId, machine: MachineId) -> (SecretHash, SessionId) {
        let (hash, session) = (some_hash(), SessionId(Uuid::now_v7()));
        let ticket = ticket(&self.tenant, user, machine, session);
        let reserved = new_session(session, user, machine);
        self.tenant.issue_ticket(ticket, hash, Some(reserved), silent).await.unwrap();
        (hash, session)
    }

    /// Opens a session.
    pub async fn session(&self, user: PrincipalId, machine: MachineId, at: Timestamp) -> SessionId {
        let (_, session) = self.ticket(user, machine).await;
        let opened = self.tenant.open_session(open_session(session, None, at), silent).await;
        assert!(matches!(opened, Ok(Opening::Opened(_))), "{opened:?}");
        session
    }
}

pub async fn open(config: StoreConfig, gateway: GatewayId) -> Result<Store, StoreError> {
    let gateway_name = "gate".to_owned();
    let options = StoreOptions { gateway, gateway_name, now: NOW, meter: Arc::new(NoMeter) };
    Store::open(config, options).await
}

/// Checks a gateway's whole chain up to its head and gives the names of its events.
pub async fn verified(store: &Store) -> Vec<String> {
    let mut verifier = ChainVerifier::new(store.gateway());
    let mut names = Vec::new();
    loop {
        let after = verifier.chain().seq;
        let part = store.read_chain(store.gateway(), after, 500).await.unwrap();
        if part.is_empty() {
            break;
        }
        for stored in part {
            assert!(stored.columns_agree);
            names.push(verifier.check(&stored.record).unwrap().event);
        }
    }
    let heads = store.list_chains().await.unwrap();
    let head: Vec<Chain> =
        heads.iter().filter(|h| h.gateway == store.gateway()).map(|h| h.chain).collect();
    assert_eq!(head, [verifier.chain()]);
    names
}

pub async fn user_of(tenant: &TenantStore, name: &str) -> PrincipalId {
    let new = new_user(name);
    let id = new.id;
    tenant.create_principal(new, silent).await.unwrap();
    id
}

pub async fn machine_of(store: &Store, tenant: &TenantStore, label: &str) -> MachineId {
    let token = some_hash();
    tenant.issue_enrolment_token(enrolment_token(token), silent).await.unwrap();
    let enrolled = store.enrol_machine(token, new_machine(label), silent).await.unwrap();
    enrolled.unwrap().id
}

/// Makes a hash that no other call makes.
pub fn some_hash() -> SecretHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    SecretHash(bytes)
}

pub fn user_name(name: &str) -> PrincipalName {
    PrincipalName::new(PrincipalKind::User, name).unwrap()
}

pub fn new_user(name: &str) -> NewPrincipal {
    NewPrincipal {
        id: PrincipalId(Uuid::now_v7()),
        name: user_name(name),
        email: Some(format!("{name}@example.org")),
        at: NOW,
    }
}

pub fn new_grant(principal: PrincipalId, role: &str, on: Selection) -> NewGrant {
    let id = GrantId(Uuid::now_v7());
    let holder = Holder::Principal(principal);
    let conditions = Conditions::default();
    NewGrant { id, holder, role: role.to_owned(), on, conditions, expires_at: None, at: NOW }
}

pub fn enrolment_token(hash: SecretHash) -> NewEnrolmentToken {
    NewEnrolmentToken {
        id: TokenId(Uuid::now_v7()),
        hash,
        prefix: "aet_abcd".to_owned(),
        label: None,
        tags: [].into(),
        uses: 1,
        replaces: false,
        name: None,
        capabilities: vec![],
        by: None,
        expires_at: later(1_000),
        at: NOW,
    }
}

pub fn new_machine(label: &str) -> NewMachine {
    NewMachine {
        id: MachineId(Uuid::now_v7()),
        label: label.parse().unwrap(),
        facts: MachineFacts { hostname: label.to_owned(), cores: 2, ..MachineFacts::default() },
        link_key: some_hash().0,
        key: new_key(),
        at: NOW,
    }
}

pub fn new_key() -> NewMachineKey {
    NewMachineKey { id: TokenId(Uuid::now_v7()), hash: some_hash(), prefix: "cak_abcd".to_owned() }
}

pub fn ticket(
    tenant: &TenantStore,
    principal: PrincipalId,
    machine: MachineId,
    session: SessionId,
) -> Ticket {
    Ticket {
        id: TicketId(Uuid::now_v7()),
        tenant: tenant.id(),
        principal,
        machine,
        session,
        purpose: Purpose::Open,
        capabilities: Capabilities::all().terminal(),
        issued_at: NOW,
        expires_at: later(30_000),
        credential: None,
        key: None,
    }
}

pub fn new_session(id: SessionId, principal: PrincipalId, machine: MachineId) -> NewSession {
    NewSession {
        id,
        principal,
        machine,
        kind: SessionKind::Shell,
        command: vec!["sh".to_owned(), "-c".to_owned(), "echo \"a b\"".to_owned()],
        env: vec![("LANG".to_owned(), "C.UTF-8".to_owned())],
        pty: true,
        capabilities: Capabilities::all().terminal(),
        grants: vec![GrantId(Uuid::from_u128(1)), GrantId(Uuid::from_u128(2))],
        recording: RecordingMode::Output,
        strict: false,
        run_as: None,
        client: Some("192.0.2.1".to_owned()),
        at: NOW,
        job: None,
    }
}

pub fn open_session(id: SessionId, cap: Option<u32>, at: Timestamp) -> OpenSession {
    OpenSession {
        id,
        cap,
        capabilities: Capabilities::all().terminal(),
        grants: vec![GrantId(Uuid::from_u128(1))],
        second_factor_at: None,
        client: None,
        cols: 80,
        rows: 24,
        at,
        ends_at: at + adit_domain::session::MAX_LENGTH,
    }
}

/// Makes an event of a name.
pub fn event(name: &str) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::now_v7()),
        at: NOW,
        event: name.to_owned(),
        actor: Party { kind: "user".to_owned(), id: "1".to_owned(), name: "ann".to_owned() },
        target: None,
        outcome: Outcome::Ok,
        details: BTreeMap::new(),
        correlation: None,
        client: None,
    }
}

/// Tells of any outcome by one event of a name.
pub fn told<T>(name: &'static str) -> impl FnOnce(&T) -> Vec<NewEvent> + Send + 'static {
    move |_| vec![event(name)]
}

pub fn later(ms: u64) -> Timestamp {
    NOW + std::time::Duration::from_millis(ms)
}
