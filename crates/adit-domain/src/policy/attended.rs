//! Machines that are here for support: the person who sits at one says who may do what, and for how long.
//!
//! No role opens a terminal on such a machine. What the person agreed to does, for the technician whose code brought it, as long as
//! that technician holds `support:offer`. Everything but the terminal is decided by grants, as on any machine.

use super::{Denial, Facts, MachineTarget, Permit, Target};
use crate::{Capabilities, Capability, PrincipalId, Timestamp};

/// That a machine is here for support.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attended {
    /// The technician whose code brought it.
    pub technician: PrincipalId,
    /// What the person agreed to; nothing before they did.
    pub consent: Option<Consent>,
}

/// What a person agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consent {
    /// What may be done.
    pub allows: Capabilities,
    /// Until when.
    pub until: Timestamp,
}

impl Attended {
    fn allows(&self, who: PrincipalId, now: Timestamp) -> Option<Consent> {
        self.consent.filter(|consent| self.technician == who && now < consent.until)
    }
}

/// Decides about the terminal of an attended machine; `None` for anything else, which grants decide.
pub(super) fn authorize(
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Option<Result<Permit, Denial>> {
    let Target::Machine(machine) = target else { return None };
    let attended = machine.attended.filter(|_| !wanted.terminal().is_empty())?;
    Some(by_consent(facts, wanted, machine, attended, now))
}

fn by_consent(
    facts: &Facts,
    wanted: Capabilities,
    machine: &MachineTarget,
    attended: Attended,
    now: Timestamp,
) -> Result<Permit, Denial> {
    let consent = attended.allows(facts.principal.id, now).ok_or(Denial::NoConsent)?;
    if !consent.allows.has_all(wanted.terminal()) {
        return Err(Denial::NoConsent);
    }
    super::reaches(&facts.circumstances, wanted)?;
    let offer = Capabilities::of(&[Capability::SupportOffer]);
    let mut permit = super::authorize(facts, offer, &Target::Tenant(machine.tenant), now)?;
    let target = Target::Machine(machine.clone());
    let beside = wanted.without(wanted.terminal());
    if !beside.is_empty() {
        let other = super::authorize(facts, beside, &target, now)?;
        permit.until = permit.until.into_iter().chain(other.until).min();
        permit.grants.extend(other.grants);
        permit.grants.dedup();
    }
    permit.capabilities = wanted;
    permit.target = target;
    permit.until = permit.until.into_iter().chain([consent.until]).min();
    Ok(permit)
}

#[cfg(test)]
#[path = "attended/tests.rs"]
mod tests;
