//! What an agent offers to other machines: `offers.toml` in its folder.
//!
//! The gateway cannot ask for anything else: a stream for a capability that is not in the file is not answered. The file is read when
//! the agent starts; the agent's certificate may change meanwhile, so an offer begins anew when the gateway turns the one before away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_agent::keys::{Admission, Enrolment};
use adit_agent::run::Tunnel;
use adit_domain::certificate::Carried;
use adit_sdk::offer::{OfferEvent, OfferOptions, Offering, Renewed};
use adit_sdk::{Direct, Identity, TicketClient, TicketClientOptions, Transport};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The file's name.
const FILE: &str = "offers.toml";

/// How many streams may be told of before the first is answered.
const TUNNELS: usize = 64;

/// How long after a refusal an offer begins anew.
const AGAIN: Duration = Duration::from_secs(30);

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What is offered.
    #[serde(default)]
    offer: Vec<Offer>,
}

/// One offer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offer {
    /// A capability that this machine holds: `shell:connect`.
    scope: String,
    /// The address that is offered: `127.0.0.1:22`.
    to: String,
    /// The public address at which machines dial this one.
    direct: Option<String>,
    /// Where this machine listens for that.
    direct_listen: Option<SocketAddr>,
}

/// Makes an identity of what a machine keeps from its enrolment.
///
/// # Errors
/// When it has no certificate.
pub fn identity_of(enrolment: &Enrolment) -> anyhow::Result<(Identity, String)> {
    let (Admission::Certificate { chain, key }, Some(trust)) =
        (&enrolment.admission, &enrolment.trust)
    else {
        bail!(
            "this machine joined through a proxy and has no certificate; get one with `adit cert issue agent:LABEL --out DIR` and name it with --identity DIR"
        );
    };
    let identity = Identity::from_pem(chain.as_bytes(), key.expose().as_bytes(), trust.as_bytes())?;
    let url = enrolment.url.replacen("wss://", "https://", 1);
    Ok((identity, url.trim_end_matches("/ws/agent").to_owned()))
}

/// Reads an address `host:port`.
///
/// # Errors
/// When it is none.
pub fn read_direct(text: &str) -> anyhow::Result<Direct> {
    let (host, port) = text.rsplit_once(':').with_context(|| format!("{text} is no HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{text} is no HOST:PORT"))?;
    Ok(Direct { host: host.to_owned(), port })
}

/// What runs beside an agent for its offers.
pub struct Offers {
    offers: Vec<Offer>,
    url: String,
    running: Mutex<HashMap<String, Arc<Offering>>>,
}

impl Offers {
    /// Reads the file of an agent's folder; `None` where there is none, or nothing in it.
    ///
    /// # Errors
    /// When the file is there and wrong, or others may write it.
    pub fn read(dir: &Path, url: &str) -> anyhow::Result<Option<Arc<Self>>> {
        let path = dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        check_private(&path)?;
        let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for offer in &file.offer {
            let known: Result<Carried, _> = offer.scope.parse();
            known.with_context(|| format!("{}: {}", path.display(), offer.scope))?;
            offer
                .direct
                .as_deref()
                .map(read_direct)
                .transpose()
                .with_context(|| path.display().to_string())?;
        }
        if file.offer.is_empty() {
            return Ok(None);
        }
        let url = url.replacen("wss://", "https://", 1);
        let url = url.trim_end_matches("/ws/agent").to_owned();
        Ok(Some(Arc::new(Self { offers: file.offer, url, running: Mutex::default() })))
    }

