//! How an agent gets a connection: it dials out, with its certificate or its machine key, and its link key proves it.

use std::sync::Arc;

use adit_domain::{Secret, SessionId};
use adit_wire::agent::v1 as pb;
use adit_wire::agent::v1::preamble::Purpose;
use http::header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};

use crate::connection::{Connection, LinkError, connect};
use crate::keys::{Keypair, PublicKey};
use crate::seal::{Binding, SealError};
use crate::socket::{Adapted, Tungstenite, websocket_config};
use crate::transport::{
    Address, DIAL_LIMIT, Transport, TransportError, Versions, read_certificates, read_key,
    tls_config,
};

pub use crate::backoff::Backoff;
pub use crate::transport::{Trust, be_patient, tune};

/// The subprotocol of the machine plane.
pub const SUBPROTOCOL: &str = "adit.agent.v1";

/// A WebSocket that was dialled.
pub type AgentSocket = Adapted<WebSocketStream<Transport>, Tungstenite>;

/// A sealed connection that was dialled.
pub type AgentConnection = Connection<AgentSocket>;

/// Where and as whom to dial.
#[derive(Debug)]
pub struct Endpoint {
    /// `wss://host:7892/ws/agent`, `wss://host:7800/ws/agent`, or `ws://` on loopback.
    pub url: String,
    /// Whose certificates count.
    pub trust: Trust,
    /// What admits to the machine plane.
    pub credential: Credential,
    /// What ties the channel to TLS.
    pub binding: BindingRule,
}

/// What admits an agent to the machine plane; it opens nothing without the link key.
pub enum Credential {
    /// A certificate of enrolment, for the mutual-TLS listener.
    Certificate {
        /// The certificate and what it was signed by.
        chain: Vec<CertificateDer<'static>>,
        /// Its key.
        key: PrivateKeyDer<'static>,
    },
    /// A machine key, `cak_…`.
    Key(Secret<String>),
}

/// What ties the channel to TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BindingRule {
    /// The TLS exporter: nobody stands in between.
    Exporter,
    /// Nothing: a TLS terminator stands between. Always so without TLS.
    None,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address cannot be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A machine key that no HTTP header can carry.
    #[error("the machine key has a form that cannot be sent")]
    Key,
    /// The gateway's HTTP answer; 401 is a credential that does not count.
    #[error("the gateway answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer was no WebSocket of ours.
    #[error("the WebSocket's handshake failed: {0}")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// Another address than the enrolment's that is not dialled: without TLS, or with a credential that a stranger could keep.
    #[error(
        "another gateway is dialled over TLS alone, with a certificate, by who trusts its authority alone"
    )]
    Elsewhere,
    /// Dialling took longer than 10 s.
    #[error("the gateway did not answer within {} s", DIAL_LIMIT.as_secs())]
    Late,
    /// TLS gives no value to bind to.
    #[error(transparent)]
    Binding(SealError),
    /// The channel could not be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Dials connections; cheap to clone, and all share one TLS configuration.
#[derive(Clone)]
pub struct Dialer {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<HeaderValue>,
    binding: BindingRule,
    /// Whether one authority is trusted, and no other.
    is_pinned: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "Certificate(…)",
            Self::Key(_) => "Key(…)",
        })
    }
}

impl Credential {
    /// Reads a certificate and its key from PEM.
    ///
    /// # Errors
    /// [`TransportError::Certificates`] when either is not there.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TransportError> {
        Ok(Self::Certificate { chain: read_certificates(chain)?, key: read_key(key)? })
    }
}

