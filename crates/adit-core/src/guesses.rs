//! Slows down whoever guesses a short secret: each address by itself, and all of them together.
//!
//! An attempt is counted before the secret is looked at, so that fifty at once are fifty; one that was right is given back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_session::TokenBucket;

/// Wrong attempts of one address before it has to wait: a person mistypes a code once or twice.
const FREE: u32 = 5;

/// The first wait; each further wrong attempt doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// After how long without an attempt an address is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(30 * 60);

/// Addresses that are remembered; past that the one that was quiet longest is forgotten, and the limit over all still holds.
const ADDRESSES: usize = 10_000;

/// Attempts of all addresses together at once; a helpdesk's busiest minute has fewer.
const ALL_BURST: u32 = 100;

/// And a second. Against a thousand codes that count for ten minutes, this finds one in a hundred million attacks.
const ALL_PER_SECOND: u32 = 2;

/// How long to wait before the next attempt is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait(pub Duration);

/// Counts attempts.
#[derive(Debug)]
pub struct Guesses(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    by_address: HashMap<IpAddr, Tries>,
    all: TokenBucket,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last: Instant,
    closed_until: Instant,
}

impl Guesses {
    /// Begins to count.
    pub fn new(now: Instant) -> Self {
        let all = TokenBucket::new(ALL_BURST, ALL_PER_SECOND, now);
        Self(Mutex::new(Counted { by_address: HashMap::new(), all }))
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// [`Wait`] for one that comes too early; it is not looked at and not counted, so that nobody is locked out by patience.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        let before = counted.by_address.get(&address).copied();
        if let Some(tries) = before
            && now < tries.closed_until
        {
            return Err(Wait(tries.closed_until - now));
        }
        counted.all.take(now).map_err(|wait| Wait(wait.0))?;
        let wrong = before
            .filter(|tries| now.duration_since(tries.last) < FORGET_AFTER)
            .map_or(1, |tries| tries.wrong.saturating_add(1));
        counted.make_room(now);
        let tries = Tries { wrong, last: now, closed_until: now + wait_after(wrong) };
        counted.by_address.insert(address, tries);
        Ok(())
    }

    /// Takes an attempt back that was right.
    pub fn right(&self, address: IpAddr, now: Instant) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tries) = counted.by_address.get_mut(&network(address)) {
            tries.wrong = tries.wrong.saturating_sub(1);
            tries.closed_until = now;
        }
    }
}

impl Counted {
    fn make_room(&mut self, now: Instant) {
        if self.by_address.len() < ADDRESSES {
            return;
        }
        self.by_address.retain(|_, tries| now.duration_since(tries.last) < FORGET_AFTER);
        let oldest = self.by_address.iter().min_by_key(|(_, tries)| tries.last);
        if self.by_address.len() >= ADDRESSES
            && let Some((address, _)) = oldest.map(|(address, tries)| (*address, *tries))
        {
            self.by_address.remove(&address);
        }
    }
}

fn wait_after(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(over) => FIRST_WAIT.saturating_mul(1 << over.min(16)).min(LONGEST_WAIT),
    }
}

/// Gives what counts as one address: of IPv6 the network of one household or host, which has all the addresses in it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[test]
    fn who_guesses_wrong_waits_twice_as_long_each_time() {
        // DESK-5
        let mut now = Instant::now();
        let guesses = Guesses::new(now);
        for _ in 0..FREE {
            assert_eq!(guesses.take(address(1), now), Ok(()));
        }
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(guesses.take(address(1), now), Err(Wait(wait)));
            now += wait;
            assert_eq!(guesses.take(address(1), now), Ok(()));
        }
    }

    #[test]
    fn one_address_does_not_slow_another() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        while guesses.take(address(1), now).is_ok() {}
        assert_eq!(guesses.take(address(2), now), Ok(()));
    }

    #[test]
    fn many_addresses_together_are_slowed_too() {
        // DESK-5
        let now = Instant::now();
        let guesses = Guesses::new(now);
        let let_through = (0..=255).filter(|n| guesses.take(address(*n), now).is_ok()).count();
        assert_eq!(let_through, 100);
        assert_eq!(guesses.take(address(255), now), Err(Wait(Duration::from_millis(500))));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        let of = |n: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, n, 0, 0, 1));
        let let_through = (0..50).filter(|n| guesses.take(of(*n), now).is_ok()).count();
        assert_eq!(let_through, 5);
    }

    #[test]
    fn a_right_one_is_not_counted() {
        let now = Instant::now();
        let guesses = Guesses::new(now);
        for _ in 0..50 {
            assert_eq!(guesses.take(address(1), now), Ok(()));
            guesses.right(address(1), now);
        }
    }
}
