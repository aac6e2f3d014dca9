//! The detector: one memory for each actor, within bounds.

use std::collections::HashMap;

use super::actor::Actor;
use super::{Act, Finding, Thresholds, Who};
use crate::TenantId;

/// Finds what is out of the ordinary.
#[derive(Clone, Debug)]
pub struct Detector {
    limits: Thresholds,
    known: Memory,
    // Apart, so that whoever comes from many addresses makes nobody's habits forgotten.
    anonymous: Memory,
}

type Memory = HashMap<(TenantId, Who), Actor>;

impl Detector {
    /// Makes one that knows nobody yet.
    pub fn new(limits: Thresholds) -> Self {
        Self { limits, known: Memory::new(), anonymous: Memory::new() }
    }

    /// Takes an act in and gives what stands out.
    pub fn observe(&mut self, act: &Act) -> Vec<Finding> {
        let (memory, most) = match act.who {
            Who::Known(_) | Who::Program(_) => (&mut self.known, MAX_KNOWN),
            Who::Anonymous(_) => (&mut self.anonymous, MAX_ANONYMOUS),
        };
        let key = (act.tenant, act.who.clone());
        if memory.len() >= most && !memory.contains_key(&key) {
            forget(memory);
        }
        let found = memory.entry(key).or_default().observe(act, &self.limits);
        let finding = |(kind, subject, events)| Finding {
            kind,
            tenant: act.tenant,
            who: act.who.clone(),
            subject,
            events,
            at: act.at,
        };
        found.into_iter().map(finding).collect()
    }
}

/// Forgets the quarter that was not seen for longest: seldom, because it looks at all.
fn forget(memory: &mut Memory) {
    let mut seen: Vec<_> = memory.iter().map(|(who, actor)| (actor.seen, who.clone())).collect();
    seen.sort_unstable();
    let quarter = seen.len().div_ceil(4);
    for (_, who) in seen.into_iter().take(quarter) {
        memory.remove(&who);
    }
}

/// Users and services that are remembered: a few kilobytes each, so tens of megabytes.
const MAX_KNOWN: usize = 10_000;

/// Addresses of the anonymous that are remembered.
const MAX_ANONYMOUS: usize = 4_096;

#[cfg(test)]
mod tests;
