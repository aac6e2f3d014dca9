//! What a gateway does: sign-in, policy, tickets, sessions, recordings, audit.
//!
//! Decides and writes audit; knows nothing of HTTP or SSH. Read first: [`Gateway`], then `session.rs` (open, join, end) and
//! `session/relay.rs` (the path of a key).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use adit_domain::{Clock, Code, Ids, MachineId, PrincipalId, SessionId, TenantId};
use adit_link::socket::Socket;
use adit_store::{AccessRequest, Store};
use adit_wire::digest::Digest;
use aws_lc_rs::hkdf;
use aws_lc_rs::signature::Ed25519KeyPair;
use tokio::sync::{broadcast, watch};

pub mod access;
pub mod admission;
pub mod alert;
pub mod audit;
pub mod bus;
pub mod certificate;
mod clock_watch;
pub mod cluster;
pub mod company;
pub mod enrolment;
pub mod failpoint;
pub mod grant;
pub mod guesses;
pub mod hub;
pub mod job;
pub mod keys;
pub mod listener;
pub mod machine;
pub mod machine_key;
mod name;
pub mod oauth;
pub mod people;
pub mod pki;
pub mod places;
pub mod proof;
pub mod random;
pub mod reach;
pub mod recording;
pub mod request;
mod restore;
mod rights;
pub mod role;
mod sealing;
pub mod service;
pub mod session;
pub mod settings;
pub mod sign_in;
pub mod support;
pub mod tasks;
pub mod team;
pub mod tenant;
pub mod ticket;
pub mod token;
pub mod trace;
pub mod tries;
pub mod what_ends;

pub use access::{Caller, Refusal};
pub use settings::Settings;

use admission::Admissions;
use alert::Alerts;
use bus::Bus;
use cluster::Cluster;
use company::Company;
use guesses::Guesses;
use hub::Hub;
use job::Jobs;
use keys::Keys;
use listener::Listeners;
use oauth::OAuth;
use pki::Pki;
use places::Places;
use reach::TicketIds;
use reach::channel::Channels;
use reach::streams::Streams;
use session::recorder::Recorder;
use session::registry::Registry;
use session::viewer::WriterKey;
use sign_in::SignIns;
use support::CodeKey;
use tasks::Tasks;

/// A machine's WebSocket, whichever listener it came through.
pub type BoxSocket = Box<dyn Socket + Send>;

