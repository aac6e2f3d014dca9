//! Messages of live sessions: capability, rate, sealed form, and the end after a run of bad ones.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::SessionService;
use crate::access::AccessCheck;
use crate::clock::Clock;
use crate::doctor::Counts;
use crate::event::{Event, Events, MessageFacts};
use crate::limiter::Source;
use crate::message::{self, Draft, Expected, MessageType, Receiver, SealError, SecureMessage};
use crate::nonces::{NoLog, NonceHistory, NonceLimits, NonceLog, Remembered};
use crate::opener::BadRun;
use crate::refusal::{Refusal, Validation};
use crate::secret::MachineSecret;
use crate::session::{EndReason, SessionRecord, Store};

/// A nonce history with any log under it.
pub type AnyNonceHistory = NonceHistory<Box<dyn NonceLog>>;

/// What is remembered of messages that were received.
#[derive(Default)]
pub(super) struct Received {
    histories: HashMap<Uuid, Arc<Mutex<AnyNonceHistory>>>,
    runs: HashMap<Uuid, BadRun>,
    counts: Counts,
}

impl Received {
    pub(super) fn forget(&mut self, session: Uuid) {
        self.runs.remove(&session);
    }

    /// The history of a machine; the first message with a right HMAC makes one.
    fn history(
        &mut self,
        machine: Uuid,
        limits: NonceLimits,
    ) -> Result<Arc<Mutex<AnyNonceHistory>>, Refusal> {
        if self.histories.len() >= HISTORIES_MAX && !self.histories.contains_key(&machine) {
            return Err(Refusal::NonceHistoryFull);
        }
        let made = || {
            Arc::new(Mutex::new(NonceHistory::with_log(
                limits,
                Box::new(NoLog) as Box<dyn NonceLog>,
                Remembered::default(),
            )))
        };
        Ok(Arc::clone(self.histories.entry(machine).or_insert_with(made)))
    }

    fn count_bad(&mut self, source: Uuid) -> BadRun {
        if self.runs.len() >= RUNS_MAX && !self.runs.contains_key(&source) {
            self.runs.retain(|_, run| !run.is_quiet());
        }
        let run = self.runs.entry(source).or_default();
        run.count_bad();
        *run
    }

    fn count_good(&mut self, source: Uuid) {
        if let Some(run) = self.runs.get_mut(&source) {
            run.count_good();
        }
    }
}

impl<A: AccessCheck, C: Clock, S: Store, E: Events> SessionService<A, C, S, E> {
    /// Uses a nonce history that outlives the process for the messages of one machine.
    pub fn keep_nonces(&self, machine: Uuid, history: AnyNonceHistory) {
        self.received().histories.insert(machine, Arc::new(Mutex::new(history)));
    }

    /// Counts one message of a live session against the limits of session, user and machine.
    ///
    /// # Errors
    /// The session is not live or its token expired, or [`Refusal::RateLimited`]: the caller holds the message and sends it later.
    pub async fn record_message(&self, session: Uuid, size_bytes: usize) -> Result<(), Refusal> {
        let outcome = match self.live(session).await {
            Ok(live) => self.tell_of_rate(&live, self.admit(&live, size_bytes)).await,
            Err(refusal) => Err(refusal),
        };
        self.counted(outcome)
    }

    /// Checks a sealed message of a machine: shape and size, time, HMAC, nonce, in this order.
    ///
    /// It knows of no connection, so it binds the message to the machine alone; [`receive_secure_message`](Self::receive_secure_message)
    /// binds it to a session as well, and counts it.
    pub async fn validate_secure_message(
        &self,
        message: &[u8],
        machine: Uuid,
        secret: &MachineSecret,
    ) -> Validation {
        let expected = Expected {
            receiver: None,
            machine_id: machine,
            session_id: None,
            skew: self.settings.clock_skew_tolerance,
        };
        let outcome = self.open(message, &expected, secret, |_| Ok(())).map(drop);
        if let Err(refusal) = outcome {
            self.tell_of_bad(machine, None, refusal).await;
        }
        self.counted(outcome).into()
    }

    /// Opens a sealed message that came on the connection of a session, checks its capability and counts it.
    ///
    /// A rate-limited message spends no nonce: the same message may come again. [`BAD_RUN_MAX`](crate::BAD_RUN_MAX) bad messages in a row end the session.
    ///
    /// # Errors
    /// Why the message is dropped. The sender is told [`Refusal::peer_code`] and no more.
    pub async fn receive_secure_message(
        &self,
        session: Uuid,
        receiver: Receiver,
        message: &[u8],
        secret: &MachineSecret,
    ) -> Result<SecureMessage, Refusal> {
        let outcome = self.receive(session, receiver, message, secret).await;
        self.counted(outcome)
    }

    /// How many messages were refused since the start, for [`examine`](crate::examine).
    pub fn counts(&self) -> Counts {
        self.received().counts
    }

    /// Seals a message of a live session.
    ///
    /// # Errors
    /// It is too large, or the system gives no random bytes.
    pub fn seal_message(
        &self,
        session: &SessionRecord,
        kind: MessageType,
        payload: &str,
        secret: &MachineSecret,
    ) -> Result<String, SealError> {
        let draft = Draft {
            kind,
            session_id: session.session_id,
            machine_id: session.machine_id,
            payload,
            session_token: None,
        };
        message::seal(&draft, secret, self.clock.wall())
    }

