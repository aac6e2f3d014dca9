//! TCP with or without TLS below a WebSocket that is dialled: addresses, trust, certificates.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pulse::SILENCE;
use crate::seal::Binding;

/// Why an address cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not a `ws://` or `wss://` address with a host.
    #[error("the address is not of the form wss://host:port/path")]
    Url,
    /// `ws://` to another host.
    #[error("an address without TLS (ws://) is dialled on loopback only")]
    Insecure,
    /// Certificates or keys that cannot be used.
    #[error("the certificates cannot be used: {0}")]
    Certificates(String),
    /// The name has no address.
    #[error("the host name cannot be resolved: {0}")]
    Resolve(#[source] io::Error),
    /// Nobody answers.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// TLS failed: another CA, a wrong name, a refused certificate.
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
}

/// Whose certificates count.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These authorities alone.
    Pinned(Vec<CertificateDer<'static>>),
    /// The system's.
    System,
}

impl Trust {
    /// Reads the authorities of a PEM file.
    ///
    /// # Errors
    /// [`TransportError::Certificates`] when there are none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TransportError> {
        read_certificates(pem).map(Self::Pinned)
    }

    fn roots(&self) -> Result<RootCertStore, TransportError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Pinned(authorities) => {
                for authority in authorities {
                    roots.add(authority.clone()).map_err(certificates)?;
                }
            }
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        if roots.is_empty() {
            return Err(TransportError::Certificates("no authority is trusted".to_owned()));
        }
        Ok(roots)
    }
}

/// A client certificate with its key.
pub(crate) type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Versions {
    /// 1.3 alone.
    Newest,
    /// 1.2 too, for a terminator that is not ours.
    Older,
}

/// Reads the certificates of a PEM file.
pub(crate) fn read_certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(certificates)?;
    if found.is_empty() {
        return Err(TransportError::Certificates("there is no certificate in the PEM".to_owned()));
    }
    Ok(found)
}

/// Reads the private key of a PEM file.
pub(crate) fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TransportError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(certificates)
}

/// Builds the TLS settings of a client.
pub(crate) fn tls_config(
    trust: &Trust,
    certificate: Option<ClientCertificate>,
    versions: Versions,
) -> Result<Arc<ClientConfig>, TransportError> {
    let builder = config_builder(trust.roots()?, versions)?;
    let mut config = match certificate {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(certificates)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn config_builder(
    roots: RootCertStore,
    versions: Versions,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TransportError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = match versions {
        Versions::Newest => builder.with_protocol_versions(&[&rustls::version::TLS13]),
        Versions::Older => builder.with_safe_default_protocol_versions(),
    };
    Ok(builder.map_err(certificates)?.with_root_certificates(roots))
}

fn certificates(error: impl std::fmt::Display) -> TransportError {
    TransportError::Certificates(error.to_string())
}

/// Where to dial.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The address as it was given, for the WebSocket's request.
    pub uri: Uri,
    host: String,
    port: u16,
    /// The name that the certificate must carry; absent without TLS.
    name: Option<ServerName<'static>>,
}

impl Address {
    /// Reads a `ws://` or `wss://` address.
    pub fn read(url: &str) -> Result<Self, TransportError> {
        let uri: Uri = url.parse().map_err(|_| TransportError::Url)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(TransportError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (name, port) = match uri.scheme_str() {
            Some("wss") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| TransportError::Url)?;
                (Some(name), 443)
            }
            Some("ws") => (None, 80),
            _ => return Err(TransportError::Url),
        };
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { uri, host, port, name })
    }

    /// Tells whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.name.is_some()
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, TransportError> {
        let found = lookup_host((self.host.as_str(), self.port));
        let found: Vec<_> = found.await.map_err(TransportError::Resolve)?.collect();
        if !self.is_secure() && !found.iter().all(|address| address.ip().is_loopback()) {
            return Err(TransportError::Insecure);
        }
        Ok(found)
    }
}

/// A TCP connection with or without TLS.
pub enum Transport {
    /// Without; on loopback alone.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Dials an address.
    pub(crate) async fn dial(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, TransportError> {
        let found = address.resolve().await?;
        let tcp = TcpStream::connect(&found[..]).await.map_err(TransportError::Connect)?;
        tune(&tcp).map_err(TransportError::Connect)?;
        let Some(name) = address.name.clone() else { return Ok(Self::Plain(tcp)) };
        let tls = tls.ok_or(TransportError::Insecure)?;
        let tls = TlsConnector::from(tls.clone()).connect(name, tcp);
        Ok(Self::Tls(Box::new(tls.await.map_err(TransportError::Tls)?)))
    }

    /// Gives the value that ties a channel to this connection.
    pub(crate) fn binding(&self) -> Result<Binding, crate::seal::SealError> {
        match self {
            Self::Plain(_) => Ok(Binding::None),
            Self::Tls(tls) => Binding::of(tls.get_ref().1),
        }
    }
}

/// Sets a TCP connection up for sessions: no waiting for more to send, and an end when what was sent is not acknowledged.
///
/// # Errors
/// The system's.
pub fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let silence_ms = u32::try_from(SILENCE.as_millis()).expect("the limit is seconds");
    rustix::net::sockopt::set_tcp_user_timeout(tcp, silence_ms)?;
    Ok(())
}

/// Sets a connection up for a peer that may stop reading for as long as it likes: it ends when the peer's host is gone, and not before.
///
/// # Errors
/// The system's.
pub fn be_patient(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(tcp, 0)?;
    rustix::net::sockopt::set_socket_keepalive(tcp, true)?;
    rustix::net::sockopt::set_tcp_keepidle(tcp, SILENCE)?;
    rustix::net::sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_EVERY)?;
    rustix::net::sockopt::set_tcp_keepcnt(tcp, KEEPALIVES).map_err(io::Error::from)
}

/// How often a peer that does not answer is asked again whether it lives.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// How often it is asked.
const KEEPALIVES: u32 = 3;

/// How long dialling may take, TLS and the WebSocket's handshake included.
pub(crate) const DIAL_LIMIT: Duration = Duration::from_secs(10);

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
