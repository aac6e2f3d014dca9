//! Drives a [`Viewer`] over a WebSocket: one task, one write for a key.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async_with_config, tungstenite};

use super::{Event, ProtocolError, Resume, Start, Viewer};
use crate::pulse::{Alarm, Beat, Pulse, SILENCE};
use crate::socket::{Adapted, Message, Socket, SocketError, Tungstenite, websocket_config};
use crate::transport::{
    Address, DIAL_LIMIT, Transport, TransportError, Trust, Versions, tls_config,
};

/// The subprotocol of the terminal plane.
pub const SUBPROTOCOL: &str = "adit.terminal.v1";

/// A WebSocket that was dialled.
pub type TerminalSocket = Adapted<WebSocketStream<Transport>, Tungstenite>;

/// Why a viewer's connection is over, or never was.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// The address cannot be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The gateway's HTTP answer.
    #[error("the gateway answered {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer was no WebSocket of ours.
    #[error("the WebSocket's handshake failed: {0}")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// Dialling took longer than 10 s.
    #[error("the gateway did not answer within {} s", DIAL_LIMIT.as_secs())]
    Late,
    /// The gateway closed.
    #[error("the gateway closed the connection ({code:?})")]
    Closed {
        /// Its code (RFC 6455 §7.4), absent when the network cut it.
        code: Option<u16>,
    },
    /// Nothing came for 25 s.
    #[error("the gateway was silent for {} s", SILENCE.as_secs())]
    Silent,
    /// The WebSocket failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The gateway said what it must not.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl ViewerError {
    /// Tells whether a new ticket and [`Terminal::resume`] may bring the session back.
    pub fn may_resume(&self) -> bool {
        match self {
            Self::Closed { code } => code.is_none_or(|code| RETURNABLE.contains(&code)),
            Self::Refused { status } => matches!(status, 502..=504),
            Self::Transport(TransportError::Resolve(_) | TransportError::Connect(_)) => true,
            Self::Late | Self::Silent | Self::Socket(SocketError::Failed(_)) => true,
            Self::Protocol(ProtocolError::Gap(_)) => true,
            Self::Transport(_) | Self::WebSocket(_) | Self::Protocol(_) => false,
            Self::Socket(SocketError::Large) => false,
        }
    }
}

/// Close codes that do not mean the session's end: going away, no status, cut, restart, try again (RFC 6455 §7.4.1, IANA).
const RETURNABLE: [u16; 5] = [1001, 1005, 1006, 1012, 1013];

/// A terminal over a WebSocket.
pub struct Terminal<S = TerminalSocket> {
    socket: S,
    viewer: Viewer,
    unflushed: bool,
    pulse: Pulse,
    alarm: Alarm,
}

impl Terminal {
    /// Dials `ws[s]://…/ws/terminal` and redeems the ticket; [`Event::Admitted`] or [`Event::Ended`] comes first.
    ///
    /// # Errors
    /// [`ViewerError`], by the step that failed.
    pub async fn connect(url: &str, trust: &Trust, start: Start) -> Result<Self, ViewerError> {
        let dialled = timeout(DIAL_LIMIT, dial(url, trust)).await.map_err(|_| ViewerError::Late)?;
        Ok(Self::over(dialled?, start))
    }
}

impl<S: Socket> Terminal<S> {
    /// Begins over a WebSocket that is open already.
    pub fn over(socket: S, start: Start) -> Self {
        let pulse = Pulse::new(Instant::now());
        let alarm = Alarm::new(pulse.deadline());
        Self { socket, viewer: Viewer::new(start), unflushed: false, pulse, alarm }
    }

