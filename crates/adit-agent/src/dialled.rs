//! A dialled connection as the link of a session.

use crate::ring::Kind;
use crate::session::{FromShellFrame, LinkLost, Received, SessionLink, ToShellFrame};
use adit_link::connection::{Event, LinkError};
use adit_link::dial::AgentConnection;
use adit_wire::agent::v1::ToShell;
use adit_wire::frame::{self, Frame};
use bytes::{BufMut, BytesMut};
use prost::Message;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// A session's connection to its gateway.
pub(crate) struct Dialled(pub(crate) AgentConnection);

impl SessionLink for Dialled {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        loop {
            match ready!(self.0.poll_next(cx)) {
                Ok(Event::Frame(frame)) => return Poll::Ready(read(frame)),
                // Room is looked for before each frame.
                Ok(Event::Room) => {}
                Err(error) => return Poll::Ready(end(&error)),
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkLost>> {
        if self.0.has_room() { Poll::Ready(Ok(())) } else { self.poll_flush(cx) }
    }

    fn send(&mut self, frame: FromShellFrame<'_>) -> Result<(), LinkLost> {
        let sent = match frame {
            FromShellFrame::Message(message) => self.0.send_control(message),
            FromShellFrame::Output { kind, position, bytes } => {
                self.0.send_data(wire(kind), position, bytes)
            }
            FromShellFrame::Backlog { viewer, kind, position, bytes } => {
                let mut payload = BytesMut::with_capacity(BACKLOG_HEADER + bytes.len());
                payload.put_u32(viewer);
                payload.put_u8(wire(kind) as u8);
                payload.put_slice(bytes);
                self.0.send_data(frame::Kind::Backlog, position, &payload)
            }
        };
        sent.map_err(lost)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkLost>> {
        pin!(self.0.flush()).poll(cx).map_err(lost)
    }

    fn close(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.close(NORMAL))
    }
}

fn read(frame: Frame) -> Received {
    match frame {
        Frame::Data(data) if data.kind == frame::Kind::Input => {
            Received::Frame(ToShellFrame::Input { position: data.position, bytes: data.bytes })
        }
        Frame::Data(_) => Received::Damaged,
        Frame::Control(message) => match ToShell::decode(message) {
            Ok(message) => Received::Frame(ToShellFrame::Message(message)),
            Err(_) => Received::Damaged,
        },
    }
}

fn end(error: &LinkError) -> Received {
    match error {
        LinkError::Closed(Some(NORMAL)) => Received::Over,
        error if error.is_bad_frame() => Received::Damaged,
        error => {
            tracing::debug!(%error, "session link broke");
            Received::Lost
        }
    }
}

fn lost(error: LinkError) -> LinkLost {
    tracing::debug!(%error, "session link broke");
    LinkLost
}

fn wire(kind: Kind) -> frame::Kind {
    match kind {
        Kind::Output => frame::Kind::Output,
        Kind::Error => frame::Kind::Stderr,
    }
}

/// RFC 6455 §7.4.1: the session is over.
const NORMAL: u16 = 1000;
/// The viewer's number and the kind.
const BACKLOG_HEADER: usize = 5;
