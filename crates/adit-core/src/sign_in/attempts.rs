//! How often somebody may be wrong: limits by account and address together, by account, by address, and over all.
//!
//! A try counts as wrong until it has shown that it is right, so that many at once are no way around. Nobody locks another out: what
//! one address did wrong with an account bars that address, and what all did bars addresses from which the user never came.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::guesses::network;

/// Whom a failure is counted against.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// An account, from an address.
    Pair(String, IpAddr),
    /// An account, from anywhere.
    Account(String),
    /// An address, whatever the account.
    Address(IpAddr),
    /// Passkeys' ceremonies that an address begins.
    Ceremonies(IpAddr),
    /// The gateway.
    Overall,
}

/// How many failures at once, and how long until one is forgiven.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Failures at once.
    pub most: u32,
    /// How long until one is forgiven.
    pub forgiven_in: Duration,
}

/// One account from one address: ten slips of the fingers, then one a minute.
const PAIR: Allowance = Allowance { most: 10, forgiven_in: Duration::from_secs(60) };

/// One account from all addresses that it does not know.
const ACCOUNT: Allowance = Allowance { most: 50, forgiven_in: Duration::from_secs(30) };

/// One address over all accounts: an office behind one address has so many slips.
const ADDRESS: Allowance = Allowance { most: 40, forgiven_in: Duration::from_secs(10) };

/// Ceremonies of one address: each is a row for five minutes.
const CEREMONIES: Allowance = Allowance { most: 60, forgiven_in: Duration::from_secs(5) };

/// The gateway: what many machines together may guess.
const OVERALL: Allowance = Allowance { most: 1_000, forgiven_in: Duration::from_millis(200) };

/// Subjects that are remembered, about 200 bytes each.
const MOST_SUBJECTS: usize = 65_536;

impl Subject {
    /// Names an account from an address. A network of IPv6 counts as one address, because one host has all of it.
    pub fn pair(account: &str, address: Option<IpAddr>) -> Self {
        Self::Pair(account.to_owned(), network_of(address))
    }

    /// Names an address.
    pub fn address(address: Option<IpAddr>) -> Self {
        Self::Address(network_of(address))
    }

    /// Names the ceremonies of an address.
    pub fn ceremonies(address: Option<IpAddr>) -> Self {
        Self::Ceremonies(network_of(address))
    }

    fn allowance(&self) -> Allowance {
        match self {
            Self::Pair(..) => PAIR,
            Self::Account(_) => ACCOUNT,
            Self::Address(_) => ADDRESS,
            Self::Ceremonies(_) => CEREMONIES,
            Self::Overall => OVERALL,
        }
    }
}

fn network_of(address: Option<IpAddr>) -> IpAddr {
    address.map_or(Ipv6Addr::UNSPECIFIED.into(), network)
}

/// Failures that are not forgiven yet.
#[derive(Clone, Copy, Debug)]
struct Tally {
    failures: f64,
    at: Instant,
    /// Whether it was told that the subject has to wait.
    told: bool,
}

/// Why a try cannot begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limited {
    /// How long to wait.
    pub wait: Duration,
    /// Whether this is news: so that who knocks on a closed door does not fill the audit log.
    pub is_news: bool,
}

impl Tally {
    fn at(&self, now: Instant, allowance: Allowance) -> f64 {
        let forgiven = now.saturating_duration_since(self.at).as_secs_f64();
        (self.failures - forgiven / allowance.forgiven_in.as_secs_f64()).max(0.0)
    }
}

/// Who was wrong how often, as this gateway saw it.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Subject, Tally>>);

impl Attempts {
    /// Begins a try and counts it against every subject, or against none.
    ///
    /// # Errors
    /// [`Limited`] where one of them was wrong too often.
    pub fn begin(&self, subjects: &[Subject], now: Instant) -> Result<(), Limited> {
        let mut tallies = self.lock();
        let waits = subjects.iter().filter_map(|s| wait_of(&tallies, s, now).map(|wait| (wait, s)));
        if let Some((wait, subject)) = waits.max_by_key(|(wait, _)| *wait) {
            let told =
                tallies.get_mut(subject).is_some_and(|t| std::mem::replace(&mut t.told, true));
            return Err(Limited { wait, is_news: !told });
        }
        for subject in subjects {
            let failures = tallies.get(subject).map_or(0.0, |t| t.at(now, subject.allowance()));
            tallies
                .insert(subject.clone(), Tally { failures: failures + 1.0, at: now, told: false });
        }
        if tallies.len() > MOST_SUBJECTS {
            forget(&mut tallies, now);
        }
        Ok(())
    }