    /// Waits for the next event, and meanwhile writes what is due. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ViewerError`]; after one the connection is over.
    pub async fn next(&mut self) -> Result<Event, ViewerError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until everything taken so far is written to the socket, as far as the windows let it.
    ///
    /// # Errors
    /// [`ViewerError::Socket`].
    pub async fn flush(&mut self) -> Result<(), ViewerError> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    /// Takes input, as much as there is room for, and says how much; [`Event::InputRoom`] tells of more room.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        self.viewer.input(bytes)
    }

    /// Gives the bytes that [`Self::input`] would take.
    pub fn input_room(&self) -> usize {
        self.viewer.input_room()
    }

    /// Tells whether input waits for the machine's word that it has it.
    pub fn input_waits(&self) -> bool {
        self.viewer.input_waits()
    }

    /// Ends the input.
    pub fn eof(&mut self) {
        self.viewer.eof();
    }

    /// Tells the terminal's new size.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.viewer.resize(cols, rows);
    }

    /// Sends a signal, by its name without SIG, to a command without a terminal.
    pub fn signal(&mut self, name: &str) {
        self.viewer.signal(name);
    }

    /// Leaves on purpose; the shell goes on.
    pub fn detach(&mut self) {
        self.viewer.detach();
    }

    /// Ends the session for everybody.
    pub fn end(&mut self) {
        self.viewer.end();
    }

    /// Tells that all output before `position` is on the screen; it is acknowledged before long.
    pub fn shown(&mut self, position: u64) {
        self.viewer.shown(position, Instant::now().into_std());
    }

    /// Gives what the next connection to this session needs, after [`Self::next`] failed.
    pub fn resume(&self) -> Resume {
        self.viewer.resume()
    }

    /// Gives the first byte of input that the machine has not acknowledged.
    pub fn input_acknowledged(&self) -> u64 {
        self.viewer.input_acknowledged()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, ViewerError>> {
        loop {
            let written = self.poll_write(cx)?;
            match self.poll_read(cx)? {
                Poll::Ready(Some(event)) => return Poll::Ready(Ok(event)),
                Poll::Ready(None) => {}
                Poll::Pending => ready!(self.poll_alarm(written, cx))?,
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, ViewerError>> {
        let message = ready!(self.socket.poll_next_unpin(cx));
        let now = Instant::now();
        self.pulse.heard(now);
        let cut = ViewerError::Closed { code: None };
        Poll::Ready(match message.ok_or(cut)?? {
            Message::Binary(message) => Ok(self.viewer.handle_input(message, now.into_std())?),
            Message::Ping(_) | Message::Pong(_) => Ok(None),
            Message::Text => Err(ProtocolError::Message.into()),
            Message::Close(code) => Err(ViewerError::Closed { code }),
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ViewerError>> {
        let now = Instant::now().into_std();
        let mut socket = Pin::new(&mut self.socket);
        loop {
            ready!(socket.as_mut().poll_ready(cx))?;
            let Some(message) = self.viewer.poll_transmit(now) else { break };
            self.unflushed = true;
            socket.as_mut().start_send(Message::Binary(message))?;
        }
        if self.unflushed {
            ready!(socket.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next time at which something is due; nothing of the viewer's is while the socket takes no more.
    fn poll_alarm(
        &mut self,
        written: Poll<()>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ViewerError>> {
        let due = self.viewer.poll_timeout().filter(|_| written.is_ready()).map(Instant::from_std);
        let deadline = due.map_or(self.pulse.deadline(), |due| due.min(self.pulse.deadline()));
        let now = ready!(self.alarm.poll(deadline, cx));
        match self.pulse.beat(now) {
            Beat::Dead => return Poll::Ready(Err(ViewerError::Silent)),
            Beat::Ping => self.ping(cx)?,
            Beat::Rest => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Pings, unless bytes of ours are in the way: then a ping would tell nothing new.
    fn ping(&mut self, cx: &mut Context<'_>) -> Result<(), ViewerError> {
        let mut socket = Pin::new(&mut self.socket);
        if let Poll::Ready(ready) = socket.as_mut().poll_ready(cx) {
            ready?;
            socket.start_send(Message::Ping(bytes::Bytes::new()))?;
            self.unflushed = true;
        }
        Ok(())
    }
}

async fn dial(url: &str, trust: &Trust) -> Result<TerminalSocket, ViewerError> {
    let address = Address::read(url)?;
    let tls = match address.is_secure() {
        true => Some(tls_config(trust, None, Versions::Older)?),
        false => None,
    };
    let transport = Transport::dial(&address, tls.as_ref()).await?;
    let mut request = address.uri.into_client_request().map_err(refusal)?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    let config = Some(websocket_config());
    let dialled = client_async_with_config(request, transport, config).await;
    let (websocket, _) = dialled.map_err(refusal)?;
    Ok(Adapted::new(websocket))
}

fn refusal(error: tungstenite::Error) -> ViewerError {
    match error {
        tungstenite::Error::Http(response) => {
            ViewerError::Refused { status: response.status().as_u16() }
        }
        other => ViewerError::WebSocket(Box::new(other)),
    }
}

#[cfg(test)]
#[path = "driver/tests.rs"]
mod tests;
