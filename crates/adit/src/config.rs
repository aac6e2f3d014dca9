//! The configuration file (TOML) and the environment, read into settings.
//!
//! Everything has a default but the folder and the session secret of `adit serve`. A key that is not known is an error, so that a
//! misspelt one is not a default in disguise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_core::Settings;
use adit_core::certificate::MAX_LIFE;
use adit_core::cluster::BusSettings;
use adit_core::job::JobSettings;
use adit_core::keys::read_secret;
use adit_core::oauth::settings::{self as oauth_settings, OAuthSettings};
use adit_core::reach::ReachSettings;
use adit_domain::reach::Networks;
use adit_domain::session::MAX_GRACE;
use adit_domain::{RecordingMode, Secret};
use anyhow::{Context as _, bail};
use serde::Deserialize;

mod alerts;
mod company;
mod traces;

pub use traces::TraceSettings;

pub use alerts::Alerts;

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of keys, recordings and the embedded database.
    pub data: Option<PathBuf>,
    /// Where people and the CLI connect. Anything but loopback needs `tls`.
    pub listen: Option<String>,
    /// Where machines connect, with certificates.
    pub machines_listen: Option<String>,
    /// The address that people type, where it is not `listen`: behind a name or a proxy.
    pub url: Option<String>,
    /// The address that machines dial, where it is not `machines_listen`.
    pub machines_url: Option<String>,
    /// Host names that the gateway answers to, beside loopback and those of `url` and `listen`.
    pub hosts: Vec<String>,
    /// What people call this gateway, in lists and in the audit log.
    pub name: Option<String>,
    /// Whether each audit event is also written to standard output as a line of JSON.
    pub audit_lines: Option<bool>,
    /// Whether `/metrics` answers loopback without a token.
    pub open_metrics: Option<bool>,
    /// Connections that one address may have to a listener, loopback excepted. Behind a proxy everybody comes from one address.
    pub connections_per_address: Option<usize>,
    /// The certificate of `listen`.
    pub tls: Option<Tls>,
    /// A certificate of `listen` that comes by ACME, in the place of `tls`.
    pub acme: Option<Acme>,
    /// The database.
    pub database: Database,
    /// Sessions.
    pub session: Session,
    /// Recordings.
    pub recording: Recording,
    /// The OAuth2 server.
    pub oauth: OAuth,
    /// Signing in.
    pub sign_in: SignIn,
    /// Requests for access.
    pub access: Access,
    /// Certificates of machines and operators.
    pub certificates: Certificates,
    /// Tickets between machines.
    pub tickets: Tickets,
    /// Templates, and the jobs that run them.
    pub jobs: Jobs,
    /// Alerts about what is out of the ordinary in the audit log.
    pub alerts: Alerts,
    /// The bus to other gateways on the same database.
    pub bus: Bus,
    /// Traces, to a collector of OpenTelemetry.
    pub traces: Traces,
}

/// Traces, to a collector of OpenTelemetry. The environment's names win.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where OTLP over HTTP is taken, without `/v1/traces`: `http://127.0.0.1:4318`; absent: nothing is exported.
    pub endpoint: Option<String>,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of new traces that are exported, 0 to 1; absent: all.
    pub sample_ratio: Option<f64>,
    /// `OTEL_SERVICE_NAME`: what the gateway calls itself; absent: `adit`.
    pub service_name: Option<String>,
    /// A file with headers that the collector asks for, a `name: value` a line, readable by its owner only.
    pub headers_file: Option<PathBuf>,
}

/// Templates, and the jobs that run them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// The folder of templates, `*.yaml`; absent: `templates` in `data`. It is looked at every two seconds; a file takes the place of the
    /// built-in one of its name.
    pub templates: Option<PathBuf>,
    /// Whether the built-in templates are there; absent: they are.
    pub built_in: Option<bool>,
    /// Jobs that this gateway runs at a time.
    pub max_concurrent_jobs: Option<usize>,
    /// Jobs of one user that this gateway runs at a time.
    pub per_user: Option<usize>,
    /// Jobs of one user that may wait.
    pub queued_per_user: Option<u32>,
    /// Jobs that may wait, of everybody.
    pub queued: Option<u32>,
    /// How long a job waits for its machine, in seconds; then it is over, as `lost`.
    pub wait_seconds: Option<u64>,
}

