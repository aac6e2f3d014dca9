//! How much may come in: messages of a session, and messages and bytes of a user and of a machine.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use uuid::Uuid;

use crate::bucket::{RetryAfter, TokenBucket};
use crate::settings::Settings;

/// Whose message it is.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The session.
    pub session_id: Uuid,
    /// Its user.
    pub user_id: Uuid,
    /// Its machine.
    pub machine_id: Uuid,
}

/// A refusal by one of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When the same message would be let through.
    pub retry_after: RetryAfter,
    /// How often this session was refused so far.
    pub times_exceeded: u64,
}

/// What `get_rate_limit_info` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitInfo {
    /// Messages that may come now.
    pub tokens_available: u32,
    /// Messages that may come at once after a rest.
    pub capacity: u32,
    /// When the level was last brought up to date.
    pub last_refill: SystemTime,
    /// How often a message was refused.
    pub times_exceeded: u64,
}

/// All three limits; a message passes all of them or takes from none.
#[derive(Debug)]
pub struct MessageLimiter {
    capacity: u32,
    per_second: u32,
    sessions: HashMap<Uuid, TokenBucket>,
    users: Shares,
    machines: Shares,
}

impl MessageLimiter {
    /// Takes the session's limit from the settings and the others from it.
    pub fn new(settings: &Settings) -> Self {
        let (capacity, per_second) = (settings.rate_limit_capacity(), settings.rate_limit_tokens);
        let shares = |sessions: u32, bytes_per_second| Shares {
            capacity: capacity.saturating_mul(sessions),
            per_second: per_second.saturating_mul(sessions),
            bytes_per_second,
            entries: HashMap::new(),
        };
        Self {
            capacity,
            per_second,
            sessions: HashMap::new(),
            users: shares(USER_WORTH_SESSIONS, USER_BYTES_PER_SECOND),
            machines: shares(MACHINE_WORTH_SESSIONS, MACHINE_BYTES_PER_SECOND),
        }
    }

    /// Lets one message of so many bytes through, or says when.
    ///
    /// # Errors
    /// One of the limits is reached; nothing is taken from any.
    pub fn admit(&mut self, source: &Source, bytes: u32, now: Instant) -> Result<(), Exceeded> {
        let full = || TokenBucket::new(self.capacity, self.per_second, now);
        make_room(&mut self.sessions, source.session_id, |bucket| bucket.is_full(now));
        let session = self.sessions.entry(source.session_id).or_insert_with(full);
        let user = self.users.of(source.user_id, now);
        let machine = self.machines.of(source.machine_id, now);
        let waits =
            [session.wait_for(1, now), user.wait_for(bytes, now), machine.wait_for(bytes, now)];
        if let Some(retry_after) = waits.into_iter().flatten().max() {
            session.count_refusal();
            return Err(Exceeded { retry_after, times_exceeded: session.times_exceeded() });
        }
        let taken = session.take(now).and(user.take(bytes, now)).and(machine.take(bytes, now));
        taken.map_err(|retry_after| Exceeded {
            retry_after,
            times_exceeded: session.times_exceeded(),
        })
    }

    /// What is left of a session's limit; a session that sent nothing yet has all of it.
    pub fn info(&self, session: Uuid, now: Instant, wall: SystemTime) -> RateLimitInfo {
        match self.sessions.get(&session) {
            None => RateLimitInfo {
                tokens_available: self.capacity,
                capacity: self.capacity,
                last_refill: wall,
                times_exceeded: 0,
            },
            Some(bucket) => RateLimitInfo {
                tokens_available: bucket.available(now),
                capacity: bucket.capacity(),
                last_refill: wall - now.saturating_duration_since(bucket.last_refill()),
                times_exceeded: bucket.times_exceeded(),
            },
        }
    }

    /// Forgets a session that ended.
    pub fn forget(&mut self, session: Uuid) {
        self.sessions.remove(&session);
    }
}

/// The limits of all users, or of all machines.
#[derive(Debug)]
struct Shares {
    capacity: u32,
    per_second: u32,
    bytes_per_second: u32,
    entries: HashMap<Uuid, Share>,
}

impl Shares {
    fn of(&mut self, id: Uuid, now: Instant) -> &mut Share {
        make_room(&mut self.entries, id, |share| {
            share.messages.is_full(now) && share.bytes.is_full(now)
        });
        self.entries.entry(id).or_insert_with(|| Share {
            messages: TokenBucket::new(self.capacity, self.per_second, now),
            bytes: TokenBucket::new(self.bytes_per_second, self.bytes_per_second, now),
        })
    }
}

