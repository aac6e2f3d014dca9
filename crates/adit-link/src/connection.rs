//! One sealed connection over one WebSocket, driven by the task that owns it.
//!
//! There is no task, channel or lock inside: [`Connection::next`] reads, writes what was queued, pings and notices a dead peer, all
//! in the one `select!` loop of its owner; so a key costs no wake-up but the socket's.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_wire::agent::v1 as pb;
use adit_wire::frame::{Frame, Kind};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};

use crate::keys::{Keypair, PublicKey};
use crate::pulse::{Alarm, Beat, MAX_PINGS, Pulse, SILENCE};
use crate::seal::{Binding, Initiator, Responder, SealError, Sealed};
use crate::socket::{Message, Socket, SocketError};

/// How long a handshake may take.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The bytes queued from which a sender of bulk waits: a few frames of output, under a millisecond of loopback.
const ROOM: usize = 128 * 1024;

/// The messages queued from which a sender of bulk waits: bounds the queue's memory for small frames.
const ROOM_MESSAGES: usize = 512;

/// The bytes queued at which the connection fails: only a sender that ignores [`Connection::has_room`] gets here.
const OVERRUN: usize = 4 * 1024 * 1024;

/// How long a close may take, to let the last frames and the close code arrive.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Policy violation (RFC 6455 §7.4.1): all that a peer hears of a failed handshake.
const POLICY: u16 = 1008;

/// Why a connection is over; the session goes on over another.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer closed, with its code.
    #[error("the peer closed the connection ({0:?})")]
    Closed(Option<u16>),
    /// Nothing came for [`SILENCE`].
    #[error("the peer was silent for {} s", SILENCE.as_secs())]
    Silent,
    /// The handshake took longer than [`HANDSHAKE_LIMIT`].
    #[error("the handshake took longer than {} s", HANDSHAKE_LIMIT.as_secs())]
    Late,
    /// More was queued than a peer that reads can leave behind.
    #[error("the queue to the peer is over {OVERRUN} bytes")]
    Overrun,
    /// More pings than [`MAX_PINGS`].
    #[error("the peer sends too many pings")]
    Flood,
    /// A text message.
    #[error("the peer sent text")]
    Text,
    /// A message that the channel refuses.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The WebSocket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl LinkError {
    /// Tells a forged, damaged or oversized message from a lost network; a few of them end the session.
    pub fn is_bad_frame(&self) -> bool {
        match self {
            Self::Seal(_) | Self::Text | Self::Flood | Self::Socket(SocketError::Large) => true,
            Self::Closed(_) | Self::Silent | Self::Late | Self::Overrun => false,
            Self::Socket(SocketError::Failed(_)) => false,
        }
    }
}

/// What [`Connection::next`] brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A frame of the peer.
    Frame(Frame),
    /// There is room again for bulk; told once after there was none.
    Room,
}

/// A sealed connection.
pub struct Connection<S> {
    socket: S,
    sealed: Sealed,
    /// The peer's first frame, which was read to know that the peer is there.
    first: Option<Frame>,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    unflushed: bool,
    wants_room: bool,
    pulse: Pulse,
    alarm: Alarm,
}

/// A machine that knocks; nothing was answered yet.
pub struct Offer<S> {
    socket: S,
    responder: Responder,
}

/// Waits for a machine's first message.
///
/// # Errors
/// [`LinkError::Late`] after [`HANDSHAKE_LIMIT`]; [`LinkError::Seal`] for a handshake that fails, which the peer hears as 1008 alone.
pub async fn accept<S: Socket>(
    mut socket: S,
    keys: &Keypair,
    binding: &Binding,
) -> Result<Offer<S>, LinkError> {
    let first = within_limit(read_binary(&mut socket)).await?;
    match Responder::read(&first, keys, binding) {
        Ok(responder) => Ok(Offer { socket, responder }),
        Err(error) => {
            close(socket, POLICY).await;
            Err(error.into())
        }
    }
}

