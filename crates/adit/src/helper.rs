//! `adit helper`: the root helper, and asking it. Everything that it does is in `adit-helper`.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_core::random::{SystemClock, SystemIds};
use adit_domain::Secret;
use adit_helper::audit::{Audit, verify};
use adit_helper::name::{Name, UnitName};
use adit_helper::program::Programs;
use adit_helper::request::OwnUnit;
use adit_helper::serve::{Limits, serve};
use adit_helper::{Client, Request, SETTINGS, SOCKET, Settings};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, sockopt};
use serde_json::json;

use crate::output::{Form, Output};
use crate::unit::{Server, name, unit_name};

/// How long a helper that systemd started stays when nobody asks.
const IDLE: Duration = Duration::from_secs(60);

/// The longest file of a certificate or key that is read, in bytes: more than the helper takes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Do the few things that need root, for a gateway that is not
#[derive(Debug, clap::Args)]
pub struct Helper {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: as root, on the socket that systemd gives as standard input, or on one of its own
    Run(Run),
    /// Ask for a certificate and its key to be installed in a place of the helper's settings
    Certificate {
        /// The place
        #[arg(value_parser = name)]
        name: Name,
        /// The chain, PEM, the certificate itself first
        #[arg(long, value_name = "FILE")]
        chain: PathBuf,
        /// Its key, PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        ask: Ask,
    },
    /// Ask for a service to be reloaded
    Reload {
        /// The service, such as nginx.service
        #[arg(value_parser = unit_name)]
        service: UnitName,
        #[command(flatten)]
        ask: Ask,
    },
    /// Ask for a service to be restarted
    Restart {
        /// The service, such as nginx.service
        #[arg(value_parser = unit_name)]
        service: UnitName,
        #[command(flatten)]
        ask: Ask,
    },
    /// Ask for a web server's configuration to be tested
    Test {
        /// The web server
        #[arg(value_enum)]
        server: Server,
        #[command(flatten)]
        ask: Ask,
    },
    /// Ask for a unit of Adit's own to be written, from the helper's template
    Unit {
        /// The unit
        #[arg(value_enum)]
        unit: Unit,
        /// The port that the gateway listens on; one below 1024 needs a capability
        #[arg(long)]
        port: Option<u16>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Check that nobody edited the helper's own audit log
    Verify {
        /// The log
        #[arg(default_value = "/var/lib/adit-helper/audit.jsonl")]
        file: PathBuf,
        /// Print JSON for scripts
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Who may ask, and for what
    #[arg(long, value_name = "FILE", default_value = SETTINGS)]
    settings: PathBuf,
    /// Listen here instead of on standard input, where no systemd is
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Ask {
    /// Where the helper listens
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Unit {
    Gateway,
    Agent,
}

impl Helper {
    /// Runs the command.
    ///
    /// # Errors
    /// When it cannot be done, with what to do next.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Certificate { name, chain, key, ask } => {
                let chain = read(&chain)?.expose().clone();
                ask.ask(&Request::InstallCertificate { name, chain, key: read(&key)? })
            }
            Command::Reload { service, ask } => ask.ask(&Request::ReloadService { unit: service }),
            Command::Restart { service, ask } => {
                ask.ask(&Request::RestartService { unit: service })
            }
            Command::Test { server, ask } => {
                ask.ask(&Request::TestConfiguration { server: server.into() })
            }
            Command::Unit { unit, port, ask } => {
                ask.ask(&Request::WriteUnit { unit: unit.into(), port })
            }
            Command::Verify { file, json } => look_through(&file, output(json)),
        }
    }
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        // It holds keys for moments; no other process and no core file is to have them.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        let settings = Settings::load(&self.settings)?;
        let audit = Audit::open(&settings.audit, &SystemIds)?;
        let (listener, limits) = match &self.socket {
            Some(path) => (bind(path, &settings)?, Limits::default()),
            None => (given()?, Limits { idle: Some(IDLE), ..Limits::default() }),
        };
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let helper = adit_helper::Helper::new(settings, Programs::system(), audit, clock, ids)?;
        eprintln!("adit: the helper serves");
        serve(&listener, &helper, limits, None).context("waiting for requests")
    }
}

