//! Tells the parts of a gateway, and other gateways, what changed. The database remains the truth.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use adit_domain::TenantId;
use tokio::sync::{Notify, broadcast};

/// Declares the changes once: a change without a word would be told here and to no other gateway.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// What changed; whoever hears it looks again.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Change {
            $($(#[$doc])* $name,)*
        }

        impl Change {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Gives the word of the event stream.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

changes! {
    /// Machines, or their presence.
    Machines = "machines";
    /// Sessions.
    Sessions = "sessions";
    /// Recordings.
    Recordings = "recordings";
    /// The audit log.
    Audit = "audit";
    /// People, tokens, roles, grants: every live right is looked at again.
    Access = "access";
    /// Requests for access.
    Requests = "requests";
    /// Support codes, and what became of them.
    Support = "support";
    /// Scopes, instances, assignments, tickets and sessions between machines.
    Tickets = "tickets";
    /// Jobs, and what became of them.
    Jobs = "jobs";
}

impl FromStr for Change {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().find(|change| change.as_str() == text).copied().ok_or(())
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