impl Jobs {
    fn settings(&self, dir: &Path) -> anyhow::Result<JobSettings> {
        let mut settings = JobSettings::default();
        let folder = self.templates.clone().unwrap_or_else(|| dir.join("templates"));
        settings.templates = Some(folder);
        settings.built_in = self.built_in.unwrap_or(settings.built_in);
        settings.at_once = self.max_concurrent_jobs.unwrap_or(settings.at_once);
        settings.at_once_per_user = self.per_user.unwrap_or(settings.at_once_per_user);
        let limits = &mut settings.limits;
        limits.queued_per_user = self.queued_per_user.unwrap_or(limits.queued_per_user);
        limits.queued = self.queued.unwrap_or(limits.queued);
        settings.wait = self.wait_seconds.map_or(settings.wait, Duration::from_secs);
        let least = settings.at_once.min(settings.at_once_per_user);
        if least == 0 || limits.queued == 0 || limits.queued_per_user == 0 {
            bail!("[jobs] has a limit of 0; each is at least 1");
        }
        Ok(settings)
    }
}

/// The bus to other gateways on the same database: Redis or Valkey.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bus {
    /// `rediss://:PASSWORD@host:port`, or `redis://` where nobody listens on the way. The environment's `ADIT_BUS_URL` wins.
    pub url: Option<String>,
    /// A file with that address, readable by its owner only: it may hold a password.
    pub url_file: Option<PathBuf>,
    /// A file of certificates, PEM, that the server's own is held against; absent: the system's.
    pub authorities: Option<PathBuf>,
}

impl Bus {
    /// Makes settings of the table and the environment.
    ///
    /// # Errors
    /// When a file cannot be read, or the address is given twice.
    fn settings(&self) -> anyhow::Result<Option<BusSettings>> {
        let url = match (std::env::var("ADIT_BUS_URL"), &self.url, &self.url_file) {
            (Ok(url), ..) => Secret::new(url),
            (Err(_), Some(_), Some(_)) => bail!("[bus] has both `url` and `url_file`; keep one"),
            (Err(_), Some(url), None) => Secret::new(url.clone()),
            (Err(_), None, Some(path)) => read_secret(path)?,
            (Err(_), None, None) => return Ok(None),
        };
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("bus.authorities {}", path.display()))
        };
        let authorities = self.authorities.as_ref().map(read).transpose()?;
        Ok(Some(BusSettings { url, authorities }))
    }
}

/// Requests for access.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// An `https://` address that is told of each request, as a signed webhook.
    pub webhook: Option<String>,
    /// A file with the secret that the webhook is signed with: at least 32 characters.
    pub webhook_secret_file: Option<PathBuf>,
}

/// Certificates of machines and operators.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificates {
    /// How long a certificate lasts, in seconds; at most 90 days. Its holder renews it at two thirds.
    pub life_seconds: Option<u64>,
    /// How long after its end a certificate may still be renewed by who has its key, in seconds.
    pub grace_seconds: Option<u64>,
}

/// Tickets between machines. No source may have more than a tenth of `live`, `instances` and `sessions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tickets {
    /// Tickets that one machine may ask for within a minute; 0 for no limit.
    pub per_minute: Option<u32>,
    /// Live tickets, of all machines.
    pub live: Option<u32>,
    /// Instances that machines offer.
    pub instances: Option<u32>,
    /// Sessions between machines that live.
    pub sessions: Option<u32>,
    /// A list of networks that are not public and that machines may dial directly all the same: `["10.20.0.0/16"]`.
    pub direct_networks: Vec<String>,
}

impl Tickets {
    /// Makes settings of the table.
    ///
    /// # Errors
    /// When a network cannot be read, or a limit is 0 that cannot be.
    fn settings(&self) -> anyhow::Result<ReachSettings> {
        let mut settings = ReachSettings::default();
        let limits = &mut settings.limits;
        let keys: [(&str, &mut u32, Option<u32>); 3] = [
            ("live", &mut limits.tickets, self.live),
            ("instances", &mut limits.instances, self.instances),
            ("sessions", &mut limits.sessions, self.sessions),
        ];
        for (name, to, given) in keys {
            match given {
                Some(0) => bail!("tickets.{name} is at least 1"),
                Some(given) => *to = given,
                None => {}
            }
        }
        limits.tickets_per_minute = self.per_minute.unwrap_or(limits.tickets_per_minute);
        let networks = self.direct_networks.iter().map(String::as_str);
        settings.networks = Networks::read(networks).context(
            "tickets.direct_networks: a network is written 10.0.0.0/8 or as one address",
        )?;
        Ok(settings)
    }
}

