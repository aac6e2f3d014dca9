//! TLS of the listeners: certificates that are swapped while connections live, and which client certificates are let through.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use tokio::sync::mpsc;

/// A certificate with its key that is used for handshakes from now on; connections that live keep theirs (R61).
#[derive(Debug)]
pub struct Swapped(RwLock<Arc<CertifiedKey>>);

impl Swapped {
    /// Begins with a chain and its key, PEM.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, Error> {
        Ok(Self(RwLock::new(Arc::new(certified(chain_pem, key_pem)?))))
    }

    /// Takes others; what cannot be used changes nothing.
    ///
    /// # Errors
    /// As [`Swapped::new`].
    pub fn swap(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), Error> {
        let fresh = Arc::new(certified(chain_pem, key_pem)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Gives the certificate that handshakes use now, DER.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.cert.first().cloned()
    }
}

impl ResolvesServerCert for Swapped {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(chain_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, Error> {
    let unreadable = |what: &str| Error::General(format!("the {what} cannot be read"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain_pem).collect();
    let chain = chain.map_err(|_| unreadable("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| unreadable("key"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
}

/// Takes client certificates of our authority; the routes then ask the database whether one counts.
///
/// One that is past its end is let through for as long as it may be renewed, so that its holder can prove that it has the key: the
/// routes let it do that and nothing else.
#[derive(Debug)]
pub struct ClientVerifier {
    inner: RwLock<Arc<dyn ClientCertVerifier>>,
    grace: Duration,
    refused: mpsc::Sender<String>,
}

impl ClientVerifier {
    /// Trusts these authorities, in DER. What is refused is told to `refused`; what does not fit is not told.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn new(
        anchors: &[Vec<u8>],
        grace: Duration,
        refused: mpsc::Sender<String>,
    ) -> Result<Self, Error> {
        Ok(Self { inner: RwLock::new(verifier(anchors)?), grace, refused })
    }

    /// Trusts others from now on.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn trust(&self, anchors: &[Vec<u8>]) -> Result<(), Error> {
        let fresh = verifier(anchors)?;
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn inner(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier(anchors: &[Vec<u8>]) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(CertificateDer::from(anchor.clone()))?;
    }
    WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

impl ClientCertVerifier for ClientVerifier {
    // Whoever comes knows its own authority; names of ours in each handshake would only make it longer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let inner = self.inner();
        let checked = inner.verify_client_cert(end_entity, intermediates, now);
        let checked = match checked {
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => match last_moment(end_entity, now, self.grace) {
                Some(then) => inner.verify_client_cert(end_entity, intermediates, then),
                None => Err(Error::InvalidCertificate(CertificateError::Expired)),
            },
            other => other,
        };
        checked.inspect_err(|error| {
            // Full when somebody tries many: the log then has some of them.
            let _ = self.refused.try_send(error.to_string());
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner().supported_verify_schemes()
    }
}

/// Gives the last moment at which a certificate counted, if that is no longer ago than the grace.
fn last_moment(der: &CertificateDer<'_>, now: UnixTime, grace: Duration) -> Option<UnixTime> {
    let not_after = adit_core::pki::not_after(der)?;
    let end = Duration::from_secs(u64::try_from(not_after.seconds()).ok()?);
    let ago = Duration::from_secs(now.as_secs()).checked_sub(end)?;
    (ago <= grace).then(|| UnixTime::since_unix_epoch(end.saturating_sub(Duration::from_secs(1))))
}
