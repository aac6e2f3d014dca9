//! The two ends of a stream: `offer` on the machine that has something, `use` on the one that wants it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use adit_agent::keys::Enrolment;
use adit_sdk::offer::{OfferEvent, OfferOptions, Offering, Renewed};
use adit_sdk::reach::{Opened, ReachEvent, ReachOptions, Reaching};
use adit_sdk::stream::{BUFFER, Cut, tuned};
use adit_sdk::{Direct, Identity, TicketClient, TicketClientOptions, TicketError, Transport};
use clap::Args;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::Ended;
use super::super::failure::Failure;
use crate::agent::Dir;
use crate::agent::offers::{identity_of, read_direct};
use crate::output::{Output, escape};

/// Who this machine is, and which gateway it asks.
#[derive(Args, Clone, Debug)]
pub struct As {
    /// A folder with cert.pem, key.pem and ca.pem, of `adit cert issue` [default: the enrolment of this machine's agent]
    #[arg(long, value_name = "DIR", conflicts_with = "p12")]
    identity: Option<PathBuf>,
    /// A PKCS #12 bundle in the place of these files
    #[arg(long, value_name = "FILE", requires = "p12_password_file")]
    p12: Option<PathBuf>,
    /// The file with its password
    #[arg(long, value_name = "FILE")]
    p12_password_file: Option<PathBuf>,
    /// The gateway's machine listener, https://HOST:7892 [default: the one of the enrolment]
    #[arg(long, value_name = "URL", env = "ADIT_MACHINES_URL")]
    machines: Option<String>,
    #[command(flatten)]
    dir: Dir,
}

/// Offers a port of this machine.
#[derive(Args, Debug)]
pub struct Offer {
    /// The capability: shell:connect
    scope: String,
    /// The address that is offered: 127.0.0.1:22
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// How it may be reached, the first one first: relay, tunnel, direct [default: direct where --direct says where, then relay]
    #[arg(long = "strategy", value_name = "STRATEGY")]
    strategies: Vec<String>,
    /// The public address at which machines dial this one
    #[arg(long, value_name = "HOST:PORT")]
    direct: Option<String>,
    /// Where this machine listens for that [default: 0.0.0.0 and the same port]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "direct")]
    direct_listen: Option<SocketAddr>,
    #[command(flatten)]
    own: As,
}

/// Reaches what another machine offers.
#[derive(Args, Debug)]
pub struct Use {
    /// The capability: shell:connect
    scope: String,
    /// Where programs of this machine find it: 127.0.0.1:2222
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "stdio")]
    listen: Option<SocketAddr>,
    /// Carry one stream over standard input and output, as ssh's ProxyCommand wants it
    #[arg(long, conflicts_with = "listen")]
    stdio: bool,
    /// The machine that is meant, where several offer it
    #[arg(long, value_name = "LABEL")]
    from: Option<String>,
    #[command(flatten)]
    own: As,
}

fn failed(error: &TicketError) -> Failure {
    let code = match error {
        TicketError::Http(refusal) if !refusal.code.is_empty() => refusal.code.as_str(),
        TicketError::Identity(_) => "client.identity",
        TicketError::Unreachable(_) => "client.unreachable",
        _ => "client.stream",
    };
    let sentence = match error {
        TicketError::Http(refusal) => refusal.message.clone(),
        other => other.to_string(),
    };
    Failure::Ended { sentence, code: code.to_owned() }
}

fn no_identity(sentence: String) -> Failure {
    Failure::Ended { sentence, code: "client.identity".to_owned() }
}

impl As {
    /// Gives what reads the identity again.
    fn renewed(&self) -> Renewed {
        let own = self.clone();
        Renewed(Arc::new(move || own.identity().ok().map(|(identity, _)| identity)))
    }

    fn client(&self) -> Result<TicketClient, Failure> {
        let (identity, known) = self.identity()?;
        let url = self.machines.clone().or(known).ok_or_else(|| {
            Failure::Usage(
                "say where the gateway's machine listener is: --machines https://HOST:7892"
                    .to_owned(),
            )
        })?;
        if !url.starts_with("https://") {
            return Err(Failure::Usage(
                "the machine listener is at an https:// address".to_owned(),
            ));
        }
        TicketClient::new(TicketClientOptions { panel_url: url, identity })
            .map_err(|error| failed(&error))
    }

