//! TLS of the gateway's two listeners: where their certificates come from, and how they change while the gateway runs.
//!
//! A listener's certificate comes from files, from the gateway's own authority, or from a certificate authority that speaks ACME
//! ([`Origin`]). One task a listener gets another when it is due, when the files change, at SIGHUP, or when somebody wishes for one;
//! connections that live keep what they have (R61). What is shown, and what failed, is told to `adit_core::listener`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::Gateway;
use adit_core::audit::Actor;
use adit_core::listener::{Failure, Listener, Shown, Source, Wish};
use adit_domain::{Code, Timestamp};
use adit_http::tls::{ClientVerifier, Swapped};
use anyhow::Context as _;
use rustls::ServerConfig;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::acme::Acme;
use crate::config::TlsFiles;

/// How often a listener looks whether another certificate is due or there.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When another certificate is tried for after the first failure; twice as long after each more, up to [`AGAIN_AT_MOST`]. An authority
/// refuses who asks much more often.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// The longest time between two attempts.
const AGAIN_AT_MOST: Duration = Duration::from_secs(12 * 3600);

/// Refused handshakes that wait to be written down; more are dropped, because somebody tries many.
const REFUSALS: usize = 16;

/// How often a refused handshake is written down at most.
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// Where a listener's certificate comes from.
#[derive(Debug)]
pub enum Origin {
    /// Files, which somebody else keeps fresh.
    Files(TlsFiles),
    /// The gateway's own authority, for these names and addresses.
    SelfMade(Vec<String>),
    /// An authority that speaks ACME; until the first one is here, the gateway's own.
    Acme(Acme),
}

impl Origin {
    /// Checks what can be checked before the gateway stands.
    ///
    /// # Errors
    /// When files cannot be read or do not belong together.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Self::Files(files) = self {
            let (chain, key) = read(files)?;
            Swapped::new(&chain, &key).context("the certificate and its key")?;
        }
        Ok(())
    }

    fn source(&self) -> Source {
        match self {
            Self::Files(_) => Source::Files,
            Self::SelfMade(_) => Source::SelfMade,
            Self::Acme(_) => Source::Acme,
        }
    }

    /// Gives a certificate without asking anybody, for the start.
    fn at_hand(&self, gateway: &Gateway) -> anyhow::Result<Got> {
        match self {
            Self::Files(_) | Self::SelfMade(_) => self.made(gateway),
            Self::Acme(acme) => match acme.kept(gateway.clock.now()) {
                Some(kept) => Ok(Got::acme(kept)),
                None => self_made(gateway, acme.names()),
            },
        }
    }

    /// Gets another certificate.
    async fn get(&self, gateway: &Gateway) -> anyhow::Result<Got> {
        match self {
            Self::Files(_) | Self::SelfMade(_) => self.made(gateway),
            Self::Acme(acme) => acme.order().await.map(Got::acme),
        }
    }

    fn made(&self, gateway: &Gateway) -> anyhow::Result<Got> {
        match self {
            Self::Files(files) => {
                let (chain, key) = read(files)?;
                Ok(Got { chain, key, source: Source::Files })
            }
            Self::SelfMade(hosts) => self_made(gateway, hosts),
            Self::Acme(acme) => self_made(gateway, acme.names()),
        }
    }
}

/// A certificate with its key, PEM.
struct Got {
    chain: Vec<u8>,
    key: Vec<u8>,
    source: Source,
}

impl Got {
    fn acme(got: crate::acme::Got) -> Self {
        let key = got.key.expose().clone().into_bytes();
        Self { chain: got.chain.into_bytes(), key, source: Source::Acme }
    }
}

fn self_made(gateway: &Gateway, hosts: &[String]) -> anyhow::Result<Got> {
    let made = gateway.pki.certify_listener(hosts, gateway.clock.now())?;
    let key = made.key_pem.expose().clone().into_bytes();
    Ok(Got { chain: made.chain_pem.into_bytes(), key, source: Source::SelfMade })
}

fn read(files: &TlsFiles) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let read = |what: &str, path: &Path| {
        std::fs::read(path).with_context(|| format!("reading the {what} {}", path.display()))
    };
    Ok((read("certificate", &files.certificate)?, read("key", &files.key)?))
}