impl Dialer {
    /// Reads an endpoint once, for all connections.
    ///
    /// # Errors
    /// [`DialError::Transport`] for an address or certificates that cannot be used, [`DialError::Key`].
    pub fn new(endpoint: Endpoint) -> Result<Self, DialError> {
        let address = Address::read(&endpoint.url)?;
        let (certificate, authorization) = match endpoint.credential {
            Credential::Certificate { chain, key } => (Some((chain, key)), None),
            Credential::Key(key) => (None, Some(bearer(&key)?)),
        };
        let versions = match endpoint.binding {
            BindingRule::Exporter => Versions::Newest,
            BindingRule::None => Versions::Older,
        };
        let tls = match address.is_secure() {
            true => Some(tls_config(&endpoint.trust, certificate, versions)?),
            false => None,
        };
        let is_pinned = matches!(endpoint.trust, Trust::Pinned(_));
        Ok(Self { address, tls, authorization, binding: endpoint.binding, is_pinned })
    }

    /// Gives a dialer that dials another gateway of the same authority: `https://HOST:PORT`. It shows the same certificate, and the other's
    /// must be for that host and come from the authority that was trusted before.
    ///
    /// # Errors
    /// [`DialError::Elsewhere`] for an address without TLS or a dialer without certificate or authority, [`DialError::Transport`].
    pub fn at(&self, gateway: &str) -> Result<Self, DialError> {
        let rest = gateway.strip_prefix("https://").ok_or(DialError::Elsewhere)?;
        if !self.is_pinned || self.tls.is_none() || self.authorization.is_some() {
            return Err(DialError::Elsewhere);
        }
        let address = Address::read(&format!("wss://{}/ws/agent", rest.trim_end_matches('/')))?;
        Ok(Self { address, ..self.clone() })
    }

    /// Dials the machine's control connection.
    ///
    /// # Errors
    /// [`DialError`], by the step that failed.
    pub async fn control(
        &self,
        keys: &Keypair,
        service: PublicKey,
    ) -> Result<AgentConnection, DialError> {
        let preamble = pb::Preamble { purpose: Purpose::Control.into(), ..pb::Preamble::default() };
        self.dial(preamble, keys, service).await
    }

    /// Dials a session's connection, with the warrant that allows it.
    ///
    /// # Errors
    /// [`DialError`], by the step that failed.
    pub async fn session(
        &self,
        keys: &Keypair,
        service: PublicKey,
        session: SessionId,
        warrant: pb::SignedWarrant,
    ) -> Result<AgentConnection, DialError> {
        let preamble = pb::Preamble {
            purpose: Purpose::Session.into(),
            session_id: session.as_bytes().to_vec().into(),
            warrant: Some(warrant),
            ..pb::Preamble::default()
        };
        self.dial(preamble, keys, service).await
    }

    async fn dial(
        &self,
        preamble: pb::Preamble,
        keys: &Keypair,
        service: PublicKey,
    ) -> Result<AgentConnection, DialError> {
        let (socket, binding) =
            timeout(DIAL_LIMIT, self.websocket()).await.map_err(|_| DialError::Late)??;
        Ok(connect(socket, preamble, keys, service, &binding).await?)
    }

    async fn websocket(&self) -> Result<(AgentSocket, Binding), DialError> {
        let transport = Transport::dial(&self.address, self.tls.as_ref()).await?;
        let binding = match self.binding {
            BindingRule::Exporter => transport.binding().map_err(DialError::Binding)?,
            BindingRule::None => Binding::None,
        };
        let request = self.request().map_err(refusal)?;
        let (websocket, _) = client_async_with_config(request, transport, Some(websocket_config()))
            .await
            .map_err(refusal)?;
        Ok((Adapted::new(websocket), binding))
    }

    fn request(&self) -> Result<Request, tungstenite::Error> {
        let mut request = self.address.uri.clone().into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

fn bearer(key: &Secret<String>) -> Result<HeaderValue, DialError> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| DialError::Key)?;
    value.set_sensitive(true);
    Ok(value)
}

fn refusal(error: tungstenite::Error) -> DialError {
    match error {
        tungstenite::Error::Http(response) => {
            DialError::Refused { status: response.status().as_u16() }
        }
        other => DialError::WebSocket(Box::new(other)),
    }
}

#[cfg(test)]
#[path = "dial/tests.rs"]
mod tests;
