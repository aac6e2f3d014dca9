//! Instances and assignments: what is offered, and to whom.

use adit_domain::certificate::Carried;
use adit_domain::reach::address::BadHost;
use adit_domain::reach::scope::{BadScope, Direct, Strategy, Transport};
use adit_domain::reach::{DirectHost, Lapse, Networks, peer_label};
use adit_domain::{CertificateName, Code, InstanceId};
use adit_store::{Assignment, NewInstance, Offered, Removed};
use serde_json::json;

use super::channel::Push;
use super::session::to_the_end;
use super::{Guest, Peer, instance_party, instance_scope};
use crate::Gateway;
use crate::access::Refusal;
use crate::bus::Change;

/// What a machine wants to offer, as it says it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// For what.
    pub scope: String,
    /// The strategies that it has.
    pub strategies: Vec<Strategy>,
    /// The one to try first.
    pub preferred: Option<Strategy>,
    /// The host and the port that machines dial.
    pub direct: Option<(String, u16)>,
}

/// Reads the scope of an instance: `shell:connect:` and 32 hexadecimal digits.
pub fn read_instance_scope(text: &str) -> Option<(Carried, InstanceId)> {
    let (capability, id) = text.rsplit_once(':')?;
    let plain = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = plain.then(|| id.parse().ok()).flatten()?;
    Some((capability.parse().ok()?, id))
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::Said(Code::RequestInvalid, format!("{why}."))
}

impl Gateway {
    /// Offers an instance, or the same again. Gives its id, its capability and whether it is new.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`], [`Code::ScopeUnknown`], [`Code::AccessCapabilityMissing`], [`Code::InstanceLimit`].
    pub async fn offer_instance(
        &self,
        guest: &Guest,
        offer: Offer,
    ) -> Result<(InstanceId, Carried, bool), Refusal> {
        let peer = guest.peer()?;
        let direct = match offer.direct {
            None => None,
            Some((host, port)) => {
                let host = self.settings.reach.networks.host(&host).map_err(invalid)?;
                if port < 1024 {
                    return Err(invalid(BadScope::Port));
                }
                Some(Direct { host, port })
            }
        };
        let unknown = || Refusal::Code(Code::ScopeUnknown);
        let capability: Carried = offer.scope.parse().map_err(|_| unknown())?;
        let tenant = self.store.tenant(peer.tenant);
        let action = tenant.find_scope_action(&capability).await?.ok_or_else(unknown)?;
        let transport =
            Transport { strategies: offer.strategies, preferred: offer.preferred, direct };
        let transport = transport.check(&action.transport).map_err(invalid)?;
        self.check_holds(peer, &capability).await?;
        if let Some(direct) = &transport.direct {
            // A few at a time: a name server that is slow on purpose holds up nobody but those who name it.
            let _turn =
                self.resolving.acquire().await.map_err(|_| Refusal::Code(Code::Internal))?;
            check_resolved(&direct.host, direct.port, &self.settings.reach.networks).await?;
        }
        let now = self.clock.now();
        let id = InstanceId::new(&*self.ids);
        let sentence = format!("{} offers {capability}", peer_label(&peer.name));
        let event = self.event("instance.offer", &peer.actor(), sentence);
        let named = capability.clone();
        let tell = move |offered: &Offered| match offered {
            Offered::New(id) => event.on(instance_party(*id, &named)).only(),
            Offered::Again(_) | Offered::Full => vec![],
        };
        let new = NewInstance {
            id,
            capability: capability.clone(),
            owner: peer.name.clone(),
            transport,
            at: now,
        };
        let offered = tenant.offer_instance(new, self.settings.reach.limits, tell).await?;
        let (id, new) = match offered {
            Offered::New(id) => (id, true),
            Offered::Again(id) => (id, false),
            Offered::Full => return Err(Code::InstanceLimit.into()),
        };
        self.bus.tell(peer.tenant, Change::Tickets);
        Ok((id, capability, new))
    }

    async fn check_holds(&self, peer: &Peer, capability: &Carried) -> Result<(), Refusal> {
        if self.store.tenant(peer.tenant).holds(&peer.name, capability).await? {
            return Ok(());
        }
        let sentence =
            format!("{} was refused {capability}: it does not hold it", peer_label(&peer.name));
        let event = self.event("access.denied", &peer.actor(), sentence);
        let event = event.with("scope", json!(capability.as_str()));
        self.note(event.denied(Code::AccessCapabilityMissing)).await;
        let sentence =
            format!("This machine does not hold {capability}. Ask an operator to give it.");
        Err(Refusal::Said(Code::AccessCapabilityMissing, sentence))
    }