    /// Takes back what a try counted, because it was right; what went before it from the same address with the same account is forgiven.
    pub fn succeeded(&self, subjects: &[Subject], now: Instant) {
        self.take_back(subjects, now);
        let mut tallies = self.lock();
        for subject in subjects.iter().filter(|subject| matches!(subject, Subject::Pair(..))) {
            tallies.remove(subject);
        }
    }

    /// Takes back what a try counted, because nobody looked whether it was right.
    pub fn take_back(&self, subjects: &[Subject], now: Instant) {
        let mut tallies = self.lock();
        for subject in subjects {
            if let Some(tally) = tallies.get_mut(subject) {
                let failures = (tally.at(now, subject.allowance()) - 1.0).max(0.0);
                *tally = Tally { failures, at: now, told: false };
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_of(tallies: &HashMap<Subject, Tally>, subject: &Subject, now: Instant) -> Option<Duration> {
    let allowance = subject.allowance();
    let failures = tallies.get(subject)?.at(now, allowance);
    let over = failures + 1.0 - f64::from(allowance.most);
    (over > 0.0).then(|| allowance.forgiven_in.mul_f64(over))
}

/// Makes room: what is forgiven goes first, then the half that was wrong the least.
fn forget(tallies: &mut HashMap<Subject, Tally>, now: Instant) {
    tallies.retain(|subject, tally| tally.at(now, subject.allowance()) > 0.0);
    if tallies.len() <= MOST_SUBJECTS / 2 {
        return;
    }
    let mut levels: Vec<f64> = tallies.iter().map(|(s, t)| t.at(now, s.allowance())).collect();
    let (_, median, _) = levels.select_nth_unstable_by(MOST_SUBJECTS / 2, f64::total_cmp);
    let median = *median;
    tallies.retain(|subject, tally| tally.at(now, subject.allowance()) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const AWAY: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    // BRW-45
    #[test]
    fn who_was_wrong_ten_times_waits_and_nobody_else_does() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(attempts.begin(&[Subject::pair("ann", HOME)], now), Ok(()));
        }
        let Limited { wait, is_news } =
            attempts.begin(&[Subject::pair("ann", HOME)], now).unwrap_err();
        assert_eq!((wait, is_news), (Duration::from_secs(60), true));
        assert!(!attempts.begin(&[Subject::pair("ann", HOME)], now).unwrap_err().is_news);
        assert_eq!(attempts.begin(&[Subject::pair("ann", AWAY)], now), Ok(()));
        assert_eq!(attempts.begin(&[Subject::pair("ben", HOME)], now), Ok(()));
        let later = now + wait;
        assert_eq!(attempts.begin(&[Subject::pair("ann", HOME)], later), Ok(()));
        assert!(attempts.begin(&[Subject::pair("ann", HOME)], later).is_err());
    }

    // BRW-45
    #[test]
    fn one_address_does_not_try_many_accounts() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let refused = (0..50).find(|n| {
            let account = format!("user{n}");
            let subjects = [Subject::pair(&account, HOME), Subject::address(HOME)];
            attempts.begin(&subjects, now).is_err()
        });
        assert_eq!(refused, Some(40));
        assert_eq!(attempts.begin(&[Subject::address(AWAY)], now), Ok(()));
    }

    #[test]
    fn who_is_right_was_never_wrong() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let subjects = [Subject::pair("ann", HOME), Subject::address(HOME)];
        for _ in 0..1000 {
            assert_eq!(attempts.begin(&subjects, now), Ok(()));
            attempts.succeeded(&subjects, now);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let address = |text: &str| Subject::address(Some(text.parse().unwrap()));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), Subject::address(HOME));
    }

    // RES-14
    #[test]
    fn what_is_remembered_has_an_end_and_keeps_the_worst() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let worst = Subject::Account("ann".into());
        for _ in 0..20 {
            assert_eq!(attempts.begin(std::slice::from_ref(&worst), now), Ok(()));
        }
        for n in 0..=MOST_SUBJECTS {
            let subject = Subject::Account(format!("{n}"));
            assert_eq!(attempts.begin(&[subject], now), Ok(()));
        }
        assert!(attempts.lock().len() <= MOST_SUBJECTS);
        assert!(attempts.lock().contains_key(&worst));
    }
}
