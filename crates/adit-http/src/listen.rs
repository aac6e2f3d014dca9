//! Accepts connections: plain on loopback, TLS, or mutual TLS for machines.
//!
//! A loop of our own on hyper, because a server that anybody can reach needs a deadline for headers, TLS handshakes off the accept
//! loop, caps on connections, and what TLS knows of the peer handed to the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_core::places::Places;
use adit_core::tasks::Tasks;
use adit_link::seal::Binding;
use axum::Router;
use axum::http::{Extensions, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use metrics::counter;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::debug;

pub use self::held::Patience;
use self::held::{Held, Hold};

mod held;

/// How long a peer may take to send a request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How many connections a listener holds; the rest wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// How long to wait after the system has no more descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// What is known of the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// What TLS proved, if there is TLS.
    pub tls: Option<Tls>,
    /// What asks for patience with it.
    pub patience: Patience,
}

/// What a TLS handshake proved.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The exporter's value for machine links.
    pub binding: Binding,
    /// The client's certificate, checked against our CA.
    pub certificate: Option<CertificateDer<'static>>,
}

impl Peer {
    /// Gives the peer of a request.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Tells whether the request came over TLS.
    pub fn is_tls(extensions: &Extensions) -> bool {
        Self::of(extensions).is_some_and(|peer| peer.tls.is_some())
    }
}

/// Serves a router on a listener until its tasks end. One address has so many connections at most, those that became WebSockets among
/// them; loopback has no such cap, because there it is one host's own processes.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    per_address: usize,
    tasks: Tasks,
) {
    let places = Arc::new(Places::default());
    let slots = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = tasks.ending() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                wait_for_descriptors(&error).await;
                continue;
            }
        };
        let most = if address.ip().is_loopback() { usize::MAX } else { per_address };
        let Some(place) = places.take(address.ip(), most) else {
            counter!("adit_connections_refused_total").increment(1);
            continue;
        };
        if let Err(error) = adit_link::dial::tune(&stream) {
            debug!(%error, "a connection was gone before it was served");
            continue;
        }
        let stream = Held::new(stream, Hold::new(slot, place), tasks.clone());
        let (router, acceptor, ending) = (router.clone(), acceptor.clone(), tasks.clone());
        tasks.spawn(async move {
            if let Err(error) = connection(stream, address, acceptor, router, &ending).await {
                debug!(%error, "a connection ended");
            }
        });
    }
}

// R45
async fn wait_for_descriptors(error: &io::Error) {
    counter!("adit_accept_errors_total").increment(1);
    debug!(%error, "a connection could not be accepted");
    let mut tick = tokio::time::interval(BACK_OFF);
    tick.tick().await;
    tick.tick().await;
}

async fn connection(
    stream: Held,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    ending: &Tasks,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(acceptor) = acceptor else {
        let patience = stream.patience();
        return http(stream, Peer { address, tls: None, patience }, router, ending).await;
    };
    let patience = stream.patience();
    let stream = tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await??;
    let (_, session) = stream.get_ref();
    let binding = Binding::of(session)?;
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).cloned();
    let certificate = certificate.map(CertificateDer::into_owned);
    let tls = Some(Tls { binding, certificate });
    http(stream, Peer { address, tls, patience }, router, ending).await
}

async fn http<S>(
    stream: S,
    peer: Peer,
    router: Router,
    ending: &Tasks,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(32 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let first_request = tokio::time::sleep_until(tokio::time::Instant::now() + HEADERS_WITHIN);
    tokio::pin!(first_request);
    let mut waiting = true;
    loop {
        tokio::select! {
            served = connection.as_mut() => return served,
            () = ending.ending() => {
                connection.as_mut().graceful_shutdown();
                return connection.await;
            }
            // The deadline for headers begins only once the version of HTTP is known; a client that says nothing has none.
            () = first_request.as_mut(), if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    return Err("no request came in time".into());
                }
            }
        }
    }
}
