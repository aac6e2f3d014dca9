//! `adit serve`: a gateway.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::webhook::Webhook;
use adit_core::audit::Actor;
use adit_core::keys::{Keys, load_or_make};
use adit_core::listener::Listener;
use adit_core::random::{SystemClock, SystemIds};
use adit_core::trace::Traces;
use adit_core::{Gateway, Settings};
use adit_domain::{Clock as _, GatewayId, Ids as _};
use adit_http::challenge::{self, Answers};
use adit_http::{App, AppSettings, listen};
use adit_store::{Meter, Store, StoreConfig, StoreOptions};
use anyhow::{Context as _, bail};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::acme::Acme;
use crate::config::{Config, TlsFiles, listen_address};
use crate::tls::{Kept, Origin};
use crate::traces::Exporter;
use crate::{log, parent, tls};

/// Start a gateway by its configuration
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", required_unless_present = "announce")]
    config: Option<PathBuf>,
    /// Print a sign-in link for the user `admin`, who is made if nobody is there yet
    #[arg(long)]
    sign_in_link: bool,
    /// Say that the database comes from a backup: sign-ins, tokens, tickets and sessions from before it end
    #[arg(long)]
    restored: bool,
    /// Says what stands, to `adit up`, which started this process.
    #[arg(long, hide = true, value_enum)]
    announce: Option<Announce>,
    /// The folder, from `adit up`.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
    /// The address, from `adit up`.
    #[arg(long, hide = true)]
    listen: Option<String>,
    /// The machine listener's address, from `adit up`.
    #[arg(long, hide = true)]
    machines_listen: Option<String>,
    /// The certificate, from `adit up`.
    #[arg(long, hide = true, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, from `adit up`.
    #[arg(long, hide = true, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// How much `adit up` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Announce {
    /// Everything, with new credentials for the administrator.
    First,
    /// That it stands again.
    Again,
}

/// What a gateway tells `adit up` once it stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The sign-in link.
    pub console: String,
    /// The API's address.
    pub url: String,
    /// The administrator's token.
    pub token: String,
    /// The mutual-TLS listener's address.
    pub machines: String,
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The address that its machine listener listens on.
    pub machines_listen: SocketAddr,
}

/// Where people connect unless they say otherwise.
pub const LISTEN: &str = "127.0.0.1:7800";

/// Where machines connect unless they are told otherwise.
pub const MACHINES_LISTEN: &str = "127.0.0.1:7892";

/// How long the administrator's token of `adit up` works; the next start makes another.
const UP_TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

