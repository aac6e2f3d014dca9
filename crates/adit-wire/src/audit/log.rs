//! The verification of a whole log, of all gateways, against its checkpoints.

use std::collections::BTreeMap;

use adit_domain::id::GatewayId;

use super::{AuditEvent, BadRecord, ChainVerifier, Flaw, Record};
use crate::checkpoint::{Anchors, BadCheckpoint, SignedCheckpoint};
use crate::recording::PublicKey;

/// What is wrong first in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstBad {
    /// Whose chain.
    pub gateway: GatewayId,
    /// Which event, and what is wrong with it.
    pub record: BadRecord,
}

/// What the verification of a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Events that were checked.
    pub events: u64,
    /// Checkpoints that were held against them.
    pub checkpoints: u64,
    /// The first event of each chain that does not hold.
    pub first_bad: Vec<FirstBad>,
    /// The first checkpoint that does not hold.
    pub bad_checkpoint: Option<BadCheckpoint>,
    /// Events after the newest that a checkpoint holds: their order is proved, but not that none was cut after them or all were written anew.
    pub unanchored: u64,
    /// All of it for a person.
    pub sentence: String,
}

impl LogReport {
    /// Tells whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.first_bad.is_empty() && self.bad_checkpoint.is_none()
    }
}

/// Checks a whole log, of all gateways, against its checkpoints.
#[derive(Debug)]
pub struct LogVerifier {
    anchors: Anchors,
    bad_checkpoint: Option<BadCheckpoint>,
    chains: BTreeMap<GatewayId, Progress>,
}

#[derive(Debug)]
struct Progress {
    verifier: ChainVerifier,
    bad: Option<BadRecord>,
    events: u64,
}

impl LogVerifier {
    /// Starts with the keys that may have signed checkpoints.
    pub fn new(trusted: &[PublicKey]) -> Self {
        Self { anchors: Anchors::new(trusted), bad_checkpoint: None, chains: BTreeMap::new() }
    }

    /// Takes the log's own checkpoints, first to last; all of them before the first record.
    pub fn checkpoint(&mut self, signed: &SignedCheckpoint) {
        if self.bad_checkpoint.is_none() {
            self.bad_checkpoint = self.anchors.add(signed).err();
        }
    }

    /// Takes a checkpoint that was kept elsewhere; before the first record.
    pub fn copy(&mut self, signed: &SignedCheckpoint) {
        if let Err(bad) = self.anchors.add_copy(signed) {
            self.bad_checkpoint.get_or_insert(bad);
        }
    }

    /// Takes a chain's next record, first to last; chains may alternate. Gives the event while the chain holds.
    pub fn record(&mut self, gateway: GatewayId, record: &Record) -> Option<AuditEvent> {
        let chain = self.chains.entry(gateway).or_insert_with(|| Progress::new(gateway));
        if chain.bad.is_some() {
            return None;
        }
        chain.events += 1;
        let anchored = self.anchors.event(gateway, record.seq);
        let checked = match anchored {
            Some(hash) if hash != record.hash && record.seq == chain.verifier.chain().seq + 1 => {
                Err(BadRecord { seq: record.seq, flaw: Flaw::Anchor })
            }
            _ => chain.verifier.check(record),
        };
        checked.map_err(|bad| chain.bad = Some(bad)).ok()
    }

    /// Gives what the checkpoints hold, for the recordings.
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Says what was found.
    pub fn finish(mut self) -> LogReport {
        for gateway in self.anchors.gateways() {
            self.chains.entry(gateway).or_insert_with(|| Progress::new(gateway));
        }
        let mut report = LogReport {
            events: 0,
            checkpoints: self.anchors.len() as u64,
            first_bad: Vec::new(),
            bad_checkpoint: self.bad_checkpoint,
            unanchored: 0,
            sentence: String::new(),
        };
        for (gateway, chain) in &self.chains {
            let anchored = self.anchors.head(*gateway).map_or(0, |head| head.seq);
            let last = chain.verifier.chain().seq;
            let cut = (last < anchored).then_some(BadRecord { seq: last + 1, flaw: Flaw::Cut });
            report.events += chain.events;
            report.unanchored += last.saturating_sub(anchored);
            report
                .first_bad
                .extend(chain.bad.or(cut).map(|record| FirstBad { gateway: *gateway, record }));
        }
        report.sentence = sentence(&report);
        report
    }
}

impl Progress {
    fn new(gateway: GatewayId) -> Self {
        Self { verifier: ChainVerifier::new(gateway), bad: None, events: 0 }
    }
}

fn sentence(report: &LogReport) -> String {
    if let Some(bad) = report.first_bad.first() {
        return format!(
            "The log is not as it was written: {} (chain of gateway {}).",
            bad.record, bad.gateway
        );
    }
    if let Some(bad) = report.bad_checkpoint {
        return format!("The checkpoints do not hold: {bad}.");
    }
    let events = report.events;
    match (report.checkpoints, report.unanchored) {
        (0, _) => format!(
            "All {events} events follow one another, but there is no signed checkpoint: nothing proves that none was cut from the end, or that they \
             were not all written anew."
        ),
        (checkpoints, 0) => format!(
            "All {events} events follow one another and {checkpoints} signed checkpoints hold them all."
        ),
        (checkpoints, tail) => format!(
            "All {events} events follow one another and {checkpoints} signed checkpoints hold all but the newest {tail}: for those, nothing proves \
             yet that none was cut after them, or that they were not written anew."
        ),
    }
}
