//! What the session core tells the audit log; nothing here holds a secret, a key or a payload.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::access::AccessRefusal;
use crate::session::EndReason;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session begins.
    TerminalSessionStart {
        /// The session.
        session_id: Uuid,
        /// Whose it is.
        user_id: Uuid,
        /// On which machine.
        machine_id: Uuid,
        /// Unix seconds.
        at: u64,
    },
    /// A session ended.
    TerminalSessionEnd {
        /// The session.
        session_id: Uuid,
        /// Whose it was.
        user_id: Uuid,
        /// On which machine.
        machine_id: Uuid,
        /// Why.
        reason: EndReason,
        /// How long it lasted.
        length_seconds: u64,
        /// Unix seconds.
        at: u64,
    },
    /// A session was asked for and not made, or not given a new token.
    SessionRefused {
        /// Who asked.
        user_id: Uuid,
        /// For which machine.
        machine_id: Uuid,
        /// The session, where it was already there.
        session_id: Option<Uuid>,
        /// Why not.
        reason: AccessRefusal,
        /// Unix seconds.
        at: u64,
    },
    /// A message had a wrong HMAC.
    SecureMessageHmacValidationFailed(MessageFacts),
    /// A message came twice.
    SecureMessageReplayDetected(MessageFacts),
    /// A message was too old or too new.
    SecureMessageTimestampOutOfRange(MessageFacts),
    /// A message was wrong in another way, whose code the facts hold.
    SecureMessageRefused(MessageFacts),
    /// A session, user or machine was over its rate, ten times more.
    RateLimitExceeded {
        /// The session.
        session_id: Uuid,
        /// How often so far.
        times_exceeded: u64,
        /// Unix seconds.
        at: u64,
    },
}

/// What is known of a refused message by ourselves; what it says of itself is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageFacts {
    /// The machine whose secret it should have been sealed with.
    pub machine_id: Uuid,
    /// The session of the connection that it came on.
    pub session_id: Option<Uuid>,
    /// Stable code of the refusal.
    pub code: &'static str,
    /// How many were refused so far on this session or machine.
    pub count: u64,
    /// Unix seconds.
    pub at: u64,
}

impl Event {
    /// Stable name in the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TerminalSessionStart { .. } => "terminal_session_start",
            Self::TerminalSessionEnd { .. } => "terminal_session_end",
            Self::SessionRefused { .. } => "session.refused",
            Self::SecureMessageHmacValidationFailed(_) => "SecureMessageHmacValidationFailed",
            Self::SecureMessageReplayDetected(_) => "SecureMessageReplayDetected",
            Self::SecureMessageTimestampOutOfRange(_) => "SecureMessageTimestampOutOfRange",
            Self::SecureMessageRefused(_) => "message.refused",
            Self::RateLimitExceeded { .. } => "RateLimitExceeded",
        }
    }
}

/// Takes events; the change that an event tells of waits for it.
pub trait Events: Send + Sync {
    /// Keeps one event.
    ///
    /// # Errors
    /// It was not kept: a session is then not begun.
    fn record(&self, event: Event) -> impl Future<Output = Result<(), EventLost>> + Send;
}

/// An event could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit event could not be kept")]
pub struct EventLost;

/// Keeps the last 10,000 events in memory.
#[derive(Debug, Default)]
pub struct MemoryEvents(Mutex<VecDeque<Event>>);

impl MemoryEvents {
    /// Gives the events so far and forgets them.
    pub fn take(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl Events for MemoryEvents {
    async fn record(&self, event: Event) -> Result<(), EventLost> {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= MEMORY_EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
        Ok(())
    }
}

impl<E: Events> Events for std::sync::Arc<E> {
    fn record(&self, event: Event) -> impl Future<Output = Result<(), EventLost>> + Send {
        (**self).record(event)
    }
}

/// Chosen: a few MiB; whoever needs more implements [`Events`] over a log.
const MEMORY_EVENTS_MAX: usize = 10_000;