/// The certificate of `listen`: two files, or one that the gateway makes itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A file with the chain, PEM. It is read again when it changes.
    pub certificate: Option<PathBuf>,
    /// A file with its key, PEM.
    pub key: Option<PathBuf>,
    /// Whether the gateway's own authority signs it, for the hosts of `url`, `listen` and `hosts`. Whoever connects trusts `ca.pem` of `data`.
    pub self_made: Option<bool>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Tls {
    /// Gives the files; none where the gateway makes its certificate.
    ///
    /// # Errors
    /// When the table says neither, or both.
    pub fn files(&self) -> anyhow::Result<Option<TlsFiles>> {
        match (&self.certificate, &self.key, self.self_made.unwrap_or(false)) {
            (Some(certificate), Some(key), false) => {
                Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None, true) => Ok(None),
            _ => bail!("[tls] names a certificate and its key, or says `self_made = true`"),
        }
    }
}

/// A certificate that comes by ACME (RFC 8555), from Let's Encrypt or whoever `directory` names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// `true` says that you agree to the certificate authority's terms of service; nothing is asked for without.
    pub agree_to_terms: Option<bool>,
    /// The address of the authority's directory; absent: Let's Encrypt's.
    pub directory: Option<String>,
    /// A mail address that the authority may write to.
    pub contact: Option<String>,
    /// Host names and addresses that the certificate is for; absent: the host of `url`.
    pub names: Vec<String>,
    /// Where the authority's question is answered over plain HTTP; absent: `0.0.0.0:80`. The authority asks on port 80.
    pub listen: Option<String>,
    /// A file of certificates, PEM, that the authority's own is held against; absent: the system's.
    pub authorities: Option<PathBuf>,
    /// The key identifier of an account that the authority knows already (external account binding, RFC 8555 §7.3.4).
    pub eab_key_id: Option<String>,
    /// A file with the key of that account, base64url, readable by its owner only.
    pub eab_key_file: Option<PathBuf>,
}

/// Where state is kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user@host:port/database`; absent: a file in `data`. The environment's `ADIT_DATABASE_URL` wins.
    pub url: Option<String>,
}

/// Limits of sessions. The environment's names win.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// A file with `SESSION_TOKEN_SECRET`, readable by its owner only.
    pub token_secret_file: Option<PathBuf>,
    /// `SESSION_EXPIRY_SECONDS`: life of a session token and a warrant between two looks at the policy.
    pub expiry_seconds: Option<u64>,
    /// `RATE_LIMIT_TOKENS`: messages a second of one session.
    pub rate_limit_tokens: Option<u32>,
    /// `RATE_LIMIT_BURST`: how many more at once.
    pub rate_limit_burst: Option<u32>,
    /// `CLOCK_SKEW_TOLERANCE`: seconds.
    pub clock_skew_tolerance: Option<u64>,
    /// `NONCE_HISTORY_LIMIT`: nonces remembered a machine.
    pub nonce_history_limit: Option<usize>,
    /// How long a session may last, in seconds.
    pub max_length_seconds: Option<u64>,
    /// How long a session may be idle, in seconds; absent: for ever.
    pub idle_seconds: Option<u64>,
    /// How long a shell lives without its link or its viewer, in seconds; at most a day.
    pub grace_seconds: Option<u64>,
    /// Live sessions a user may have.
    pub per_user: Option<u32>,
    /// Live viewers a user may have, over all sessions.
    pub viewers_per_user: Option<usize>,
    /// Live sessions of this gateway.
    pub total: Option<usize>,
}

/// What is recorded.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recording {
    /// `off`, `output` or `input`.
    pub mode: Option<String>,
    /// Whether a session ends when its recording cannot be written.
    pub strict: Option<bool>,
}

