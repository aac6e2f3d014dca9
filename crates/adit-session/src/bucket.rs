//! A token bucket that reads no clock.

use std::time::{Duration, Instant};

/// Lets a number of units through at once and then a number a second.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    capacity: u64,
    per_second: u64,
    /// Billionths of a unit, so that a nanosecond refills `per_second` of them and nothing is rounded.
    level: u64,
    last_refill: Instant,
    times_exceeded: u64,
}

/// How long to wait before the refused units are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("too much at once; try again in {} ms", .0.as_millis())]
pub struct RetryAfter(pub Duration);

impl TokenBucket {
    /// Makes a full bucket of `capacity` units that refills continuously.
    pub fn new(capacity: u32, per_second: u32, now: Instant) -> Self {
        let capacity = u64::from(capacity.max(1)) * UNIT;
        Self {
            capacity,
            per_second: u64::from(per_second.max(1)),
            level: capacity,
            last_refill: now,
            times_exceeded: 0,
        }
    }

    /// Takes one unit.
    ///
    /// # Errors
    /// The bucket is empty; nothing is taken and the refusal is counted.
    pub fn take(&mut self, now: Instant) -> Result<(), RetryAfter> {
        self.take_many(1, now)
    }

    /// Takes several units, all or none; more than the capacity is asked as the capacity.
    ///
    /// # Errors
    /// There are too few; nothing is taken and the refusal is counted.
    pub fn take_many(&mut self, units: u32, now: Instant) -> Result<(), RetryAfter> {
        match self.wait_for(units, now) {
            Some(wait) => {
                self.count_refusal();
                Err(wait)
            }
            None => {
                self.level -= self.cost(units);
                Ok(())
            }
        }
    }

    /// Says how long until so many units are there, or that they are there now.
    pub fn wait_for(&mut self, units: u32, now: Instant) -> Option<RetryAfter> {
        self.refill(now);
        let missing = self.cost(units).saturating_sub(self.level);
        (missing > 0).then(|| RetryAfter(Duration::from_nanos(missing.div_ceil(self.per_second))))
    }

    /// Counts a refusal that another limit caused.
    pub(crate) fn count_refusal(&mut self) {
        self.times_exceeded += 1;
    }

    /// Whole units that can be taken now.
    pub fn available(&self, now: Instant) -> u32 {
        u32::try_from(self.level_at(now) / UNIT).unwrap_or(u32::MAX)
    }

    /// Units that a full bucket holds.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.capacity / UNIT).unwrap_or(u32::MAX)
    }

    /// When the level was last brought up to date.
    pub fn last_refill(&self) -> Instant {
        self.last_refill
    }

    /// How often it refused.
    pub fn times_exceeded(&self) -> u64 {
        self.times_exceeded
    }

    /// Tells whether forgetting the bucket would change nothing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.level_at(now) == self.capacity
    }

    fn cost(&self, units: u32) -> u64 {
        (u64::from(units) * UNIT).min(self.capacity)
    }

    fn refill(&mut self, now: Instant) {
        self.level = self.level_at(now);
        self.last_refill = self.last_refill.max(now);
    }

    fn level_at(&self, now: Instant) -> u64 {
        let elapsed_ns = now.saturating_duration_since(self.last_refill).as_nanos();
        let gained = elapsed_ns.saturating_mul(u128::from(self.per_second));
        u64::try_from(u128::from(self.level).saturating_add(gained))
            .unwrap_or(u64::MAX)
            .min(self.capacity)
    }
}

const UNIT: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(now: Instant) -> TokenBucket {
        TokenBucket::new(120, 100, now)
    }

    // SES-30, TOK-25
    #[test]
    fn a_burst_takes_the_capacity_and_no_more() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        let accepted = (0..200).take_while(|_| bucket.take(now).is_ok()).count();
        assert_eq!(accepted, 120);
    }

    // SES-31
    #[test]
    fn waiting_as_long_as_it_says_is_enough_and_a_nanosecond_less_is_not() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        bucket.take_many(120, now).unwrap();
        let RetryAfter(wait) = bucket.take(now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(10));
        assert!(bucket.take(now + wait - Duration::from_nanos(1)).is_err());
        assert!(bucket.take(now + wait).is_ok());
    }

    // SES-30
    #[test]
    fn refusals_are_counted() {
        let now = Instant::now();
        let mut bucket = bucket(now);
        bucket.take_many(120, now).unwrap();
        (0..7).for_each(|_| assert!(bucket.take(now).is_err()));
        assert_eq!(
            (bucket.times_exceeded(), bucket.available(now), bucket.capacity()),
            (7, 0, 120)
        );
    }

    // SES-30
    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut bucket = bucket(now);
        bucket.take_many(120, now).unwrap();
        assert!(bucket.take(now - Duration::from_secs(5)).is_err());
        assert!(bucket.take(now + Duration::from_millis(9)).is_err());
    }

    proptest! {
        // SES-30
        #[test]
        fn never_more_than_capacity_and_rate_allow(steps in prop::collection::vec((0u64..40_000_000, 1u32..9), 1..200)) {
            let start = Instant::now();
            let mut bucket = bucket(start);
            let (mut now, mut taken) = (start, 0u128);
            for (step_ns, units) in steps {
                now += Duration::from_nanos(step_ns);
                taken += if bucket.take_many(units, now).is_ok() { u128::from(units) } else { 0 };
                let elapsed = now.duration_since(start).as_nanos();
                prop_assert!(taken * u128::from(UNIT) <= 120 * u128::from(UNIT) + 100 * elapsed);
            }
        }
    }
}
