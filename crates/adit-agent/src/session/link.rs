//! What a session asks of the connection to its gateway.

use crate::ring::Kind;
use adit_wire::agent::v1::{FromShell, ToShell};
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One frame from the gateway, opened and read.
#[derive(Debug, Clone, PartialEq)]
pub enum ToShellFrame {
    /// What a writer typed.
    Input {
        /// The position of the first byte among this writer's.
        position: u64,
        /// At most 16 KiB.
        bytes: Bytes,
    },
    /// Anything else.
    Message(ToShell),
}

/// One frame to the gateway.
#[derive(Debug, Clone, PartialEq)]
pub enum FromShellFrame<'a> {
    /// Output for everybody.
    Output {
        /// Which stream.
        kind: Kind,
        /// The position of the first byte.
        position: u64,
        /// At most 32 KiB.
        bytes: &'a [u8],
    },
    /// Earlier output for one viewer.
    Backlog {
        /// The viewer.
        viewer: u32,
        /// Which stream.
        kind: Kind,
        /// The position of the first byte.
        position: u64,
        /// At most 32 KiB.
        bytes: &'a [u8],
    },
    /// Anything else.
    Message(&'a FromShell),
}

/// What came over a session's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A frame.
    Frame(ToShellFrame),
    /// Something damaged or forged; the connection is of no more use.
    Damaged,
    /// The connection broke; the session waits for the next one.
    Lost,
    /// The gateway has closed the session for good.
    Over,
}

/// The connection is of no more use; the session waits for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is lost")]
pub struct LinkLost;

/// A session's sealed connection, polled from the session's own task so that no hand-over lies between it and the shell.
pub trait SessionLink: Send + Unpin {
    /// Takes the next frame; anything else is the last that comes.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Ready when one more frame may be sent, after writing out what must go first.
    ///
    /// # Errors
    /// [`LinkLost`] once and for all.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkLost>>;

    /// Seals one frame into the write buffer; only after [`SessionLink::poll_ready`] said so.
    ///
    /// # Errors
    /// [`LinkLost`] once and for all.
    fn send(&mut self, frame: FromShellFrame<'_>) -> Result<(), LinkLost>;

    /// Writes the buffer to the connection.
    ///
    /// # Errors
    /// [`LinkLost`] once and for all.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkLost>>;

    /// Lets the last frames arrive and closes for good.
    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