/// The OAuth2 server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth {
    /// How long an access token counts, in seconds: 60 to 3600.
    pub access_token_seconds: Option<u64>,
    /// How long a refresh token counts, in seconds: up to 90 days.
    pub refresh_token_seconds: Option<u64>,
    /// How old a signing key gets, in seconds, before another takes its place: at least a day.
    pub key_seconds: Option<u64>,
    /// How long a new signing key is published before it signs, in seconds: at least 600, so that everybody who keeps keys has read it.
    pub key_lead_seconds: Option<u64>,
    /// How long a service's old secret counts beside its new one, in seconds: up to 30 days.
    pub secret_grace_seconds: Option<u64>,
    /// A list of issuers whose tokens buy tokens of a service, such as a CI system's: `[[oauth.trust]]`.
    pub trust: Vec<Trust>,
}

/// An issuer whose tokens buy tokens of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// What people call it.
    pub name: String,
    /// The issuer's identifier: the address at which it publishes its keys, without `/.well-known/…`.
    pub issuer: String,
    /// For whom its tokens must be (`aud`).
    pub audience: String,
    /// The name of the service that they speak for.
    pub service: String,
    /// The most that is given for one; absent: all that the service is registered for.
    pub scopes: Option<Vec<String>>,
    /// What they must say: `{ repository = "org/app", ref = ["refs/heads/main"] }`. At least one claim, compared as a whole.
    pub claims: BTreeMap<String, OneOrMany>,
}

/// A value, or several of which one counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A value.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Trust {
    fn settings(&self) -> anyhow::Result<oauth_settings::Trust> {
        let scopes = self.scopes.as_ref().map(|names| adit_domain::scope::read(&names.join(" ")));
        let scopes = scopes.transpose().with_context(|| format!("oauth.trust `{}`", self.name))?;
        let values = |all: &OneOrMany| match all {
            OneOrMany::One(one) => vec![one.clone()],
            OneOrMany::Many(many) => many.clone(),
        };
        let trust = oauth_settings::Trust {
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            service: self.service.clone(),
            scopes,
            claims: self.claims.iter().map(|(name, all)| (name.clone(), values(all))).collect(),
        };
        if let Err(why) = trust.check() {
            bail!("oauth.trust: {why}");
        }
        Ok(trust)
    }
}

impl OAuth {
    /// Makes settings of the table.
    ///
    /// # Errors
    /// When a value is out of its range; the message has the key and the range.
    fn settings(&self) -> anyhow::Result<OAuthSettings> {
        let mut settings = OAuthSettings::default();
        let keys: [(&str, &mut Duration, Option<u64>, std::ops::RangeInclusive<u64>); 5] = [
            (
                "access_token_seconds",
                &mut settings.access_life,
                self.access_token_seconds,
                60..=3600,
            ),
            (
                "refresh_token_seconds",
                &mut settings.refresh_life,
                self.refresh_token_seconds,
                60..=90 * DAY,
            ),
            ("key_seconds", &mut settings.key_life, self.key_seconds, DAY..=3650 * DAY),
            ("key_lead_seconds", &mut settings.key_lead, self.key_lead_seconds, 600..=DAY),
            (
                "secret_grace_seconds",
                &mut settings.secret_grace,
                self.secret_grace_seconds,
                0..=30 * DAY,
            ),
        ];
        for (name, to, given, range) in keys {
            let Some(given) = given else { continue };
            if !range.contains(&given) {
                let (least, most) = (range.start(), range.end());
                bail!("oauth.{name} is {given}; it is {least} to {most}");
            }
            *to = Duration::from_secs(given);
        }
        settings.trust = self.trust.iter().map(Trust::settings).collect::<anyhow::Result<_>>()?;
        Ok(settings)
    }
}

/// Seconds of a day.
const DAY: u64 = 86_400;

/// How people sign in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignIn {
    /// Memory of one check of a password by Argon2id, in KiB; at most 1048576.
    pub argon2_memory_kib: Option<u32>,
    /// Passes over it; at most 100.
    pub argon2_passes: Option<u32>,
    /// Lanes of it; at most 64.
    pub argon2_lanes: Option<u32>,
    /// Passwords that are checked at once; the rest waits, and over 64 are told to come back.
    pub passwords_at_once: Option<usize>,
    /// Who vouches for company accounts.
    pub provider: Vec<Provider>,
}