    /// Notes that the owner of an instance is there.
    ///
    /// # Errors
    /// [`Code::InstanceUnknown`] alike for one that is not there, is another's, or whose owner lost its capability.
    pub async fn hear_instance(&self, guest: &Guest, id: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::Code(Code::InstanceUnknown);
        let tenant = self.store.tenant(guest.tenant());
        let id = read_id(id).ok_or_else(unknown)?;
        let instance = tenant.find_instance(id).await?.ok_or_else(unknown)?;
        match guest {
            Guest::Operator(_) => {
                self.permit_reach(guest).await?;
            }
            Guest::Peer(peer) => {
                if instance.owner != peer.name {
                    return Err(unknown());
                }
            }
        }
        let capable = tenant.holds(&instance.owner, &instance.capability).await?;
        let counts = tenant.has_certificate(&instance.owner, self.clock.now()).await?;
        if !capable || !counts || !tenant.hear_instance(id, self.clock.now()).await? {
            return Err(unknown());
        }
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(())
    }

    /// Removes an instance with all that hangs on it.
    ///
    /// # Errors
    /// [`Code::InstanceUnknown`] alike for one that is not there and one that is another's.
    pub async fn remove_instance(&self, guest: &Guest, id: &str) -> Result<InstanceId, Refusal> {
        let unknown = || Refusal::Code(Code::InstanceUnknown);
        let tenant = self.store.tenant(guest.tenant());
        if let Guest::Operator(_) = guest {
            self.permit_reach(guest).await?;
        }
        let id = read_id(id).ok_or_else(unknown)?;
        let instance = tenant.find_instance(id).await?.ok_or_else(unknown)?;
        if let Guest::Peer(peer) = guest
            && instance.owner != peer.name
        {
            return Err(unknown());
        }
        let tell = removal(self, guest);
        let gateway = self.me.upgrade().ok_or(Refusal::Code(Code::GatewayRestarting))?;
        to_the_end(async move {
            let removed = tenant.remove_instance(id, tell).await?;
            gateway.cut_removed(&removed.ok_or(Refusal::Code(Code::InstanceUnknown))?);
            gateway.bus.tell(tenant.id(), Change::Tickets);
            Ok(id)
        })
        .await
    }

    /// Cuts what hung on an instance that was removed.
    pub(super) fn cut_removed(&self, removed: &Removed) {
        for session in &removed.sessions {
            self.cut_reach(session, Lapse::AssignmentRemoved);
        }
    }

    /// Assigns a target to an instance. Gives the assignment, and whether it is new.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for a target without the capability, [`Code::InstanceUnknown`].
    pub async fn assign(
        &self,
        guest: &Guest,
        target: &CertificateName,
        instance_scope: &str,
    ) -> Result<(Assignment, bool), Refusal> {
        let caller = self.permit_reach(guest).await?;
        let unknown = || Refusal::Code(Code::InstanceUnknown);
        let (capability, id) = read_instance_scope(instance_scope).ok_or_else(unknown)?;
        let tenant = self.store.tenant(guest.tenant());
        let instance =
            tenant.find_instance(id).await?.filter(|found| found.capability == capability);
        let instance = instance.ok_or_else(unknown)?;
        let label = peer_label(target);
        if !tenant.has_certificate(target, self.clock.now()).await? {
            let sentence = format!("There is no machine {label} with a certificate that counts.");
            return Err(Refusal::Said(Code::TargetUnknown, sentence));
        }
        if !tenant.holds(target, &capability).await? {
            let sentence = format!("{label} does not hold {capability}. Give it that first.");
            return Err(Refusal::Said(Code::RequestInvalid, sentence));
        }
        let sentence =
            format!("{label} may reach {} for {capability}", peer_label(&instance.owner));
        let event = self
            .event("assignment.add", &caller.actor(), sentence)
            .on(instance_party(id, &capability))
            .with("target", json!(label));
        let tell = move |made: &Option<(Assignment, bool)>| match made {
            Some((_, true)) => event.only(),
            _ => vec![],
        };
        let by = caller.principal.name.name().to_owned();
        let made =
            tenant.assign(id, target, self.clock.now(), by, tell).await?.ok_or_else(unknown)?;
        self.tell_wanted(tenant.id(), target, &instance);
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(made)
    }

