use adit_wire::frame::Kind;
use rcgen::{CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;
use crate::connection::{Event, accept};
use crate::fixture::{MACHINE, SERVICE, data, keypair};

/// An authority with a certificate for `localhost`, which serves as the gateway's and as the machine's.
struct Authority {
    ca: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap().der().clone();
        Self { ca: issuer.der().clone(), leaf, key }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn credential(&self) -> Credential {
        Credential::Certificate { chain: vec![self.leaf.clone()], key: self.key() }
    }

    fn trust(&self) -> Trust {
        Trust::Pinned(vec![self.ca.clone()])
    }

    /// The mutual-TLS side of a gateway of this authority.
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![self.leaf.clone()], self.key())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn mutual_tls(port: u16, trust: Trust, credential: Credential) -> Dialer {
    let url = format!("wss://localhost:{port}/ws/agent");
    Dialer::new(Endpoint { url, trust, credential, binding: BindingRule::Exporter }).unwrap()
}

fn machine_key(port: u16) -> Dialer {
    Dialer::new(Endpoint {
        url: format!("ws://127.0.0.1:{port}/ws/agent"),
        trust: Trust::System,
        credential: Credential::Key(Secret::new("cak_secret".to_owned())),
        binding: BindingRule::None,
    })
    .unwrap()
}

async fn knock(dialer: &Dialer) -> Result<AgentConnection, DialError> {
    let mut agent = dialer.control(&keypair(MACHINE), keypair(SERVICE).public()).await?;
    agent.send_data(Kind::Output, 5, b"hello")?;
    agent.flush().await?;
    Ok(agent)
}

async fn accept_tls(listener: &TcpListener, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()
}

/// The gateway's side of a WebSocket: takes the subprotocol, and checks the machine key if one is expected.
async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    key: Option<&str>,
) -> Result<Adapted<WebSocketStream<S>, Tungstenite>, tungstenite::Error> {
    #[expect(clippy::result_large_err, reason = "tungstenite's callback has this shape")]
    let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if header != key {
            return Err(http::Response::builder().status(401).body(None).unwrap());
        }
        assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], SUBPROTOCOL);
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        Ok(response)
    };
    Ok(Adapted::new(accept_hdr_async(stream, check).await?))
}

#[tokio::test]
async fn an_agent_dials_over_mutual_tls_and_the_channel_is_bound_to_it() {
    let authority = Authority::new();
    let ((listener, port), acceptor) = (listen().await, authority.acceptor());
    let dialer = mutual_tls(port, authority.trust(), authority.credential());
    let gateway = async {
        let tls = accept_tls(&listener, &acceptor).await;
        let binding = Binding::of(tls.get_ref().1).unwrap();
        let socket = websocket(tls, None).await.unwrap();
        accept(socket, &keypair(SERVICE), &binding).await.unwrap().accept().await.unwrap()
    };
    let (agent, mut gateway) = tokio::join!(knock(&dialer), gateway);
    assert!(agent.is_ok());
    assert_eq!(gateway.next().await.unwrap(), Event::Frame(data(Kind::Output, 5, b"hello")));
}

// TOK-35
#[tokio::test]
async fn a_handshake_relayed_over_another_tls_connection_is_refused() {
    let authority = Authority::new();
    let ((near, port), acceptor) = (listen().await, authority.acceptor());
    let (far, far_port) = listen().await;
    let dialer = mutual_tls(port, authority.trust(), authority.credential());
    let interceptor = async {
        let mut agent = accept_tls(&near, &acceptor).await;
        let onwards = mutual_tls(far_port, authority.trust(), authority.credential());
        let mut gateway = Transport::dial(&onwards.address, onwards.tls.as_ref()).await.unwrap();
        // Either side may end it.
        let _ = tokio::io::copy_bidirectional(&mut agent, &mut gateway).await;
    };
    let gateway = async {
        let tls = accept_tls(&far, &acceptor).await;
        let binding = Binding::of(tls.get_ref().1).unwrap();
        let socket = websocket(tls, None).await.unwrap();
        accept(socket, &keypair(SERVICE), &binding).await.err()
    };
    let (agent, refused, ()) = tokio::join!(knock(&dialer), gateway, interceptor);
    assert!(matches!(refused, Some(LinkError::Seal(SealError::Handshake(_)))), "{refused:?}");
    assert!(matches!(agent.err(), Some(DialError::Link(LinkError::Closed(Some(1008))))));
}

// AGT-07
#[tokio::test]
async fn a_gateway_of_another_authority_is_not_spoken_to() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ((listener, port), acceptor) = (listen().await, theirs.acceptor());
    let dialer = mutual_tls(port, ours.trust(), ours.credential());
    let gateway = async { acceptor.accept(listener.accept().await.unwrap().0).await.err() };
    let (agent, gateway) = tokio::join!(knock(&dialer), gateway);
    let agent = agent.err();
    assert!(matches!(agent, Some(DialError::Transport(TransportError::Tls(_)))), "{agent:?}");
    assert!(gateway.is_some());
}

