//! The history of nonces of one machine: no message is accepted twice, and none is forgotten while it could be.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::message::{SecureMessage, unix_ms};
use crate::refusal::Refusal;
use crate::settings::Settings;

/// A nonce that was spent, and until when its message would still be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpentNonce {
    /// The nonce.
    pub nonce: [u8; 16],
    /// The session of its message.
    pub session_id: Uuid,
    /// Last moment, in Unix milliseconds.
    pub until_ms: u64,
}

/// All that a history knows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Nonces that must not come again.
    pub nonces: Vec<SpentNonce>,
    /// Messages that would have been accepted at most until this moment are refused: their nonces are forgotten.
    pub forgotten_until_ms: u64,
}

/// Keeps spent nonces beyond the end of the process.
pub trait NonceLog: Send {
    /// Makes a nonce durable; its message is accepted only after that.
    ///
    /// # Errors
    /// It could not be written.
    fn append(&mut self, spent: &SpentNonce) -> io::Result<()>;

    /// Is told what is still remembered, now and then, so that the log can be made short.
    ///
    /// # Errors
    /// It could not be written.
    fn compact(&mut self, remembered: &Remembered) -> io::Result<()>;
}

/// A log that keeps nothing: for tests, and for a receiver that starts with [`NonceHistory::closed_at_first`].
#[derive(Debug, Default, Clone, Copy)]
pub struct NoLog;

impl NonceLog for NoLog {
    fn append(&mut self, _: &SpentNonce) -> io::Result<()> {
        Ok(())
    }

    fn compact(&mut self, _: &Remembered) -> io::Result<()> {
        Ok(())
    }
}

impl<L: NonceLog + ?Sized> NonceLog for Box<L> {
    fn append(&mut self, spent: &SpentNonce) -> io::Result<()> {
        (**self).append(spent)
    }

    fn compact(&mut self, remembered: &Remembered) -> io::Result<()> {
        (**self).compact(remembered)
    }
}

/// How much a history remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonceLimits {
    /// Nonces of the machine.
    pub nonces: usize,
    /// Sessions of the JSON form at a time.
    pub sessions: usize,
    /// The skew that messages are accepted with.
    pub skew: Duration,
}

impl NonceLimits {
    /// Takes the limit of the settings, raised to what the skew window needs for every session of the machine.
    pub fn from_settings(settings: &Settings) -> Self {
        let per_session =
            usize::try_from(settings.nonces_needed_per_session()).unwrap_or(usize::MAX);
        let asked = usize::try_from(settings.nonce_history_limit).unwrap_or(usize::MAX);
        let needed = per_session.saturating_mul(JSON_SESSIONS_PER_MACHINE);
        let nonces = asked.max(needed).min(NONCES_MAX);
        let sessions = (nonces / per_session).clamp(1, JSON_SESSIONS_PER_MACHINE);
        Self { nonces, sessions, skew: settings.clock_skew_tolerance }
    }
}

/// What one machine's nonces are, until their messages are too old by themselves.
#[derive(Debug)]
pub struct NonceHistory<L = NoLog> {
    limits: NonceLimits,
    spent: HashMap<u128, Uuid>,
    /// Nonces by the second in which they may be forgotten.
    forgotten_in: BTreeMap<u64, Vec<u128>>,
    /// How many nonces each session has; a handful.
    sessions: Vec<(Uuid, usize)>,
    /// Nonces up to this moment are forgotten, so their messages stay refused even when the clock goes back.
    floor_ms: u64,
    log: L,
    appended: usize,
}

impl NonceHistory<NoLog> {
    /// Makes an empty history that lives as long as the process.
    pub fn new(limits: NonceLimits) -> Self {
        Self::with_log(limits, NoLog, Remembered::default())
    }
}

impl<L: NonceLog> NonceHistory<L> {
    /// Makes a history of what a log kept.
    pub fn with_log(limits: NonceLimits, log: L, remembered: Remembered) -> Self {
        let mut history = Self {
            limits,
            spent: HashMap::new(),
            forgotten_in: BTreeMap::new(),
            sessions: Vec::new(),
            floor_ms: remembered.forgotten_until_ms,
            log,
            appended: 0,
        };
        remembered.nonces.iter().for_each(|spent| history.remember(spent));
        history
    }

    /// Refuses every message that may have been accepted before `now` by a history that was lost.
    ///
    /// Such a message was stamped at most one skew ahead of the clock, so messages are refused for about one skew.
    pub fn closed_at_first(mut self, now: SystemTime) -> Self {
        self.floor_ms = self.floor_ms.max(unix_ms(now + 2 * self.limits.skew) + 1);
        self
    }

