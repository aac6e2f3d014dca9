//! Machines that reach each other: scopes, instances, assignments, tickets, sessions, and the streams that these admit.
//!
//! One ticket, one decision: whoever asks for a ticket, sends a heartbeat, changes a session or opens a stream is decided about by
//! `authorize`, with today's facts. What was decided is pushed to both ends (`channel.rs`), and what is taken away cuts the streams
//! (`streams.rs`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_domain::certificate::Carried;
use adit_domain::policy::{self, Circumstances, Target};
use adit_domain::reach::scope::ScopeTransport;
use adit_domain::reach::{Networks, Reach, Unreachable, peer_label, principal_id};
use adit_domain::{
    Capabilities, Capability, CertificateName, Code, Denial, Facts, InstanceId, Permit, Principal,
    PrincipalKind, PrincipalName, TenantId, Timestamp, TokenId,
};
use adit_store::{Party, ReachLimits, TenantStore};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::certificate::Holder;

pub mod channel;
mod instance;
mod scope;
mod session;
pub mod streams;
mod ticket;
mod tidy;

pub use instance::{Offer, read_instance_scope};
pub use session::Heartbeat;
pub use ticket::{Handed, TicketIds};

/// What an operator may set about machines that reach each other.
#[derive(Clone, Debug)]
pub struct ReachSettings {
    /// How much of each there may be.
    pub limits: ReachLimits,
    /// Networks that are not public and may be dialled directly all the same.
    pub networks: Networks,
}

impl Default for ReachSettings {
    fn default() -> Self {
        Self {
            limits: ReachLimits {
                tickets_per_minute: 10,
                tickets: 1_000,
                instances: 200,
                sessions: 500,
            },
            networks: Networks::default(),
        }
    }
}

/// The most rows of a list of tickets or sessions.
pub const LIST: u32 = 1_000;

/// An end of a stream, as its certificate on this very connection showed.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whose data it is.
    pub tenant: TenantId,
    /// Whom its certificate names.
    pub name: CertificateName,
    /// The certificate.
    pub holder: Box<Holder>,
    /// The address of the other end.
    pub address: Option<IpAddr>,
}

/// Who asks where tickets are.
#[derive(Clone, Debug)]
pub enum Guest {
    /// An operator, with a certificate or a sign-in.
    Operator(Caller),
    /// A machine, or whoever speaks for one.
    Peer(Peer),
}

impl Guest {
    /// Gives the end of a stream that asks.
    ///
    /// # Errors
    /// [`Code::AccessCapabilityMissing`] for an operator, who is no end of one.
    pub fn peer(&self) -> Result<&Peer, Refusal> {
        match self {
            Self::Peer(peer) => Ok(peer),
            Self::Operator(_) => {
                let sentence = "This is for machines, with a machine's certificate.";
                Err(Refusal::Said(Code::AccessCapabilityMissing, sentence.to_owned()))
            }
        }
    }

    /// Gives the operator that asks.
    ///
    /// # Errors
    /// [`Code::AccessCapabilityMissing`] for a machine.
    pub fn operator(&self) -> Result<&Caller, Refusal> {
        match self {
            Self::Operator(caller) => Ok(caller),
            Self::Peer(_) => {
                let sentence = "This is for operators.";
                Err(Refusal::Said(Code::AccessCapabilityMissing, sentence.to_owned()))
            }
        }
    }

    /// Gives whose data it asks about.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Operator(caller) => caller.principal.tenant,
            Self::Peer(peer) => peer.tenant,
        }
    }

    /// Names who asks in an event.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Operator(caller) => caller.actor(),
            Self::Peer(peer) => peer.actor(),
        }
    }

    /// Writes who asks, for lists.
    pub fn label(&self) -> String {
        match self {
            Self::Operator(caller) => caller.principal.name.name().to_owned(),
            Self::Peer(peer) => peer_label(&peer.name),
        }
    }
}

impl Peer {
    /// Names it in an event.
    pub fn actor(&self) -> Actor {
        let machine = self.holder.machine.as_ref();
        let id = machine.map_or(self.holder.certificate.id.0, |machine| machine.id.0);
        let party = audit::party("machine", id, peer_label(&self.name));
        Actor { party, address: self.address, client: None, tenant: self.tenant }
    }

    /// Gives what a decision about it rests on, beside the reach itself.
    fn facts(&self) -> Result<Facts, Refusal> {
        let machine = self.holder.machine.as_ref().map(|machine| machine.id);
        facts_of(
            self.tenant,
            &self.name,
            principal_id(machine, self.holder.certificate.id),
            self.address,
        )
    }
}

fn facts_of(
    tenant: TenantId,
    name: &CertificateName,
    id: adit_domain::PrincipalId,
    address: Option<IpAddr>,
) -> Result<Facts, Refusal> {
    let label = match name {
        CertificateName::Agent(label) | CertificateName::Delegated { name: label, .. } => {
            label.as_str()
        }
        CertificateName::Admin => "admin",
    };
    let name = PrincipalName::new(PrincipalKind::Machine, label)
        .map_err(|_| Refusal::Code(Code::Internal))?;
    let circumstances = Circumstances { address, ..Circumstances::default() };
    // Whether it counts at all is one of the six, with its reason.
    Ok(Facts {
        principal: Principal { id, tenant, name },
        active: true,
        grants: Vec::new(),
        circumstances,
    })
}