impl Serve {
    /// Runs the gateway until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn run(self) -> anyhow::Result<()> {
        let config = match (&self.config, &self.data) {
            (Some(path), _) => Config::load(path)?,
            (None, Some(dir)) => Config::load_if_there(&dir.join("adit.toml"))?,
            (None, None) => Config::default(),
        };
        log::start(if self.announce.is_some() { "warn" } else { "info" }, self.announce.is_none());
        parent::keep_memory_private();
        // A failed install means that a provider is there already, which is this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = crate::parent::runtime()?;
        let served = runtime.block_on(self.serve(config));
        // The read of the parent's pipe cannot be called off.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    async fn serve(self, config: Config) -> anyhow::Result<()> {
        let mut plan = Plan::of(&self, &config)?;
        let front = bind(plan.listen).await?;
        let machines = bind(plan.machines_listen).await?;
        let plain = Plain::bind(plan.origin.as_ref()).await?;
        let (listen, machines_listen) = (front.local_addr()?, machines.local_addr()?);
        let metrics =
            PrometheusBuilder::new().install_recorder().context("starting the metrics")?;
        let mut settings = config.settings(&plan.dir)?;
        settings.url = plan.url(listen);
        settings.machines_url = plan.machines_url(machines_listen);
        let exporter = match config.traces.settings()? {
            Some(traces) => {
                let (sink, spans) = Traces::to(traces.endpoint.as_str(), traces.ratio);
                settings.traces = sink;
                Some(Exporter::new(&traces, spans)?)
            }
            None => None,
        };
        settings.audit_lines = config.audit_lines.unwrap_or(self.announce.is_none());
        warn_of_loopback(&settings);
        let app_settings = AppSettings {
            hosts: plan.hosts(&settings),
            open_metrics: config.open_metrics.unwrap_or(true),
        };
        let webhook = config.access.webhook.as_deref();
        let webhook = webhook
            .map(|url| Webhook::read(url, config.access.webhook_secret_file.as_ref()))
            .transpose()?;
        let gateway = start(&plan, &config, settings).await?;
        if self.restored {
            gateway.restored().await?;
        }
        let app = Arc::new(App { gateway: Arc::clone(&gateway), settings: app_settings, metrics });
        let hosts = machine_hosts(&gateway, &plan, machines_listen);
        let machine_tls = tls::Machines::of(&gateway, hosts)?;
        let front_tls = plan.front(&gateway)?;
        let router = adit_http::router(Arc::clone(&app));
        let machine_router = adit_http::app::machine_router(app);
        let tasks = &gateway.tasks;
        let each = gateway.settings.connections_per_address;
        let config = front_tls.as_ref().map(|tls| tls.config(&[b"h2", b"http/1.1"]));
        tasks.spawn(listen::serve(front, config, router, each, tasks.clone()));
        if let Some(tls) = front_tls {
            tasks.spawn(tls.follow(Arc::clone(&gateway)));
        }
        if let Some(plain) = plain {
            let router = challenge::router(plain.answers, &gateway.settings.url)?;
            tasks.spawn(listen::serve(plain.listener, None, router, each, tasks.clone()));
        }
        let config = Some(machine_tls.kept.config(&[b"http/1.1"]));
        tasks.spawn(listen::serve(machines, config, machine_router, each, tasks.clone()));
        tasks.spawn(machine_tls.follow(Arc::clone(&gateway)));
        if let Some(exporter) = exporter {
            tasks.spawn(exporter.run(Arc::clone(&gateway)));
        }
        if let Some(webhook) = webhook {
            tasks.spawn(webhook.run(Arc::clone(&gateway)));
        }
        self.announce(&gateway, listen, machines_listen).await?;
        parent::stop_asked(self.announce.is_some()).await;
        tokio::select! {
            () = gateway.stop() => Ok(()),
            // A peer that does not go must not keep the gateway from going.
            () = patience() => Ok(()),
        }
    }

    async fn announce(
        &self,
        gateway: &Gateway,
        listen: SocketAddr,
        machines_listen: SocketAddr,
    ) -> anyhow::Result<()> {
        let url = gateway.settings.url.clone();
        let machines = gateway.settings.machines_url.clone();
        let me = Actor::gateway(gateway);
        if self.announce.is_none() && !self.sign_in_link {
            tracing::info!(%url, %machines, "the gateway stands");
            return print_setup_token(gateway).await;
        }
        let admin = gateway.first_admin().await?;
        let (mut console, mut token) = (String::new(), String::new());
        if self.announce == Some(Announce::First) || self.sign_in_link {
            let code = gateway.issue_sign_in_code(&me, &admin).await?;
            console = adit_http::api::user::sign_in_url(&url, code.secret.expose());
        }
        if self.announce == Some(Announce::First) {
            let issued =
                gateway.issue_api_token(&me, &admin, "adit up", Some(UP_TOKEN_LIFE)).await?;
            token = issued.secret.expose().clone();
        }
        match self.announce {
            Some(_) => {
                let standing = Standing { console, url, token, machines, listen, machines_listen };
                println!("{}", serde_json::to_string(&standing)?);
            }
            None => {
                tracing::info!(%url, %machines, "the gateway stands");
                eprintln!("Sign in as the administrator, once, within ten minutes:\n  {console}");
            }
        }
        Ok(())
    }
}

