//! An exported log: lines of events and of checkpoints, verified far from the gateway.

use adit_domain::id::GatewayId;

use super::log::{LogReport, LogVerifier};
use super::{AuditEvent, line};
use crate::checkpoint::SignedCheckpoint;
use crate::recording::PublicKey;

/// What the verification of an export found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReport {
    /// What its events and checkpoints prove.
    pub log: LogReport,
    /// The first line, from 1, that is neither an event nor a checkpoint.
    pub bad_line: Option<usize>,
}

impl ExportReport {
    /// Tells whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.bad_line.is_none() && self.log.is_ok()
    }
}

/// Verifies the lines of an export, which are gone through twice: checkpoints first. Empty lines count for nothing.
pub fn verify<'a>(
    lines: impl Iterator<Item = &'a str> + Clone,
    trusted: &[PublicKey],
    copies: &[SignedCheckpoint],
) -> ExportReport {
    let mut verifier = LogVerifier::new(trusted);
    for line in lines.clone() {
        if let Ok(signed) = SignedCheckpoint::parse(line) {
            verifier.checkpoint(&signed);
        }
    }
    for signed in copies {
        verifier.copy(signed);
    }
    let mut bad_line = None;
    for (at, line) in lines.enumerate() {
        if !line.is_empty() && !take(line, &mut verifier) {
            bad_line.get_or_insert(at + 1);
        }
    }
    ExportReport { log: verifier.finish(), bad_line }
}

/// Checks one line; tells whether it is one.
fn take(text: &str, verifier: &mut LogVerifier) -> bool {
    if SignedCheckpoint::parse(text).is_ok() {
        return true;
    }
    let Ok(record) = line::parse(text) else {
        return false;
    };
    let Some(gateway) = gateway(&record.bytes) else {
        return false;
    };
    verifier.record(gateway, &record);
    true
}

/// Gives whose chain an event is in, even where it is not in its canonical form.
fn gateway(bytes: &[u8]) -> Option<GatewayId> {
    if let Ok(event) = AuditEvent::decode(bytes) {
        return Some(event.gateway);
    }
    let event: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    event["gateway"].as_str()?.parse().ok()
}