    fn identity(&self) -> Result<(Identity, Option<String>), Failure> {
        if let Some(dir) = &self.identity {
            let file = |name: &str| dir.join(name);
            let read =
                Identity::from_pem_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem"));
            return Ok((read.map_err(|error| failed(&error))?, None));
        }
        if let (Some(bundle), Some(password)) = (&self.p12, &self.p12_password_file) {
            let read = |path: &Path| {
                std::fs::read(path).map_err(Failure::file(format!("reading {}", path.display())))
            };
            let text = String::from_utf8(read(password)?)
                .map_err(|_| Failure::Usage("the password is no text".to_owned()))?;
            let identity = Identity::from_p12(&read(bundle)?, text.trim_end_matches(['\r', '\n']));
            return Ok((identity.map_err(|error| failed(&error))?, None));
        }
        let dir = self.dir.path().map_err(|error| Failure::Usage(error.to_string()))?;
        let enrolment = Enrolment::load(&dir).map_err(|error| no_identity(error.to_string()))?;
        let (identity, url) =
            identity_of(&enrolment).map_err(|error| no_identity(error.to_string()))?;
        Ok((identity, Some(url)))
    }
}

impl Offer {
    /// Offers until Ctrl-C.
    pub async fn run(self, output: Output) -> Ended {
        let client = self.own.client()?;
        let direct = self.direct.as_deref().map(read_direct).transpose();
        let direct = direct.map_err(|error| Failure::Usage(error.to_string()))?;
        let mut strategies = self.strategies;
        if strategies.is_empty() {
            strategies = match direct {
                Some(_) => vec!["direct".to_owned(), "relay".to_owned()],
                None => vec!["relay".to_owned()],
            };
        }
        let everywhere = |direct: &Direct| SocketAddr::from(([0, 0, 0, 0], direct.port));
        let listen = self.direct_listen.or_else(|| direct.as_ref().map(everywhere));
        let preferred = strategies.first().cloned();
        let transport = Transport { strategies, preferred, direct, allowed_networks: Vec::new() };
        let options = OfferOptions {
            ticket_client: client,
            scope: self.scope,
            to: self.to,
            transport,
            listen,
            renewed: Some(self.own.renewed()),
        };
        let offering = Offering::new(options, move |event| tell(output, &offer_words(event)));
        let ending = until_told();
        offering
            .map_err(|error| failed(&error))?
            .run(ending)
            .await
            .map_err(|error| failed(&error))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Use {
    /// Reaches until Ctrl-C, or until the one stream is over.
    pub async fn run(self, output: Output) -> Ended {
        let client = self.own.client()?;
        let listener = match self.listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(Failure::file(format!("listening on {address}")))?)
            }
        };
        let renewed = Some(self.own.renewed());
        let options =
            ReachOptions { ticket_client: client, scope: self.scope, from: self.from, renewed };
        let told = if self.stdio { None } else { Some(output) };
        let reaching = Reaching::new(options, move |event| {
            let words = reach_words(event);
            match told {
                Some(output) => tell(output, &words),
                // Standard output is the stream's.
                None => tracing::info!("{}", words.1),
            }
        });
        let reaching = reaching.map_err(|error| failed(&error))?;
        let ending = until_told();
        let mut kept = {
            let (reaching, ending) = (Arc::clone(&reaching), ending.clone());
            tokio::spawn(async move { reaching.run(ending).await })
        };
        let serving = async {
            match listener {
                Some(listener) => {
                    if let Ok(own) = listener.local_addr() {
                        let told = json!({"event": "listening", "address": own.to_string()});
                        tell(output, &(told, format!("Programs find it at {own}.")));
                    }
                    serve(listener, Arc::clone(&reaching), output, &ending).await;
                    Ok(())
                }
                None => one(&reaching).await,
            }
        };
        tokio::pin!(serving);
        // Whichever ends first: the gateway may turn this machine away while programs wait.
        let (served, kept) = tokio::select! {
            served = &mut serving => {
                ending.cancel();
                (served, (&mut kept).await)
            }
            kept = &mut kept => {
                ending.cancel();
                (Ok(()), kept)
            }
        };
        let kept = kept.map_err(|error| no_identity(error.to_string()))?;
        kept.map_err(|error| failed(&error))?;
        served?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Gives every program that comes a stream of its own.
async fn serve(
    listener: TcpListener,
    reaching: Arc<Reaching>,
    output: Output,
    ending: &CancellationToken,
) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = ending.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of descriptors for now, or a program that went away: the next may fare better.
                tracing::warn!(%error, "a program's connection could not be taken");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let (reaching, ending) = (Arc::clone(&reaching), ending.clone());
        tasks.spawn(async move {
            let cut = Cut::new(tuned(tcp));
            tokio::select! {
                () = ending.cancelled() => {}
                carried = carry(&reaching, cut) => if let Err(error) = carried {
                    let text = error.to_string();
                    let told = json!({"event": "failed", "why": text});
                    tell(output, &(told, format!("A program was turned away: {text}.")));
                },
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// How long after a connection that could not be taken the next one is.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

async fn carry(reaching: &Reaching, mut cut: Cut) -> Result<(), TicketError> {
    let Opened { mut reached, over } = reaching.open().await?;
    let stream = &mut reached.stream;
    let copied = tokio::select! {
        () = over.cancelled() => return Ok(()),
        copied = tokio::io::copy_bidirectional_with_sizes(stream, &mut cut.0, BUFFER, BUFFER) => copied,
    };
    if copied.is_ok() {
        cut.is_whole();
    }
    Ok(())
}

/// Carries one stream over standard input and output, until the other side has said its last.
async fn one(reaching: &Reaching) -> Result<(), Failure> {
    let Opened { reached, over } = reaching.open().await.map_err(|error| failed(&error))?;
    let (mut from, mut to) = tokio::io::split(reached.stream);
    let sending = tokio::spawn(async move {
        tokio::io::copy(&mut tokio::io::stdin(), &mut to).await?;
        to.shutdown().await
    });
    let mut out = tokio::io::stdout();
    let received = tokio::select! {
        () = over.cancelled() => Err(std::io::ErrorKind::ConnectionReset.into()),
        received = tokio::io::copy(&mut from, &mut out) => received,
    };
    sending.abort();
    out.flush().await.map_err(Failure::file("writing standard output"))?;
    received.map(drop).map_err(Failure::file("the stream"))
}

/// Ends with Ctrl-C and with SIGTERM.
fn until_told() -> CancellationToken {
    let ending = CancellationToken::new();
    let told = ending.clone();
    tokio::spawn(async move {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminated {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
        }
        told.cancel();
    });
    ending
}

/// An event for scripts, and for people.
type Words = (Value, String);

fn tell(output: Output, words: &Words) {
    let shown = if output.is_json() { output.json(&words.0) } else { output.line(&words.1) };
    if let Err(error) = shown {
        tracing::debug!(%error, "nobody reads what happens");
    }
}

fn offer_words(event: OfferEvent) -> Words {
    match event {
        OfferEvent::Registered(scope) => (
            json!({"event": "registered", "instanceScope": scope}),
            format!(
                "This machine offers {scope}. Let machines in with `adit ticket assign LABEL --instance {scope}`."
            ),
        ),
        OfferEvent::Listening(address) => (
            json!({"event": "listening", "address": address.to_string()}),
            format!("Machines that dial this one find it at {address}."),
        ),
        OfferEvent::Lost(why) => (
            json!({"event": "lost", "why": why}),
            format!("The gateway is away, trying again: {}", escape(&why)),
        ),
        OfferEvent::Back => (json!({"event": "back"}), "The gateway is back.".to_owned()),
        OfferEvent::LetIn(target) => {
            (json!({"event": "letIn", "target": target}), format!("{target} is let in."))
        }
        OfferEvent::Refused(target, why) => (
            json!({"event": "refused", "target": target, "why": why}),
            format!("{target} waits, and no ticket was given: {}", escape(&why)),
        ),
        OfferEvent::Stream(target) => {
            (json!({"event": "stream", "target": target}), format!("{target} opened a stream."))
        }
        OfferEvent::Ended(target, reason) => (
            json!({"event": "ended", "target": target, "reason": reason}),
            format!("The session of {target} is over: {}", because(&reason)),
        ),
    }
}

fn reach_words(event: ReachEvent) -> Words {
    match event {
        ReachEvent::Waiting => (
            json!({"event": "waiting"}),
            "Waiting to be let in. An operator assigns this machine with `adit ticket assign`."
                .to_owned(),
        ),
        ReachEvent::LetIn(source) => {
            (json!({"event": "letIn", "source": source}), format!("{source} lets this machine in."))
        }
        ReachEvent::Ended(reason) => (
            json!({"event": "ended", "reason": reason}),
            format!("The session is over: {}", because(&reason)),
        ),
        ReachEvent::Refused(why) => (
            json!({"event": "refused", "why": why}),
            format!("A ticket did not open anything: {}", escape(&why)),
        ),
        ReachEvent::Lost(why) => (
            json!({"event": "lost", "why": why}),
            format!("The gateway is away, trying again: {}", escape(&why)),
        ),
        ReachEvent::Back => (json!({"event": "back"}), "The gateway is back.".to_owned()),
    }
}

/// Says why a session is over.
fn because(reason: &str) -> String {
    let known = reason.parse::<adit_domain::reach::Lapse>();
    known.map_or_else(|_| escape(reason).to_string(), |lapse| lapse.sentence().to_owned())
}
