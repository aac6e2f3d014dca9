//! The one form of bytes that an event has.

use std::fmt::Write as _;

use adit_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::escape::push_json;
use super::{AuditEvent, Outcome, Party};

/// Says that bytes are not the canonical form of any event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// They are no event at all.
    #[error("these bytes are no audit event")]
    Unreadable,
    /// They read as an event that is written otherwise.
    #[error("this audit event is not in its canonical form")]
    Otherwise,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    v: u8,
    id: String,
    at: i64,
    tenant: String,
    gateway: String,
    event: String,
    actor: ReadParty,
    target: Option<ReadParty>,
    outcome: String,
    details: std::collections::BTreeMap<String, Value>,
    correlation: Option<String>,
    client: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadParty {
    kind: String,
    id: String,
    name: String,
}

impl AuditEvent {
    /// Writes the canonical form.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(512);
        let _ = write!(
            out,
            "{{\"v\":1,\"id\":\"{}\",\"at\":{},\"tenant\":\"{}\",\"gateway\":\"{}\",\"event\":",
            self.id, self.at.0, self.tenant, self.gateway
        );
        push_json(&self.event, &mut out);
        out.push_str(",\"actor\":");
        push_party(Some(&self.actor), &mut out);
        out.push_str(",\"target\":");
        push_party(self.target.as_ref(), &mut out);
        let _ = write!(out, ",\"outcome\":\"{}\",\"details\":", self.outcome.as_str());
        push_object(self.details.iter(), &mut out);
        out.push_str(",\"correlation\":");
        push_optional(self.correlation.as_deref(), &mut out);
        out.push_str(",\"client\":");
        push_optional(self.client.as_deref(), &mut out);
        out.push('}');
        out
    }

    /// Reads the canonical form and no other.
    ///
    /// # Errors
    /// [`NotCanonical`] when the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotCanonical> {
        let read: Read = serde_json::from_slice(bytes).map_err(|_| NotCanonical::Unreadable)?;
        let event = read.event().ok_or(NotCanonical::Unreadable)?;
        if event.canonical().as_bytes() != bytes {
            return Err(NotCanonical::Otherwise);
        }
        Ok(event)
    }
}

impl Read {
    fn event(self) -> Option<AuditEvent> {
        if self.v != 1 {
            return None;
        }
        Some(AuditEvent {
            id: self.id.parse().ok()?,
            at: Timestamp(self.at),
            tenant: self.tenant.parse().ok()?,
            gateway: self.gateway.parse().ok()?,
            event: self.event,
            actor: self.actor.party(),
            target: self.target.map(ReadParty::party),
            outcome: Outcome::from_name(&self.outcome)?,
            details: self.details,
            correlation: self.correlation,
            client: self.client,
        })
    }
}

impl ReadParty {
    fn party(self) -> Party {
        Party { kind: self.kind, id: self.id, name: self.name }
    }
}

fn push_party(party: Option<&Party>, out: &mut String) {
    let Some(party) = party else {
        out.push_str("null");
        return;
    };
    out.push_str("{\"kind\":");
    push_json(&party.kind, out);
    out.push_str(",\"id\":");
    push_json(&party.id, out);
    out.push_str(",\"name\":");
    push_json(&party.name, out);
    out.push('}');
}

fn push_optional(text: Option<&str>, out: &mut String) {
    match text {
        Some(text) => push_json(text, out),
        None => out.push_str("null"),
    }
}

fn push_value(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
        Value::String(text) => push_json(text, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_value(value, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            push_object(entries.into_iter(), out);
        }
    }
}

fn push_object<'a>(sorted: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut String) {
    out.push('{');
    for (at, (key, value)) in sorted.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_json(key, out);
        out.push(':');
        push_value(value, out);
    }
    out.push('}');
}