/// A provider of company accounts; as many as there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name in addresses: the provider sends people back to `URL/auth/company/NAME/callback`.
    pub name: String,
    /// What its button says; absent: its name.
    pub title: Option<String>,
    /// `oidc` for OpenID Connect, or `github`.
    pub kind: String,
    /// The issuer, exactly as its ID tokens name it. For GitHub the site, `https://github.com` if absent.
    pub issuer: Option<String>,
    /// GitHub's API, where it is not the site's own.
    pub api: Option<String>,
    /// Adit's name at the provider.
    pub client_id: String,
    /// A file with the client's secret, readable by its owner only. Absent: a public client.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for; absent: `openid`, `profile`, `email`, for GitHub `read:user`, `user:email`, `read:org`.
    pub scopes: Option<Vec<String>>,
    /// What else goes to the provider with the browser, such as `prompt` or `access_type`.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The claim that lists groups; absent: `groups`.
    pub groups_claim: Option<String>,
    /// Only members of one of these groups get in. GitHub's are written `ORGANISATION` and `ORGANISATION/TEAM`.
    #[serde(default)]
    pub allowed_groups: Vec<String>,
    /// Only verified addresses of one of these domains get in.
    #[serde(default)]
    pub allowed_domains: Vec<String>,
    /// Whether a user is made for somebody new; absent: yes. Where everybody in the world has an account, `allowed_groups` or
    /// `allowed_domains` must say who.
    pub create_users: Option<bool>,
    /// The team of each group, as `teams = { "eng" = "engineers" }`. Whoever is in the group is in the team, from one sign-in to the next.
    #[serde(default)]
    pub teams: BTreeMap<String, String>,
    /// Whether a group that `teams` does not name stands for the team of the same name; absent: no. Not for GitHub, where everybody can
    /// make an organisation with the name of a team.
    #[serde(default)]
    pub teams_by_name: bool,
    /// Whether a team that is not there is made; absent: no.
    #[serde(default)]
    pub make_teams: bool,
    /// How often the issuer is asked again, in seconds, 1 to 86400; absent: 900.
    pub refresh_every_seconds: Option<u64>,
    /// `trust` counts a second factor that the provider saw as shown to Adit; absent: `ignore`.
    pub second_factor: Option<String>,
    /// A file of certificates, PEM, that the provider's own is held against; absent: the system's.
    pub authorities: Option<PathBuf>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there, or a line of it is wrong; the message has the line.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("the configuration {}", path.display()))
    }

    /// Reads a file if it is there.
    ///
    /// # Errors
    /// When a line of it is wrong.
    pub fn load_if_there(path: &Path) -> anyhow::Result<Self> {
        if path.exists() { Self::load(path) } else { Ok(Self::default()) }
    }

    /// Makes settings of the file and the environment.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn settings(&self, dir: &Path) -> anyhow::Result<Settings> {
        let mut settings = Settings::new(dir);
        let session = &self.session;
        let seconds =
            |name: &str, file: Option<u64>| number(name, file).map(|n| n.map(Duration::from_secs));
        let set = |to: &mut Duration, value: Option<Duration>| *to = value.unwrap_or(*to);
        set(&mut settings.token_life, seconds("SESSION_EXPIRY_SECONDS", session.expiry_seconds)?);
        set(
            &mut settings.clock_skew,
            seconds("CLOCK_SKEW_TOLERANCE", session.clock_skew_tolerance)?,
        );
        set(&mut settings.max_length, session.max_length_seconds.map(Duration::from_secs));
        set(&mut settings.grace, session.grace_seconds.map(Duration::from_secs));
        settings.rate_tokens =
            number("RATE_LIMIT_TOKENS", session.rate_limit_tokens)?.unwrap_or(settings.rate_tokens);
        settings.rate_burst =
            number("RATE_LIMIT_BURST", session.rate_limit_burst)?.unwrap_or(settings.rate_burst);
        settings.nonce_history = number("NONCE_HISTORY_LIMIT", session.nonce_history_limit)?
            .unwrap_or(settings.nonce_history);
        let certificates = &self.certificates;
        let (life, grace) = (certificates.life_seconds, certificates.grace_seconds);
        set(&mut settings.certificate_life, life.map(Duration::from_secs));
        set(&mut settings.certificate_grace, grace.map(Duration::from_secs));
        settings.idle = session.idle_seconds.map(Duration::from_secs);
        settings.sessions_per_user = session.per_user.unwrap_or(settings.sessions_per_user);
        settings.viewers_per_user = session.viewers_per_user.unwrap_or(settings.viewers_per_user);
        settings.connections_per_address =
            self.connections_per_address.unwrap_or(settings.connections_per_address);
        settings.sessions_total = session.total.unwrap_or(settings.sessions_total);
        settings.recording_strict = self.recording.strict.unwrap_or(settings.recording_strict);
        if let Some(mode) = &self.recording.mode {
            let Ok(mode) = mode.parse::<RecordingMode>() else {
                bail!("recording.mode is `off`, `output` or `input`, not `{mode}`");
            };
            settings.recording = mode;
        }
        settings.oauth = self.oauth.settings()?;
        settings.reach = self.tickets.settings()?;
        settings.bus = self.bus.settings()?;
        settings.alerts = self.alerts.settings()?;
        settings.jobs = self.jobs.settings(&settings.dir)?;
        settings.providers = company::providers(&self.sign_in.provider)?;
        let (cost, sign_in) = (&mut settings.password_cost, &self.sign_in);
        cost.memory_kib = sign_in.argon2_memory_kib.unwrap_or(cost.memory_kib);
        cost.passes = sign_in.argon2_passes.unwrap_or(cost.passes);
        cost.lanes = sign_in.argon2_lanes.unwrap_or(cost.lanes);
        settings.passwords_at_once =
            sign_in.passwords_at_once.unwrap_or(settings.passwords_at_once);
        check(&settings)?;
        Ok(settings)
    }

    /// Tells the providers of company accounts, without their secrets.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn shown_providers(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        let read = company::providers(&self.sign_in.provider)?;
        Ok(read.iter().map(company::shown).collect())
    }

    /// Tells where traces go, without headers; null where they go nowhere.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn shown_traces(&self) -> anyhow::Result<serde_json::Value> {
        let shown = self.traces.settings()?.map(|settings| {
            serde_json::json!({
                "endpoint": settings.endpoint.as_str(),
                "sampleRatio": settings.ratio,
                "serviceName": settings.service_name,
            })
        });
        Ok(shown.into())
    }

    /// Gives the session secret: of the environment, else of the file that the configuration names.
    ///
    /// # Errors
    /// When it is short, no hex, or a value that others know too.
    pub fn session_secret(&self) -> anyhow::Result<Option<Secret<String>>> {
        let text = match (std::env::var("SESSION_TOKEN_SECRET"), &self.session.token_secret_file) {
            (Ok(text), _) => text,
            (Err(_), Some(path)) => std::fs::read_to_string(path)
                .with_context(|| format!("reading the session secret {}", path.display()))?,
            (Err(_), None) => return Ok(None),
        };
        let text = text.trim().to_owned();
        adit_session::SecretKey::from_hex(&text)?;
        Ok(Some(Secret::new(text)))
    }

    /// Gives the settings of the OAuth2 server, checked, for people to read.
    ///
    /// # Errors
    /// When a value is out of its range.
    pub fn shown_oauth(&self) -> anyhow::Result<serde_json::Value> {
        let settings = self.oauth.settings()?;
        let trust = settings.trust.iter().map(|trust| {
            serde_json::json!({
                "name": trust.name,
                "issuer": trust.issuer,
                "audience": trust.audience,
                "service": trust.service,
                "scopes": trust.scopes.map(adit_domain::Capabilities::names),
                "claims": trust.claims,
            })
        });
        Ok(serde_json::json!({
            "accessTokenSeconds": settings.access_life.as_secs(),
            "refreshTokenSeconds": settings.refresh_life.as_secs(),
            "keySeconds": settings.key_life.as_secs(),
            "keyLeadSeconds": settings.key_lead.as_secs(),
            "secretGraceSeconds": settings.secret_grace.as_secs(),
            "trust": trust.collect::<Vec<_>>(),
        }))
    }

    /// Gives the database's address: of the environment, else of the file.
    pub fn database_url(&self) -> Option<Secret<String>> {
        let url = std::env::var("ADIT_DATABASE_URL").ok().or_else(|| self.database.url.clone());
        url.map(Secret::new)
    }
}

