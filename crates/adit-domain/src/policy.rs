//! The one policy function.
//!
//! Connect, refresh, join, play, end and administer all ask [`authorize`]. What it needs to know is in [`Facts`], so the same facts
//! always give the same answer, and `explain` is the answer itself: a [`Permit`] names the grants that gave it, a [`Denial`] says
//! what was missing.

use std::net::IpAddr;

use crate::{Capabilities, Capability, Code, GrantId, MachineId, Principal, TenantId, Timestamp};

/// What a decision rests on, as the database has it now.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who asks.
    pub principal: Principal,
    /// False once the principal was removed or switched off.
    pub active: bool,
    /// Every grant that the principal holds.
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
    /// On what.
    pub on: Selection,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which targets a grant covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Every target of the tenant, and the tenant itself.
    All,
    /// The listed machines.
    Machines(Vec<MachineId>),
}

/// What is asked for: on a machine, or on the tenant as a whole (people, audit).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A machine, and the tenant that owns it.
    Machine {
        /// Its id.
        id: MachineId,
        /// Whose it is.
        tenant: TenantId,
        /// False once its key was revoked.
        active: bool,
    },
    /// Everything of a tenant.
    Tenant(TenantId),
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
    pub fn target(&self) -> Target {
        self.target
    }

    /// Tells by which grants.
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Tells when the decision was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Tells when the first grant that it rests on ends.
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
    /// No grant covers the target at all.
    #[error("no grant covers this target")]
    NoGrant,
    /// Grants cover the target, but they have expired.
    #[error("the grant for this target has expired")]
    GrantExpired,
    /// The principal may, but not with this credential.
    #[error("this credential is not good for {}", .0.as_str())]
    ScopeMissing(Capability),
    /// Grants cover the target, but not for this.
    #[error("no role here allows {}", .0.as_str())]
    CapabilityMissing(Capability),
}

impl Denial {
    /// Gives the stable code.
    pub fn code(self) -> Code {
        match self {
            Self::PrincipalInactive => Code::PrincipalInactive,
            Self::OtherTenant => Code::TargetUnknown,
            Self::TargetInactive => Code::TargetInactive,
            Self::NoGrant => Code::AccessNoGrant,
            Self::GrantExpired => Code::AccessGrantExpired,
            Self::ScopeMissing(_) => Code::AccessScopeMissing,
            Self::CapabilityMissing(_) => Code::AccessCapabilityMissing,
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
    target: Target,
    now: Timestamp,
) -> Result<Permit, Denial> {
    stands(facts, target)?;
    if let Some(limit) = facts.circumstances.limit
        && let Some(missing) = wanted.without(limit).iter().next()
    {
        return Err(Denial::ScopeMissing(missing));
    }
    let covering = || facts.grants.iter().filter(|g| covers(&g.on, target));
    let live: Vec<&GrantFacts> =
        covering().filter(|g| g.expires_at.is_none_or(|t| now < t)).collect();
    if live.is_empty() {
        return Err(if covering().next().is_some() {
            Denial::GrantExpired
        } else {
            Denial::NoGrant
        });
    }
    let held = live.iter().fold(Capabilities::NONE, |set, g| set.or(g.capabilities));
    if let Some(missing) = wanted.without(held).iter().next() {
        return Err(Denial::CapabilityMissing(missing));
    }
    let giving: Vec<&GrantFacts> =
        live.into_iter().filter(|g| !g.capabilities.and(wanted).is_empty()).collect();
    Ok(Permit {
        principal: facts.principal.clone(),
        capabilities: wanted,
        target,
        until: giving.iter().filter_map(|g| g.expires_at).min(),
        grants: giving.iter().map(|g| g.id).collect(),
        at: now,
    })
}

/// Gives the most that `authorize` would allow on a target, for lists and forms.
pub fn allowed(facts: &Facts, target: Target, now: Timestamp) -> Capabilities {
    Capability::ALL
        .iter()
        .copied()
        .filter(|c| authorize(facts, Capabilities::of(&[*c]), target, now).is_ok())
        .collect()
}

fn stands(facts: &Facts, target: Target) -> Result<(), Denial> {
    let (tenant, active) = match target {
        Target::Machine { tenant, active, .. } => (tenant, active),
        Target::Tenant(tenant) => (tenant, true),
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

fn covers(on: &Selection, target: Target) -> bool {
    match (on, target) {
        (Selection::All, _) => true,
        (Selection::Machines(list), Target::Machine { id, .. }) => list.contains(&id),
        (Selection::Machines(_), Target::Tenant(_)) => false,
    }
}

#[cfg(test)]
#[path = "policy/tests.rs"]
mod tests;