// AGT-07
#[tokio::test]
async fn a_machine_of_another_authority_is_not_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ((listener, port), acceptor) = (listen().await, ours.acceptor());
    let dialer = mutual_tls(port, ours.trust(), theirs.credential());
    let gateway = async { acceptor.accept(listener.accept().await.unwrap().0).await.err() };
    let (agent, gateway) = tokio::join!(knock(&dialer), gateway);
    assert!(agent.is_err() && gateway.is_some());
}

#[tokio::test]
async fn a_machine_key_admits_over_loopback() {
    let (listener, port) = listen().await;
    let gateway = async {
        let tcp = listener.accept().await.unwrap().0;
        let socket = websocket(tcp, Some("Bearer cak_secret")).await.unwrap();
        accept(socket, &keypair(SERVICE), &Binding::None).await.unwrap().accept().await
    };
    let dialer = machine_key(port);
    let (agent, gateway) = tokio::join!(knock(&dialer), gateway);
    assert!(agent.is_ok() && gateway.is_ok());
}

// AGT-02
#[tokio::test]
async fn a_machine_key_that_does_not_count_is_told_from_a_lost_network() {
    let (listener, port) = listen().await;
    let gateway = async {
        let tcp = listener.accept().await.unwrap().0;
        websocket(tcp, Some("Bearer cak_other")).await.err()
    };
    let dialer = machine_key(port);
    let (agent, _) = tokio::join!(knock(&dialer), gateway);
    assert!(matches!(agent.err(), Some(DialError::Refused { status: 401 })));
}

#[tokio::test]
async fn nobody_there_is_told_as_that() {
    let (listener, port) = listen().await;
    drop(listener);
    let error = knock(&machine_key(port)).await.err();
    assert!(matches!(error, Some(DialError::Transport(TransportError::Connect(_)))));
}

#[tokio::test]
async fn no_address_but_loopback_is_dialled_without_tls() {
    let mut endpoint = machine_key(1);
    endpoint.address = Address::read("ws://192.0.2.1:7800/ws/agent").unwrap();
    let error = knock(&endpoint).await.err();
    assert!(matches!(error, Some(DialError::Transport(TransportError::Insecure))), "{error:?}");
}

#[test]
fn an_address_is_a_websockets() {
    for url in ["https://host/ws/agent", "host:7800", "", "wss://", "ws://:80/", "wss://a b/"] {
        assert!(matches!(Address::read(url), Err(TransportError::Url)), "{url}");
    }
    assert!(Address::read("wss://[::1]:7892/ws/agent").unwrap().is_secure());
}

#[test]
fn certificates_that_are_none_are_refused() {
    assert!(Trust::from_pem(b"").is_err());
    assert!(Credential::from_pem(b"nothing", b"here").is_err());
    let key = Credential::Key(Secret::new("cak_\n".to_owned()));
    assert!(matches!(key, Credential::Key(key) if bearer(&key).is_err()));
}

#[test]
fn a_machine_key_is_not_printed() {
    let shown = format!("{:?}", Credential::Key(Secret::new("cak_secret".to_owned())));
    assert!(!shown.contains("secret"), "{shown}");
}

// R23, R24
#[tokio::test]
async fn what_is_sent_leaves_at_once_and_what_is_not_acknowledged_ends_the_connection() {
    let (listener, port) = listen().await;
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    drop(listener);
    tune(&tcp).unwrap();
    assert!(tcp.nodelay().unwrap());
    assert_eq!(rustix::net::sockopt::tcp_user_timeout(&tcp).unwrap(), 25_000);
}

#[test]
fn another_gateway_is_dialled_over_tls_with_a_certificate_alone() {
    // MNO-03
    let authority = Authority::new();
    let dialer = mutual_tls(1, authority.trust(), authority.credential());
    for address in
        ["http://localhost:1", "ws://localhost:1", "wss://localhost:1", "localhost:1", ""]
    {
        assert!(matches!(dialer.at(address), Err(DialError::Elsewhere)), "{address}");
    }
    assert!(dialer.at("https://localhost:1").unwrap().address.is_secure());
    let (trust, key) = (authority.trust(), Secret::new("cak_secret".to_owned()));
    let with_key = mutual_tls(1, trust, Credential::Key(key));
    assert!(matches!(with_key.at("https://localhost:1"), Err(DialError::Elsewhere)));
    assert!(matches!(machine_key(1).at("https://localhost:1"), Err(DialError::Elsewhere)));
}

// MNO-03, AGT-07
#[tokio::test]
async fn another_gateway_that_the_authority_does_not_prove_is_not_spoken_to() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (acceptor, host) in [(theirs.acceptor(), "localhost"), (ours.acceptor(), "127.0.0.1")] {
        let (listener, port) = listen().await;
        let dialer = mutual_tls(1, ours.trust(), ours.credential());
        let dialer = dialer.at(&format!("https://{host}:{port}")).unwrap();
        let gateway = async { acceptor.accept(listener.accept().await.unwrap().0).await.err() };
        let (agent, gateway) = tokio::join!(knock(&dialer), gateway);
        assert!(
            matches!(agent.err(), Some(DialError::Transport(TransportError::Tls(_)))),
            "{host}"
        );
        assert!(gateway.is_some());
    }
}