fn check(settings: &Settings) -> anyhow::Result<()> {
    if settings.token_life <= settings.refresh_before {
        bail!(
            "SESSION_EXPIRY_SECONDS is {}; it must be over {}, the time before its end at which a token is refreshed",
            settings.token_life.as_secs(),
            settings.refresh_before.as_secs()
        );
    }
    if settings.rate_tokens == 0 {
        bail!("RATE_LIMIT_TOKENS is 0; then nothing could be typed");
    }
    if settings.grace > MAX_GRACE {
        bail!("session.grace_seconds is over a day");
    }
    let cost = settings.password_cost;
    let fits = (1..=100).contains(&cost.passes) && (1..=64).contains(&cost.lanes);
    // Eight KiB a lane are the least (RFC 9106 §3.1).
    if !fits || !(8 * cost.lanes..=1 << 20).contains(&cost.memory_kib) {
        bail!(
            "sign_in.argon2_memory_kib is at least 8 a lane and at most 1048576, argon2_passes 1 to 100, argon2_lanes 1 to 64"
        );
    }
    if !(1..=1024).contains(&settings.passwords_at_once) {
        bail!("sign_in.passwords_at_once is 1 to 1024");
    }
    if !(Duration::from_secs(60)..=MAX_LIFE).contains(&settings.certificate_life) {
        bail!(
            "certificates.life_seconds is not between a minute and {} days",
            MAX_LIFE.as_secs() / 86_400
        );
    }
    if settings.max_length.is_zero() {
        bail!("session.max_length_seconds is 0; then no session could live");
    }
    Ok(())
}