    /// Spends the nonce of a message that was found right in everything else.
    ///
    /// # Errors
    /// It was spent before, or cannot be remembered; the nonce is not spent then.
    pub fn spend(&mut self, message: &SecureMessage, now: SystemTime) -> Result<(), Refusal> {
        self.forget(now);
        self.look(message)?;
        if self.spent.len() >= self.limits.nonces {
            return Err(Refusal::NonceHistoryFull);
        }
        let known = self.sessions.iter().any(|(session, _)| *session == message.session_id);
        if !known && self.sessions.len() >= self.limits.sessions {
            return Err(Refusal::TooManySessions);
        }
        let (nonce, session_id) = (message.nonce, message.session_id);
        let spent = SpentNonce { nonce, session_id, until_ms: self.until_ms(message) };
        self.write(&spent).map_err(|_| Refusal::NonceHistoryUnavailable)?;
        self.remember(&spent);
        Ok(())
    }

    /// Says whether the nonce of a message is fresh, and spends nothing.
    ///
    /// # Errors
    /// It was spent before, or it may have been.
    pub fn look(&self, message: &SecureMessage) -> Result<(), Refusal> {
        if self.spent.contains_key(&u128::from_be_bytes(message.nonce)) {
            return Err(Refusal::Replayed);
        }
        if self.until_ms(message) < self.floor_ms {
            return Err(Refusal::NonceHistoryClosed);
        }
        Ok(())
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.spent.len()
    }

    /// Says whether none is.
    pub fn is_empty(&self) -> bool {
        self.spent.is_empty()
    }

    /// What it may remember.
    pub fn limits(&self) -> NonceLimits {
        self.limits
    }

    fn until_ms(&self, message: &SecureMessage) -> u64 {
        unix_ms(message.accepted_until(self.limits.skew))
    }

    fn remember(&mut self, spent: &SpentNonce) {
        let nonce = u128::from_be_bytes(spent.nonce);
        if self.spent.insert(nonce, spent.session_id).is_some() {
            return;
        }
        self.forgotten_in.entry(spent.until_ms / 1000 + 1).or_default().push(nonce);
        match self.sessions.iter_mut().find(|(session, _)| *session == spent.session_id) {
            Some((_, count)) => *count += 1,
            None => self.sessions.push((spent.session_id, 1)),
        }
    }

    /// Forgets what the clock refuses by itself.
    ///
    /// It is called only for a message whose HMAC is right and whose time is near this clock, so that a clock which is wrong for a moment,
    /// while nobody agrees with it, makes nothing forgotten.
    fn forget(&mut self, now: SystemTime) {
        let now_ms = unix_ms(now);
        while let Some(due) =
            self.forgotten_in.first_entry().filter(|due| *due.key() * 1000 <= now_ms)
        {
            self.floor_ms = self.floor_ms.max(*due.key() * 1000);
            for nonce in due.remove() {
                let session = self.spent.remove(&nonce);
                if let Some((_, count)) =
                    self.sessions.iter_mut().find(|(one, _)| Some(*one) == session)
                {
                    *count -= 1;
                }
            }
            self.sessions.retain(|(_, count)| *count > 0);
        }
    }

    fn remembered(&self) -> Remembered {
        let nonces = self.forgotten_in.iter().flat_map(|(second, nonces)| {
            nonces.iter().map(move |nonce| SpentNonce {
                nonce: nonce.to_be_bytes(),
                session_id: self.spent[nonce],
                until_ms: second * 1000,
            })
        });
        Remembered { nonces: nonces.collect(), forgotten_until_ms: self.floor_ms }
    }

    fn write(&mut self, spent: &SpentNonce) -> io::Result<()> {
        if self.appended > COMPACT_AFTER.max(2 * self.spent.len()) {
            let remembered = self.remembered();
            self.log.compact(&remembered)?;
            self.appended = 0;
        }
        self.log.append(spent)?;
        self.appended += 1;
        Ok(())
    }
}

/// Chosen: an integrator's machine serves a few people at a time; each session more needs 12,000 nonces of room.
pub const JSON_SESSIONS_PER_MACHINE: usize = 8;
/// Chosen: about 150 MiB at most, reached only with a rate limit far above the default; then the history fails closed.
const NONCES_MAX: usize = 2_000_000;
/// Chosen: a log of 44 bytes a nonce is made short every 200 KiB or so.
const COMPACT_AFTER: usize = 4096;