/// Opens the channel from the agent's side, over a WebSocket that is open already.
///
/// # Errors
/// [`LinkError::Late`] after [`HANDSHAKE_LIMIT`]; [`LinkError::Seal`] when the gateway is not the session service.
pub async fn connect<S: Socket>(
    mut socket: S,
    preamble: pb::Preamble,
    keys: &Keypair,
    service: PublicKey,
    binding: &Binding,
) -> Result<Connection<S>, LinkError> {
    let (initiator, first) = Initiator::start(preamble, keys, service, binding)?;
    let reply = within_limit(async {
        socket.send(Message::Binary(first)).await?;
        read_binary(&mut socket).await
    });
    let reply = reply.await?;
    Ok(Connection::new(socket, initiator.finish(&reply)?))
}

impl<S: Socket> Offer<S> {
    /// Gives what the machine wants.
    pub fn preamble(&self) -> &pb::Preamble {
        self.responder.preamble()
    }

    /// Gives the key that the machine proved; the caller compares it with the one of enrolment.
    pub fn machine(&self) -> PublicKey {
        self.responder.machine()
    }

    /// Answers, and waits for the machine's first frame, which [`Connection::next`] then brings.
    ///
    /// A handshake's first message can be sent again by who saw it; only a frame proves that the machine is at the other end.
    ///
    /// # Errors
    /// [`LinkError::Late`] after [`HANDSHAKE_LIMIT`], [`LinkError::Seal`] for a first frame that is not the machine's.
    pub async fn accept(mut self) -> Result<Connection<S>, LinkError> {
        let (mut sealed, reply) = self.responder.answer()?;
        let first = within_limit(async {
            self.socket.send(Message::Binary(reply)).await?;
            read_binary(&mut self.socket).await
        });
        let first = sealed.open(&first.await?)?;
        let mut connection = Connection::new(self.socket, sealed);
        connection.first = Some(first);
        Ok(connection)
    }

    /// Closes without an answer.
    pub async fn refuse(self, close_code: u16) {
        close(self.socket, close_code).await;
    }
}

impl<S: Socket> Connection<S> {
    fn new(socket: S, sealed: Sealed) -> Self {
        let pulse = Pulse::new(Instant::now());
        Self {
            socket,
            sealed,
            first: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            unflushed: false,
            wants_room: false,
            alarm: Alarm::new(pulse.deadline()),
            pulse,
        }
    }