/// Gives when the files were last written; a file that is being replaced is another one in between.
fn changed_at(origin: &Origin) -> [Option<SystemTime>; 2] {
    let Origin::Files(files) = origin else { return [None; 2] };
    [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// A listener's certificate, and how it gets another.
pub struct Kept {
    listener: Listener,
    origin: Origin,
    held: Arc<Swapped>,
    wishes: mpsc::Receiver<Wish>,
    due_at: Option<Timestamp>,
    failures: u32,
    verifier: Option<Arc<ClientVerifier>>,
}

impl Kept {
    /// Takes what is at hand.
    ///
    /// # Errors
    /// When a certificate cannot be read or made.
    pub fn of(gateway: &Gateway, listener: Listener, origin: Origin) -> anyhow::Result<Self> {
        let got = origin.at_hand(gateway)?;
        let held =
            Arc::new(Swapped::new(&got.chain, &got.key).context("the certificate and its key")?);
        let shown = shown(&held, got.source)?;
        // What stands in for ACME's is to be replaced at once.
        let stands_in = got.source != origin.source();
        let due_at = if stands_in { Some(gateway.clock.now()) } else { shown.renew_at() };
        let wishes = gateway.listeners.add(listener, shown);
        Ok(Self { listener, origin, held, wishes, due_at, failures: 0, verifier: None })
    }

    /// Makes the listener's settings. SES-45: TLS 1.3 and nothing older.
    pub fn config(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
        let held = Arc::clone(&self.held);
        let mut config = match &self.verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(held);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// Gets another certificate whenever there is a reason to, until the gateway ends.
    pub async fn follow(mut self, gateway: Arc<Gateway>) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let mut rotations = gateway.pki.rotations();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut seen = changed_at(&self.origin);
        loop {
            let (asked, wish) = tokio::select! {
                () = gateway.tasks.ending() => return,
                _ = hangup.recv() => (matches!(self.origin, Origin::Files(_)), None),
                Ok(()) = rotations.changed() => (self.follow_rotation(&gateway), None),
                Some(wish) = self.wishes.recv() => (true, Some(wish)),
                _ = tick.tick() => (false, None),
            };
            let now = changed_at(&self.origin);
            let due = self.due_at.is_some_and(|at| at <= gateway.clock.now());
            if !asked && !due && now == seen {
                continue;
            }
            seen = now;
            let outcome = tokio::select! {
                () = gateway.tasks.ending() => return,
                outcome = self.renew(&gateway) => outcome,
            };
            if let Some(wish) = wish {
                // Nobody may wait for it any more.
                let _ = wish.send(outcome);
            }
        }
    }

    /// Trusts the authorities of now; tells whether the certificate is to be made anew, because one of them signs it.
    fn follow_rotation(&self, gateway: &Gateway) -> bool {
        if let Some(verifier) = &self.verifier
            && let Err(error) = verifier.trust(&gateway.pki.anchors())
        {
            tracing::error!(%error, "the new authority is not trusted by the machine listener");
        }
        matches!(self.origin, Origin::SelfMade(_))
    }

    async fn renew(&mut self, gateway: &Gateway) -> Result<(), String> {
        gateway.listeners.renewing(self.listener);
        let got = self.origin.get(gateway).await;
        let taken = got.and_then(|got| {
            self.held.swap(&got.chain, &got.key).context("the certificate and its key")?;
            shown(&self.held, got.source)
        });
        match taken {
            Ok(shown) => {
                self.note_success(gateway, shown).await;
                Ok(())
            }
            Err(error) => Err(self.note_failure(gateway, &error).await),
        }
    }

    async fn note_success(&mut self, gateway: &Gateway, shown: Shown) {
        self.failures = 0;
        // An authority whose clock is behind ours gives what is due again at once; it is not asked at once.
        let soonest = gateway.clock.now() + AGAIN_AFTER;
        self.due_at = shown.renew_at().map(|at| at.max(soonest));
        tracing::info!(listener = self.listener.name(), "a new certificate is used from now on");
        let event = self.event(gateway, "The gateway uses a new certificate");
        let event = event.with("serial", json!(shown.serial)).with("hosts", json!(shown.hosts));
        gateway.listeners.renewed(self.listener, shown);
        gateway.note(event).await;
    }

    async fn note_failure(&mut self, gateway: &Gateway, error: &anyhow::Error) -> String {
        let why = format!("{error:#}");
        let wait = AGAIN_AFTER.saturating_mul(1 << self.failures.min(8)).min(AGAIN_AT_MOST);
        self.failures = self.failures.saturating_add(1);
        let at = gateway.clock.now();
        let again_at = self.due_at.map(|_| at + wait);
        self.due_at = again_at;
        tracing::error!(
            listener = self.listener.name(),
            error = why,
            "no new certificate; the one before stays"
        );
        let sentence = "A new certificate of the gateway cannot be used";
        let event = self.event(gateway, sentence).with("why", json!(why));
        gateway.listeners.failed(self.listener, Failure { at, why: why.clone(), again_at });
        gateway.note(event.failed(Code::CertificateNotIssued)).await;
        why
    }

    fn event(&self, gateway: &Gateway, sentence: &str) -> adit_core::audit::Draft {
        gateway
            .event("gateway_certificate.replace", &Actor::gateway(gateway), sentence)
            .with("listener", json!(self.listener.name()))
            .with("source", json!(self.origin.source().name()))
    }
}

fn shown(held: &Swapped, source: Source) -> anyhow::Result<Shown> {
    let der = held.certificate().context("the chain is empty")?;
    Shown::read(source, &der).context("the certificate cannot be read")
}

/// The machine listener's TLS: its certificate is the gateway's own, and client certificates are asked for.
pub struct Machines {
    /// Its certificate.
    pub kept: Kept,
    refused: mpsc::Receiver<String>,
}

impl Machines {
    /// Makes a certificate of the gateway's own authority for these names.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of(gateway: &Gateway, hosts: Vec<String>) -> anyhow::Result<Self> {
        let mut kept = Kept::of(gateway, Listener::Machines, Origin::SelfMade(hosts))?;
        let (refusals, refused) = mpsc::channel(REFUSALS);
        let grace = gateway.settings.certificate_grace;
        let verifier = ClientVerifier::new(&gateway.pki.anchors(), grace, refusals)?;
        kept.verifier = Some(Arc::new(verifier));
        Ok(Self { kept, refused })
    }

    /// Keeps the certificate fresh, and writes down who was refused, until the gateway ends.
    pub async fn follow(self, gateway: Arc<Gateway>) {
        tokio::join!(self.kept.follow(Arc::clone(&gateway)), note_refusals(&gateway, self.refused));
    }
}

// AGT-07
async fn note_refusals(gateway: &Gateway, mut refused: mpsc::Receiver<String>) {
    let mut breath = tokio::time::interval(REFUSAL_EVERY);
    breath.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let why = tokio::select! {
            () = gateway.tasks.ending() => return,
            why = refused.recv() => why,
        };
        let Some(why) = why else { return };
        let sentence = "A client certificate was refused in the TLS handshake";
        let event = gateway.event("certificate.refused", &Actor::nobody(None), sentence);
        gateway.note(event.with("why", json!(why)).denied(Code::CertificateRefused)).await;
        breath.tick().await;
    }
}
