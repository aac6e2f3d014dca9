//! `adit agent`: a machine joins a gateway, and serves it.

mod answer;
pub mod offers;
mod support;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_agent::attended::Attended;
use adit_agent::keys::{Admission, Enrolment};
use adit_agent::run;
use adit_core::random::{SystemClock, SystemIds};
use adit_domain::Secret;
use adit_link::dial::BindingRule;
use adit_link::keys::{Keypair, PublicKey};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{log, parent};

/// Join a gateway as a machine, and serve it
#[derive(Debug, clap::Args)]
pub struct Agent {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrol this machine at a gateway; its keys are made here and stay here
    Join(Join),
    /// Serve the gateway that this machine joined
    Run(Run),
    /// Say which gateway this machine joined, and whether it can be reached
    Status(Status),
    /// Get help: let a technician who gave you a code use a terminal here, once, after you said yes
    Support(support::Support),
}

#[derive(Debug, clap::Args)]
struct Join {
    /// The gateway's address
    url: String,
    /// The single-use enrolment token; `@FILE` reads a file, `-` standard input
    #[arg(long)]
    token: String,
    /// The label that this machine would like; the token's own wins
    #[arg(long)]
    label: Option<String>,
    /// Join anew although this machine has joined already; its keys are replaced once the gateway has taken the new ones
    #[arg(long)]
    replace: bool,
    /// A certificate of the gateway's authority, where the system does not trust it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The machine plane through the gateway's address instead of its mutual-TLS listener: behind a TLS terminator
    #[arg(long)]
    through_proxy: bool,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    dir: Dir,
    /// Ends with the process that started this one.
    #[arg(long, hide = true)]
    with_parent: bool,
    /// The machine listener's address, from `adit up`.
    #[arg(long, hide = true)]
    machines: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    dir: Dir,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The folder of a machine's keys.
#[derive(Clone, Debug, clap::Args)]
pub struct Dir {
    /// The folder of this machine's keys
    #[arg(long, value_name = "DIR", env = "ADIT_AGENT_DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    /// Gives the folder: the one that was named, or the account's own.
    ///
    /// # Errors
    /// When `HOME` is not set.
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/adit-agent"));
        }
        let home =
            std::env::var_os("HOME").context("HOME is not set; name the folder with --dir")?;
        Ok(Path::new(&home).join(".local/share/adit-agent"))
    }
}

impl Agent {
    /// Runs the command.
    ///
    /// # Errors
    /// When it cannot be done, with what to do next.
    pub fn run(self) -> anyhow::Result<()> {
        // A failed install means that a provider is there already, which is this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        match self.command {
            Command::Join(join) => alone()?.block_on(join.run()),
            Command::Run(run) => run.run(),
            Command::Status(status) => alone()?.block_on(status.run()),
            Command::Support(support) => support.run(),
        }
    }
}

fn alone() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

impl Join {
    async fn run(self) -> anyhow::Result<()> {
        let dir = self.dir.path()?;
        if !self.replace && Enrolment::load(&dir).is_ok() {
            bail!(
                "this machine has joined already; its keys are in {}. Join anew with --replace",
                dir.display()
            );
        }
        if !self.token.starts_with('@') && self.token != "-" {
            return Err(hide_token(&self.token));
        }
        let token = read_token(&self.token)?;
        let trust = match &self.ca {
            None => Trust::System,
            Some(path) => {
                Trust::Pem(std::fs::read_to_string(path).context("reading the certificate")?)
            }
        };
        let wish = Wish {
            url: self.url.clone(),
            token,
            label: self.label,
            trust,
            through_proxy: self.through_proxy,
        };
        let label = join(&dir, wish).await?;
        println!("This machine is {label} at {}. Start it with `adit agent run`.", self.url);
        Ok(())
    }
}

/// Starts this program anew with the token on standard input instead of on the command line, where everybody on this machine could
/// read it. Comes back only when that fails.
fn hide_token(token: &str) -> anyhow::Error {
    match again_with(token) {
        Err(error) => error.context("hiding the token from the command line"),
        Ok(never) => match never {},
    }
}