    async fn receive(
        &self,
        session: Uuid,
        receiver: Receiver,
        message: &[u8],
        secret: &MachineSecret,
    ) -> Result<SecureMessage, Refusal> {
        let live = self.live(session).await?;
        let expected = Expected {
            receiver: Some(receiver),
            machine_id: live.machine_id,
            session_id: Some(session),
            skew: self.settings.clock_skew_tolerance,
        };
        let mut rate = Ok(());
        let opened = self.open(message, &expected, secret, |opened| {
            self.may(&live, opened)?;
            rate = self.admit(&live, message.len());
            rate.map_err(|exceeded| Refusal::RateLimited(exceeded.retry_after))
        });
        self.tell_of_rate(&live, rate).await?;
        match opened {
            Ok(opened) => {
                self.received().count_good(session);
                Ok(opened)
            }
            Err(refusal) => {
                self.tell_of_bad(live.machine_id, Some(session), refusal).await;
                Err(refusal)
            }
        }
    }

    fn counted<T>(&self, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &outcome {
            self.received().counts.count(refusal);
        }
        outcome
    }

    /// Checks a message, asks what else must hold, and spends its nonce last.
    fn open(
        &self,
        message: &[u8],
        expected: &Expected,
        secret: &MachineSecret,
        also: impl FnOnce(&SecureMessage) -> Result<(), Refusal>,
    ) -> Result<SecureMessage, Refusal> {
        let now = self.clock.wall();
        let opened = message::check(message, expected, secret, now)?;
        let history = self
            .received()
            .history(expected.machine_id, NonceLimits::from_settings(&self.settings))?;
        let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
        history.look(&opened)?;
        also(&opened)?;
        history.spend(&opened, now)?;
        Ok(opened)
    }

    /// What a message asks for must be a right of the session, and a token that comes with it must be the session's.
    fn may(&self, live: &SessionRecord, opened: &SecureMessage) -> Result<(), Refusal> {
        if let Some(token) = &opened.session_token {
            let same = self.key.verifies(token) && token.user_id == live.user_id;
            if !same {
                return Err(Refusal::TokenInvalid);
            }
            if token.expires_at <= self.unix_seconds() {
                return Err(Refusal::SessionExpired);
            }
        }
        match opened.kind.capability() {
            Some(capability) if !live.capabilities.contains(&capability) => {
                Err(Refusal::CapabilityMissing)
            }
            _ => Ok(()),
        }
    }

    async fn live(&self, session: Uuid) -> Result<SessionRecord, Refusal> {
        let live = self
            .find(session)
            .await
            .map_err(|_| Refusal::StoreUnavailable)?
            .ok_or(Refusal::SessionNotLive)?;
        (live.expires_at > self.unix_seconds()).then_some(live).ok_or(Refusal::SessionExpired)
    }

    fn admit(&self, live: &SessionRecord, size_bytes: usize) -> Result<(), crate::Exceeded> {
        let source = Source {
            session_id: live.session_id,
            user_id: live.user_id,
            machine_id: live.machine_id,
        };
        let bytes = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        self.limiter().admit(&source, bytes, self.clock.steady())
    }

    /// Every tenth refusal of a session is an event.
    async fn tell_of_rate(
        &self,
        live: &SessionRecord,
        outcome: Result<(), crate::Exceeded>,
    ) -> Result<(), Refusal> {
        let Err(exceeded) = outcome else {
            return Ok(());
        };
        if exceeded.times_exceeded.is_multiple_of(EVENT_EVERY) {
            let event = Event::RateLimitExceeded {
                session_id: live.session_id,
                times_exceeded: exceeded.times_exceeded,
                at: self.unix_seconds(),
            };
            self.tell(event).await;
        }
        Err(Refusal::RateLimited(exceeded.retry_after))
    }

    /// Counts a bad message, tells of the first and of each tenth, and ends the session after a run.
    async fn tell_of_bad(&self, machine: Uuid, session: Option<Uuid>, refusal: Refusal) {
        if !refusal.is_bad_message() {
            return;
        }
        let run = self.received().count_bad(session.unwrap_or(machine));
        let count = run.total();
        if count == 1 || count.is_multiple_of(EVENT_EVERY) {
            let facts = MessageFacts {
                machine_id: machine,
                session_id: session,
                code: refusal.code(),
                count,
                at: self.unix_seconds(),
            };
            self.tell(event_of(refusal, facts)).await;
        }
        if let Some(session) = session.filter(|_| run.is_over()) {
            // Where the store does not answer, every message is refused anyway and the next bad one tries again.
            let ended = self.end_session(session, EndReason::BadMessages).await;
            self.count_lost(ended.is_err());
        }
    }

    /// Tells of a message that is refused in any case; a lost event is counted, and the next one has the count of all.
    async fn tell(&self, event: Event) {
        let lost = self.events.record(event).await.is_err();
        self.count_lost(lost);
    }

    fn count_lost(&self, lost: bool) {
        self.events_lost.fetch_add(u64::from(lost), Ordering::Relaxed);
    }
}

fn event_of(refusal: Refusal, facts: MessageFacts) -> Event {
    match refusal {
        Refusal::HmacMismatch => Event::SecureMessageHmacValidationFailed(facts),
        Refusal::Replayed => Event::SecureMessageReplayDetected(facts),
        Refusal::TimestampOutOfRange => Event::SecureMessageTimestampOutOfRange(facts),
        _ => Event::SecureMessageRefused(facts),
    }
}

/// Chosen: a flood of refusals is told in a tenth of its size, and the count is in each event.
const EVENT_EVERY: u64 = 10;
/// Chosen: more machines than one gateway serves; a machine gets a history only by a message with a right HMAC.
const HISTORIES_MAX: usize = 10_000;
/// Chosen: more sessions than one gateway has live; each goes when its session ends.
const RUNS_MAX: usize = 100_000;
