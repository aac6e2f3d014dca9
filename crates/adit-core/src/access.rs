//! Asks the one policy function, with today's facts, and writes down what it refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_domain::policy::{self, Circumstances, MachineTarget, Target};
use adit_domain::template::BadParameter;
use adit_domain::{
    Capabilities, Capability, Code, Denial, Facts, Permit, Principal, PrincipalId, Timestamp,
    TokenId,
};
use adit_store::{Machine, Party, StoreError};
use serde_json::json;

use crate::Gateway;
use crate::audit::{self, Actor};

/// Who calls, as a credential on this very connection showed.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The principal.
    pub principal: Principal,
    /// The credential that showed it.
    pub credential: TokenId,
    /// The address of the other end.
    pub address: Option<IpAddr>,
    /// When a second factor was last shown for the credential.
    pub second_factor_at: Option<Timestamp>,
    /// The most that the credential opens; none for all that its principal may do.
    pub limit: Option<Capabilities>,
    /// The OAuth2 client that holds the credential, where one does.
    pub client: Option<String>,
}

impl Caller {
    /// Names the caller in an event.
    pub fn actor(&self) -> Actor {
        Actor { client: self.client.clone(), ..Actor::principal(&self.principal, self.address) }
    }

    /// Tells whether something is the caller's own, and its credential is good for it: one's own needs no role, but a token with
    /// scopes reaches it by one of these.
    pub fn owns(&self, owner: PrincipalId, by: Capabilities) -> bool {
        owner == self.principal.id && self.limit.is_none_or(|limit| !limit.and(by).is_empty())
    }

    /// Checks that the credential opens all that its principal may do: one that does not must not buy another that does.
    ///
    /// # Errors
    /// [`Code::AccessScopeMissing`].
    pub fn unlimited(&self) -> Result<(), Refusal> {
        match self.limit {
            None => Ok(()),
            Some(_) => Err(Code::AccessScopeMissing.into()),
        }
    }

    /// Tells policy how the caller comes.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            address: self.address,
            second_factor_at: self.second_factor_at,
            limit: self.limit,
            since: None,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// For a reason that has a code.
    #[error("{}", .0.sentence())]
    Code(Code),
    /// For a reason that has a code, with more to say about it.
    #[error("{1}")]
    Said(Code, String),
    /// For a reason that passes, and when.
    #[error("{}", .0.sentence())]
    Later(Code, Duration),
    /// Parameters of a template that are not as it wants them, all of them.
    #[error("{}", say(.0))]
    Parameters(Vec<BadParameter>),
    /// No role that counts holds a scope of a template: which of them.
    #[error("{}", Code::AccessScopeMissing.sentence())]
    Scope(usize),
    /// The database did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// Gives the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Code(code) | Self::Said(code, _) | Self::Later(code, _) => *code,
            Self::Parameters(_) => Code::JobParameters,
            Self::Scope(_) => Code::AccessScopeMissing,
            Self::Store(error) => error.code(),
        }
    }
}

