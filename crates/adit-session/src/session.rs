//! What is kept of a live session, and where.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::capability::Capabilities;

/// A live session, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub session_id: Uuid,
    /// Who uses it.
    pub user_id: Uuid,
    /// The machine that it is for.
    pub machine_id: Uuid,
    /// When it began, in Unix seconds.
    pub issued_at: u64,
    /// When its newest token ends, in Unix seconds.
    pub expires_at: u64,
    /// When it ends whatever is refreshed, in Unix seconds.
    pub ends_at: u64,
    /// What it may do.
    pub capabilities: Capabilities,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its user or its shell ended it.
    Ended,
    /// Somebody with the right to ended it.
    Killed,
    /// Its token expired and nobody came back.
    Expired,
    /// It reached the longest that a session may live.
    LengthLimit,
    /// Its user lost the access.
    AccessLost,
    /// A run of wrong or repeated messages.
    BadMessages,
    /// It could not be begun.
    Failed,
}

impl EndReason {
    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ended => "session.ended",
            Self::Killed => "session.killed",
            Self::Expired => "session.expired",
            Self::LengthLimit => "session.length_limit",
            Self::AccessLost => "session.access_lost",
            Self::BadMessages => "session.bad_messages",
            Self::Failed => "session.failed",
        }
    }
}

/// Keeps live sessions; it is asked at every use, so that an end holds at once.
pub trait Store: Send + Sync {
    /// Keeps a new session.
    ///
    /// # Errors
    /// It was not kept.
    fn insert(&self, session: SessionRecord)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finds a live session.
    ///
    /// # Errors
    /// The store did not answer, which is no session.
    fn find(
        &self,
        session: Uuid,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send;

    /// Moves the end of the newest token on, never back; says whether the session is live.
    ///
    /// # Errors
    /// The store did not answer; nothing was moved.
    fn extend(
        &self,
        session: Uuid,
        expires_at: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends a session and gives it to the one caller who ended it.
    ///
    /// # Errors
    /// The store did not answer; the session may be live.
    fn end(
        &self,
        session: Uuid,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send;

    /// Lists live sessions, of one user or of all, oldest first.
    ///
    /// # Errors
    /// The store did not answer.
    fn list(
        &self,
        user: Option<Uuid>,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;
}

/// A store that did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It has no room for one more session.
    #[error("there are too many live sessions")]
    Full,
    /// It did not answer.
    #[error("the store of sessions did not answer")]
    Unavailable,
}

/// Live sessions in memory, at most 100,000.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<HashMap<Uuid, SessionRecord>>);

impl MemoryStore {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, SessionRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn insert(&self, session: SessionRecord) -> Result<(), StoreError> {
        let mut sessions = self.sessions();
        if sessions.len() >= MEMORY_SESSIONS_MAX {
            return Err(StoreError::Full);
        }
        sessions.insert(session.session_id, session);
        Ok(())
    }

    async fn find(&self, session: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        Ok(self.sessions().get(&session).cloned())
    }

    async fn extend(&self, session: Uuid, expires_at: u64) -> Result<bool, StoreError> {
        let mut sessions = self.sessions();
        let live = sessions.get_mut(&session);
        Ok(live.map(|live| live.expires_at = live.expires_at.max(expires_at)).is_some())
    }

    async fn end(&self, session: Uuid) -> Result<Option<SessionRecord>, StoreError> {
        Ok(self.sessions().remove(&session))
    }

    async fn list(&self, user: Option<Uuid>) -> Result<Vec<SessionRecord>, StoreError> {
        let mut list: Vec<_> = self
            .sessions()
            .values()
            .filter(|one| user.is_none_or(|user| one.user_id == user))
            .cloned()
            .collect();
        list.sort_by_key(|one| (one.issued_at, one.session_id));
        Ok(list)
    }
}

impl<S: Store> Store for std::sync::Arc<S> {
    fn insert(
        &self,
        session: SessionRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).insert(session)
    }

    fn find(
        &self,
        session: Uuid,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send {
        (**self).find(session)
    }

    fn extend(
        &self,
        session: Uuid,
        expires_at: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        (**self).extend(session, expires_at)
    }

    fn end(
        &self,
        session: Uuid,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send {
        (**self).end(session)
    }

    fn list(
        &self,
        user: Option<Uuid>,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send {
        (**self).list(user)
    }
}

/// Chosen: about 40 MiB; a gateway refuses far earlier.
const MEMORY_SESSIONS_MAX: usize = 100_000;
