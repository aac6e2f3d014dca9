//! Keeps a target's session: finds a ticket, uses it, opens its session, and says that it is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::client::{Session, Ticket, ValidatedTicket, milliseconds, now};
use crate::{TicketClient, TicketError};

/// Where a session manager stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionState {
    /// There is no session; a ticket is waited for.
    Waiting,
    /// There is one.
    Authorized,
    /// There is one, and the gateway does not answer.
    Grace,
    /// It is over; another ticket is waited for.
    Terminated,
    /// The manager has ended.
    Stopped,
}

type OnStateChange = Arc<dyn Fn(SessionState, Option<&str>) + Send + Sync>;

/// For what a session is kept, and how often what is done.
#[derive(Clone)]
pub struct TicketSessionManagerOptions {
    /// Who asks, and where.
    pub ticket_client: TicketClient,
    /// For what: tickets of other scopes are let be.
    pub scope: String,
    /// Who is told of each change, with the reason where there is one.
    pub on_state_change: Option<OnStateChange>,
    /// How often the inbox is read; 3 s.
    pub inbox_poll_interval: Duration,
    /// How often a session's heartbeat is sent; 60 s.
    pub session_heartbeat_interval: Duration,
    /// How long after a failure the inbox is read again; 10 s.
    pub inbox_retry_delay: Duration,
    /// After how many heartbeats in a row that fail the state is [`SessionState::Grace`]; 5.
    pub max_consecutive_heartbeat_failures: u32,
    /// Tickets with less time left are let be; 5 s.
    pub min_ticket_ttl: Duration,
}

impl std::fmt::Debug for TicketSessionManagerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketSessionManagerOptions({})", self.scope)
    }
}

impl TicketSessionManagerOptions {
    /// Gives the defaults.
    pub fn new(ticket_client: TicketClient, scope: impl Into<String>) -> Self {
        Self {
            ticket_client,
            scope: scope.into(),
            on_state_change: None,
            inbox_poll_interval: Duration::from_secs(3),
            session_heartbeat_interval: Duration::from_secs(60),
            inbox_retry_delay: Duration::from_secs(10),
            max_consecutive_heartbeat_failures: 5,
            min_ticket_ttl: Duration::from_secs(5),
        }
    }
}

/// A session, and what its ticket said of how its source is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionInfo {
    /// The session.
    pub session: Session,
    /// What its ticket let in to.
    pub ticket: ValidatedTicket,
}

/// Keeps a session as long as it may live, and finds another when it is over.
#[derive(Debug)]
pub struct TicketSessionManager {
    shared: Arc<Shared>,
    ending: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    options: TicketSessionManagerOptions,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    state: SessionState,
    session: Option<SessionInfo>,
}

impl TicketSessionManager {
    /// Makes a manager that has not begun.
    pub fn new(options: TicketSessionManagerOptions) -> Self {
        let now = Mutex::new(Now { state: SessionState::Stopped, session: None });
        Self {
            shared: Arc::new(Shared { options, now }),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Begins to wait for a ticket.
    pub fn start(&self) {
        let (shared, ending) = (Arc::clone(&self.shared), self.ending.clone());
        shared.change(SessionState::Waiting, None);
        self.tasks.spawn(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = shared.keep() => {}
            }
        });
    }

    /// Ends the manager; the session is left in its grace.
    pub async fn stop(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(info) = self.session_info() {
            let client = &self.shared.options.ticket_client;
            if let Err(error) =
                client.update_session_status(&info.session.session_id, "grace").await
            {
                debug!(%error, "the gateway was not told that this end is gone");
            }
        }
        self.shared.lock().session = None;
        self.shared.change(SessionState::Stopped, None);
    }

    /// Tells whether there is a session that the gateway lets go on.
    pub fn is_authorized(&self) -> bool {
        self.state() == SessionState::Authorized
    }

    /// Tells where it stands.
    pub fn state(&self) -> SessionState {
        self.shared.lock().state
    }

    /// Gives the session's id.
    pub fn session_id(&self) -> Option<String> {
        self.session_info().map(|info| info.session.session_id)
    }

    /// Gives the session and what its ticket said.
    pub fn session_info(&self) -> Option<SessionInfo> {
        self.shared.lock().session.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, state: SessionState, reason: Option<&str>) {
        let before = std::mem::replace(&mut self.lock().state, state);
        if before != state {
            info!(scope = %self.options.scope, ?state, reason, "a session changed");
            if let Some(tell) = &self.options.on_state_change {
                tell(state, reason);
            }
        }
    }

    async fn keep(&self) {
        loop {
            let info = self.find().await;
            let id = info.session.session_id.clone();
            self.lock().session = Some(info);
            self.change(SessionState::Authorized, None);
            let reason = self.live(&id).await;
            self.lock().session = None;
            self.change(SessionState::Terminated, reason.as_deref());
        }
    }

    /// Waits for a ticket and opens its session.
    async fn find(&self) -> SessionInfo {
        loop {
            match self.look().await {
                Ok(Some(info)) => return info,
                Ok(None) => tokio::time::sleep(self.options.inbox_poll_interval).await,
                Err(error) => {
                    warn!(%error, "no session was opened");
                    tokio::time::sleep(self.options.inbox_retry_delay).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<Option<SessionInfo>, TicketError> {
        let client = &self.options.ticket_client;
        let inbox = client.fetch_inbox().await?;
        let Some(ticket) = freshest(inbox, &self.options.scope, self.options.min_ticket_ttl) else {
            return Ok(None);
        };
        let valid = client.validate_ticket(&ticket.id).await?;
        let session = client.report_session_creation(&ticket.id).await?;
        Ok(Some(SessionInfo { session, ticket: valid }))
    }

    /// Sends heartbeats until the session is over; gives why.
    async fn live(&self, id: &str) -> Option<String> {
        let mut failures = 0;
        let mut grace: Option<Instant> = None;
        loop {
            tokio::time::sleep(self.options.session_heartbeat_interval).await;
            match self.options.ticket_client.send_session_heartbeat(id).await {
                Ok(heartbeat) if heartbeat.authorized => {
                    failures = 0;
                    grace = None;
                    self.change(SessionState::Authorized, None);
                }
                Ok(heartbeat) => return heartbeat.reason,
                Err(error) if error.is_not_found() => return Some("not_found".to_owned()),
                Err(error) if matches!(error.status_code(), Some(401 | 403)) => {
                    return Some("unauthorized".to_owned());
                }
                Err(error) => {
                    failures += 1;
                    warn!(%error, failures, "a session's heartbeat did not arrive");
                    if failures >= self.options.max_consecutive_heartbeat_failures {
                        self.change(SessionState::Grace, Some("the gateway does not answer"));
                        let since = *grace.get_or_insert_with(Instant::now);
                        if since.elapsed() > adit_domain::reach::GRACE {
                            return Some("grace_expired".to_owned());
                        }
                    }
                }
            }
        }
    }
}

/// Chooses the ticket of a scope that lasts longest, among those that last long enough.
pub(crate) fn freshest(tickets: Vec<Ticket>, scope: &str, least: Duration) -> Option<Ticket> {
    let least = now().saturating_add(i64::try_from(least.as_millis()).unwrap_or(i64::MAX));
    tickets
        .into_iter()
        .filter(|ticket| ticket.scope == scope)
        .filter_map(|ticket| Some((milliseconds(&ticket.expires_at)?, ticket)))
        .filter(|(until, _)| *until >= least)
        .max_by_key(|(until, _)| *until)
        .map(|(_, ticket)| ticket)
}
