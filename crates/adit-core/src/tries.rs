//! Wrong tries by address: who has too many waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_session::TokenBucket;

/// Wrong tries that an address has at once: an operator's typing errors, and those of a script that is started again.
const AT_ONCE: u32 = 10;

/// How many come back in a second, for one address.
const BACK: u32 = 1;

/// Wrong tries of all addresses together at once, and how many come back in a second: a guesser with many addresses is one guesser.
const ALL_AT_ONCE: u32 = 1_000;
const ALL_BACK: u32 = 20;

/// Addresses that are remembered; beyond it those that would be let try anyway are forgotten, and then all.
const MAX_ADDRESSES: usize = 10_000;

/// Wrong tries of one kind.
#[derive(Debug)]
pub struct Tries(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    all: TokenBucket,
    by_address: HashMap<Option<IpAddr>, TokenBucket>,
}

impl Default for Tries {
    fn default() -> Self {
        let all = TokenBucket::new(ALL_AT_ONCE, ALL_BACK, Instant::now());
        Self(Mutex::new(Counted { all, by_address: HashMap::new() }))
    }
}

impl Tries {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether an address has no try left.
    pub fn is_out(&self, address: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let counted = self.lock();
        let own = counted.by_address.get(&network(address));
        counted.all.available(now) == 0 || own.is_some_and(|bucket| bucket.available(now) == 0)
    }

    /// Counts a wrong try.
    pub fn count(&self, address: Option<IpAddr>) {
        let now = Instant::now();
        let mut counted = self.lock();
        // A bucket that is empty already stays so.
        let _ = counted.all.take(now);
        if counted.by_address.len() >= MAX_ADDRESSES {
            counted.by_address.retain(|_, bucket| !bucket.is_full(now));
            if counted.by_address.len() >= MAX_ADDRESSES {
                counted.by_address.clear();
            }
        }
        let own = counted.by_address.entry(network(address));
        let _ = own.or_insert_with(|| TokenBucket::new(AT_ONCE, BACK, now)).take(now);
    }
}

/// Gives what stands for one household or host: an IPv6 address counts by its /64.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_too_often_waits_and_nobody_else() {
        // AGT-05
        let tries = Tries::default();
        let mallory: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let ann: IpAddr = "2001:db8:1::1".parse().unwrap();
        for _ in 0..AT_ONCE {
            assert!(!tries.is_out(Some(mallory)));
            tries.count(Some(mallory));
        }
        assert!(tries.is_out(Some(mallory)));
        assert!(tries.is_out(Some(neighbour)), "the same network");
        assert!(!tries.is_out(Some(ann)));
    }

    #[test]
    fn addresses_are_not_remembered_without_end() {
        let tries = Tries::default();
        for number in 0..2 * MAX_ADDRESSES {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            tries.count(Some(address));
        }
        assert!(tries.lock().by_address.len() <= MAX_ADDRESSES);
    }
}