    /// Begins the offers, and gives where the agent tells of streams.
    pub fn start(
        self: &Arc<Self>,
        dir: &Path,
        ending: &CancellationToken,
        tasks: &TaskTracker,
    ) -> mpsc::Sender<Tunnel> {
        let (tunnels, mut told) = mpsc::channel(TUNNELS);
        for offer in self.offers.clone() {
            let (own, dir, ending) = (Arc::clone(self), dir.to_owned(), ending.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = own.keep(offer, &dir, &ending) => {}
                }
            });
        }
        let (own, ending) = (Arc::clone(self), ending.clone());
        tasks.spawn(async move {
            loop {
                let tunnel = tokio::select! {
                    () = ending.cancelled() => return,
                    tunnel = told.recv() => tunnel,
                };
                match tunnel {
                    Some(tunnel) => own.answer(tunnel),
                    None => return,
                }
            }
        });
        tunnels
    }

    /// Offers, and begins anew with the identity of the day when the gateway does not take the one before.
    async fn keep(&self, offer: Offer, dir: &Path, ending: &CancellationToken) {
        loop {
            match self.offering(&offer, dir) {
                Ok(offering) => {
                    self.note(&offer.scope, &offering);
                    if let Err(error) = offering.run(ending.child_token()).await {
                        tracing::warn!(%error, scope = %offer.scope, "nothing is offered for now");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, scope = %offer.scope, "nothing can be offered")
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn note(&self, scope: &str, offering: &Arc<Offering>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(scope.to_owned(), Arc::clone(offering));
    }

    fn offering(&self, offer: &Offer, dir: &Path) -> anyhow::Result<Arc<Offering>> {
        let (identity, _) = identity_of(&Enrolment::load(dir)?)?;
        let ticket_client =
            TicketClient::new(TicketClientOptions { panel_url: self.url.clone(), identity })?;
        let direct = offer.direct.as_deref().map(read_direct).transpose()?;
        let mut strategies = vec!["tunnel".to_owned(), "relay".to_owned()];
        if direct.is_some() {
            strategies.insert(0, "direct".to_owned());
        }
        let everywhere = |direct: &Direct| SocketAddr::from(([0, 0, 0, 0], direct.port));
        let listen = offer.direct_listen.or_else(|| direct.as_ref().map(everywhere));
        let preferred = strategies.first().cloned();
        let transport = Transport { strategies, preferred, direct, allowed_networks: Vec::new() };
        let options = OfferOptions {
            ticket_client,
            scope: offer.scope.clone(),
            to: offer.to.clone(),
            transport,
            listen,
            renewed: Some(renewed(dir)),
        };
        Ok(Offering::new(options, log)?)
    }

    /// Has a stream dialled, if it is for something that is offered here.
    fn answer(&self, tunnel: Tunnel) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.get(&tunnel.capability) {
            Some(offering) => {
                let id = |id: &[u8; 16]| hex(id);
                offering.answer(
                    id(tunnel.session.as_bytes()),
                    id(tunnel.stream.as_bytes()),
                    &tunnel.target,
                    tunnel.gateway,
                );
            }
            None => {
                tracing::warn!(scope = %tunnel.capability, "the gateway asked for what is not offered here")
            }
        }
    }
}

/// Reads the identity of an agent's folder again: its certificate changes while it runs.
fn renewed(dir: &Path) -> Renewed {
    let dir = dir.to_owned();
    Renewed(Arc::new(move || {
        let enrolment = Enrolment::load(&dir).ok()?;
        identity_of(&enrolment).ok().map(|(identity, _)| identity)
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn log(event: OfferEvent) {
    match event {
        OfferEvent::Lost(why) => tracing::warn!(%why, "the gateway is away"),
        OfferEvent::Refused(target, why) => tracing::warn!(%target, %why, "no ticket was given"),
        other => tracing::info!(event = ?other, "offer"),
    }
}

/// Refuses a file that others may write: it decides which ports of this machine are reached.
fn check_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    let own = found.uid() == rustix::process::geteuid().as_raw() || found.uid() == 0;
    if !found.is_file() || !own || found.mode() & 0o022 != 0 {
        bail!(
            "{} is a link, another user's or can be written by others; `chmod go-w` it",
            path.display()
        );
    }
    Ok(())
}
