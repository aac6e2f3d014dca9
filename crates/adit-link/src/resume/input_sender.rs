//! Input at the viewer: kept until the machine has it.

use std::time::{Duration, Instant};

use adit_wire::frame::MAX_INPUT;
use bytes::{Buf, Bytes, BytesMut};

use super::{Gap, INPUT_WINDOW};

/// What is to be sent next.
#[derive(Clone, PartialEq, Eq)]
pub enum Transmit {
    /// One frame of input.
    Data {
        /// The position of its first byte.
        position: u64,
        /// At most [`MAX_INPUT`] bytes.
        bytes: Bytes,
    },
    /// Nothing follows after this position.
    Eof {
        /// Where input ends.
        position: u64,
    },
}

/// The viewer's end of the input.
#[derive(Clone, Default)]
pub struct InputSender {
    /// The position of the first byte that is kept.
    base: u64,
    unacked: BytesMut,
    /// The position of the next byte to send; between `base` and `sent`.
    next: u64,
    /// Everything before it was sent at least once.
    sent: u64,
    eof: Eof,
    link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Eof {
    #[default]
    No,
    Wanted,
    Sent,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Link {
    #[default]
    Away,
    Up,
    Held(Instant),
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data { position, bytes } => write!(f, "Data@{position}+{}", bytes.len()),
            Self::Eof { position } => write!(f, "Eof@{position}"),
        }
    }
}

impl std::fmt::Debug for InputSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InputSender({}..{}, next {})", self.base, self.end(), self.next)
    }
}

impl InputSender {
    /// Begins with nothing typed and no connection; [`Self::resume`] gives it one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves what was typed before a writer was given to where that writer begins.
    pub fn begin(&mut self, position: u64) {
        self.base = position;
        self.next = position;
        self.sent = position;
    }

    /// Gives how many bytes can be taken now.
    pub fn room(&self) -> usize {
        match self.eof {
            Eof::No => INPUT_WINDOW.saturating_sub(self.unacked.len()),
            Eof::Wanted | Eof::Sent => 0,
        }
    }

    /// Tells whether the machine has everything.
    pub fn is_empty(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Takes as many bytes as there is room for, and says how many.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.unacked.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Ends the input after what was taken.
    pub fn eof(&mut self) {
        if self.eof == Eof::No {
            self.eof = Eof::Wanted;
        }
    }

    /// Gives the next message to send; call until there is none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        match self.link {
            Link::Away => return None,
            Link::Held(until) if now < until => return None,
            Link::Held(_) => self.link = Link::Up,
            Link::Up => {}
        }
        let position = self.next;
        let unsent = &self.unacked[self.offset_of(position)..];
        if unsent.is_empty() {
            let due = self.eof == Eof::Wanted;
            return due.then(|| {
                self.eof = Eof::Sent;
                Transmit::Eof { position }
            });
        }
        let bytes = Bytes::copy_from_slice(&unsent[..unsent.len().min(MAX_INPUT)]);
        self.next += bytes.len() as u64;
        self.sent = self.sent.max(self.next);
        Some(Transmit::Data { position, bytes })
    }

    /// Gives the time at which [`Self::poll_transmit`] has something again, if it waits for that.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.link {
            Link::Held(until) => Some(until),
            Link::Away | Link::Up => None,
        }
    }

    /// Takes the machine's word that it wrote everything before `position`.
    ///
    /// # Errors
    /// [`Gap`] for input that was never sent.
    pub fn acked(&mut self, position: u64) -> Result<(), Gap> {
        if position > self.sent {
            return Err(Gap { expected: self.sent, found: position });
        }
        self.forget(position);
        self.next = self.next.max(position);
        Ok(())
    }

    /// Goes back to `position`, after a wait.
    ///
    /// # Errors
    /// [`Gap`] for a position that was acknowledged or never sent.
    pub fn rewind(
        &mut self,
        position: u64,
        retry_after: Duration,
        now: Instant,
    ) -> Result<(), Gap> {
        self.go_back(position)?;
        if !retry_after.is_zero() {
            self.link = Link::Held(now + retry_after);
        }
        Ok(())
    }

    /// Tells that the connection is gone; everything unacknowledged stays.
    pub fn lost(&mut self) {
        self.link = Link::Away;
    }

    /// Goes on over a new connection, from the position that the machine expects.
    ///
    /// # Errors
    /// [`Gap`] when the machine expects input that is not kept any more or was never sent.
    pub fn resume(&mut self, position: u64) -> Result<(), Gap> {
        self.go_back(position)?;
        self.forget(position);
        self.link = Link::Up;
        Ok(())
    }

    /// Gives the position before which the machine has everything.
    pub fn acknowledged(&self) -> u64 {
        self.base
    }

    fn end(&self) -> u64 {
        self.base + self.unacked.len() as u64
    }

    fn offset_of(&self, position: u64) -> usize {
        usize::try_from(position - self.base).expect("what is kept fits the window")
    }

    fn go_back(&mut self, position: u64) -> Result<(), Gap> {
        if position < self.base || position > self.sent {
            return Err(Gap { expected: self.base, found: position });
        }
        self.next = position;
        if self.eof == Eof::Sent {
            self.eof = Eof::Wanted;
        }
        Ok(())
    }

    fn forget(&mut self, position: u64) {
        let Some(arrived) = position.checked_sub(self.base) else { return };
        let arrived = usize::try_from(arrived).expect("what is kept fits the window");
        self.unacked.advance(arrived);
        self.base = position;
        if self.unacked.is_empty() && self.unacked.capacity() > IDLE {
            self.unacked = BytesMut::new();
        }
    }
}

/// The memory that an idle sender keeps, in bytes.
const IDLE: usize = 4 * 1024;
