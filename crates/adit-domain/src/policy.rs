//! The one policy function.
//!
//! Connect, refresh, join, play, end and administer all ask [`authorize`]. What it needs to know is in [`Facts`], so the same facts
//! always give the same answer: a [`Permit`] names the grants that gave it, a [`Denial`] says what stood against it. [`explain`]
//! (`policy/explain.rs`) tells of each grant what it does about a question; a property holds the two against each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::reach::{Reach, Unreachable};
use crate::{
    Capabilities, Capability, Code, GrantId, MachineId, MachineLabel, Principal, TeamId, TenantId,
    Timestamp,
};

pub mod attended;
pub mod condition;
pub mod explain;
pub mod job;
mod reach;
pub mod selection;

pub use attended::{Attended, Consent};
pub use condition::{Conditions, Unmet};
pub use explain::explain;
pub use job::{JobTarget, Scopes};
pub use selection::{Matcher, Selection};

/// What a decision rests on, as the database has it now.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who asks.
    pub principal: Principal,
    /// False once the principal was removed or switched off.
    pub active: bool,
    /// Every grant that the principal holds, by itself or through a team.
    pub grants: Vec<GrantFacts>,
    /// How the principal comes.
    pub circumstances: Circumstances,
}

/// How a principal comes to ask: from where, with which proof, with a credential of which reach.
#[derive(Clone, Default, Debug)]
pub struct Circumstances {
    /// The address of the other end of the connection.
    pub address: Option<IpAddr>,
    /// When a second factor was last shown for the credential.
    pub second_factor_at: Option<Timestamp>,
    /// The most that the credential opens, whatever its principal may do. `None`: it takes nothing away.
    pub limit: Option<Capabilities>,
    /// When the right was first used, for what lives on: a second factor that was fresh then is fresh enough.
    pub since: Option<Timestamp>,
}

/// One grant, with its role's capabilities.
#[derive(Clone, Debug)]
pub struct GrantFacts {
    /// The grant's id.
    pub id: GrantId,
    /// The name of the role that it gives.
    pub role: String,
    /// What the role allows.
    pub capabilities: Capabilities,
    /// Which templates' scopes the role holds.
    pub scopes: Scopes,
    /// On what.
    pub on: Selection,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it counts.
    pub conditions: Conditions,
    /// The team that it is held through.
    pub team: Option<(TeamId, String)>,
}

/// What is asked for: on a machine, or on the tenant as a whole (people, audit).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A machine, and the tenant that owns it.
    Machine(MachineTarget),
    /// Everything of a tenant.
    Tenant(TenantId),
    /// The gateway itself: which tenants there are. For nobody but people of the first tenant.
    Gateway,
    /// A stream from one machine to another.
    Reach(Box<Reach>),
    /// A template on a machine.
    Job(Box<JobTarget>),
}

/// What policy looks at of a machine. It is the gateway's own word about it, never the machine's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineTarget {
    /// Its id.
    pub id: MachineId,
    /// Whose it is.
    pub tenant: TenantId,
    /// False once it was removed.
    pub active: bool,
    /// Its label.
    pub label: MachineLabel,
    /// Its tags.
    pub tags: Arc<BTreeMap<String, String>>,
    /// The team that it belongs to.
    pub team: Option<TeamId>,
    /// Whose support it is here for, if it is here for support.
    pub attended: Option<Attended>,
}

/// The right to do something, now. Only [`authorize`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permit {
    principal: Principal,
    capabilities: Capabilities,
    target: Target,
    grants: Vec<GrantId>,
    at: Timestamp,
    until: Option<Timestamp>,
}

impl Permit {
    /// Tells who may.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Tells what may be done.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Tells on what.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Tells by which grants.
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Tells when the decision was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Tells when the first grant that it rests on ends, or stops to count for the day.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }
}

/// Why something is not allowed, in the order in which it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
    /// The principal was removed or switched off.
    #[error("this account is switched off")]
    PrincipalInactive,
    /// The target belongs to another tenant; told to the peer as if it did not exist.
    #[error("there is no such target")]
    OtherTenant,
    /// The machine's key was revoked.
    #[error("this machine was removed")]
    TargetInactive,
    /// The principal may, but not with this credential.
    #[error("this credential is not good for {}", .0.as_str())]
    ScopeMissing(Capability),
    /// The person at the machine has not agreed to this.
    #[error("the person at this machine has not agreed to this")]
    NoConsent,
    /// No grant covers the target at all.
    #[error("no grant covers this target")]
    NoGrant,
    /// Grants cover the target, but they have expired.
    #[error("the grant for this target has expired")]
    GrantExpired,
    /// A grant would allow it, but not now, not from here or not yet.
    #[error("{0}")]
    Condition(Unmet),
    /// Grants cover the target, but not for this.
    #[error("no role here allows {}", .0.as_str())]
    CapabilityMissing(Capability),
    /// The template is not for this machine.
    #[error("this template does not run on this machine")]
    NotItsTarget,
    /// No role that counts here holds a scope that the template asks for: which of them, counted from 0.
    #[error("no role here holds a scope that this template asks for")]
    TemplateScope(usize),
    /// One machine may not reach another; its peers hear less.
    #[error("{0}")]
    Unreachable(Unreachable),
}

