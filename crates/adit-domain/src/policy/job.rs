//! Templates: who may run which, and where.
//!
//! A template is decided about as its machine is, by grants with the capabilities that it needs. Beside that it must be meant for the
//! machine, and the grants that count must hold every scope that it asks for.

use std::collections::BTreeSet;

use super::{Denial, GrantFacts, MachineTarget, Selection, Target};
use crate::Capability;
use crate::template::NeededScope;

/// A template on a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobTarget {
    /// Where it runs.
    pub machine: MachineTarget,
    /// On which machines the template may run.
    pub on: Selection,
    /// The scopes that it asks for.
    pub scopes: Vec<NeededScope>,
}

/// Which templates' scopes a role holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scopes {
    /// Every one.
    All,
    /// These.
    Listed(BTreeSet<NeededScope>),
}

impl Default for Scopes {
    fn default() -> Self {
        Self::Listed(BTreeSet::new())
    }
}

impl Scopes {
    fn hold(&self, scope: &NeededScope) -> bool {
        match self {
            Self::All => true,
            Self::Listed(list) => list.contains(scope),
        }
    }
}

/// Holds a template against the machine: one that is here for its person's support runs none.
pub(super) fn fits(target: &Target) -> Result<(), Denial> {
    let Target::Job(job) = target else { return Ok(()) };
    if job.machine.attended.is_some() {
        return Err(Denial::NoConsent);
    }
    let is_meant = job.on.covers(&Target::Machine(job.machine.clone()));
    if is_meant { Ok(()) } else { Err(Denial::NotItsTarget) }
}

/// Looks for each scope of a template among the grants that count here and let one run templates.
pub(super) fn scopes_held(giving: &[&GrantFacts], target: &Target) -> Result<(), Denial> {
    let Target::Job(job) = target else { return Ok(()) };
    let runs = |grant: &&&GrantFacts| grant.capabilities.has(Capability::JobRun);
    let held = |scope| giving.iter().filter(runs).any(|grant| grant.scopes.hold(scope));
    match job.scopes.iter().position(|scope| !held(scope)) {
        None => Ok(()),
        Some(at) => Err(Denial::TemplateScope(at)),
    }
}

#[cfg(test)]
#[path = "job/tests.rs"]
mod tests;
