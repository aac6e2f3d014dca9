//! What every form of `/ws/terminal` shares: the caps, the reading of one message, and the end (RFC 6455 §7).
//!
//! [`echo`] is the same beginning, caps and end around a session of its own, so that a conformance suite can judge them.

use std::collections::VecDeque;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use adit_domain::Code;
use adit_link::socket::{MAX_MESSAGE, READ_BUFFER, WRITE_BUFFER};
use adit_wire::frame::FrameError;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use metrics::counter;
use tokio_tungstenite::tungstenite;

/// How long a close may take: to be written, and to be answered.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How many messages are written before other connections have their turn.
const MESSAGES_A_TURN: usize = 8;

/// The sending half.
pub(crate) type Out = SplitSink<WebSocket, Message>;

/// The receiving half.
pub(crate) type In = SplitStream<WebSocket>;

/// Gives a WebSocket the caps of its plane.
pub(crate) fn capped(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    ws.read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
}

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    Binary(Bytes),
    Text(String),
}

/// Reads the next message, letting pings and pongs pass.
pub(crate) async fn next(incoming: &mut In) -> Result<Incoming, Closing> {
    loop {
        match incoming.next().await {
            None => return Err(Closing::Gone),
            Some(Ok(Message::Close(_))) => return Err(Closing::Asked),
            Some(Err(error)) => return Err(Closing::from(error)),
            Some(Ok(Message::Binary(bytes))) => return Ok(Incoming::Binary(bytes)),
            Some(Ok(Message::Text(text))) => return Ok(Incoming::Text(text.as_str().to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
        }
    }
}

/// Why a connection ends before its session does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Closing {
    /// With a code that the viewer is told.
    Code(Code),
    /// A frame over the cap.
    TooLarge,
    /// Bytes that are no frame.
    Invalid,
    /// A text that is not UTF-8.
    NotText,
    /// We failed at it.
    Failed,
    /// The viewer asked for it.
    Asked,
    /// The viewer is not there any more.
    Gone,
}

impl From<FrameError> for Closing {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Large(_) => Self::TooLarge,
            _ => Self::Invalid,
        }
    }
}

impl From<axum::Error> for Closing {
    fn from(error: axum::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<tungstenite::Error>());
        match cause {
            Some(tungstenite::Error::Capacity(_)) => Self::TooLarge,
            Some(tungstenite::Error::Utf8(_)) => Self::NotText,
            Some(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => Self::Gone,
            Some(tungstenite::Error::Protocol(_) | tungstenite::Error::AttackAttempt) => {
                Self::Invalid
            }
            _ => Self::Gone,
        }
    }
}

/// Notes that what served a viewer panicked; the session goes on, and the viewer may come back.
pub(crate) fn failed() -> Closing {
    counter!("adit_task_panics_total").increment(1);
    Closing::Failed
}

/// Ends a connection as its last message asks for.
pub(crate) async fn finish(out: &mut Out, incoming: &mut In, closing: Closing) {
    let (code, reason) = match closing {
        Closing::Gone => return,
        Closing::Asked => {
            // The answer waits in the library's buffer. A peer that does not take it is gone all the same.
            let _ = tokio::time::timeout(CLOSE_WITHIN, out.flush()).await;
            return;
        }
        Closing::Code(code) => (code.close_code(), code),
        Closing::TooLarge => (1009, Code::FrameTooLarge),
        Closing::Invalid => (1002, Code::FrameInvalid),
        Closing::NotText => (1007, Code::FrameInvalid),
        Closing::Failed => (1011, Code::Internal),
    };
    let last = Message::Close(Some(CloseFrame { code, reason: reason.as_str().into() }));
    let closed = async {
        if out.send(last).await.is_ok() {
            // What is still coming is thrown away until the answer: bytes left unread would reset the connection
            // (RFC 1122 §4.2.2.13), and the reason with it.
            while incoming.next().await.is_some_and(|message| message.is_ok()) {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_WITHIN, closed).await;
}

/// Writes everything, then flushes; can be dropped between any two polls without losing a message.
pub(crate) async fn pump(out: &mut Out, queue: &mut VecDeque<Message>) -> Result<(), axum::Error> {
    while !queue.is_empty() {
        if queue.len().is_multiple_of(MESSAGES_A_TURN) {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| Pin::new(&mut *out).poll_ready(cx)).await?;
        if let Some(message) = queue.pop_front() {
            out.start_send_unpin(message)?;
        }
    }
    out.flush().await
}

/// Answers every message with itself, between the beginning and the end that a viewer's connection has.
#[doc(hidden)]
pub async fn echo(ws: WebSocketUpgrade) -> Response {
    capped(ws).on_upgrade(|socket| async {
        let (mut out, mut incoming) = socket.split();
        let ended = loop {
            let message = match next(&mut incoming).await {
                Ok(Incoming::Binary(bytes)) => Message::Binary(bytes),
                Ok(Incoming::Text(text)) => Message::Text(text.into()),
                Err(closing) => break closing,
            };
            if out.send(message).await.is_err() {
                break Closing::Gone;
            }
        };
        finish(&mut out, &mut incoming, ended).await;
    })
}
