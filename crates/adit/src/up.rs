//! `adit up`: a gateway and an agent for this machine, each a process of its own, started again when it dies.
//!
//! The shells belong to the agent, so they live through the gateway's death. Each child holds a pipe from this process, so neither
//! outlives it.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use adit_domain::Secret;
use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::agent::{self, Trust, Wish};
use crate::parent;
use crate::serve::{LISTEN, MACHINES_LISTEN, Standing};

/// Start a gateway and an agent for this machine
#[derive(Debug, clap::Args)]
pub struct Up {
    /// The folder of everything that is kept: keys, database, recordings
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where people and the CLI connect; port 0 takes free ports
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The certificate of that address, PEM; needed for anything but loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Once everything answers, one line of JSON: console, url, token, machine, machines
    #[arg(long)]
    json: bool,
}

/// How long the gateway may take to stand, and the agent to come.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How long a child may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait before a child that died is started again; the same again for each death in a row, up to ten times.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Up {
    /// Runs both until it is told to stop.
    ///
    /// # Errors
    /// When one of them cannot start.
    pub fn run(self) -> anyhow::Result<()> {
        // A failed install means that a provider is there already, which is this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(self.serve());
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }

    async fn serve(self) -> anyhow::Result<()> {
        let dir = self.folder()?;
        let _lock = lock(&dir)?;
        let mut gateway = GatewayProcess::start(&self, &dir).await?;
        let label = ensure_joined(&dir, &gateway.standing).await?;
        let mut agent = AgentProcess::start(&dir, &gateway.standing)?;
        let stop = parent::stop_asked(false);
        tokio::pin!(stop);
        tokio::select! {
            () = &mut stop => return end(gateway, agent).await,
            came = machine_came(&gateway.standing, label) => self.say(&gateway.standing, &came?)?,
            status = agent.child.wait() => bail!("the agent ended at once ({}); its message is above", status?),
            status = gateway.child.wait() => bail!("the gateway ended at once ({}); its message is above", status?),
        }
        loop {
            tokio::select! {
                () = &mut stop => return end(gateway, agent).await,
                _ = gateway.child.wait() => {
                    eprintln!("adit: the gateway died; it is started again, and shells go on");
                    gateway.again(&self, &dir).await?;
                }
                _ = agent.child.wait() => {
                    eprintln!("adit: the agent died, and its sessions with it; it is started again");
                    agent.again(&dir, &gateway.standing).await?;
                }
            }
        }
    }

    fn folder(&self) -> anyhow::Result<PathBuf> {
        let dir = match &self.data {
            Some(dir) => dir.clone(),
            None => {
                let home = std::env::var_os("HOME")
                    .context("HOME is not set; name the folder with --data")?;
                Path::new(&home).join(".local/share/adit")
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("making the folder {}", dir.display()))?;
        dir.canonicalize().with_context(|| format!("the folder {}", dir.display()))
    }

    fn say(&self, standing: &Standing, machine: &str) -> anyhow::Result<()> {
        if self.json {
            let line = json!({
                "console": standing.console, "url": standing.url, "token": standing.token,
                "machine": machine, "machines": standing.machines,
            });
            println!("{line}");
            return Ok(());
        }
        println!(
            "Adit is up. Open the console (the link works once, for ten minutes):\n\n  {}\n\nThis machine is {machine}. From another terminal:\n\n  \
             export ADIT_URL={} ADIT_TOKEN={}\n  adit connect {machine}\n\nCtrl-C ends it.",
            standing.console, standing.url, standing.token
        );
        Ok(())
    }
}

/// Keeps a second `adit up` off the folder.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("up.lock");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!(
            "another `adit up` runs on {}; end it, or name another folder with --data",
            dir.display()
        );
    }
    Ok(file)
}

fn me() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("finding this program")
}

struct GatewayProcess {
    child: Child,
    /// Its end is the child's end; waiting for a child closes a handle that it still has.
    pipe: Option<ChildStdin>,
    standing: Standing,
    deaths: u32,
}

impl GatewayProcess {
    async fn start(up: &Up, dir: &Path) -> anyhow::Result<Self> {
        let listen = up.listen.clone();
        let any_port = listen.as_deref().is_some_and(|text| text.ends_with(":0"));
        let machines = match &listen {
            Some(text) if any_port => text.clone(),
            _ => MACHINES_LISTEN.to_owned(),
        };
        let listen = listen.unwrap_or_else(|| LISTEN.to_owned());
        let (mut child, standing) = spawn_gateway(up, dir, &listen, &machines, "first").await?;
        Ok(Self { pipe: child.stdin.take(), child, standing, deaths: 0 })
    }

    async fn again(&mut self, up: &Up, dir: &Path) -> anyhow::Result<()> {
        self.deaths += 1;
        pause(self.deaths).await;
        let listen = self.standing.listen.to_string();
        let machines = self.standing.machines_listen.to_string();
        self.child = spawn_gateway(up, dir, &listen, &machines, "again").await?.0;
        self.pipe = self.child.stdin.take();
        Ok(())
    }
}

