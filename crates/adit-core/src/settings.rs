//! What an operator may set, with its defaults. The binary reads files and the environment into this.

use std::path::PathBuf;
use std::time::Duration;

use adit_domain::{RecordingMode, session};

use crate::alert::AlertSettings;
use crate::cluster::BusSettings;
use crate::company::settings::ProviderSettings;
use crate::job::JobSettings;
use crate::oauth::settings::OAuthSettings;
use crate::reach::ReachSettings;
use crate::trace::Traces;

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of keys, recordings and the embedded database.
    pub dir: PathBuf,
    /// The address that people and the CLI reach, without a trailing slash: `http://127.0.0.1:7800`.
    pub url: String,
    /// The address of the mutual-TLS listener for machines: `wss://127.0.0.1:7892`.
    pub machines_url: String,
    /// How long a session token and a warrant live before they must be refreshed (SES-2).
    pub token_life: Duration,
    /// From when before its end a token is refreshed (SES-7).
    pub refresh_before: Duration,
    /// Messages a second a session may send (SES-3).
    pub rate_tokens: u32,
    /// How many more it may send at once (SES-4).
    pub rate_burst: u32,
    /// How far two clocks may differ (SES-5).
    pub clock_skew: Duration,
    /// Nonces remembered a machine (SES-6).
    pub nonce_history: usize,
    /// How long a session may last.
    pub max_length: Duration,
    /// How long a session may be idle; none by default.
    pub idle: Option<Duration>,
    /// How long a shell lives without a link or without a viewer that lost its network.
    pub grace: Duration,
    /// Live sessions a user may have (TERM-6).
    pub sessions_per_user: u32,
    /// Live viewers a user may have, over all sessions.
    pub viewers_per_user: usize,
    /// Connections of one address to one listener; loopback has no such cap, because there it is one host's own processes.
    pub connections_per_address: usize,
    /// Live sessions of a gateway.
    pub sessions_total: usize,
    /// How long a certificate lasts; its holder renews it at two thirds.
    pub certificate_life: Duration,
    /// How long after its end a certificate may still be renewed by who has its key.
    pub certificate_grace: Duration,
    /// What is recorded.
    pub recording: RecordingMode,
    /// Whether a session ends when its recording cannot be written.
    pub recording_strict: bool,
    /// Whether each audit event is also written to standard output as a line of JSON (TERM-52).
    pub audit_lines: bool,
    /// Who vouches for company accounts.
    pub providers: Vec<ProviderSettings>,
    /// What one check of a password costs.
    pub password_cost: PasswordCost,
    /// Passwords that are checked at once; the rest waits.
    pub passwords_at_once: usize,
    /// After how long unsynced recorded bytes are synced.
    pub recording_sync: Duration,
    /// The OAuth2 server's.
    pub oauth: OAuthSettings,
    /// Machines that reach each other.
    pub reach: ReachSettings,
    /// Jobs, and the templates that they run.
    pub jobs: JobSettings,
    /// Alerts about what is out of the ordinary.
    pub alerts: AlertSettings,
    /// The bus to other gateways on the same database.
    pub bus: Option<BusSettings>,
    /// Where finished spans go.
    pub traces: Traces,
}

/// The parameters of Argon2id (RFC 9106 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PasswordCost {
    /// What OWASP recommends as the least: 19 MiB, two passes, one lane; about 30 ms on a server's core.
    pub const DEFAULT: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
}

impl Settings {
    /// Gives the defaults for a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            url: "http://127.0.0.1:7800".to_owned(),
            machines_url: "wss://127.0.0.1:7892".to_owned(),
            token_life: Duration::from_secs(300),
            refresh_before: Duration::from_secs(60),
            rate_tokens: 100,
            rate_burst: 20,
            clock_skew: Duration::from_secs(60),
            nonce_history: 10_000,
            max_length: session::MAX_LENGTH,
            idle: None,
            grace: session::GRACE,
            sessions_per_user: 3,
            viewers_per_user: 64,
            connections_per_address: 1_024,
            sessions_total: 5_000,
            certificate_life: Duration::from_secs(30 * 86_400),
            certificate_grace: Duration::from_secs(30 * 86_400),
            recording: RecordingMode::Output,
            recording_strict: false,
            audit_lines: false,
            providers: Vec::new(),
            password_cost: PasswordCost::DEFAULT,
            passwords_at_once: 2,
            recording_sync: Duration::from_millis(200),
            oauth: OAuthSettings::default(),
            reach: ReachSettings::default(),
            jobs: JobSettings::default(),
            alerts: AlertSettings::default(),
            bus: None,
            traces: Traces::default(),
        }
    }
}
