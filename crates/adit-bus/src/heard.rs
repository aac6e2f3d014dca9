//! What was heard before: a message counts once, and not after a minute.

use std::collections::HashMap;
use std::time::Duration;

use adit_domain::{GatewayId, Timestamp};
use uuid::Uuid;

use crate::envelope::Message;

/// How old a message may be, and how far a sender's clock may be ahead. What it says shows in the database within seconds anyway.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// How far behind its sender's newest a message may come; one that comes later than that is refused, as hints may be.
const WINDOW: u64 = 1024;

/// How many runs of gateways are remembered; only a gateway's own key makes one, so more means that a gateway starts all the time.
const MOST: usize = 256;

/// Why a message that a gateway wrote does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stale {
    /// It is older than a minute, or from a clock that is a minute ahead.
    #[error("it is too old")]
    Late,
    /// It was heard, or came after so many others that this cannot be told.
    #[error("it was heard before")]
    Repeated,
}

/// The messages that were heard within the last minute.
#[derive(Debug, Default)]
pub struct Heard(HashMap<(GatewayId, Uuid), Run>);

/// The messages of one run of a gateway.
#[derive(Debug)]
struct Run {
    newest: u64,
    /// Whether each of the last [`WINDOW`] numbers was heard, by its number modulo that.
    seen: Box<[bool; WINDOW as usize]>,
    last_at: Timestamp,
}

impl Heard {
    /// Notes a message.
    ///
    /// # Errors
    /// [`Stale`] when it does not count.
    pub fn note(&mut self, message: &Message, now: Timestamp) -> Result<(), Stale> {
        if now.since(message.sent_at) > MAX_AGE || message.sent_at.since(now) > MAX_AGE {
            return Err(Stale::Late);
        }
        let key = (message.from, message.boot);
        if !self.0.contains_key(&key) {
            // Nothing that they said could count any more.
            self.0.retain(|_, run| now.since(run.last_at) <= MAX_AGE * 2);
            if self.0.len() >= MOST {
                return Err(Stale::Repeated);
            }
        }
        self.0.entry(key).or_insert_with(|| Run::new(message.number)).note(message.number, now)
    }
}

impl Run {
    fn new(number: u64) -> Self {
        // What came before the first that is heard counts as not heard: messages may be reordered.
        Self { newest: number, seen: Box::new([false; WINDOW as usize]), last_at: Timestamp(0) }
    }

    fn note(&mut self, number: u64, now: Timestamp) -> Result<(), Stale> {
        self.last_at = now;
        if number > self.newest {
            let passed = (number - self.newest).min(WINDOW);
            for skipped in 0..passed {
                self.set(number - skipped, false);
            }
            self.newest = number;
        }
        if self.newest - number >= WINDOW || self.set(number, true) {
            return Err(Stale::Repeated);
        }
        Ok(())
    }

    /// Marks a number and tells what it was marked before.
    fn set(&mut self, number: u64, seen: bool) -> bool {
        let place = usize::try_from(number % WINDOW).unwrap_or_default();
        self.seen.get_mut(place).is_none_or(|place| std::mem::replace(place, seen))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::envelope::To;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn numbered(number: u64) -> Message {
        Message {
            from: GatewayId(Uuid::from_u128(1)),
            boot: Uuid::from_u128(2),
            to: To::All,
            number,
            sent_at: NOW,
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_message_counts_once() {
        // R20
        let mut heard = Heard::default();
        for number in [5, 3, 4, 9, 0] {
            assert_eq!(heard.note(&numbered(number), NOW), Ok(()));
        }
        for number in [0, 3, 4, 5, 9] {
            assert_eq!(heard.note(&numbered(number), NOW), Err(Stale::Repeated), "{number}");
        }
        let other = Message { boot: Uuid::from_u128(3), ..numbered(5) };
        assert_eq!(heard.note(&other, NOW), Ok(()), "another run counts anew");
    }

    #[test]
    fn a_message_far_behind_the_newest_does_not_count() {
        // R20
        let mut heard = Heard::default();
        heard.note(&numbered(0), NOW).unwrap();
        heard.note(&numbered(5_000), NOW).unwrap();
        assert_eq!(heard.note(&numbered(5_000 - WINDOW), NOW), Err(Stale::Repeated));
        assert_eq!(heard.note(&numbered(5_001 - WINDOW), NOW), Ok(()));
        assert_eq!(heard.note(&numbered(0), NOW), Err(Stale::Repeated));
    }

    #[test]
    fn a_message_of_a_minute_ago_does_not_count() {
        // R20
        let mut heard = Heard::default();
        let ms = Duration::from_millis(1);
        let at = |sent_at| Message { sent_at, ..numbered(1) };
        assert_eq!(heard.note(&at(NOW - MAX_AGE - ms), NOW), Err(Stale::Late));
        assert_eq!(heard.note(&at(NOW + MAX_AGE + ms), NOW), Err(Stale::Late));
        assert_eq!(heard.note(&at(NOW - MAX_AGE), NOW), Ok(()));
    }

    #[test]
    fn runs_that_are_silent_are_forgotten() {
        let mut heard = Heard::default();
        let run = |boot, sent_at| Message { boot: Uuid::from_u128(boot), sent_at, ..numbered(1) };
        for boot in 0..MOST as u128 {
            heard.note(&run(boot, NOW), NOW).unwrap();
        }
        assert_eq!(heard.note(&run(9_999, NOW), NOW), Err(Stale::Repeated));
        let later = NOW + MAX_AGE * 3;
        assert_eq!(heard.note(&run(9_999, later), later), Ok(()));
        assert_eq!(heard.0.len(), 1);
    }
}
