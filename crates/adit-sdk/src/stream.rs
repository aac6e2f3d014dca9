//! How a stream is made of a session: carried by the gateway (`relay`, `tunnel`) or dialled (`direct`), sealed between the ends
//! (`seal.rs`), and opened by one line.
//!
//! The target sends the session's id, 32 bytes; the source answers with one byte: [`ACCEPTED`], or why not. What follows is the stream.

use std::net::SocketAddr;
use std::time::Duration;

use adit_domain::CertificateName;
use adit_domain::reach::{Networks, read_peer};
use reqwest::Method;
use reqwest::header::{CONNECTION, UPGRADE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Direct, Transport, refusal};
use crate::seal::{self, BoxPipe, Seal, Sealed};
use crate::{TicketClient, TicketError};

/// The length of a session's id, in characters.
const ID: usize = 32;

/// The source's answer when it carries on.
const ACCEPTED: u8 = 0;

/// The source's answer to a session that the gateway did not tell it of.
const UNKNOWN: u8 = 1;

/// The source's answer when what it offers does not answer.
const SILENT: u8 = 2;

/// How long dialling may take, and each of the first bytes.
const DIAL_WITHIN: Duration = Duration::from_secs(10);

/// How long the gateway may take to bring both ends together.
const BRING_WITHIN: Duration = Duration::from_secs(15);

/// The buffer of each direction, in bytes.
pub const BUFFER: usize = 64 * 1024;

/// A stream to a source, and how it goes.
pub struct Reached {
    /// The stream.
    pub stream: Sealed,
    /// `relay`, `tunnel` or `direct`.
    pub via: String,
}

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reached({})", self.via)
    }
}

impl TicketClient {
    /// Has the gateway carry a stream of a session, as its target.
    ///
    /// # Errors
    /// [`TicketError`]; 404, 409 when the session is over, 503 when the source does not answer.
    pub async fn open_stream(&self, session: &str, via: &str) -> Result<BoxPipe, TicketError> {
        self.upgrade(&format!("/api/tickets/sessions/{session}/stream?via={via}")).await
    }

    /// Answers a stream that a target opened, as its source.
    ///
    /// # Errors
    /// [`TicketError`]; 404 when nobody waits for it any more.
    pub async fn answer_stream(&self, session: &str, stream: &str) -> Result<BoxPipe, TicketError> {
        self.upgrade(&format!("/api/tickets/sessions/{session}/stream?stream={stream}")).await
    }

    async fn upgrade(&self, path: &str) -> Result<BoxPipe, TicketError> {
        let request = self.request(Method::GET, path);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "adit-stream");
        let answer = tokio::time::timeout(BRING_WITHIN, request.send()).await;
        let answer = answer.map_err(|_| stream("the gateway did not answer in time"))??;
        if answer.status().as_u16() != 101 {
            return Err(refusal(answer).await.into());
        }
        Ok(Box::new(answer.upgrade().await?))
    }
}

/// Opens a stream of a session by the first strategy that works.
///
/// # Errors
/// [`TicketError`] of the last that was tried; a session that is over ends the trying.
pub async fn reach(
    client: &TicketClient,
    seal: &Seal,
    session: &str,
    (source, transport): (&str, &Transport),
) -> Result<Reached, TicketError> {
    let name = read_peer(source).map_err(|_| stream("the source has a name that is none"))?;
    let mut last = stream("the instance has no way that this machine knows");
    for via in &transport.strategies {
        let opened = match via.as_str() {
            "relay" | "tunnel" => match client.open_stream(session, via).await {
                Ok(pipe) => begin(seal, pipe, session, (&name, None)).await,
                Err(error) => Err(error),
            },
            "direct" => directly(client, seal, session, (&name, transport)).await,
            _ => continue,
        };
        match opened {
            Ok(stream) => return Ok(Reached { stream, via: via.clone() }),
            Err(error) if matches!(error.status_code(), Some(401 | 404 | 409)) => {
                return Err(error);
            }
            Err(error) => {
                tracing::debug!(%error, %via, "a way to the source does not work");
                last = error;
            }
        }
    }
    Err(last)
}

/// Dials a source without the gateway, which is asked whether the session lives and which certificates the source may show.
async fn directly(
    client: &TicketClient,
    seal: &Seal,
    session: &str,
    (name, transport): (&CertificateName, &Transport),
) -> Result<Sealed, TicketError> {
    let heartbeat = client.ask_about_peer(session).await?;
    if !heartbeat.authorized {
        return Err(stream("the session is over"));
    }
    let pipe = tokio::time::timeout(DIAL_WITHIN, dial(transport)).await;
    let pipe = pipe.map_err(|_| stream("the source's address does not answer"))??;
    begin(seal, pipe, session, (name, Some(&heartbeat.peer_certificates))).await
}

/// Has a connection send what it is given at once, and wait for a peer that does not read.
pub fn tuned(tcp: TcpStream) -> TcpStream {
    if let Err(error) = adit_link::dial::be_patient(&tcp) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
    tcp
}

