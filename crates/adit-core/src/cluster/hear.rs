//! What other gateways say, and what it makes this one do. The database decides: a message only names a row.

use std::sync::Arc;

use adit_bus::{Message, To};
use adit_domain::session::State;
use adit_domain::{Code, EndReason, GatewayId, MachineId, SessionId, TenantId};
use adit_wire::agent::v1::to_agent::Message as ToAgent;
use adit_wire::agent::v1::{Close, Exited};
use adit_wire::bus::v1 as pb;
use adit_wire::bus::v1::ask::What;
use adit_wire::bus::v1::word::Word;
use metrics::counter;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};

use crate::Gateway;
use crate::access::Refusal;

/// How many questions of others are worked on at once; each is a look or two at the database, and the rest waits in the queue before.
const AT_ONCE: usize = 64;

impl Gateway {
    /// Does what other gateways say.
    pub(super) async fn hear_others(self: &Arc<Self>, mut heard: mpsc::Receiver<Message>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let message = tokio::select! {
                () = self.tasks.ending() => return,
                message = heard.recv() => match message {
                    None => return,
                    Some(message) => message,
                },
            };
            let Some(word) = pb::Word::decode(message.body).ok().and_then(|said| said.word) else {
                counter!("adit_bus_refused_total", "reason" => "form").increment(1);
                continue;
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (gateway, from) = (Arc::clone(self), message.from);
            self.tasks.spawn(async move {
                if let Err(error) = gateway.hear_word(from, word).await {
                    tracing::warn!(%error, "what another gateway said cannot be looked at");
                }
                drop(place);
            });
        }
    }

    async fn hear_word(&self, from: GatewayId, word: Word) -> Result<(), Refusal> {
        match word {
            Word::Changed(changed) => self.hear_changed(&changed),
            Word::Rights(pb::Rights {}) => self.cluster.rights.notify_one(),
            Word::Ask(ask) => self.hear_ask(from, ask).await?,
            Word::Answer(answer) => self.cluster.answered(&answer),
            Word::Closed(closed) => self.hear_closed(&closed).await?,
            Word::OfMachine(said) => self.hear_of_machine(&said),
            Word::OfReach(said) => self.hear_of_reach(&said).await?,
        }
        Ok(())
    }

    fn hear_changed(&self, changed: &pb::Changed) {
        let Some(tenant) = TenantId::from_bytes(&changed.tenant_id) else { return };
        for change in changed.kinds.iter().filter_map(|kind| kind.parse().ok()) {
            self.bus.tell_here(tenant, change);
        }
    }

    async fn hear_ask(&self, from: GatewayId, ask: pb::Ask) -> Result<(), Refusal> {
        let ids = (TenantId::from_bytes(&ask.tenant_id), SessionId::from_bytes(&ask.session_id));
        let (Some(tenant), Some(session)) = ids else { return Ok(()) };
        let done = match ask.what {
            Some(What::Open(pb::Open {})) => self.open_for(from, tenant, session).await?,
            Some(What::End(end)) => self.end_for(session, &end.code),
            Some(What::Stream(stream)) => self.stream_for(from, (tenant, session), &stream).await?,
            None => None,
        };
        // Who cannot do it is silent: another may.
        let Some(done) = done else { return Ok(()) };
        let code = done.err().map_or("", Code::as_str).to_owned();
        self.cluster.say(To::Gateway(from), Word::Answer(pb::Answer { id: ask.id, code }));
        Ok(())
    }

    /// Has a machine that is here open a session that lives at another gateway, and dial it there.
    async fn open_for(
        &self,
        from: GatewayId,
        tenant: TenantId,
        id: SessionId,
    ) -> Result<Option<Result<(), Code>>, Refusal> {
        let found = self.store.tenant(tenant).find_session(id).await?;
        let opening = found.filter(|s| s.state == State::Opening && s.gateway == Some(from));
        let Some(session) = opening.filter(|session| self.hub.is_here(session.machine)) else {
            return Ok(None);
        };
        if !self.hub.dials(session.machine) {
            return Ok(Some(Err(Code::TargetFailed)));
        }
        let Some(dial) = self.address_of(from).await? else { return Ok(None) };
        let open = self.open_message(&session, dial).await?;
        Ok(Some(self.hub.send(session.machine, ToAgent::Open(open))))
    }

    fn end_for(&self, session: SessionId, code: &str) -> Option<Result<(), Code>> {
        self.sessions.tenant(session)?;
        let code = match code.parse() {
            Ok(code @ (Code::SessionClosed | Code::SessionKilled)) => code,
            _ => return Some(Err(Code::RequestInvalid)),
        };
        self.sessions.end(session, EndReason::Because(code));
        Some(Ok(()))
    }

    async fn hear_closed(&self, closed: &pb::Closed) -> Result<(), Refusal> {
        let ids =
            (TenantId::from_bytes(&closed.tenant_id), SessionId::from_bytes(&closed.session_id));
        let (Some(tenant), Some(id)) = ids else { return Ok(()) };
        let found = self.store.tenant(tenant).find_session(id).await?;
        let Some(session) = found.filter(|session| session.state == State::Ended) else {
            return Ok(());
        };
        let code = session.reason.map_or(Code::SessionExited, |reason| reason.code());
        let close =
            Close { session_id: id.as_bytes().to_vec().into(), code: code.as_str().to_owned() };
        // A machine that is elsewhere is told there.
        let _ = self.hub.send(session.machine, ToAgent::Close(close));
        Ok(())
    }

    fn hear_of_machine(&self, said: &pb::OfMachine) {
        let ids =
            (SessionId::from_bytes(&said.session_id), MachineId::from_bytes(&said.machine_id));
        let (Some(session), Some(machine)) = ids else { return };
        if said.refused {
            let code = said.code.parse().unwrap_or(Code::TargetFailed);
            return self.sessions.refused(session, machine, code);
        }
        let reason = match said.code.parse() {
            Ok(code) if !matches!(code, Code::SessionExited | Code::SessionSignalled) => {
                EndReason::Because(code)
            }
            _ => crate::session::relay::end_reason(&Exited {
                status: said.status,
                signal: said.signal.clone(),
                ..Exited::default()
            }),
        };
        self.sessions.ended_by_machine(session, machine, reason);
    }
}
