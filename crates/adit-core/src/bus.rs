//! Tells the parts of a gateway what changed. In one process a broadcast; the database remains the truth.

use adit_domain::TenantId;
use tokio::sync::broadcast;

/// What changed; whoever hears it looks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
}

impl Change {
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
        }
    }
}

/// How many changes a slow listener may fall behind; it is then told to look at everything.
const BACKLOG: usize = 256;

/// The bus.
#[derive(Clone, Debug)]
pub struct Bus(broadcast::Sender<(TenantId, Change)>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Bus {
    /// Tells a change, and whose things changed, to whoever listens.
    pub fn tell(&self, tenant: TenantId, change: Change) {
        // Nobody listening is fine: the next listener reads the state itself.
        let _ = self.0.send((tenant, change));
    }

    /// Begins to listen.
    pub fn listen(&self) -> broadcast::Receiver<(TenantId, Change)> {
        self.0.subscribe()
    }
}