fn again_with(token: &str) -> anyhow::Result<std::convert::Infallible> {
    let (reading, writing) = rustix::pipe::pipe()?;
    rustix::io::write(&writing, token.as_bytes())?;
    drop(writing);
    let arguments = std::env::args().skip(1).map(|argument| argument.replace(token, "-"));
    let mut command = std::process::Command::new(std::env::current_exe()?);
    Err(command.args(arguments).stdin(reading).exec().into())
}

/// Reads a token from a file or from standard input.
fn read_token(given: &str) -> anyhow::Result<Secret<String>> {
    let text = match given.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("reading the token {path}"))?
        }
        None => std::io::read_to_string(std::io::stdin()).context("reading the token")?,
    };
    Ok(Secret::new(text.trim().to_owned()))
}

/// How a machine wants to join.
pub struct Wish {
    /// The gateway's address.
    pub url: String,
    /// The enrolment token.
    pub token: Secret<String>,
    /// The label that it would like.
    pub label: Option<String>,
    /// Why the gateway's certificate is believed.
    pub trust: Trust,
    /// Whether the machine plane goes through the gateway's own address.
    pub through_proxy: bool,
}

/// Why a gateway's certificate is believed.
pub enum Trust {
    /// The system trusts its authority.
    System,
    /// It comes from this certificate, PEM.
    Pem(String),
    /// The gateway is this process's own child at an address of this machine; its certificate names the outside.
    OwnChild,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Enrol<'a> {
    token: &'a str,
    link_key: String,
    csr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    hostname: String,
    os: &'static str,
    arch: &'static str,
    version: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Enrolled {
    machine_id: String,
    label: String,
    agent_key: String,
    certificate: Option<String>,
    ca: String,
    session_service_key: String,
    authority_key: String,
    machines: String,
}

#[derive(Deserialize)]
struct Refused {
    detail: String,
    code: String,
}

/// Makes this machine's keys, enrols it, keeps what it got, and gives its label.
///
/// # Errors
/// When the gateway refuses or cannot be reached, or the folder cannot be written.
pub async fn join(dir: &Path, wish: Wish) -> anyhow::Result<String> {
    let url = wish.url.trim_end_matches('/').to_owned();
    if url.starts_with("http://") && !is_loopback(&url) {
        bail!("{url} is not encrypted; join over https://");
    }
    let link_key = Keypair::generate(&SystemIds);
    let certificate_key = KeyPair::generate().context("making a key")?;
    let csr = CertificateParams::default()
        .serialize_request(&certificate_key)
        .context("making a request")?;
    let uname = rustix::system::uname();
    let request = Enrol {
        token: wish.token.expose(),
        link_key: STANDARD.encode(link_key.public().0),
        csr: csr.pem()?,
        label: wish.label.as_deref(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        version: env!("CARGO_PKG_VERSION"),
    };
    let answer = client(&wish.trust, &url)?
        .post(format!("{url}/api/enroll"))
        .json(&request)
        .send()
        .await
        .with_context(|| format!("{url} cannot be reached"))?;
    if !answer.status().is_success() {
        let refused: Refused =
            answer.json().await.context("the gateway's answer cannot be read")?;
        bail!("{} ({})", refused.detail, refused.code);
    }
    let enrolled: Enrolled = answer.json().await.context("the gateway's answer cannot be read")?;
    let label = enrolled.label.clone();
    let enrolment = enrolment(enrolled, &url, &wish, link_key, &certificate_key)?;
    enrolment.save(dir).with_context(|| format!("keeping the keys in {}", dir.display()))?;
    Ok(label)
}

fn enrolment(
    enrolled: Enrolled,
    url: &str,
    wish: &Wish,
    link_key: Keypair,
    certificate_key: &KeyPair,
) -> anyhow::Result<Enrolment> {
    let key = |text: &str| -> anyhow::Result<[u8; 32]> {
        STANDARD
            .decode(text)?
            .try_into()
            .map_err(|_| anyhow::anyhow!("a key of the gateway has another length"))
    };
    let (url, trust, admission, binding) = match enrolled
        .certificate
        .filter(|_| !wish.through_proxy)
    {
        Some(chain) => {
            let admission =
                Admission::Certificate { chain, key: Secret::new(certificate_key.serialize_pem()) };
            (machine_url(&enrolled.machines), Some(enrolled.ca), admission, BindingRule::Exporter)
        }
        None => {
            let admission = Admission::Key(Secret::new(enrolled.agent_key));
            (
                machine_url(url),
                match &wish.trust {
                    Trust::Pem(pem) => Some(pem.clone()),
                    Trust::System | Trust::OwnChild => None,
                },
                admission,
                BindingRule::None,
            )
        }
    };
    Ok(Enrolment {
        machine: enrolled.machine_id.parse()?,
        url,
        trust,
        admission,
        binding,
        link_key,
        session_service: PublicKey(key(&enrolled.session_service_key)?),
        authority: key(&enrolled.authority_key)?,
    })
}

/// Gives the WebSocket of the machine plane at an address.
fn machine_url(address: &str) -> String {
    format!("{}/ws/agent", address.replacen("http", "ws", 1))
}

fn is_loopback(url: &str) -> bool {
    let authority =
        url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn client(trust: &Trust, url: &str) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .https_only(url.starts_with("https"));
    builder = match trust {
        Trust::System => builder,
        Trust::Pem(pem) => {
            builder.add_root_certificate(reqwest::Certificate::from_pem(pem.as_bytes())?)
        }
        Trust::OwnChild => builder.tls_danger_accept_invalid_certs(true),
    };
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        log::start(if self.with_parent { "warn" } else { "info" }, !self.with_parent);
        let dir = self.dir.path()?;
        let mut enrolment = Enrolment::load(&dir)?;
        if let Some(machines) = &self.machines {
            enrolment.url = machine_url(machines);
        }
        let runtime = parent::runtime()?;
        let shutdown = CancellationToken::new();
        let offers = offers::Offers::read(&dir, &enrolment.url)?;
        let mut options = own_options(Some(dir.clone()), None);
        runtime.block_on(async {
            let tasks = tokio_util::task::TaskTracker::new();
            options.tunnels = offers.map(|offers| offers.start(&dir, &shutdown, &tasks));
            let asked = shutdown.clone();
            let with_parent = self.with_parent;
            let stop = tokio::spawn(async move {
                parent::stop_asked(with_parent).await;
                asked.cancel();
            });
            let ended = run::run(enrolment, options, shutdown).await;
            stop.abort();
            ended
        })?;
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(())
    }
}

/// Gives what the agent takes from this process.
fn own_options(dir: Option<PathBuf>, attended: Option<Attended>) -> run::Options {
    run::Options {
        dir,
        program: None,
        clock: Arc::new(SystemClock),
        ids: Arc::new(SystemIds),
        attended,
        tunnels: None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    joined: bool,
    machine_id: String,
    url: String,
    admitted_by: &'static str,
    reachable: bool,
}

impl Status {
    async fn run(self) -> anyhow::Result<()> {
        let enrolment = Enrolment::load(&self.dir.path()?)?;
        let reachable = match enrolment.dialer() {
            Ok(dialer) => {
                dialer.control(&enrolment.link_key, enrolment.session_service).await.is_ok()
            }
            Err(_) => false,
        };
        let admitted_by = match enrolment.admission {
            Admission::Certificate { .. } => "certificate",
            Admission::Key(_) => "key",
        };
        let machine_id = enrolment.machine.to_string();
        if self.json {
            let shown =
                Shown { joined: true, machine_id, url: enrolment.url, admitted_by, reachable };
            println!("{}", serde_json::to_string(&shown)?);
            return Ok(());
        }
        println!(
            "Machine   {machine_id}\nGateway   {}\nAdmitted  by its {admitted_by}",
            enrolment.url
        );
        println!(
            "Link      {}",
            if reachable { "the gateway can be reached" } else { "the gateway cannot be reached" }
        );
        Ok(())
    }
}
