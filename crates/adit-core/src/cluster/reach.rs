//! Machines that reach each other and are at different gateways: what the channels here say is said at the others too.

use adit_bus::To;
use adit_domain::reach::{Lapse, Status, Strategy, peer_label};
use adit_domain::{CertificateName, Code, GatewayId, InstanceId, SessionId, StreamId, TenantId};
use adit_store::{Instance, MachineSession};
use adit_wire::agent::v1 as agent;
use adit_wire::agent::v1::to_agent::Message as ToAgent;
use adit_wire::bus::v1 as pb;
use adit_wire::bus::v1::ask::What;
use adit_wire::bus::v1::of_reach::Kind;
use adit_wire::bus::v1::word::Word;

use crate::Gateway;
use crate::access::Refusal;

impl Gateway {
    /// Tells a machine that its inbox changed, wherever its channel is.
    pub(crate) fn tell_inbox(&self, tenant: TenantId, target: &CertificateName) {
        self.channels.inbox(tenant, target);
        self.say_of_reach(tenant, Kind::Inbox, Some(target), &[]);
    }

    /// Tells the source of an instance that a target waits, if it does, wherever either is.
    pub(crate) fn tell_wanted(
        &self,
        tenant: TenantId,
        target: &CertificateName,
        instance: &Instance,
    ) {
        let waits = self.channels.waits(tenant, target, instance);
        if waits {
            self.channels.tell_source(tenant, target, instance);
        }
        let kind = if waits { Kind::Wanted } else { Kind::WhoWaits };
        self.say_of_reach(tenant, kind, Some(target), instance.id.as_bytes());
    }

    /// Tells the source of a session that it is there.
    pub(crate) fn tell_session(&self, session: &MachineSession) {
        self.channels.session(session);
        self.say_of_reach(session.tenant, Kind::Session, None, session.id.as_bytes());
    }

    /// Tells both ends of a session that it is over.
    pub(crate) fn tell_ended(&self, session: &MachineSession, reason: Lapse) {
        self.channels.ended(session, reason);
        for end in [&session.source, &session.target] {
            self.say_of_reach(session.tenant, Kind::Ended, Some(end), session.id.as_bytes());
        }
    }

    fn say_of_reach(
        &self,
        tenant: TenantId,
        kind: Kind,
        target: Option<&CertificateName>,
        id: &[u8],
    ) {
        if !self.cluster.is_up() {
            return;
        }
        self.cluster.say(
            To::All,
            Word::OfReach(pb::OfReach {
                tenant_id: tenant.as_bytes().to_vec().into(),
                kind: kind.into(),
                target: target.map(ToString::to_string).unwrap_or_default(),
                id: id.to_vec().into(),
            }),
        );
    }

    /// Has the source of a session dial a stream at this gateway, where its channel or its agent's link is at another.
    pub(crate) async fn ask_source_elsewhere(
        &self,
        session: &MachineSession,
        stream: StreamId,
        via: Strategy,
    ) -> bool {
        let stream = pb::Stream {
            stream_id: stream.as_bytes().to_vec().into(),
            via: via.as_str().to_owned(),
        };
        let which = (session.tenant, session.id);
        self.cluster.ask(&*self.ids, To::All, which, What::Stream(stream)).await.is_ok()
    }

    /// Tells a source that is here to dial a stream at another gateway.
    pub(super) async fn stream_for(
        &self,
        from: GatewayId,
        (tenant, session): (TenantId, SessionId),
        stream: &pb::Stream,
    ) -> Result<Option<Result<(), Code>>, Refusal> {
        let (Some(id), Ok(via)) = (StreamId::from_bytes(&stream.stream_id), stream.via.parse())
        else {
            return Ok(None);
        };
        let store = self.store.tenant(tenant);
        let found = store.find_machine_session(session, self.clock.now()).await?;
        let live = found.map(|(session, _)| session).filter(|s| s.status != Status::Dead);
        let Some(session) = live else { return Ok(None) };
        let Some(dial) = self.address_of(from).await? else { return Ok(None) };
        let told = match (via, &session.source) {
            (Strategy::Relay, _) => self.channels.stream(&session, id, Some(&dial)),
            (Strategy::Tunnel, CertificateName::Agent(label)) => {
                match store.find_machine_labelled(label).await? {
                    Some(machine) => {
                        let told = stream_message(&session, id, dial);
                        self.hub.send(machine.id, ToAgent::TicketStream(told)).is_ok()
                    }
                    None => false,
                }
            }
            _ => false,
        };
        Ok(told.then_some(Ok(())))
    }

    pub(super) async fn hear_of_reach(&self, said: &pb::OfReach) -> Result<(), Refusal> {
        let Some(tenant) = TenantId::from_bytes(&said.tenant_id) else { return Ok(()) };
        let target = said.target.parse::<CertificateName>().ok();
        match (said.kind(), target) {
            (Kind::Inbox, Some(target)) => self.channels.inbox(tenant, &target),
            (kind @ (Kind::WhoWaits | Kind::Wanted), Some(target)) => {
                let Some(id) = InstanceId::from_bytes(&said.id) else { return Ok(()) };
                if let Some(instance) = self.store.tenant(tenant).find_instance(id).await? {
                    self.hear_of_wait(tenant, &target, &instance, kind);
                }
            }
            (Kind::Session, _) => {
                let Some(id) = SessionId::from_bytes(&said.id) else { return Ok(()) };
                let now = self.clock.now();
                let found = self.store.tenant(tenant).find_machine_session(id, now).await?;
                let live = found.map(|(session, _)| session).filter(|s| s.status != Status::Dead);
                live.iter().for_each(|session| self.channels.session(session));
            }
            (Kind::Ended, Some(end)) => {
                let Some(id) = SessionId::from_bytes(&said.id) else { return Ok(()) };
                if let Some(reason) = self.store.find_ended(id).await? {
                    let reason = reason.unwrap_or(Lapse::AssignmentRemoved);
                    self.streams.end(&[id], reason);
                    self.channels.end(tenant, &end, id, reason);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hear_of_wait(
        &self,
        tenant: TenantId,
        target: &CertificateName,
        instance: &Instance,
        kind: Kind,
    ) {
        match kind {
            Kind::Wanted => self.channels.tell_source(tenant, target, instance),
            _ if self.channels.waits(tenant, target, instance) => {
                self.channels.tell_source(tenant, target, instance);
                self.say_of_reach(tenant, Kind::Wanted, Some(target), instance.id.as_bytes());
            }
            _ => {}
        }
    }
}

/// Tells an agent to dial a stream, at an address or, without one, where it always dials.
pub(crate) fn stream_message(
    session: &MachineSession,
    stream: StreamId,
    dial: String,
) -> agent::TicketStream {
    agent::TicketStream {
        session_id: session.id.as_bytes().to_vec().into(),
        stream_id: stream.as_bytes().to_vec().into(),
        capability: session.capability.to_string(),
        target: peer_label(&session.target),
        dial,
    }
}
