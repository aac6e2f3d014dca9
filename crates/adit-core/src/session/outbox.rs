//! What waits to be sent to one viewer.
//!
//! A queue between the relay, which puts frames in and never waits, and the viewer's plane, which takes all there is at once and
//! writes it in one go. Its bound is the relay's: at most [`super::relay::VIEWER_WINDOW`] bytes past what the viewer acknowledged
//! are ever put in, and a control message only in answer to something that itself is bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use adit_domain::{Code, EndReason};
use adit_wire::frame::Kind;
use adit_wire::terminal::v1::Ended;
use adit_wire::terminal::v1::from_gateway::Message;
use bytes::Bytes;
use tokio::sync::Notify;

/// One thing for a viewer.
#[derive(Clone, Debug)]
pub enum ToViewer {
    /// Output at a position.
    Data {
        /// Output or stderr.
        kind: Kind,
        /// The position of the first byte.
        position: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A message.
    Control(Box<Message>),
    /// The last thing: close the connection.
    Close(EndReason),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<ToViewer>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// The relay's end.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Arc<Shared>);

/// The plane's end.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

impl Outbox {
    /// Makes both ends.
    pub fn new() -> (Self, Inbox) {
        let shared = Arc::new(Shared::default());
        (Self(Arc::clone(&shared)), Inbox(shared))
    }

    /// Puts one thing in. After a close nothing more is taken.
    pub fn put(&self, item: ToViewer) {
        let mut queue = self.0.lock();
        if queue.closed {
            return;
        }
        queue.closed = matches!(item, ToViewer::Close(_));
        let was_empty = queue.items.is_empty();
        queue.items.push_back(item);
        drop(queue);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Drops the output that was not yet taken: a snapshot takes its place.
    pub fn drop_data(&self) {
        self.0.lock().items.retain(|item| !matches!(item, ToViewer::Data { .. }));
    }
}

impl Drop for Outbox {
    /// Tells a viewer of the end that a session's task could not tell it, because it panicked.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = EndReason::Because(Code::SessionFailed);
            let ended = Ended {
                code: reason.code().as_str().to_owned(),
                sentence: reason.to_string(),
                ..Ended::default()
            };
            self.put(ToViewer::Control(Box::new(Message::Ended(ended))));
            self.put(ToViewer::Close(reason));
        }
    }
}

impl Inbox {
    /// Waits until something is there, and moves all of it into `into`.
    pub async fn take(&self, into: &mut VecDeque<ToViewer>) {
        loop {
            {
                let mut queue = self.0.lock();
                if !queue.items.is_empty() {
                    into.append(&mut queue.items);
                    return;
                }
            }
            self.0.filled.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(position: u64) -> ToViewer {
        ToViewer::Data { kind: Kind::Output, position, bytes: Bytes::from_static(b"x") }
    }

    #[tokio::test]
    async fn everything_is_taken_at_once_and_in_order() {
        let (outbox, inbox) = Outbox::new();
        outbox.put(data(0));
        outbox.put(data(1));
        let mut taken = VecDeque::new();
        inbox.take(&mut taken).await;
        let positions: Vec<u64> = taken
            .iter()
            .map(|item| match item {
                ToViewer::Data { position, .. } => *position,
                _ => panic!("only data was put in"),
            })
            .collect();
        assert_eq!(positions, [0, 1]);
    }

    #[tokio::test]
    async fn nothing_follows_a_close() {
        let (outbox, inbox) = Outbox::new();
        outbox.put(ToViewer::Close(EndReason::Exited(0)));
        outbox.put(data(0));
        let mut taken = VecDeque::new();
        inbox.take(&mut taken).await;
        assert_eq!(taken.len(), 1);
    }
}
