//! TLS of the gateway's two listeners, and how their certificates change while it runs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::Gateway;
use adit_core::audit::Actor;
use adit_domain::Code;
use adit_http::tls::{ClientVerifier, Swapped};
use anyhow::Context as _;
use rustls::ServerConfig;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::TlsFiles;

/// How often the files of a certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often the machine listener's own certificate is made anew: it lasts three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(30 * 86_400);

/// Refused handshakes that wait to be written down; more are dropped, because somebody tries many.
const REFUSALS: usize = 16;

/// How often a refused handshake is written down at most.
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// The front listener's TLS.
pub struct Front {
    /// The listener's settings.
    pub config: Arc<ServerConfig>,
    files: TlsFiles,
    held: Arc<Swapped>,
}

impl Front {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn of(files: TlsFiles) -> anyhow::Result<Self> {
        let (chain, key) = read(&files)?;
        let held = Arc::new(Swapped::new(&chain, &key).context("the certificate and its key")?);
        let config = server(Arc::clone(&held), None, &[b"h2", b"http/1.1"]);
        Ok(Self { config, files, held })
    }

    /// Takes the files anew when they change, or at SIGHUP, until the gateway ends. Connections that live keep what they have (R61).
    pub async fn follow(self, gateway: Arc<Gateway>) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut seen = changed_at(&self.files);
        loop {
            let asked = tokio::select! {
                () = gateway.tasks.ending() => return,
                came = hangup.recv() => came.is_some(),
                _ = tick.tick() => false,
            };
            let now = changed_at(&self.files);
            if asked || now != seen {
                seen = now;
                self.take(&gateway).await;
            }
        }
    }

    async fn take(&self, gateway: &Gateway) {
        let taken = read(&self.files).and_then(|(chain, key)| {
            self.held.swap(&chain, &key).context("the certificate and its key")
        });
        let event = |sentence: &str| {
            gateway.event("gateway_certificate.replace", &Actor::gateway(gateway), sentence)
        };
        match taken {
            Ok(()) => {
                tracing::info!("a new certificate is used from now on");
                gateway.note(event("The gateway uses a new certificate")).await;
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the new certificate cannot be used; the one before stays"
                );
                let event = event("A new certificate of the gateway cannot be used");
                gateway.note(event.failed(Code::RequestInvalid)).await;
            }
        }
    }
}

fn read(files: &TlsFiles) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let read = |what: &str, path: &Path| {
        std::fs::read(path).with_context(|| format!("reading the {what} {}", path.display()))
    };
    Ok((read("certificate", &files.certificate)?, read("key", &files.key)?))
}

/// Gives when the files were last written; a file that is being replaced is another one in between.
fn changed_at(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// The machine listener's TLS.
pub struct Machines {
    /// The listener's settings.
    pub config: Arc<ServerConfig>,
    held: Arc<Swapped>,
    verifier: Arc<ClientVerifier>,
    hosts: Vec<String>,
    refused: mpsc::Receiver<String>,
}

impl Machines {
    /// Makes a certificate of the gateway's own authority for these names.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of(gateway: &Gateway, hosts: Vec<String>) -> anyhow::Result<Self> {
        let made = gateway.pki.certify_listener(&hosts, gateway.clock.now())?;
        let key = made.key_pem.expose().as_bytes();
        let held = Arc::new(Swapped::new(made.chain_pem.as_bytes(), key)?);
        let (refusals, refused) = mpsc::channel(REFUSALS);
        let grace = gateway.settings.certificate_grace;
        let verifier = ClientVerifier::new(&gateway.pki.anchors(), grace, refusals)?;
        let verifier = Arc::new(verifier);
        let config = server(Arc::clone(&held), Some(Arc::clone(&verifier)), &[b"http/1.1"]);
        Ok(Self { config, held, verifier, hosts, refused })
    }

    /// Makes the certificate anew in time and when the authority is rotated, and writes down who was refused, until the gateway ends.
    pub async fn follow(mut self, gateway: Arc<Gateway>) {
        let mut rotations = gateway.pki.rotations();
        let mut tick = tokio::time::interval(RENEW_EVERY);
        tick.tick().await;
        let mut breath = tokio::time::interval(REFUSAL_EVERY);
        breath.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = gateway.tasks.ending() => return,
                Ok(()) = rotations.changed() => self.renew(&gateway),
                _ = tick.tick() => self.renew(&gateway),
                Some(why) = self.refused.recv() => {
                    note_refused(&gateway, &why).await;
                    breath.tick().await;
                }
            }
        }
    }

    fn renew(&self, gateway: &Gateway) {
        let renewed = || -> anyhow::Result<()> {
            let made = gateway.pki.certify_listener(&self.hosts, gateway.clock.now())?;
            self.held.swap(made.chain_pem.as_bytes(), made.key_pem.expose().as_bytes())?;
            Ok(self.verifier.trust(&gateway.pki.anchors())?)
        };
        if let Err(error) = renewed() {
            tracing::error!(%error, "the machine listener's certificate was not renewed");
        }
    }
}

// AGT-07
async fn note_refused(gateway: &Gateway, why: &str) {
    let sentence = "A client certificate was refused in the TLS handshake";
    let event = gateway.event("certificate.refused", &Actor::nobody(None), sentence);
    gateway.note(event.with("why", json!(why)).denied(Code::CertificateRefused)).await;
}

/// Makes a listener's settings. SES-45: TLS 1.3 and nothing older.
fn server(
    held: Arc<Swapped>,
    verifier: Option<Arc<ClientVerifier>>,
    protocols: &[&[u8]],
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(held);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