/// Prints what makes the first administrator, while nobody is there.
async fn print_setup_token(gateway: &Gateway) -> anyhow::Result<()> {
    if !gateway.is_new().await? {
        return Ok(());
    }
    let token = gateway.issue_setup_token().await?;
    let url = &gateway.settings.url;
    eprintln!(
        "Nobody is here yet. Make the first administrator within a day:\n  {url}/ui/setup#code={}",
        token.expose()
    );
    Ok(())
}

async fn patience() {
    let mut tick = tokio::time::interval(Duration::from_secs(8));
    tick.tick().await;
    tick.tick().await;
}

/// Where everything is to be.
struct Plan {
    dir: PathBuf,
    name: String,
    listen: SocketAddr,
    machines_listen: SocketAddr,
    given_url: Option<String>,
    given_machines_url: Option<String>,
    hosts: Vec<String>,
    origin: Option<Origin>,
    keep_secret: bool,
}

impl Plan {
    fn of(serve: &Serve, config: &Config) -> anyhow::Result<Self> {
        let dir = serve.data.clone().or_else(|| config.data.clone());
        let Some(dir) = dir else { bail!("the configuration does not name the folder `data`") };
        let listen = serve.listen.clone().or_else(|| config.listen.clone());
        let listen = listen_address(listen.as_deref().unwrap_or(LISTEN))?;
        let machines = serve.machines_listen.clone().or_else(|| config.machines_listen.clone());
        let machines_listen = listen_address(machines.as_deref().unwrap_or(MACHINES_LISTEN))?;
        let files = match (&serve.tls_cert, &serve.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
            }
            _ => None,
        };
        let host = config.url.as_deref().and_then(host_of);
        let origin = match files {
            Some(files) => Some(Origin::Files(files)),
            None => origin(config, &dir, host)?,
        };
        refuse_open_plain(listen, origin.is_some())?;
        origin.as_ref().map(Origin::check).transpose()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("making the folder {}", dir.display()))?;
        Ok(Self {
            dir,
            name: config.name.clone().unwrap_or_else(|| "gateway".to_owned()),
            listen,
            machines_listen,
            given_url: config.url.clone(),
            given_machines_url: config.machines_url.clone(),
            hosts: config.hosts.clone(),
            origin,
            keep_secret: serve.announce.is_some(),
        })
    }

    /// Takes the certificate of `listen`, where there is one.
    fn front(&mut self, gateway: &Gateway) -> anyhow::Result<Option<Kept>> {
        let origin = match self.origin.take() {
            None => return Ok(None),
            Some(Origin::SelfMade(_)) => Origin::SelfMade(self.hosts(&gateway.settings)),
            Some(origin) => origin,
        };
        Kept::of(gateway, Listener::People, origin).map(Some)
    }

    fn url(&self, listen: SocketAddr) -> String {
        let scheme = if self.origin.is_some() { "https" } else { "http" };
        let given = self.given_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        given.unwrap_or_else(|| format!("{scheme}://{}", reachable(listen)))
    }

    fn machines_url(&self, listen: SocketAddr) -> String {
        let given =
            self.given_machines_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        given.unwrap_or_else(|| match self.given_url.as_deref().and_then(host_of) {
            Some(host) => format!("https://{host}:{}", listen.port()),
            None => format!("https://{}", reachable(listen)),
        })
    }

    fn hosts(&self, settings: &Settings) -> Vec<String> {
        let mut hosts = self.hosts.clone();
        hosts.extend(host_of(&settings.url).map(str::to_owned));
        if !self.listen.ip().is_unspecified() {
            hosts.push(self.listen.ip().to_string());
        }
        hosts
    }
}

/// Where a certificate authority asks; open before the gateway stands, because nothing else works without.
struct Plain {
    listener: TcpListener,
    answers: Arc<Answers>,
}

impl Plain {
    async fn bind(origin: Option<&Origin>) -> anyhow::Result<Option<Self>> {
        let Some(Origin::Acme(acme)) = origin else { return Ok(None) };
        let listener = TcpListener::bind(acme.listen).await.with_context(|| {
            format!(
                "listening on {}, where the certificate authority asks (acme.listen); ports below 1024 need CAP_NET_BIND_SERVICE",
                acme.listen
            )
        })?;
        Ok(Some(Self { listener, answers: Arc::clone(&acme.answers) }))
    }
}

