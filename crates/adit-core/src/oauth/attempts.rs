//! How often somebody may try in a while: codes that people type can be guessed, and requests that nobody signed can be many.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adit_domain::Timestamp;

/// Who is counted at once. Beyond it everybody shares one count, so that many addresses do not fill the memory.
const MOST_COUNTED: usize = 10_000;

/// A window of time, in which each may try so often and all together so often.
#[derive(Debug)]
pub struct Attempts<K> {
    each: u32,
    all: u32,
    window: Duration,
    counts: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    began: Timestamp,
    by: HashMap<K, u32>,
    total: u32,
}

/// There were too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

impl<K: Hash + Eq> Attempts<K> {
    /// Lets each try `each` times, and all together `all` times, in a window.
    pub fn new(each: u32, all: u32, window: Duration) -> Self {
        let counts = Counts { began: Timestamp(0), by: HashMap::new(), total: 0 };
        Self { each, all, window, counts: Mutex::new(counts) }
    }

    /// Tells whether somebody may try, without counting it.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn check(&self, who: &K, now: Timestamp) -> Result<(), TooMany> {
        let counts = self.counts(now);
        let mine = counts.by.get(who).copied().unwrap_or(0);
        if mine >= self.each || counts.total >= self.all { Err(TooMany) } else { Ok(()) }
    }

    /// Counts a try.
    pub fn count(&self, who: K, now: Timestamp) {
        let mut counts = self.counts(now);
        counts.total = counts.total.saturating_add(1);
        if counts.by.len() < MOST_COUNTED || counts.by.contains_key(&who) {
            let mine = counts.by.entry(who).or_default();
            *mine = mine.saturating_add(1);
        }
    }

    fn counts(&self, now: Timestamp) -> std::sync::MutexGuard<'_, Counts<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(counts.began) >= self.window || now < counts.began {
            *counts = Counts { began: now, by: HashMap::new(), total: 0 };
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_tried_too_often_waits_for_the_next_window() {
        let attempts = Attempts::new(2, 3, Duration::from_secs(60));
        let now = Timestamp(1_000_000);
        attempts.count("ann", now);
        assert_eq!(attempts.check(&"ann", now), Ok(()));
        attempts.count("ann", now);
        assert_eq!(attempts.check(&"ann", now), Err(TooMany));
        assert_eq!(attempts.check(&"bob", now), Ok(()));
        attempts.count("bob", now);
        assert_eq!(attempts.check(&"eve", now), Err(TooMany));
        assert_eq!(attempts.check(&"ann", now + Duration::from_secs(60)), Ok(()));
    }
}
