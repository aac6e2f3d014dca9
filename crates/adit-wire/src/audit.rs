//! The audit log's bytes: an event, its canonical form, and the chain that makes edits visible.
//!
//! The canonical form of an event is one line of JSON without spaces:
//!
//! ```text
//! {"v":1,"id":…,"at":…,"tenant":…,"gateway":…,"event":…,"actor":{"kind":…,"id":…,"name":…},"target":…,"outcome":…,"details":{…},
//!  "correlation":…,"client":…}
//! ```
//!
//! Its fields come in this order and none is left out; what is absent is `null`. `at` is Unix milliseconds. The keys of `details`, at every depth, are sorted by their
//! bytes. Strings escape `"`, `\` and whatever [`escape::acts`], as `\uXXXX` in lower case, and nothing else. Two different
//! events never have the same form, and [`AuditEvent::decode`] takes no other.
//!
//! The hash of event `seq` in the chain of one gateway is SHA-256 over `"adit-audit-v1\n"`, the hash before (zero for the first), `seq` as
//! eight bytes, big-endian, and the canonical form. The first event has `seq` 1.

pub mod canonical;
pub mod chain;
pub mod escape;
pub mod export;
pub mod line;
pub mod log;

use std::collections::BTreeMap;

use adit_domain::id::{EventId, GatewayId, TenantId};
use adit_domain::time::Timestamp;
use serde_json::Value;

pub use canonical::NotCanonical;
pub use chain::{BadRecord, Chain, ChainVerifier, Flaw, Record};
pub use escape::for_terminal;
pub use line::line;

/// One line of the audit log: who did what to what, from where, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// The event's own id.
    pub id: EventId,
    /// When it happened, by the gateway's clock.
    pub at: Timestamp,
    /// Whose data it is.
    pub tenant: TenantId,
    /// The gateway that wrote it; its chain has this name.
    pub gateway: GatewayId,
    /// Its stable name, `noun.verb` but for those that a standard surface fixes.
    pub event: String,
    /// Who.
    pub actor: Party,
    /// To what.
    pub target: Option<Party>,
    /// How it went.
    pub outcome: Outcome,
    /// Everything else that tells; never a secret, never what a session carried.
    pub details: BTreeMap<String, Value>,
    /// The request that it belongs to.
    pub correlation: Option<String>,
    /// The client's address.
    pub client: Option<String>,
}

/// Somebody or something that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// `user`, `service`, `machine`, `session` and so on.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name at that time.
    pub name: String,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was refused.
    Denied,
    /// It was allowed and did not succeed.
    Failed,
}

impl Outcome {
    /// Gives its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// Reads its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ok, Self::Denied, Self::Failed].into_iter().find(|outcome| outcome.as_str() == name)
    }
}
