//! The session service: issue, validate, refresh, list and end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use crate::access::{AccessCheck, AccessRefusal};
use crate::capability::{Capabilities, Capability};
use crate::clock::Clock;
use crate::event::{Event, EventLost, Events};
use crate::limiter::{MessageLimiter, RateLimitInfo};
use crate::secret::{NoRandomness, random_16};
use crate::session::{EndReason, SessionRecord, Store, StoreError};
use crate::settings::Settings;
use crate::token::{CheckedTokens, SessionToken, Signed, TokenKey};

mod messages;

pub use messages::AnyNonceHistory;
use messages::Received;

/// Sessions of one tenant: their tokens, their messages and their limits.
pub struct SessionService<A, C, S, E> {
    settings: Settings,
    key: TokenKey,
    access: A,
    clock: C,
    store: S,
    events: E,
    checked: CheckedTokens,
    limiter: Mutex<MessageLimiter>,
    received: Mutex<Received>,
    events_lost: AtomicU64,
}

/// A session whose token was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidSession {
    /// The session as it is now.
    pub session: SessionRecord,
    /// A newer token to use from now on, where the old one is near its end.
    pub refreshed: Option<SessionToken>,
}

impl<A: AccessCheck, C: Clock, S: Store, E: Events> SessionService<A, C, S, E> {
    /// Makes the service of the only tenant.
    pub fn new(settings: Settings, access: A, clock: C, store: S, events: E) -> Self {
        Self::for_tenant(Uuid::nil(), settings, access, clock, store, events)
    }

    /// Makes the service of one tenant, whose tokens no other tenant's service takes.
    pub fn for_tenant(
        tenant: Uuid,
        settings: Settings,
        access: A,
        clock: C,
        store: S,
        events: E,
    ) -> Self {
        Self {
            key: TokenKey::new(&settings.session_token_secret, tenant),
            checked: CheckedTokens::new(),
            limiter: Mutex::new(MessageLimiter::new(&settings)),
            received: Mutex::default(),
            events_lost: AtomicU64::new(0),
            settings,
            access,
            clock,
            store,
            events,
        }
    }

    /// Begins a session and gives its first token; [`Capabilities::default`] is spawn, input and resize.
    ///
    /// # Errors
    /// The user has no such access, which is audited, or the session could not be kept or audited. Nothing is left then.
    pub async fn issue_session_token(
        &self,
        user: Uuid,
        machine: Uuid,
        capabilities: Capabilities,
    ) -> Result<SessionToken, IssueError> {
        self.ask(user, machine, &capabilities, None).await?;
        let now = self.unix_seconds();
        let ends_at = now + self.settings.session_length_max.as_secs();
        let session = SessionRecord {
            session_id: uuid::Builder::from_random_bytes(random_16()?).into_uuid(),
            user_id: user,
            machine_id: machine,
            issued_at: now,
            expires_at: ends_at.min(now + self.settings.session_expiry.as_secs()),
            ends_at,
            capabilities,
        };
        self.events
            .record(Event::TerminalSessionStart {
                session_id: session.session_id,
                user_id: user,
                machine_id: machine,
                at: now,
            })
            .await?;
        if let Err(error) = self.store.insert(session.clone()).await {
            self.events.record(self.end_of(&session, EndReason::Failed)).await?;
            return Err(error.into());
        }
        Ok(self.sign(&session))
    }

    /// Checks a token: signature in constant time over every field, expiry, and that its session is live.
    ///
    /// Near the end of the token the access is checked again and a newer token comes with the answer.
    ///
    /// # Errors
    /// Why the token is refused; a user who lost the access loses the session with it.
    pub async fn validate_session_token(
        &self,
        token: &SessionToken,
    ) -> Result<ValidSession, TokenRefusal> {
        if !self.key.verifies(token) {
            return Err(TokenRefusal::BadSignature);
        }
        self.validate_signed(token).await
    }

    /// Does the same with a token in its JSON form, and remembers which texts had a right signature.
    ///
    /// # Errors
    /// As [`validate_session_token`](Self::validate_session_token); a text of another shape has a bad signature.
    pub async fn validate_session_token_json(
        &self,
        json: &[u8],
    ) -> Result<ValidSession, TokenRefusal> {
        let token = self.checked.check(json, &self.key).ok_or(TokenRefusal::BadSignature)?;
        self.validate_signed(&token).await
    }

