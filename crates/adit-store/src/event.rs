//! Audit events on their way into the chain.

use std::collections::BTreeMap;

use adit_domain::{EventId, GatewayId, TenantId, Timestamp};
use adit_wire::audit::{AuditEvent, Outcome, Party};
use serde_json::Value;

/// An audit event to append in the transaction of what it tells. Its tenant and gateway are the store's to say.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The event's own id.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// Its stable name, `noun.verb`.
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

impl NewEvent {
    pub(crate) fn of(self, tenant: TenantId, gateway: GatewayId) -> AuditEvent {
        AuditEvent {
            id: self.id,
            at: self.at,
            tenant,
            gateway,
            event: self.event,
            actor: self.actor,
            target: self.target,
            outcome: self.outcome,
            details: self.details,
            correlation: self.correlation,
            client: self.client,
        }
    }
}

/// Tells nothing of an outcome, for changes that the audit log does not list.
pub fn silent<T>(_: &T) -> Vec<NewEvent> {
    Vec::new()
}