/// A gateway: everything that its planes call.
pub struct Gateway {
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Ids and randomness.
    pub ids: Arc<dyn Ids>,
    /// What the operator set.
    pub settings: Settings,
    /// The gateway's own keys.
    pub keys: Keys,
    /// Its certificate authority.
    pub pki: Pki,
    /// What its listeners show.
    pub listeners: Listeners,
    /// Who is told of changes.
    pub bus: Bus,
    /// Who is told of requests for access, as they are made.
    pub asked: broadcast::Sender<AccessRequest>,
    /// The owner of its tasks.
    pub tasks: Tasks,
    /// Its machines.
    pub hub: Hub,
    /// Its live sessions.
    pub sessions: Registry,
    /// The machines that are told at once what they may reach.
    pub channels: Channels,
    /// The streams that it carries between machines.
    pub streams: Streams,
    pub(crate) ticket_ids: TicketIds,
    pub(crate) resolving: tokio::sync::Semaphore,
    pub(crate) transports: reach::Transports,
    /// The live viewers of each user.
    pub(crate) viewers: Arc<Places<PrincipalId>>,
    /// The connections of each machine that are no session's.
    pub machine_links: Arc<Places<MachineId>>,
    /// The connections of machines by what admitted them.
    pub admissions: Admissions,
    /// Enrolments with tokens that did not count.
    pub(crate) wrong_tokens: tries::Tries,
    /// Its jobs, and the templates that they run.
    pub jobs: Jobs,
    /// What watches the audit log.
    pub alerts: Alerts,
    /// Its recorder.
    pub recorder: Recorder,
    /// Its OAuth2 server.
    pub oauth: OAuth,
    /// Moves with every change of what decisions rest on that was made here.
    pub(crate) rights: watch::Receiver<u64>,
    /// Moves whenever live rights are looked at again, for changes of other gateways too.
    pub(crate) looked: watch::Sender<u64>,
    /// This gateway among the others.
    pub cluster: Cluster,
    /// The providers of company accounts.
    pub company: Company,
    pub(crate) writer_key: WriterKey,
    pub(crate) sign_ins: SignIns,
    pub(crate) support_key: CodeKey,
    /// Attempts at support codes.
    pub(crate) guesses: Guesses,
    pub(crate) me: Weak<Gateway>,
    /// Recordings that were finished since the last checkpoint.
    pub(crate) finished: Mutex<BTreeMap<SessionId, Digest>>,
    pub(crate) anchored: Mutex<Option<audit::anchor::Anchored>>,
    epoch: AtomicU64,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key or certificate.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// The recordings' folder.
    #[error("the folder of recordings cannot be used: {0}")]
    Recorder(#[from] std::io::Error),
    /// A provider of company accounts.
    #[error("{0}")]
    Company(String),
    /// The webhook of alerts.
    #[error("the webhook of alerts cannot be used: {0}")]
    Alerts(reqwest::Error),
    /// The bus between gateways.
    #[error(transparent)]
    Bus(#[from] adit_bus::AddressError),
    /// The database, or what it holds.
    #[error(transparent)]
    Refusal(#[from] Refusal),
}

/// How many requests for access a slow listener may fall behind; those that it misses are in the list.
const REQUESTS_BEHIND: usize = 64;

/// How many names of instances are resolved at once.
const NAMES_AT_ONCE: usize = 4;

/// How often tickets that ran out are cleared away.
const CLEAR_EVERY: Duration = Duration::from_secs(10);

/// How long a spent or expired ticket is kept.
const KEEP_TICKETS: Duration = Duration::from_secs(3600);

impl Gateway {
    /// Starts a gateway over its database: takes up the sessions that were live, then begins its own tasks.
    ///
    /// # Errors
    /// [`StartError`] when a key, the folder of recordings or the database cannot be used.
    pub async fn start(
        store: Store,
        settings: Settings,
        keys: Keys,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Arc<Self>, StartError> {
        let pki = Pki::load(&settings.dir, &*clock)?;
        let audit = audit_pair(&keys)?;
        let folder = settings.dir.join("recordings");
        let recorder = Recorder::start(&folder, Arc::new(audit), settings.recording_sync)?;
        let writer_key =
            WriterKey::new(&derive(keys.session_secret.expose(), b"adit writer ids v1"));
        let oauth = OAuth::new(keys.session_secret.expose());
        let rights = store.access_version();
        let sealing = derive(keys.session_secret.expose(), b"adit company sealing v1");
        let company = Company::new(&settings.providers, &settings.url, &sealing)
            .map_err(StartError::Company)?;
        let sign_ins = SignIns::new(&settings, &keys, &*ids)?;
        let support_key =
            CodeKey::new(&derive(keys.session_secret.expose(), b"adit support codes v1"));
        let ticket_ids = ticket_ids(keys.session_secret.expose());
        let epoch = store.tenant(TenantId::SEED).load_epoch().await.map_err(Refusal::from)?;
        let tasks = Tasks::default();
        let (bus, driver) = open_bus(&settings, &store, &keys, (&clock, &ids))?;
        let jobs = Jobs::new(&settings.jobs);
        let alerts = Alerts::new(&settings.alerts).map_err(StartError::Alerts)?;
        let gateway = Arc::new_cyclic(|me| Self {
            store,
            clock,
            ids,
            settings,
            keys,
            pki,
            listeners: Listeners::default(),
            bus: if bus.is_some() { Bus::with_others() } else { Bus::default() },
            cluster: Cluster::new(bus),
            asked: broadcast::channel(REQUESTS_BEHIND).0,
            sessions: Registry::new(tasks.clone()),
            channels: Channels::default(),
            streams: Streams::default(),
            ticket_ids,
            resolving: tokio::sync::Semaphore::new(NAMES_AT_ONCE),
            transports: reach::Transports::default(),
            tasks,
            hub: Hub::default(),
            viewers: Arc::default(),
            machine_links: Arc::default(),
            admissions: Admissions::default(),
            wrong_tokens: tries::Tries::default(),
            jobs,
            alerts,
            recorder,
            oauth,
            rights,
            looked: watch::Sender::new(0),
            company,
            writer_key,
            sign_ins,
            support_key,
            guesses: Guesses::new(std::time::Instant::now()),
            me: Weak::clone(me),
            finished: Mutex::default(),
            anchored: Mutex::default(),
            epoch: AtomicU64::new(u64::try_from(epoch).unwrap_or(0)),
        });
        gateway.take_up().await?;
        gateway.begin_tasks(driver);
        Ok(gateway)
    }

    /// Takes up what was there when the gateway stopped.
    async fn take_up(&self) -> Result<(), Refusal> {
        self.reload_templates().await;
        self.begin_signing_keys().await?;
        self.take_up_sessions().await
    }

    fn begin_tasks(self: &Arc<Self>, driver: Option<adit_bus::Driver>) {
        if let Some(driver) = driver {
            self.join_bus(driver);
        }
        let giving = Arc::clone(self);
        self.tasks.spawn(async move { giving.dispatch_jobs().await });
        let reading = Arc::clone(self);
        self.tasks.spawn(async move { reading.watch_templates().await });
        let anchoring = Arc::clone(self);
        self.tasks.spawn(async move { anchoring.anchor_audit().await });
        let looking = Arc::clone(self);
        self.tasks.spawn(async move { looking.watch_rights().await });
        if self.settings.audit_lines {
            let telling = Arc::clone(self);
            self.tasks.spawn(async move { telling.tell_audit().await });
        }
        let watching = Arc::clone(self);
        self.tasks.spawn(async move { watching.watch_clock().await });
        let turning = Arc::clone(self);
        self.tasks.spawn(async move { turning.turn_signing_keys().await });
        let following = Arc::clone(self);
        self.tasks.spawn(async move { following.follow_issuers().await });
        let clearing = Arc::clone(self);
        self.tasks.spawn(async move { clearing.clear_tickets().await });
        let ending = Arc::clone(self);
        self.tasks.spawn(async move { ending.watch_support().await });
        let watching = Arc::clone(self);
        self.tasks.spawn(async move { watching.watch_alerts().await });
        let delivering = Arc::clone(self);
        self.tasks.spawn(async move { delivering.deliver_alerts().await });
        let standing = Arc::clone(self);
        self.tasks.spawn(async move { standing.stand().await });
    }

    /// Gives the epoch: warrants and credentials of an older one are void.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Ends the gateway: its sessions go on without it, its last checkpoint is made, its recordings are synced.
    pub async fn stop(&self) {
        self.tasks.end().await;
        self.recorder.stop();
    }

    async fn clear_tickets(&self) {
        let mut tick = tokio::time::interval(CLEAR_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            let now = self.clock.now();
            if let Err(error) = self.store.forget_tickets(now - KEEP_TICKETS, now).await {
                tracing::warn!(%error, "tickets that ran out could not be cleared away");
            }
            if let Err(error) = self.tidy_reach().await {
                tracing::warn!(%error, "what machines reach could not be tidied");
            }
            if let Err(error) = self.store.forget_steps(now - KEEP_TICKETS).await {
                tracing::warn!(%error, "sign-ins that were not finished could not be cleared away");
            }
        }
    }
}

type Sources<'a> = (&'a Arc<dyn Clock>, &'a Arc<dyn Ids>);

/// Makes the way to the bus, where the settings name one.
fn open_bus(
    settings: &Settings,
    store: &Store,
    keys: &Keys,
    (clock, ids): Sources<'_>,
) -> Result<(Option<adit_bus::Bus>, Option<adit_bus::Driver>), StartError> {
    let Some(bus) = &settings.bus else { return Ok((None, None)) };
    let key = derive(keys.session_secret.expose(), b"adit bus v1");
    let settings = adit_bus::Settings {
        url: bus.url.clone(),
        authorities: bus.authorities.clone(),
        key: adit_bus::envelope::Key::new(&key),
        gateway: store.gateway(),
    };
    let (bus, driver) = adit_bus::Driver::new(settings, Arc::clone(clock), Arc::clone(ids))?;
    Ok((Some(bus), Some(driver)))
}

fn audit_pair(keys: &Keys) -> Result<Ed25519KeyPair, Refusal> {
    let bytes = keys.audit.to_pkcs8().map_err(|_| Refusal::Code(Code::Internal))?;
    Ed25519KeyPair::from_pkcs8(bytes.as_ref()).map_err(|_| Refusal::Code(Code::Internal))
}

fn ticket_ids(secret: &str) -> TicketIds {
    TicketIds::new(
        &derive(secret, b"adit ticket ids v1"),
        &derive(secret, b"adit ticket hashes v1"),
        &derive(secret, b"adit ticket retries v1"),
    )
}

/// Derives 32 bytes for one purpose from the session secret (HKDF-SHA256, RFC 5869).
fn derive(secret: &str, purpose: &[u8]) -> [u8; 32] {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"adit");
    let key = salt.extract(secret.as_bytes());
    let mut out = [0; 32];
    let info = [purpose];
    let okm = key.expand(&info, hkdf::HKDF_SHA256).expect("32 bytes are within HKDF's limit");
    okm.fill(&mut out).expect("32 bytes are what was asked for");
    out
}