    /// Waits for the next event, and meanwhile writes what is queued. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`LinkError`]; after one the connection is over.
    pub async fn next(&mut self) -> Result<Event, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Polls what [`Self::next`] waits for.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, LinkError>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(Event::Frame(first)));
        }
        if self.wants_room && self.has_room() {
            self.wants_room = false;
            return Poll::Ready(Ok(Event::Room));
        }
        if let Poll::Ready(read) = self.poll_read(cx) {
            return Poll::Ready(read.map(Event::Frame));
        }
        self.poll_pulse(cx)
    }

    /// Writes and pings but reads nothing, so that the peer stops sending and yet knows that this end lives; ends by failing alone.
    ///
    /// What is not read cannot tell whether the peer lives, so its silence counts from the end of the hold.
    pub async fn hold(&mut self) -> LinkError {
        poll_fn(|cx| self.poll_hold(cx)).await
    }

    /// Polls what [`Self::hold`] waits for.
    pub fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<LinkError> {
        self.pulse.heard(Instant::now());
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(error);
        }
        // Nothing is read, so a socket that was cut off is noticed here.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.socket).poll_ready(cx) {
            return Poll::Ready(error.into());
        }
        loop {
            let now = ready!(self.alarm.poll(self.pulse.deadline(), cx));
            self.pulse.held(now);
            if self.pulse.beat(now) == Beat::Ping
                && let Err(error) = self.ping(cx)
            {
                return Poll::Ready(error);
            }
        }
    }

    /// Seals and queues a frame; it leaves when [`Self::next`] or [`Self::flush`] is polled.
    ///
    /// # Errors
    /// [`LinkError::Overrun`] and [`LinkError::Seal`].
    pub fn send(&mut self, frame: &Frame) -> Result<(), LinkError> {
        let message = self.sealed.seal(frame)?;
        self.push(message)
    }

    /// Seals and queues a data frame around a payload.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_data(
        &mut self,
        kind: Kind,
        position: u64,
        payload: &[u8],
    ) -> Result<(), LinkError> {
        let message = self.sealed.seal_data(kind, position, payload)?;
        self.push(message)
    }

    /// Seals and queues one protobuf message.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_control(&mut self, message: &impl prost::Message) -> Result<(), LinkError> {
        let message = self.sealed.seal_control(message)?;
        self.push(message)
    }

    /// Tells whether bulk may be queued; who gets `false` waits for [`Event::Room`] before it reads more from its source.
    pub fn has_room(&self) -> bool {
        self.queued_bytes < ROOM && self.queue.len() < ROOM_MESSAGES
    }

    /// Waits until everything queued is written to the socket.
    ///
    /// # Errors
    /// [`LinkError::Socket`].
    pub async fn flush(&mut self) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Writes what is queued and closes; gives up after some seconds.
    pub async fn close(mut self, close_code: u16) {
        if let Ok(Ok(())) = timeout(CLOSE_LIMIT, self.flush()).await {
            close(self.socket, close_code).await;
        }
    }

    fn push(&mut self, message: Bytes) -> Result<(), LinkError> {
        self.queued_bytes += message.len();
        self.queue.push_back(message);
        self.wants_room |= !self.has_room();
        if self.queued_bytes > OVERRUN {
            return Err(LinkError::Overrun);
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.queue.is_empty() {
            ready!(socket.as_mut().poll_ready(cx))?;
            let Some(message) = self.queue.pop_front() else { break };
            self.queued_bytes -= message.len();
            self.unflushed = true;
            socket.as_mut().start_send(Message::Binary(message))?;
        }
        if self.unflushed {
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
            self.queue.shrink_to(IDLE_QUEUE);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        loop {
            let message = ready!(self.socket.poll_next_unpin(cx));
            self.pulse.heard(Instant::now());
            match message.ok_or(LinkError::Closed(None))?? {
                Message::Binary(message) => return Poll::Ready(Ok(self.sealed.open(&message)?)),
                Message::Ping(_) if self.pulse.is_flooded() => {
                    return Poll::Ready(Err(LinkError::Flood));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text => return Poll::Ready(Err(LinkError::Text)),
                Message::Close(code) => return Poll::Ready(Err(LinkError::Closed(code))),
            }
        }
    }

    fn poll_pulse<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, LinkError>> {
        loop {
            let now = ready!(self.alarm.poll(self.pulse.deadline(), cx));
            match self.pulse.beat(now) {
                Beat::Rest => {}
                Beat::Ping => self.ping(cx)?,
                Beat::Dead => return Poll::Ready(Err(LinkError::Silent)),
            }
        }
    }

    /// Pings, unless bytes of ours are in the way: then a ping would tell nothing new.
    fn ping(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        let mut socket = Pin::new(&mut self.socket);
        if let Poll::Ready(ready) = socket.as_mut().poll_ready(cx) {
            ready?;
            socket.start_send(Message::Ping(Bytes::new()))?;
            self.unflushed = true;
        }
        match self.poll_write(cx) {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(()),
        }
    }
}

/// The queue's memory that an idle connection keeps, in messages.
const IDLE_QUEUE: usize = 8;

async fn read_binary<S: Socket>(socket: &mut S) -> Result<Bytes, LinkError> {
    for _ in 0..=MAX_PINGS {
        match socket.next().await.ok_or(LinkError::Closed(None))?? {
            Message::Binary(message) => return Ok(message),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Text => return Err(LinkError::Text),
            Message::Close(code) => return Err(LinkError::Closed(code)),
        }
    }
    Err(LinkError::Flood)
}

async fn within_limit<T>(step: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    timeout(HANDSHAKE_LIMIT, step).await.unwrap_or(Err(LinkError::Late))
}

/// Sends the close code and waits a little for the peer's: a socket dropped with bytes unread would take the code back.
async fn close<S: Socket>(mut socket: S, code: u16) {
    let farewell = async {
        if socket.send(Message::Close(Some(code))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A peer that never answers is dropped with the socket.
    let _ = timeout(CLOSE_LIMIT, farewell).await;
}

#[cfg(test)]
#[path = "connection/tests.rs"]
mod tests;
