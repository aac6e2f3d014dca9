//! What an audit event is to the detector.

use adit_domain::anomaly::{Act, Deed, Who};
use adit_store::{AuditEvent, Outcome, Party};
use serde_json::Value;

/// Says what an event is to the detector, and who acted; `None` for what it does not look at, its own alerts among it.
pub(super) fn act_of(event: &AuditEvent) -> Option<(Act, Party)> {
    if event.event.starts_with("alert.") {
        return None;
    }
    let party = party_of(event)?;
    let who = match party.kind.as_str() {
        "anonymous" => Who::Anonymous(party.id.clone()),
        "user" => Who::Known(party.id.clone()),
        _ => Who::Program(party.id.clone()),
    };
    let deed = deed_of(event)?;
    Some((Act { event: event.id, at: event.at, tenant: event.tenant, who, deed }, party))
}

/// Gives whose act it is: a job's end is its user's, the anonymous are told apart by their address.
fn party_of(event: &AuditEvent) -> Option<Party> {
    match event.actor.kind.as_str() {
        "gateway" => {
            let (kind, name) = detail(event, "user")?.split_once(':')?;
            let id = detail(event, "userId")?.to_owned();
            Some(Party { kind: kind.to_owned(), id, name: name.to_owned() })
        }
        "anonymous" => {
            let id = event.client.clone().unwrap_or_default();
            Some(Party { id, ..event.actor.clone() })
        }
        _ => Some(event.actor.clone()),
    }
}

fn deed_of(event: &AuditEvent) -> Option<Deed> {
    let machine = || {
        let target = event.target.as_ref().map(|target| target.id.as_str());
        Some(detail(event, "machineId").or(target)?.to_owned())
    };
    match (event.outcome, event.event.as_str()) {
        (Outcome::Denied, _) => Some(Deed::Refused),
        (Outcome::Failed, _) => Some(Deed::Failed),
        (Outcome::Ok, "job.end") => {
            let state = detail(event, "state")?;
            matches!(state, "failed" | "timed_out" | "lost").then_some(Deed::Failed)
        }
        (Outcome::Ok, "job.submit") => {
            let template = detail(event, "template")?.to_owned();
            Some(Deed::Ran { template, machine: machine()? })
        }
        // A person's shell or command, and a machine's session with another.
        (Outcome::Ok, "terminal_session_start" | "session.start") => {
            Some(Deed::Opened { machine: machine()? })
        }
        // Begins and ends come when a machine gets round to it.
        (Outcome::Ok, name) if name.starts_with("session.") || name.starts_with("job.") => None,
        (Outcome::Ok, _) if event.actor.kind == "user" => Some(Deed::Present),
        (Outcome::Ok, _) => None,
    }
}

fn detail<'e>(event: &'e AuditEvent, name: &str) -> Option<&'e str> {
    event.details.get(name).and_then(Value::as_str)
}