fn say(bad: &[BadParameter]) -> String {
    let each: Vec<String> = bad.iter().map(ToString::to_string).collect();
    format!("{}.", each.join("; "))
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

/// Makes a machine a policy target.
pub fn target_of(machine: &Machine) -> Target {
    Target::Machine(MachineTarget { active: machine.removed_at.is_none(), ..remembered(machine) })
}

/// Makes a machine a policy target for what outlives it: its sessions and recordings, when the machine is gone.
pub fn target_of_past(machine: &Machine) -> Target {
    Target::Machine(remembered(machine))
}

fn remembered(machine: &Machine) -> MachineTarget {
    MachineTarget {
        id: machine.id,
        tenant: machine.tenant,
        active: true,
        label: machine.label.clone(),
        tags: Arc::clone(&machine.tags),
        team: machine.team.as_ref().map(|(id, _)| *id),
        attended: machine.attended,
    }
}

/// Names a machine in an event.
pub fn machine_party(machine: &Machine) -> Party {
    audit::party("machine", machine.id.0, machine.label.as_str())
}

impl Gateway {
    /// Loads what a decision about a principal rests on.
    ///
    /// # Errors
    /// [`Refusal`] when the principal is gone or the database does not answer.
    pub async fn facts(&self, principal: &Principal) -> Result<Facts, Refusal> {
        let facts = self.store.tenant(principal.tenant).load_facts(principal.id).await?;
        facts.ok_or(Refusal::Code(Code::PrincipalInactive))
    }

    /// Loads what a decision about a caller rests on: its principal's facts, and how it comes.
    ///
    /// # Errors
    /// [`Refusal`] when the principal is gone or the database does not answer.
    pub async fn facts_of(&self, caller: &Caller) -> Result<Facts, Refusal> {
        let facts = self.facts(&caller.principal).await?;
        Ok(Facts { circumstances: caller.circumstances(), ..facts })
    }

    /// Decides for a caller, and audits a refusal.
    ///
    /// # Errors
    /// [`Refusal`] with the policy's reason.
    pub async fn permit(
        &self,
        caller: &Caller,
        wanted: Capabilities,
        target: Target,
        about: Option<Party>,
    ) -> Result<Permit, Refusal> {
        self.permit_since(caller, None, wanted, target, about).await
    }

    /// Does the same for what was asked for earlier and begins now: a second factor that was fresh then is fresh enough.
    ///
    /// # Errors
    /// [`Refusal`] with the policy's reason.
    pub(crate) async fn permit_since(
        &self,
        caller: &Caller,
        since: Option<Timestamp>,
        wanted: Capabilities,
        target: Target,
        about: Option<Party>,
    ) -> Result<Permit, Refusal> {
        let mut facts = self.facts_of(caller).await?;
        facts.circumstances.since = since;
        match policy::authorize(&facts, wanted, &target, self.clock.now()) {
            Ok(permit) => Ok(permit),
            Err(denial) => Err(self.refuse(caller, wanted, denial, about).await),
        }
    }

    /// Decides about the tenant as a whole: people, audit, machines.
    ///
    /// # Errors
    /// [`Refusal`] with the policy's reason.
    pub async fn permit_tenant(&self, caller: &Caller, one: Capability) -> Result<Permit, Refusal> {
        let target = Target::Tenant(caller.principal.tenant);
        self.permit(caller, Capabilities::of(&[one]), target, None).await
    }

    /// Decides about one machine.
    ///
    /// # Errors
    /// [`Refusal`] with the policy's reason.
    pub async fn permit_machine(
        &self,
        caller: &Caller,
        wanted: Capabilities,
        machine: &Machine,
    ) -> Result<Permit, Refusal> {
        self.permit(caller, wanted, target_of(machine), Some(machine_party(machine))).await
    }

    async fn refuse(
        &self,
        caller: &Caller,
        wanted: Capabilities,
        denial: Denial,
        about: Option<Party>,
    ) -> Refusal {
        let name = caller.principal.name.name();
        let on = about.as_ref().map(|p| format!(" on {}", p.name)).unwrap_or_default();
        let sentence = format!("{name} was refused {}{on}: {denial}", wanted.names().join(", "));
        let mut event = self
            .event("access.denied", &caller.actor(), sentence)
            .with("capabilities", json!(wanted.names()))
            .denied(denial.code());
        if let Some(about) = about {
            event = event.on(about);
        }
        self.note(event).await;
        match denial {
            Denial::CapabilityMissing(missing) => Refusal::Said(
                denial.code(),
                format!(
                    "Your role here does not allow {missing}. Ask an administrator for one that does."
                ),
            ),
            Denial::TemplateScope(at) => Refusal::Scope(at),
            other => Refusal::Code(other.code()),
        }
    }
}