/// Asks the one policy function about a reach.
fn decide(facts: &Facts, reach: &Reach, now: Timestamp) -> Result<Permit, Unreachable> {
    let target = Target::Reach(Box::new(reach.clone()));
    match policy::authorize(facts, Capabilities::NONE, &target, now) {
        Ok(permit) => Ok(permit),
        Err(Denial::Unreachable(why)) => Err(why),
        // Nothing else stands against a machine: its tenant is its certificate's.
        Err(_) => Err(Unreachable::Gone),
    }
}

/// Names an instance in an event.
fn instance_party(id: InstanceId, capability: &Carried) -> Party {
    audit::party("instance", id.0, instance_scope(capability, id))
}

/// Writes the scope of an instance: `shell:connect:` and its id.
pub fn instance_scope(capability: &Carried, id: InstanceId) -> String {
    format!("{capability}:{}", id.0.simple())
}

impl Gateway {
    /// Finds out who asks with a certificate: an operator whose account still counts, or an end of a stream.
    ///
    /// # Errors
    /// [`Code::CertificateRefused`] for an operator's certificate without an operator.
    pub async fn guest(&self, holder: Holder, address: Option<IpAddr>) -> Result<Guest, Refusal> {
        let tenant = holder.certificate.tenant;
        if holder.certificate.name != CertificateName::Admin {
            let name = holder.certificate.name.clone();
            return Ok(Guest::Peer(Peer { tenant, name, holder: Box::new(holder), address }));
        }
        let id = holder.certificate.principal.ok_or(Refusal::Code(Code::CertificateRefused))?;
        let account = self.store.tenant(tenant).find_principal(id).await?;
        let account = account.filter(|account| account.active);
        let principal = account.ok_or(Refusal::Code(Code::CertificateRefused))?.principal;
        Ok(Guest::Operator(Caller {
            principal,
            credential: TokenId(holder.certificate.id.0),
            address,
            second_factor_at: None,
            limit: None,
            client: None,
        }))
    }

    /// Decides whether an operator may change what machines reach.
    async fn permit_reach(&self, guest: &Guest) -> Result<Caller, Refusal> {
        let caller = guest.operator()?;
        self.permit_tenant(caller, Capability::TicketManage).await?;
        Ok(caller.clone())
    }

    /// Decides whether an operator may see what machines reach.
    async fn permit_reach_view(&self, guest: &Guest) -> Result<Caller, Refusal> {
        let caller = guest.operator()?;
        self.permit_tenant(caller, Capability::TicketView).await?;
        Ok(caller.clone())
    }

    /// Writes down that one machine was not let through to another, and why; the machine hears less.
    async fn refuse_reach(&self, peer: &Peer, reach: &Reach, why: Unreachable) -> Refusal {
        let code = Denial::Unreachable(why).code();
        let (source, target) = (peer_label(&reach.source.name), peer_label(&reach.target.name));
        let sentence = format!("{source} was refused a ticket for {target}: {why}");
        let event = self
            .event("access.denied", &peer.actor(), sentence)
            .with("scope", json!(reach.scope.as_str()))
            .with("source", json!(source))
            .with("target", json!(target))
            .with("reason", json!(format!("{why:?}")))
            .denied(code);
        self.note(event).await;
        code.into()
    }
}

/// The transports of scopes that were read lately: each used ticket asks for one, and they change only with their scope.
#[derive(Debug, Default)]
pub(crate) struct Transports(Mutex<HashMap<(TenantId, Carried), Kept>>);

/// A transport, and until when it is believed: until a change of rights here, or for as long as another gateway's may stay unseen.
#[derive(Clone, Debug)]
struct Kept {
    version: u64,
    at: Instant,
    transport: Option<ScopeTransport>,
}

/// How long another gateway's change may stay unseen.
const UNSEEN_FOR: Duration = Duration::from_secs(5);

/// How many are kept; past that all are forgotten.
const MOST_KEPT: usize = 1_000;

impl Gateway {
    /// Gives the transports that the scope of a capability allows; none where it is not registered.
    async fn transport_of(
        &self,
        tenant: &TenantStore,
        capability: &Carried,
    ) -> Result<Option<ScopeTransport>, Refusal> {
        let key = (tenant.id(), capability.clone());
        let version = *self.rights.borrow();
        let lock = || self.transports.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().get(&key).cloned();
        if let Some(kept) =
            kept.filter(|kept| kept.version == version && kept.at.elapsed() < UNSEEN_FOR)
        {
            return Ok(kept.transport);
        }
        let found = tenant.find_scope_action(capability).await?.map(|action| action.transport);
        let mut map = lock();
        if map.len() >= MOST_KEPT {
            map.clear();
        }
        map.insert(key, Kept { version, at: Instant::now(), transport: found.clone() });
        Ok(found)
    }
}