    /// Takes an assignment back.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn unassign(
        &self,
        guest: &Guest,
        target: &CertificateName,
        scope: &str,
    ) -> Result<(), Refusal> {
        let caller = self.permit_reach(guest).await?;
        let unknown = || Refusal::Said(Code::NotFound, "There is no such assignment.".to_owned());
        let (capability, id) = read_instance_scope(scope).ok_or_else(unknown)?;
        let label = peer_label(target);
        let sentence =
            format!("{label} may not reach {} any more", instance_scope(&capability, id));
        let event = self
            .event("assignment.remove", &caller.actor(), sentence)
            .on(instance_party(id, &capability))
            .with("target", json!(label));
        let tell = move |gone: &bool| if *gone { event.only() } else { vec![] };
        let tenant = self.store.tenant(guest.tenant());
        if !tenant.unassign(id, target, tell).await? {
            return Err(unknown());
        }
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(())
    }

    /// Tells the sources that may let a machine in that it waits for a ticket; not those whose ticket it has.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn tell_sources(&self, guest: &Guest, capability: &Carried) -> Result<(), Refusal> {
        let peer = guest.peer()?;
        let tenant = self.store.tenant(peer.tenant);
        let inbox = tenant.list_inbox(&peer.name, self.clock.now()).await?;
        for one in tenant.list_assignments(Some(&peer.name), None).await? {
            let has = inbox.iter().any(|ticket| ticket.instance == one.instance);
            if one.capability == *capability
                && !has
                && let Some(instance) = tenant.find_instance(one.instance).await?
            {
                self.tell_wanted(peer.tenant, &peer.name, &instance);
            }
        }
        Ok(())
    }

    /// Gives what a source has to hear when its channel begins to serve a capability: the sessions that live, and who waits for a ticket.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn words_for_source(
        &self,
        guest: &Guest,
        capability: &Carried,
    ) -> Result<Vec<Push>, Refusal> {
        let peer = guest.peer()?;
        let tenant = self.store.tenant(peer.tenant);
        let live = tenant.list_live_machine_sessions_of(&peer.name, capability).await?;
        let mut words: Vec<Push> = live.iter().map(Push::of_session).collect();
        let all = tenant.list_instances().await?;
        let own =
            all.into_iter().filter(|one| one.owner == peer.name && one.capability == *capability);
        for instance in own {
            for one in tenant.list_assignments(None, Some(instance.id)).await? {
                match self.channels.waits(peer.tenant, &one.target, &instance) {
                    true => words.push(Push::wanted(&instance, &one.target)),
                    false => self.tell_wanted(peer.tenant, &one.target, &instance),
                }
            }
        }
        Ok(words)
    }

    /// Lists assignments: all, or those of a target or an instance.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_assignments(
        &self,
        guest: &Guest,
        target: Option<&CertificateName>,
        instance: Option<InstanceId>,
    ) -> Result<Vec<Assignment>, Refusal> {
        self.permit_reach_view(guest).await?;
        Ok(self.store.tenant(guest.tenant()).list_assignments(target, instance).await?)
    }
}

/// How long a name server may take to say where a name leads.
const RESOLVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Refuses a name that leads to an address which may not be dialled, as far as this gateway can resolve it. Whoever dials it looks again.
async fn check_resolved(host: &DirectHost, port: u16, networks: &Networks) -> Result<(), Refusal> {
    let DirectHost::Name(name) = host else { return Ok(()) };
    let found = tokio::net::lookup_host((name.as_str(), port));
    let Ok(Ok(found)) = tokio::time::timeout(RESOLVE_WITHIN, found).await else { return Ok(()) };
    let mut found = found.map(|address| address.ip());
    match found.find(|address| !networks.allow(*address)) {
        None => Ok(()),
        Some(_) => Err(invalid(BadHost::NotPublic)),
    }
}

/// Tells of an instance that was removed.
fn removal(
    gateway: &Gateway,
    guest: &Guest,
) -> impl FnOnce(&Option<Removed>) -> Vec<adit_store::NewEvent> + Send + 'static {
    let event = gateway.event("instance.remove", &guest.actor(), "");
    move |removed: &Option<Removed>| match removed {
        None => vec![],
        Some(Removed { instance, sessions }) => {
            let sentence = format!(
                "{} does not offer {} any more",
                peer_label(&instance.owner),
                instance.capability
            );
            event
                .on(instance_party(instance.id, &instance.capability))
                .saying(sentence)
                .with("sessions", json!(sessions.len()))
                .only()
        }
    }
}

/// Reads an id of 32 hexadecimal digits.
pub(super) fn read_id<I: std::str::FromStr>(text: &str) -> Option<I> {
    let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| text.parse().ok()).flatten()
}
