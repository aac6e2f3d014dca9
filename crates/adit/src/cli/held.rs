//! What is typed while the connection is away, and how old it is: a session that went on must not get keys that were meant for the
//! screen of an hour ago.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What may be typed while the connection is away, in bytes: a person's typing, not a file.
const HELD: usize = 64 * 1024;

/// Keys within this time are of one age.
const TOGETHER: Duration = Duration::from_secs(1);

/// Gives the time since the machine was started, its sleep included.
pub fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Input that waits for a connection.
#[derive(Debug, Default)]
pub struct Held {
    /// Each with the time of its first byte, oldest first.
    pieces: VecDeque<(Duration, Vec<u8>)>,
    length: usize,
}

impl Held {
    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tells whether more is taken.
    pub fn has_room(&self) -> bool {
        self.length < HELD
    }

    /// Takes as many bytes as there is room for, and says how many.
    pub fn take(&mut self, bytes: &[u8], now: Duration) -> usize {
        let taken = &bytes[..bytes.len().min(HELD - self.length)];
        self.length += taken.len();
        match self.pieces.back_mut() {
            Some((at, piece)) if now.saturating_sub(*at) < TOGETHER => piece.extend(taken),
            _ => self.pieces.push_back((now, taken.to_vec())),
        }
        taken.len()
    }

    /// Drops what was typed before a moment, and says whether there was any.
    pub fn forget(&mut self, before: Duration) -> bool {
        let old = self.pieces.partition_point(|(at, _)| *at < before);
        let dropped: usize = self.pieces.drain(..old).map(|(_, piece)| piece.len()).sum();
        self.length -= dropped;
        dropped > 0
    }

    /// Gives away, oldest first and with the time of each, as much as is taken.
    pub fn give(&mut self, mut to: impl FnMut(Duration, &[u8]) -> usize) {
        while let Some((at, piece)) = self.pieces.front_mut() {
            let taken = to(*at, piece);
            self.length -= taken;
            piece.drain(..taken);
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn given(held: &mut Held) -> Vec<u8> {
        let mut all = Vec::new();
        held.give(|_, piece| {
            all.extend(piece);
            piece.len()
        });
        all
    }

    #[test]
    fn what_waits_comes_in_order_and_as_it_is_taken() {
        let mut held = Held::default();
        assert_eq!((held.take(b"ab", at(1)), held.take(b"cd", at(9))), (2, 2));
        let mut first: Vec<u8> = Vec::new();
        held.give(|_, piece| {
            let room = 3usize.saturating_sub(first.len()).min(piece.len());
            first.extend(&piece[..room]);
            room
        });
        assert_eq!(first, b"abc");
        assert_eq!(given(&mut held), b"d");
        assert!(held.is_empty());
    }

    #[test]
    fn what_is_too_old_is_dropped_and_the_rest_stays() {
        // R31
        let mut held = Held::default();
        held.take(b"old", at(10));
        held.take(b"new", at(70));
        assert!(held.forget(at(60)));
        assert!(!held.forget(at(60)));
        assert_eq!(given(&mut held), b"new");
    }

    #[test]
    fn more_than_a_persons_typing_is_not_taken() {
        let mut held = Held::default();
        assert_eq!(held.take(&[b'a'; HELD + 5], at(1)), HELD);
        assert!(!held.has_room());
        assert_eq!(held.take(b"b", at(2)), 0);
    }
}
