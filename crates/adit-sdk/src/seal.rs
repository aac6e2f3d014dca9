//! TLS 1.3 (RFC 8446) between the two ends of a stream, whatever carries it. Each shows its machine certificate and holds the other's
//! name against the one that the ticket gave; a gateway in between carries what it cannot read.

use std::sync::Arc;

use ::aws_lc_rs::digest;
use adit_domain::CertificateName;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, version,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::identity::name_of;
use crate::{Identity, TicketError};

/// What both ends speak inside.
const ALPN: &[u8] = b"adit-stream/1";

/// How long the other end may take to prove itself.
const HANDSHAKE_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// A carrier of a stream.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// A carrier, whatever it is.
pub type BoxPipe = Box<dyn Pipe>;

/// A stream that is sealed from end to end.
pub type Sealed = TlsStream<BoxPipe>;

/// Seals streams as one machine.
#[derive(Clone)]
pub struct Seal {
    source: Arc<ServerConfig>,
    target: Arc<ClientConfig>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Makes it of a machine's identity.
    ///
    /// # Errors
    /// [`TicketError::Identity`] when the certificate and the key do not fit.
    pub fn new(identity: &Identity) -> Result<Self, TicketError> {
        let bad = |error: rustls::Error| TicketError::Identity(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in &identity.authorities {
            roots.add(authority.clone()).map_err(bad)?;
        }
        let peers =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| TicketError::Identity(error.to_string()))?;
        let mut source = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(bad)?
            .with_client_cert_verifier(Arc::clone(&peers))
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(bad)?;
        source.alpn_protocols = vec![ALPN.to_vec()];
        source.send_tls13_tickets = 0;
        let mut target = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(bad)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfPeers { peers, provider }))
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(bad)?;
        target.alpn_protocols = vec![ALPN.to_vec()];
        target.resumption = Resumption::disabled();
        target.enable_sni = false;
        Ok(Self { source: Arc::new(source), target: Arc::new(target) })
    }

    /// Seals a carrier as its source; gives who the target proved to be.
    ///
    /// # Errors
    /// [`TicketError::Stream`] when it proved nothing.
    pub async fn as_source(&self, pipe: BoxPipe) -> Result<(Sealed, CertificateName), TicketError> {
        let accept = TlsAcceptor::from(Arc::clone(&self.source)).accept(pipe);
        let stream = within(accept).await?;
        let name = proved(stream.get_ref().1.peer_certificates())?;
        Ok((stream.into(), name))
    }

    /// Seals a carrier as its target, with a source that proves to be who the ticket named.
    ///
    /// # Errors
    /// [`TicketError::Stream`] when it proves something else.
    pub async fn as_target(
        &self,
        pipe: BoxPipe,
        source: &CertificateName,
    ) -> Result<Sealed, TicketError> {
        // No name of a host stands for a machine here; the certificate's own is looked at below.
        let nobody = ServerName::try_from("adit.invalid").expect("it is a host name");
        let connect = TlsConnector::from(Arc::clone(&self.target)).connect(nobody, pipe);
        let stream = within(connect).await?;
        let name = proved(stream.get_ref().1.peer_certificates())?;
        if name == *source {
            Ok(stream.into())
        } else {
            Err(TicketError::Stream(format!("{name} answered, where {source} was expected")))
        }
    }
}

/// Gives SHA-256 of the certificate that the other end showed, in hexadecimal.
pub fn fingerprint(sealed: &Sealed) -> Option<String> {
    let leaf = sealed.get_ref().1.peer_certificates().and_then(<[_]>::first)?;
    let digest = digest::digest(&digest::SHA256, leaf);
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn within<T>(handshake: impl Future<Output = std::io::Result<T>>) -> Result<T, TicketError> {
    let failed =
        |why: String| TicketError::Stream(format!("the other machine did not prove itself: {why}"));
    match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("it took too long".to_owned())),
    }
}

fn proved(certificates: Option<&[CertificateDer<'_>]>) -> Result<CertificateName, TicketError> {
    let leaf = certificates.and_then(<[_]>::first);
    leaf.and_then(name_of).ok_or_else(|| {
        TicketError::Stream("the other machine's certificate names nobody".to_owned())
    })
}

/// Checks a source's certificate as a target's is checked: it is a machine's, for clients, of the same authority.
#[derive(Debug)]
struct OfPeers {
    peers: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfPeers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.peers
            .verify_client_cert(end_entity, intermediates, now)
            .map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.peers.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.peers.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
