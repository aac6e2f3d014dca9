//! How long to wait before dialling again: full jitter, so that many agents do not come back at once.

use std::time::{Duration, Instant};

/// The ceiling of the first wait.
pub const FIRST: Duration = Duration::from_millis(50);

/// The ceiling of every later wait: a gateway that returns has its sessions back within these 5 s.
pub const LONGEST: Duration = Duration::from_secs(5);

/// How long a connection must last for the next wait to be short again.
pub const STABLE: Duration = Duration::from_secs(10);

/// The waits between attempts.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempts: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    /// Begins with short waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the wait before the next attempt, anywhere below a ceiling that doubles; `random` is any 64 random bits.
    pub fn delay(&mut self, random: u64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let ceiling_us = u64::try_from(doubled.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random % (ceiling_us + 1))
    }

    /// Tells that a connection stands.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// Tells that the connection was lost; one that was stable makes the waits short again.
    pub fn lost(&mut self, now: Instant) {
        let stood = self.connected_at.take();
        if stood.is_some_and(|at| now.saturating_duration_since(at) >= STABLE) {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_no_further() {
        let mut backoff = Backoff::new();
        let ceilings: Vec<u128> = (0..10)
            .map(|attempt| {
                let ceiling_us = 50_000_u64.saturating_mul(1 << attempt).min(5_000_000);
                backoff.delay(ceiling_us).as_millis()
            })
            .collect();
        assert_eq!(ceilings, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }

    #[test]
    fn a_wait_is_anywhere_below_its_ceiling() {
        assert_eq!(Backoff::new().delay(0), Duration::ZERO);
        for random in [1, 49_999, 50_000, 50_001, u64::MAX] {
            assert!(Backoff::new().delay(random) <= FIRST, "{random}");
        }
    }

    #[test]
    fn only_a_stable_connection_makes_waits_short_again() {
        let start = Instant::now();
        let mut backoff = Backoff::new();
        for _ in 0..8 {
            backoff.delay(0);
        }
        backoff.connected(start);
        backoff.lost(start + STABLE / 2);
        assert_eq!(backoff.delay(5_000_000), LONGEST);
        backoff.connected(start);
        backoff.lost(start + STABLE);
        assert_eq!(backoff.delay(50_000), FIRST);
    }
}
