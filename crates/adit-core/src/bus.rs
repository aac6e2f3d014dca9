//! Tells the parts of a gateway, and other gateways, what changed. The database remains the truth.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use adit_domain::TenantId;
use tokio::sync::{Notify, broadcast};

/// What changed; whoever hears it looks again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Machines, or their presence.
    Machines,
    /// Sessions.
    Sessions,
    /// Recordings.
    Recordings,
    /// The audit log.
    Audit,
    /// People, tokens, roles, grants: every live right is looked at again.
    Access,
    /// Requests for access.
    Requests,
    /// Support codes, and what became of them.
    Support,
    /// Scopes, instances, assignments, tickets and sessions between machines.
    Tickets,
    /// Jobs, and what became of them.
    Jobs,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Machines,
        Self::Sessions,
        Self::Recordings,
        Self::Audit,
        Self::Access,
        Self::Requests,
        Self::Support,
        Self::Tickets,
        Self::Jobs,
    ];

    /// Gives the word of the event stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Sessions => "sessions",
            Self::Recordings => "recordings",
            Self::Audit => "audit",
            Self::Access => "access",
            Self::Requests => "requests",
            Self::Support => "support",
            Self::Tickets => "tickets",
            Self::Jobs => "jobs",
        }
    }
}

impl FromStr for Change {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|change| change.as_str() == text).ok_or(())
    }
}

/// How many changes a slow listener may fall behind; it is then told to look at everything.
const BACKLOG: usize = 256;

/// How many different changes wait for other gateways; past that they are dropped, and consoles there refresh with the next.
const MOST_WAITING: usize = 4096;

/// The bus.
#[derive(Clone, Debug)]
pub struct Bus {
    here: broadcast::Sender<(TenantId, Change)>,
    others: Option<Arc<Others>>,
}

/// What other gateways are to be told, each change once however often it was told here.
#[derive(Debug, Default)]
pub(crate) struct Others {
    waiting: Mutex<HashSet<(TenantId, Change)>>,
    stirred: Notify,
}

impl Default for Bus {
    fn default() -> Self {
        Self { here: broadcast::channel(BACKLOG).0, others: None }
    }
}

impl Bus {
    /// Makes one whose changes other gateways are told too.
    pub(crate) fn with_others() -> Self {
        Self { others: Some(Arc::default()), ..Self::default() }
    }

    /// Tells a change, and whose things changed, to whoever listens.
    pub fn tell(&self, tenant: TenantId, change: Change) {
        self.tell_here(tenant, change);
        if let Some(others) = &self.others {
            others.note(tenant, change);
        }
    }

    /// Tells a change that another gateway told.
    pub(crate) fn tell_here(&self, tenant: TenantId, change: Change) {
        // Nobody listening is fine: the next listener reads the state itself.
        let _ = self.here.send((tenant, change));
    }

    /// Begins to listen.
    pub fn listen(&self) -> broadcast::Receiver<(TenantId, Change)> {
        self.here.subscribe()
    }

    /// Gives what other gateways are to be told.
    pub(crate) fn others(&self) -> Option<Arc<Others>> {
        self.others.clone()
    }
}

impl Others {
    fn note(&self, tenant: TenantId, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING && waiting.insert((tenant, change)) {
            self.stirred.notify_one();
        }
    }

    /// Waits for changes and takes all that wait.
    pub(crate) async fn take(&self) -> HashSet<(TenantId, Change)> {
        loop {
            let taken =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.stirred.notified().await;
        }
    }
}