async fn spawn_gateway(
    up: &Up,
    dir: &Path,
    listen: &str,
    machines: &str,
    announce: &str,
) -> anyhow::Result<(Child, Standing)> {
    let mut command = Command::new(me()?);
    command.args([
        "serve",
        "--announce",
        announce,
        "--listen",
        listen,
        "--machines-listen",
        machines,
    ]);
    command.arg("--data").arg(dir);
    if let (Some(cert), Some(key)) = (&up.tls_cert, &up.tls_key) {
        command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the gateway")?;
    let stdout = child.stdout.take().context("the gateway's output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START_WITHIN, lines.next_line()).await;
    let line = line.context("the gateway did not start within a minute")??;
    let Some(line) = line else {
        child.wait().await?;
        bail!("the gateway did not start; its message is above");
    };
    let standing = serde_json::from_str(&line).context("the gateway's first line")?;
    Ok((child, standing))
}

struct AgentProcess {
    child: Child,
    /// As the gateway's.
    pipe: Option<ChildStdin>,
    deaths: u32,
}

impl AgentProcess {
    fn start(dir: &Path, standing: &Standing) -> anyhow::Result<Self> {
        let mut child = spawn_agent(dir, standing)?;
        Ok(Self { pipe: child.stdin.take(), child, deaths: 0 })
    }

    async fn again(&mut self, dir: &Path, standing: &Standing) -> anyhow::Result<()> {
        self.deaths += 1;
        pause(self.deaths).await;
        self.child = spawn_agent(dir, standing)?;
        self.pipe = self.child.stdin.take();
        Ok(())
    }
}

fn spawn_agent(dir: &Path, standing: &Standing) -> anyhow::Result<Child> {
    let mut command = Command::new(me()?);
    command.args(["agent", "run", "--with-parent", "--machines", &standing.machines]);
    command.arg("--dir").arg(dir.join("agent"));
    // What the agent is given, its shells could see.
    for secret in ["SESSION_TOKEN_SECRET", "ADIT_TOKEN", "ADIT_DATABASE_URL"] {
        command.env_remove(secret);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("starting the agent")
}

async fn pause(deaths: u32) {
    let mut tick = tokio::time::interval(AGAIN_AFTER * deaths.clamp(1, 10));
    tick.tick().await;
    tick.tick().await;
}

#[derive(Deserialize)]
struct IssuedToken {
    token: String,
}

/// Enrols this machine, unless it has joined this gateway before. Gives the label if it is new.
async fn ensure_joined(dir: &Path, standing: &Standing) -> anyhow::Result<Option<String>> {
    let agent = dir.join("agent");
    if adit_agent::keys::Enrolment::load(&agent).is_ok() {
        return Ok(None);
    }
    let issued: IssuedToken = http(standing)?
        .post(format!("{}/api/v1/enrolment-tokens", loopback_url(standing)))
        .bearer_auth(&standing.token)
        .json(&json!({}))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let wish = Wish {
        url: loopback_url(standing),
        token: Secret::new(issued.token),
        label: None,
        trust: Trust::OwnChild,
        through_proxy: false,
    };
    agent::join(&agent, wish).await.map(Some)
}

#[derive(Deserialize)]
struct Machines {
    items: Vec<Machine>,
}

#[derive(Deserialize)]
struct Machine {
    id: String,
    label: String,
    status: String,
}

/// Waits until this machine is online, and gives its label.
async fn machine_came(standing: &Standing, label: Option<String>) -> anyhow::Result<String> {
    let client = http(standing)?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let patience = tokio::time::timeout(START_WITHIN, async {
        loop {
            tick.tick().await;
            let machines: Machines = client
                .get(format!("{}/api/v1/machines?limit=200", loopback_url(standing)))
                .bearer_auth(&standing.token)
                .send()
                .await?
                .error_for_status()?
                .json()
                .await?;
            let online = machines.items.into_iter().find(|machine| {
                machine.status == "online"
                    && label.as_ref().is_none_or(|label| *label == machine.label)
            });
            if let Some(machine) = online {
                tracing::debug!(machine.id = %machine.id, "this machine is online");
                return anyhow::Ok(machine.label);
            }
        }
    });
    patience.await.context("the agent did not reach the gateway within a minute")?
}

/// Gives the gateway's address as this process reaches it.
fn loopback_url(standing: &Standing) -> String {
    let scheme = if standing.url.starts_with("https") { "https" } else { "http" };
    let mut address = standing.listen;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    format!("{scheme}://{address}")
}

fn http(standing: &Standing) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
    if standing.url.starts_with("https") {
        // Our own child on our own address: the certificate names the outside, not this address.
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    Ok(builder.build()?)
}

/// Ends both: the agent first, so that its last words reach the gateway.
async fn end(mut gateway: GatewayProcess, mut agent: AgentProcess) -> anyhow::Result<()> {
    end_child(&mut agent.child).await?;
    end_child(&mut gateway.child).await
}

async fn end_child(child: &mut Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // A child that is gone already needs no signal.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(END_WITHIN, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}
