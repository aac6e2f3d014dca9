//! What a WebSocket must be for a [`crate::Connection`] to run over it, whichever library speaks it.

use std::error::Error;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_wire::frame::MAX_FRAME;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite;

/// The largest message and the largest WebSocket frame taken, in bytes: the cap of the terminal plane.
pub const MAX_MESSAGE: usize = MAX_FRAME;

/// The read buffer of a WebSocket, in bytes: allocated for each connection, so small; a longer frame grows it.
pub const READ_BUFFER: usize = 4 * 1024;

/// The bytes gathered before a write, in bytes: many small frames leave together, and one of bulk output leaves at once.
pub const WRITE_BUFFER: usize = 16 * 1024;

/// One WebSocket message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Bytes.
    Binary(Bytes),
    /// A text, which no plane of ours takes.
    Text,
    /// The question whether the peer lives.
    Ping(Bytes),
    /// The answer.
    Pong(Bytes),
    /// The end, with its code (RFC 6455 §7.4).
    Close(Option<u16>),
}

/// Why a WebSocket failed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A message over [`MAX_MESSAGE`].
    #[error("a message is over the cap of {MAX_MESSAGE} bytes")]
    Large,
    /// The library's own reason.
    #[error("the WebSocket failed: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A WebSocket.
pub trait Socket:
    Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Unpin
{
}

impl<S> Socket for S where
    S: Stream<Item = Result<Message, SocketError>> + Sink<Message, Error = SocketError> + Unpin
{
}

/// How one library writes a [`Message`].
pub trait Dialect {
    /// The library's message.
    type Message;
    /// The library's error.
    type Error: Error + Send + Sync + 'static;
    /// Reads the library's message.
    fn read(theirs: Self::Message) -> Message;
    /// Writes the library's message.
    fn write(ours: Message) -> Self::Message;
    /// Reads the library's error.
    fn error(theirs: Self::Error) -> SocketError {
        SocketError::Failed(theirs.into())
    }
}

/// A library's WebSocket as a [`Socket`].
pub struct Adapted<W, D> {
    websocket: W,
    dialect: PhantomData<fn() -> D>,
}

impl<W, D> Adapted<W, D> {
    /// Takes the library's WebSocket.
    pub fn new(websocket: W) -> Self {
        Self { websocket, dialect: PhantomData }
    }

    /// Gives the library's WebSocket back.
    pub fn into_inner(self) -> W {
        self.websocket
    }
}

impl<W, D: Dialect> Stream for Adapted<W, D>
where
    W: Stream<Item = Result<D::Message, D::Error>> + Unpin,
{
    type Item = Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(Pin::new(&mut self.websocket).poll_next(cx));
        Poll::Ready(item.map(|message| message.map(D::read).map_err(D::error)))
    }
}

impl<W, D: Dialect> Sink<Message> for Adapted<W, D>
where
    W: Sink<D::Message, Error = D::Error> + Unpin,
{
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.websocket).poll_ready(cx).map_err(D::error)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        Pin::new(&mut self.websocket).start_send(D::write(message)).map_err(D::error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.websocket).poll_flush(cx).map_err(D::error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.websocket).poll_close(cx).map_err(D::error)
    }
}

/// The dialect of tungstenite.
pub enum Tungstenite {}

impl Dialect for Tungstenite {
    type Message = tungstenite::Message;
    type Error = tungstenite::Error;

    fn read(theirs: tungstenite::Message) -> Message {
        match theirs {
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
            tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
            tungstenite::Message::Close(frame) => Message::Close(frame.map(|f| f.code.into())),
            tungstenite::Message::Text(_) | tungstenite::Message::Frame(_) => Message::Text,
        }
    }

    fn write(ours: Message) -> tungstenite::Message {
        match ours {
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
            Message::Text => tungstenite::Message::text(""),
            Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
            Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
            Message::Close(code) => tungstenite::Message::Close(code.map(close_frame)),
        }
    }

    fn error(theirs: tungstenite::Error) -> SocketError {
        match theirs {
            tungstenite::Error::Capacity(_) => SocketError::Large,
            other => SocketError::Failed(other.into()),
        }
    }
}

fn close_frame(code: u16) -> tungstenite::protocol::CloseFrame {
    tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() }
}

/// Gives the caps and buffers of a connection of ours to tungstenite.
pub fn websocket_config() -> tungstenite::protocol::WebSocketConfig {
    tungstenite::protocol::WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