/// Dials a source at an address that may be dialled: each is looked at after its name was resolved, and it is that address that is
/// connected to.
async fn dial(transport: &Transport) -> Result<BoxPipe, TicketError> {
    let networks = Networks::read(transport.allowed_networks.iter().map(String::as_str))
        .map_err(|_| stream("the gateway allows networks that cannot be read"))?;
    let direct = transport.direct.as_ref().ok_or_else(|| stream("the instance has no address"))?;
    let mut last = stream("the instance's name has no address that may be dialled");
    for address in resolve(direct, &networks).await? {
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(Box::new(tuned(tcp))),
            Err(error) => last = stream(format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn resolve(direct: &Direct, networks: &Networks) -> Result<Vec<SocketAddr>, TicketError> {
    let host =
        networks.host(&direct.host).map_err(|why| stream(format!("{}: {why}", direct.host)))?;
    let found =
        tokio::time::timeout(DIAL_WITHIN, tokio::net::lookup_host((host.to_string(), direct.port)));
    let found = found.await.map_err(|_| stream(format!("{host} cannot be resolved in time")))?;
    let found = found.map_err(|error| stream(format!("{host}: {error}")))?;
    Ok(found.filter(|address| networks.allow(address.ip())).collect())
}

async fn begin(
    seal: &Seal,
    pipe: BoxPipe,
    session: &str,
    (source, known): (&CertificateName, Option<&[String]>),
) -> Result<Sealed, TicketError> {
    let mut sealed = seal.as_target(pipe, source).await?;
    let shown = seal::fingerprint(&sealed);
    if known.is_some_and(|known| shown.is_none_or(|shown| !known.contains(&shown))) {
        return Err(stream("a machine answered whose certificate does not count for this session"));
    }
    let broken = |error: std::io::Error| stream(format!("the stream broke: {error}"));
    sealed.write_all(session.as_bytes()).await.map_err(broken)?;
    sealed.flush().await.map_err(broken)?;
    let answer = tokio::time::timeout(BRING_WITHIN, sealed.read_u8()).await;
    match answer.map_err(|_| stream("the source does not answer"))?.map_err(broken)? {
        ACCEPTED => Ok(sealed),
        UNKNOWN => Err(stream("the source does not know this session")),
        SILENT => Err(stream("what the source offers does not answer there")),
        _ => Err(stream("the source answered something else")),
    }
}

/// A target that has proved itself and said its session.
pub(crate) struct Came {
    pub(crate) stream: Sealed,
    pub(crate) target: CertificateName,
    pub(crate) session: String,
}

/// Seals a carrier as its source and reads which session it is for.
pub(crate) async fn receive(seal: &Seal, pipe: BoxPipe) -> Result<Came, TicketError> {
    let (mut sealed, target) = seal.as_source(pipe).await?;
    let mut id = [0; ID];
    let read = tokio::time::timeout(DIAL_WITHIN, sealed.read_exact(&mut id)).await;
    read.map_err(|_| stream("the target said nothing"))?
        .map_err(|error| stream(format!("the stream broke: {error}")))?;
    let session =
        String::from_utf8(id.to_vec()).map_err(|_| stream("the target said no session"))?;
    Ok(Came { stream: sealed, target, session })
}

/// Answers a target whose session is not known here.
pub(crate) async fn refuse(mut came: Came) {
    // A target that does not hear it sees the stream end.
    let _ = came.stream.write_u8(UNKNOWN).await;
    let _ = came.stream.shutdown().await;
}

/// Carries a stream to what this machine offers, until both have said their last.
pub(crate) async fn carry(came: Came, to: &str) -> Result<(), TicketError> {
    let mut sealed = came.stream;
    let connected = tokio::time::timeout(DIAL_WITHIN, TcpStream::connect(to)).await;
    let tcp = match connected {
        Ok(Ok(tcp)) => tuned(tcp),
        Ok(Err(_)) | Err(_) => {
            let _ = sealed.write_u8(SILENT).await;
            let _ = sealed.shutdown().await;
            return Err(stream(format!("{to} does not answer")));
        }
    };
    let broken = |error: std::io::Error| stream(format!("a stream broke: {error}"));
    sealed.write_u8(ACCEPTED).await.map_err(broken)?;
    sealed.flush().await.map_err(broken)?;
    let mut cut = Cut::new(tcp);
    let copied =
        tokio::io::copy_bidirectional_with_sizes(&mut sealed, &mut cut.0, BUFFER, BUFFER).await;
    copied.map(|_| cut.is_whole()).map_err(broken)
}

/// A program's connection that ends by a reset unless its stream ended by itself: half of a transfer must not look like the whole.
#[derive(Debug)]
pub struct Cut(pub TcpStream, bool);

impl Cut {
    /// Takes a connection whose stream begins.
    pub fn new(tcp: TcpStream) -> Self {
        Self(tcp, false)
    }

    /// Notes that the stream ended by itself.
    pub fn is_whole(mut self) {
        self.1 = true;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !self.1
            && let Err(error) = self.0.set_zero_linger()
        {
            tracing::debug!(%error, "a connection ends as if its stream had");
        }
    }
}

pub(crate) fn stream(why: impl Into<String>) -> TicketError {
    TicketError::Stream(why.into())
}