    /// Gives the newest token of a live session.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn get_session_token(
        &self,
        session: Uuid,
    ) -> Result<Option<SessionToken>, StoreError> {
        Ok(self.find(session).await?.map(|session| self.sign(&session)))
    }

    /// Lists the live sessions, of one user or of all.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn get_active_sessions(
        &self,
        user: Option<Uuid>,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let now = self.unix_seconds();
        let mut sessions = self.store.list(user).await?;
        sessions.retain(|session| self.over(session, now).is_none());
        Ok(sessions)
    }

    /// What is left of a live session's rate limit.
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn get_rate_limit_info(
        &self,
        session: Uuid,
    ) -> Result<Option<RateLimitInfo>, StoreError> {
        let live = self.find(session).await?;
        Ok(live.map(|live| {
            self.limiter().info(live.session_id, self.clock.steady(), self.clock.wall())
        }))
    }

    /// Gives a new token to the user of a session that is live, though its token may have expired, after the access was checked again.
    ///
    /// # Errors
    /// The session is not live or another user's, or the user lost the access and the session with it.
    pub async fn resume_session(
        &self,
        session: Uuid,
        user: Uuid,
    ) -> Result<SessionToken, TokenRefusal> {
        let live = self
            .find(session)
            .await?
            .filter(|live| live.user_id == user)
            .ok_or(TokenRefusal::NotLive)?;
        let live = self.move_on(live).await?;
        Ok(self.sign(&live))
    }

    /// Ends a session and says whether this call did; one that is unknown or ended is no error.
    ///
    /// # Errors
    /// The store did not answer, or the session ended and the event was lost.
    pub async fn end_session(&self, session: Uuid, reason: EndReason) -> Result<bool, EndError> {
        let Some(ended) = self.store.end(session).await? else {
            return Ok(false);
        };
        self.limiter().forget(session);
        self.received().forget(session);
        self.events.record(self.end_of(&ended, reason)).await?;
        Ok(true)
    }

    /// Ends every session whose token and grace are over, or that reached the longest length; to be called once a second.
    ///
    /// # Errors
    /// The store did not answer, or an event was lost; the next call goes on.
    pub async fn end_expired_sessions(&self) -> Result<Vec<SessionRecord>, EndError> {
        let now = self.unix_seconds();
        let mut ended = Vec::new();
        for session in self.store.list(None).await? {
            if let Some(reason) = self.over(&session, now)
                && self.end_session(session.session_id, reason).await?
            {
                ended.push(session);
            }
        }
        Ok(ended)
    }

    /// Says whether a live session may do this, now.
    ///
    /// # Errors
    /// It is not live, its token expired, or it may not.
    pub async fn check_capability(
        &self,
        session: Uuid,
        capability: &Capability,
    ) -> Result<SessionRecord, TokenRefusal> {
        let live = self.find(session).await?.ok_or(TokenRefusal::NotLive)?;
        if live.expires_at <= self.unix_seconds() {
            return Err(TokenRefusal::Expired);
        }
        live.capabilities
            .contains(capability)
            .then_some(live)
            .ok_or(TokenRefusal::CapabilityMissing)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Events about refused messages that could not be kept, and ends that failed, since the start.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    async fn validate_signed(&self, token: &SessionToken) -> Result<ValidSession, TokenRefusal> {
        let now = self.unix_seconds();
        if token.expires_at <= now {
            return Err(TokenRefusal::Expired);
        }
        if token.issued_at > now + self.settings.clock_skew_tolerance.as_secs() {
            return Err(TokenRefusal::FromTheFuture);
        }
        let session = self.find(token.session_id).await?.ok_or(TokenRefusal::NotLive)?;
        if !says_the_same(token, &session) {
            return Err(TokenRefusal::BadSignature);
        }
        let near_end = token.expires_at - now <= self.settings.refresh_threshold.as_secs();
        if !near_end {
            return Ok(ValidSession { session, refreshed: None });
        }
        self.refresh(token, session, now).await
    }

    /// Moves the token's end on, unless it was moved already or cannot be.
    async fn refresh(
        &self,
        token: &SessionToken,
        session: SessionRecord,
        now: u64,
    ) -> Result<ValidSession, TokenRefusal> {
        let newest_near_end =
            session.expires_at.saturating_sub(now) <= self.settings.refresh_threshold.as_secs();
        let session = match newest_near_end {
            false => session,
            true => match self.move_on(session.clone()).await {
                Err(TokenRefusal::AccessUnknown) => session,
                moved => moved?,
            },
        };
        let refreshed = (session.expires_at > token.expires_at).then(|| self.sign(&session));
        Ok(ValidSession { session, refreshed })
    }

    /// Checks the access again and moves the session's expiry on, never past its end.
    async fn move_on(&self, mut session: SessionRecord) -> Result<SessionRecord, TokenRefusal> {
        let asked = self
            .ask(
                session.user_id,
                session.machine_id,
                &session.capabilities,
                Some(session.session_id),
            )
            .await;
        match asked {
            Ok(()) => {}
            Err(IssueError::Access(AccessRefusal::Unavailable)) => {
                return Err(TokenRefusal::AccessUnknown);
            }
            Err(IssueError::Access(refusal)) => {
                self.end_session(session.session_id, EndReason::AccessLost).await?;
                return Err(TokenRefusal::AccessLost(refusal));
            }
            Err(_) => return Err(TokenRefusal::Unavailable),
        }
        let expires_at =
            session.ends_at.min(self.unix_seconds() + self.settings.session_expiry.as_secs());
        if expires_at > session.expires_at {
            if !self.store.extend(session.session_id, expires_at).await? {
                return Err(TokenRefusal::NotLive);
            }
            session.expires_at = expires_at;
        }
        Ok(session)
    }

    /// Asks for the access, and audits a no.
    async fn ask(
        &self,
        user: Uuid,
        machine: Uuid,
        capabilities: &Capabilities,
        session: Option<Uuid>,
    ) -> Result<(), IssueError> {
        let Err(reason) = self.access.check(user, machine, capabilities).await else {
            return Ok(());
        };
        let at = self.unix_seconds();
        self.events
            .record(Event::SessionRefused {
                user_id: user,
                machine_id: machine,
                session_id: session,
                reason,
                at,
            })
            .await?;
        Err(reason.into())
    }

    /// Finds a session that is live by the store and by the clock.
    async fn find(&self, session: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        let now = self.unix_seconds();
        Ok(self.store.find(session).await?.filter(|live| self.over(live, now).is_none()))
    }

    fn over(&self, session: &SessionRecord, now: u64) -> Option<EndReason> {
        if now >= session.ends_at {
            return Some(EndReason::LengthLimit);
        }
        (now >= session.expires_at + self.settings.grace.as_secs()).then_some(EndReason::Expired)
    }

    fn end_of(&self, session: &SessionRecord, reason: EndReason) -> Event {
        let at = self.unix_seconds();
        Event::TerminalSessionEnd {
            session_id: session.session_id,
            user_id: session.user_id,
            machine_id: session.machine_id,
            reason,
            length_seconds: at.saturating_sub(session.issued_at),
            at,
        }
    }

    fn sign(&self, session: &SessionRecord) -> SessionToken {
        self.key.sign(Signed {
            session_id: session.session_id,
            user_id: session.user_id,
            machine_id: session.machine_id,
            issued_at: session.issued_at,
            expires_at: session.expires_at,
            capabilities: session.capabilities.clone(),
        })
    }

    fn unix_seconds(&self) -> u64 {
        self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }

    fn limiter(&self) -> MutexGuard<'_, MessageLimiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A signed token of an id that the store gave to another session would be one of another database.
fn says_the_same(token: &SessionToken, session: &SessionRecord) -> bool {
    token.user_id == session.user_id
        && token.machine_id == session.machine_id
        && token.issued_at == session.issued_at
        && token.expires_at <= session.expires_at
        && token.capabilities == session.capabilities
}

/// A session was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The user may not; it was audited.
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// The store has no room or did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit event was lost.
    #[error(transparent)]
    Event(#[from] EventLost),
    /// No random bytes for its id.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A session's end was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// The store did not answer; the session may be live.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session ended and the audit event was lost.
    #[error(transparent)]
    Event(#[from] EventLost),
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Changed, of another key or tenant, or no token at all.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Its time is over.
    #[error("the token expired")]
    Expired,
    /// It begins later than this clock says.
    #[error("the token begins in the future")]
    FromTheFuture,
    /// Its session ended, or never was.
    #[error("the session is not live")]
    NotLive,
    /// Its user lost the access; the session ended.
    #[error("the access was lost: {0}")]
    AccessLost(AccessRefusal),
    /// Access could not be checked; the token is not renewed.
    #[error("access could not be checked")]
    AccessUnknown,
    /// The session may not do this.
    #[error("the session lacks the capability")]
    CapabilityMissing,
    /// Store or audit did not answer.
    #[error("the session could not be looked up")]
    Unavailable,
}

impl TokenRefusal {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadSignature => "token.bad_signature",
            Self::Expired => "token.expired",
            Self::FromTheFuture => "token.from_the_future",
            Self::NotLive => "session.not_live",
            Self::AccessLost(_) => "session.access_lost",
            Self::AccessUnknown => "access.unavailable",
            Self::CapabilityMissing => "session.capability_missing",
            Self::Unavailable => "session.store_unavailable",
        }
    }
}

impl From<StoreError> for TokenRefusal {
    fn from(_: StoreError) -> Self {
        Self::Unavailable
    }
}

impl From<EndError> for TokenRefusal {
    fn from(_: EndError) -> Self {
        Self::Unavailable
    }
}