impl Denial {
    /// Gives the stable code.
    pub fn code(self) -> Code {
        match self {
            Self::PrincipalInactive => Code::PrincipalInactive,
            Self::OtherTenant => Code::TargetUnknown,
            Self::TargetInactive => Code::TargetInactive,
            Self::NoConsent => Code::AccessConsent,
            Self::NoGrant => Code::AccessNoGrant,
            Self::GrantExpired => Code::AccessGrantExpired,
            Self::ScopeMissing(_) => Code::AccessScopeMissing,
            Self::Condition(unmet) => unmet.code(),
            Self::CapabilityMissing(_) => Code::AccessCapabilityMissing,
            Self::NotItsTarget => Code::TemplateTarget,
            Self::TemplateScope(_) => Code::AccessScopeMissing,
            Self::Unreachable(Unreachable::Stale) => Code::InstanceStale,
            Self::Unreachable(_) => Code::ReachUnknown,
        }
    }
}

/// Decides whether a principal may do all of `wanted` on `target`, now.
///
/// # Errors
/// A [`Denial`] with the first thing that stands against it.
pub fn authorize(
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Result<Permit, Denial> {
    stands(facts, target)?;
    if let Some(decided) = reach::authorize(facts, target, now) {
        return decided;
    }
    if let Some(decided) = attended::authorize(facts, wanted, target, now) {
        return decided;
    }
    reaches(&facts.circumstances, wanted)?;
    job::fits(target)?;
    let mut giving: Vec<&GrantFacts> = Vec::new();
    let mut seen = Seen::default();
    for grant in facts.grants.iter().filter(|grant| grant.on.covers(target)) {
        if grant.expires_at.is_some_and(|end| end <= now) {
            seen.expired = true;
            continue;
        }
        match grant.conditions.met(&facts.circumstances, now) {
            Ok(()) => {
                seen.held = seen.held.or(grant.capabilities);
                seen.counts = true;
                giving.push(grant);
            }
            Err(unmet) => seen.unmet.push((grant.capabilities, unmet)),
        }
    }
    seen.decide(wanted)?;
    job::scopes_held(&giving, target)?;
    giving.retain(|grant| !grant.capabilities.and(wanted).is_empty());
    Ok(Permit {
        principal: facts.principal.clone(),
        capabilities: wanted,
        target: target.clone(),
        until: giving.iter().filter_map(|grant| ends(grant, now)).min(),
        grants: giving.iter().map(|grant| grant.id).collect(),
        at: now,
    })
}

/// Gives the most that `authorize` would allow on a target, for lists and forms.
pub fn allowed(facts: &Facts, target: &Target, now: Timestamp) -> Capabilities {
    Capability::ALL
        .iter()
        .copied()
        .filter(|c| authorize(facts, Capabilities::of(&[*c]), target, now).is_ok())
        .collect()
}

/// Gives what the principal may do on a target, or could after a second factor or an approval: what lists and forms may show of it.
pub fn within_reach(facts: &Facts, target: &Target, now: Timestamp) -> Capabilities {
    let near = |one: &Capability| {
        let decision = authorize(facts, Capabilities::of(&[*one]), target, now);
        matches!(decision, Ok(_) | Err(Denial::Condition(Unmet::SecondFactor | Unmet::Approval)))
    };
    Capability::ALL.iter().copied().filter(near).collect()
}

/// Gives what the principal may do on at least one target, so that a console knows which of its parts to show.
pub fn anywhere(facts: &Facts, now: Timestamp) -> Capabilities {
    let live = facts.grants.iter().filter(|grant| grant.expires_at.is_none_or(|end| now < end));
    let held = live.fold(Capabilities::NONE, |set, grant| set.or(grant.capabilities));
    facts.circumstances.limit.map_or(held, |limit| held.and(limit))
}

/// What the grants that cover a target came to.
#[derive(Default)]
struct Seen {
    held: Capabilities,
    counts: bool,
    expired: bool,
    unmet: Vec<(Capabilities, Unmet)>,
}

impl Seen {
    fn decide(&self, wanted: Capabilities) -> Result<(), Denial> {
        let missing = wanted.without(self.held).iter().next();
        let hindered = |(set, _): &&(Capabilities, Unmet)| missing.is_none_or(|one| set.has(one));
        let unmet = self.unmet.iter().filter(hindered).map(|(_, unmet)| *unmet).min();
        match (missing, unmet) {
            (None, _) if self.counts => Ok(()),
            (_, Some(unmet)) => Err(Denial::Condition(unmet)),
            (Some(missing), None) if self.counts || !self.unmet.is_empty() => {
                Err(Denial::CapabilityMissing(missing))
            }
            _ if self.expired => Err(Denial::GrantExpired),
            _ => Err(Denial::NoGrant),
        }
    }
}

fn ends(grant: &GrantFacts, now: Timestamp) -> Option<Timestamp> {
    grant.expires_at.into_iter().chain(grant.conditions.until(now)).min()
}

fn stands(facts: &Facts, target: &Target) -> Result<(), Denial> {
    let (tenant, active) = match target {
        Target::Machine(machine) => (machine.tenant, machine.active),
        Target::Tenant(tenant) => (*tenant, true),
        Target::Gateway => (TenantId::SEED, true),
        Target::Reach(reach) => (reach.tenant, true),
        Target::Job(job) => (job.machine.tenant, job.machine.active),
    };
    if !facts.active {
        return Err(Denial::PrincipalInactive);
    }
    if tenant != facts.principal.tenant {
        return Err(Denial::OtherTenant);
    }
    if !active {
        return Err(Denial::TargetInactive);
    }
    Ok(())
}

fn reaches(circumstances: &Circumstances, wanted: Capabilities) -> Result<(), Denial> {
    let Some(limit) = circumstances.limit else { return Ok(()) };
    wanted.without(limit).iter().next().map_or(Ok(()), |one| Err(Denial::ScopeMissing(one)))
}

#[cfg(test)]
#[path = "policy/tests.rs"]
mod tests;