/// Chooses where the certificate of `listen` comes from; none: it is plain.
fn origin(config: &Config, dir: &Path, host: Option<&str>) -> anyhow::Result<Option<Origin>> {
    match (&config.tls, &config.acme) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => bail!("the configuration has both [tls] and [acme]; keep one"),
        (None, Some(acme)) => Ok(Some(Origin::Acme(Acme::of(acme, dir, host)?))),
        (Some(tls), None) => Ok(Some(match tls.files()? {
            Some(files) => Origin::Files(files),
            None => Origin::SelfMade(Vec::new()),
        })),
    }
}

/// Gives the host of a URL, without its port.
fn host_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// Gives the address that a client on this machine uses for a listener on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => ([127, 0, 0, 1], listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => ([0, 0, 0, 0, 0, 0, 0, 1], listen.port()).into(),
        _ => listen,
    }
}

// SUP-05
fn refuse_open_plain(listen: SocketAddr, tls: bool) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() && !tls {
        bail!(
            "{listen} can be reached from other machines, and without TLS everything on it could be read. \
             Give a certificate and its key (`--tls-cert FILE --tls-key FILE`, or `[tls]` or `[acme]` in the configuration), or listen on 127.0.0.1"
        );
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}; is another gateway running there?"))
}

async fn start(plan: &Plan, config: &Config, settings: Settings) -> anyhow::Result<Arc<Gateway>> {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let secret = config.session_secret()?;
    if secret.is_none() && !plan.keep_secret {
        return Err(adit_session::SettingsError::SecretMissing.into());
    }
    let keys = Keys::load(&plan.dir, secret, &*ids)?;
    let id = load_or_make(&plan.dir.join("gateway.id"), || ids.uuid().to_string().into_bytes())?;
    let id: GatewayId =
        String::from_utf8_lossy(&id).trim().parse().context("the file gateway.id")?;
    let options = StoreOptions {
        gateway: id,
        gateway_name: plan.name.clone(),
        now: clock.now(),
        meter: Arc::new(Commits),
    };
    let store = match config.database_url() {
        Some(url) => StoreConfig::Postgres { url },
        None => StoreConfig::Sqlite { path: plan.dir.join("adit.db") },
    };
    let store = Store::open(store, options).await.context("opening the database")?;
    Ok(Gateway::start(store, settings, keys, clock, ids).await?)
}

/// Counts the writer's commits.
struct Commits;

impl Meter for Commits {
    fn committed(&self, operations: usize, took: Duration) {
        metrics::counter!("adit_store_commits_total").increment(1);
        metrics::counter!("adit_store_operations_total").increment(operations as u64);
        metrics::histogram!("adit_store_commit_seconds").record(took.as_secs_f64());
    }

    fn failed(&self) {
        metrics::counter!("adit_store_failures_total").increment(1);
    }
}

/// Says that machines elsewhere cannot dial this gateway, where others are to send them here.
fn warn_of_loopback(settings: &Settings) {
    let host = host_of(&settings.machines_url);
    let is_loopback = host.is_some_and(|host| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    if settings.bus.is_some() && is_loopback {
        tracing::warn!(url = %settings.machines_url, "other gateways send machines to this address, which is this host's own; set machines_url");
    }
}

/// Gives the names that the machine listener's certificate has.
fn machine_hosts(gateway: &Gateway, plan: &Plan, listen: SocketAddr) -> Vec<String> {
    let mut hosts = plan.hosts(&gateway.settings);
    hosts.extend(host_of(&gateway.settings.machines_url).map(str::to_owned));
    hosts.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    if !listen.ip().is_unspecified() {
        hosts.push(listen.ip().to_string());
    }
    hosts.sort();
    hosts.dedup();
    hosts
}