/// Takes the listening socket that systemd put in the place of standard input.
fn given() -> anyhow::Result<UnixListener> {
    let stdin = std::io::stdin();
    let listens = sockopt::socket_acceptconn(&stdin).unwrap_or(false)
        && sockopt::socket_domain(&stdin).is_ok_and(|domain| domain == AddressFamily::UNIX);
    if !listens {
        bail!(
            "standard input is no listening Unix socket. systemd gives one by adit-helper.socket (`adit unit install`); without systemd, name a path with --socket"
        );
    }
    Ok(UnixListener::from(stdin.as_fd().try_clone_to_owned()?))
}

/// Makes a socket for the group of the first account that may ask.
fn bind(path: &Path, settings: &Settings) -> anyhow::Result<UnixListener> {
    let user = settings.users.first().context("the settings name nobody")?;
    let group = adit_helper::settings::group_of(user)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.with_context(|| {
        let path = path.display();
        format!(
            "listening on {path}; if no other helper runs there, remove what is left (`rm {path}`)"
        )
    })?;
    std::os::unix::fs::chown(path, None, Some(group))
        .and_then(|()| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o660))
        })
        .with_context(|| format!("giving {} to the group of {user}", path.display()))?;
    Ok(listener)
}

impl Ask {
    fn ask(&self, request: &Request) -> anyhow::Result<()> {
        let output = output(self.json);
        match Client::new(&self.socket).ask(request) {
            Ok(done) if output.is_json() => Ok(output
                .json(&json!({ "ok": true, "sentence": done.sentence, "output": done.output }))?),
            Ok(done) => {
                for line in done.output.lines() {
                    output.line(line)?;
                }
                Ok(output.line(&format!("Done: {}.", done.sentence))?)
            }
            Err(adit_helper::client::AskError::Refused(refusal)) => {
                if output.is_json() {
                    let code = refusal.code.as_str();
                    output.json(&json!({ "ok": false, "code": code, "sentence": refusal.sentence, "output": refusal.output }))?;
                }
                for line in refusal.output.lines().filter(|_| !output.is_json()) {
                    output.line(line)?;
                }
                let code = refusal.code.as_str();
                bail!("{} [{code}]", crate::output::escape(&refusal.sentence));
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn look_through(path: &Path, output: Output) -> anyhow::Result<()> {
    let shown = path.display();
    let file =
        std::fs::File::open(path).with_context(|| format!("opening {shown}; is it root's?"))?;
    let held = verify(file).with_context(|| {
        format!("{shown} is not as it was written. Keep it, and find out who did that")
    })?;
    let sentence = format!(
        "All {} events follow one another. Nothing proves that none was cut from the end, or that they were not all written anew: keep the last hash elsewhere.",
        held.chain.seq
    );
    let value = json!({
        "ok": true, "events": held.chain.seq, "hash": held.chain.hash.to_string(),
        "tornBytes": held.torn_bytes, "sentence": sentence,
    });
    output.facts(
        &value,
        &[
            ("events", held.chain.seq.to_string()),
            ("last hash", held.chain.hash.to_string()),
            ("result", sentence),
        ],
    )?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Secret<String>> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("opening {shown}"))?;
    let read = file.take(MAX_FILE_BYTES).read_to_string(&mut text);
    let text = Secret::new(text);
    read.with_context(|| format!("reading {shown}"))?;
    Ok(text)
}

fn output(json: bool) -> Output {
    Output::of_process(if json { Form::Json } else { Form::Person })
}

impl From<Unit> for OwnUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Gateway => Self::Gateway,
            Unit::Agent => Self::Agent,
        }
    }
}