#[derive(Debug)]
struct Share {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl Share {
    fn wait_for(&mut self, bytes: u32, now: Instant) -> Option<RetryAfter> {
        self.messages.wait_for(1, now).max(self.bytes.wait_for(bytes, now))
    }

    fn take(&mut self, bytes: u32, now: Instant) -> Result<(), RetryAfter> {
        self.messages.take(now).and(self.bytes.take_many(bytes, now))
    }
}

/// Forgets who is at rest when there are too many; they lose nothing by it.
///
/// Those who are not at rest are as many as have live sessions, which the store bounds.
fn make_room<T>(entries: &mut HashMap<Uuid, T>, newcomer: Uuid, at_rest: impl Fn(&T) -> bool) {
    if entries.len() >= ENTRIES_MAX && !entries.contains_key(&newcomer) {
        entries.retain(|_, entry| !at_rest(entry));
    }
}

/// Chosen: a user with ten busy sessions is let be; with fifty they share what ten have.
const USER_WORTH_SESSIONS: u32 = 10;
/// Chosen: several users of one machine, and less than what its link carries.
const MACHINE_WORTH_SESSIONS: u32 = 40;
/// Chosen: 8 MiB, five sessions that paste at full rate in messages of 16 KiB.
const USER_BYTES_PER_SECOND: u32 = 8 * 1024 * 1024;
/// Chosen: 32 MiB, half of what one processor seals and opens in a second at worst.
const MACHINE_BYTES_PER_SECOND: u32 = 32 * 1024 * 1024;
/// Chosen: more than one gateway has live; it bounds what is kept of those at rest.
const ENTRIES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SecretKey;

    fn limiter() -> MessageLimiter {
        MessageLimiter::new(&Settings::new(SecretKey::generate().unwrap()))
    }

    fn source(session: u128, user: u128) -> Source {
        Source {
            session_id: Uuid::from_u128(session),
            user_id: Uuid::from_u128(user),
            machine_id: Uuid::from_u128(7),
        }
    }

    // TOK-26
    #[test]
    fn fifty_sessions_of_one_user_share_what_ten_have() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let admitted = (0..50)
            .flat_map(|session| (0..120).map(move |_| source(session, 1)))
            .filter(|source| limiter.admit(source, 10, now).is_ok())
            .count();
        assert_eq!(admitted, 1200);
    }

    // TOK-26
    #[test]
    fn large_messages_are_limited_by_their_bytes() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let admitted = (0..50)
            .filter(|session| limiter.admit(&source(*session, 1), 1024 * 1024, now).is_ok())
            .count();
        assert_eq!(admitted, 8);
        let refused = limiter.admit(&source(1, 1), 1024 * 1024, now).unwrap_err();
        assert_eq!(refused.retry_after, RetryAfter(Duration::from_millis(125)));
    }

    // TOK-26
    #[test]
    fn many_users_of_one_machine_share_its_limit() {
        let (mut limiter, now) = (limiter(), Instant::now());
        let admitted = (0..100)
            .flat_map(|user| (0..120).map(move |_| source(user, user)))
            .filter(|source| limiter.admit(source, 10, now).is_ok())
            .count();
        assert_eq!(admitted, 4800);
    }

    // TOK-26
    #[test]
    fn a_refusal_by_one_limit_takes_nothing_from_the_others() {
        let (mut limiter, now) = (limiter(), Instant::now());
        (0..8).for_each(|_| limiter.admit(&source(1, 1), 1024 * 1024, now).unwrap());
        (0..50).for_each(|_| assert!(limiter.admit(&source(1, 1), 1024 * 1024, now).is_err()));
        let info = limiter.info(Uuid::from_u128(1), now, SystemTime::UNIX_EPOCH);
        assert_eq!((info.tokens_available, info.times_exceeded), (112, 50));
    }

    // TOK-26
    #[test]
    fn sources_at_rest_are_forgotten_when_there_are_many() {
        let (mut limiter, start) = (limiter(), Instant::now());
        for session in 0..30_000u32 {
            let _ = limiter.admit(
                &source(session.into(), session.into()),
                1,
                start + Duration::from_millis(session.into()),
            );
        }
        assert!(
            limiter.sessions.len() <= ENTRIES_MAX && limiter.users.entries.len() <= ENTRIES_MAX
        );
    }
}
