//! Nothing lost, nothing twice: what may be sent, what must be sent again and what is here already, by position.
//!
//! Output goes agent → gateway → viewer: an [`OutputSender`] at the head of each hop, an [`OutputReceiver`] at its end. Input goes
//! viewer ([`InputSender`]) → gateway ([`InputRelay`]) → agent ([`Writers`]) as go-back-N: who misses something names the
//! position that it expects, and everything from there on is sent again. No part of this does I/O or reads a clock.

mod input_sender;
mod output;
mod relay;
mod writers;

pub use input_sender::{InputSender, Transmit};
pub use output::{OutputReceiver, OutputSender};
pub use relay::{Admit, InputRelay};
pub use writers::{Accept, AcceptEof, Writers};

/// The input that a viewer may have unacknowledged, in bytes: fills a link of 10 Mbit/s over 200 ms.
pub const INPUT_WINDOW: usize = 256 * 1024;

/// The output that a viewer may have unacknowledged, in bytes: fills a link of 40 Mbit/s over 200 ms.
pub const OUTPUT_WINDOW: u64 = 1024 * 1024;

/// A position that cannot be: the peer skipped ahead, or speaks of bytes that were never sent or are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("position {found} where {expected} is expected")]
pub struct Gap {
    /// Where the stream stands here.
    pub expected: u64,
    /// What the peer says.
    pub found: u64,
}

#[cfg(test)]
#[path = "resume/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "resume/model.rs"]
mod model;