fn number<T: std::str::FromStr>(name: &str, file: Option<T>) -> anyhow::Result<Option<T>> {
    match std::env::var(name) {
        Err(_) => Ok(file),
        Ok(text) => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{name} is `{text}`, which is not a whole number"),
        },
    }
}

/// Reads an address to listen on.
///
/// # Errors
/// When it is not written as `HOST:PORT` with an IP address.
pub fn listen_address(text: &str) -> anyhow::Result<SocketAddr> {
    let text = text.replacen("localhost", "127.0.0.1", 1);
    text.parse().with_context(|| {
        format!("`{text}` is no address to listen on; write it as 127.0.0.1:7800 or [::1]:7800")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth(text: &str) -> anyhow::Result<OAuthSettings> {
        let config: Config = toml::from_str(text)?;
        config.oauth.settings()
    }

    #[test]
    fn a_setting_of_the_oauth2_server_out_of_range_is_refused_by_its_name() {
        // CMD-42
        assert_eq!(
            oauth("[oauth]\naccess_token_seconds = 600").unwrap().access_life.as_secs(),
            600
        );
        for (line, told) in [
            ("access_token_seconds = 5", "oauth.access_token_seconds is 5; it is 60 to 3600"),
            ("refresh_token_seconds = 1", "oauth.refresh_token_seconds"),
            ("key_lead_seconds = 0", "oauth.key_lead_seconds"),
            ("acess_token_seconds = 600", "acess_token_seconds"),
        ] {
            let refused = oauth(&format!("[oauth]\n{line}")).unwrap_err();
            assert!(format!("{refused:#}").contains(told), "{refused:#}");
        }
    }

    #[test]
    fn whom_to_trust_is_read_and_checked() {
        // CMD-42
        let trust = |claims: &str, scopes: &str| {
            oauth(&format!(
                "[[oauth.trust]]\nname = \"forge\"\nissuer = \"https://forge.example\"\naudience = \"adit\"\n\
                 service = \"ci\"\nscopes = [{scopes}]\nclaims = {{ {claims} }}"
            ))
        };
        let read = trust("repository = \"a\", ref = [\"b\", \"c\"]", "\"audit:read\"").unwrap();
        assert_eq!(read.trust[0].claims["ref"], ["b", "c"]);
        assert_eq!(read.trust[0].claims["repository"], ["a"]);
        let refused = trust("", "\"audit:read\"").unwrap_err();
        assert!(format!("{refused:#}").contains("names no claims"), "{refused:#}");
        let refused = trust("repository = \"a\"", "\"*\"").unwrap_err();
        assert!(format!("{refused:#}").contains("there is no scope `*`"), "{refused:#}");
    }
}
