//! Sessions between machines: opened by a used ticket, decided again at each word from an end and at each change of rights.

use adit_domain::reach::{Lapse, Reach, Status, VALIDATED_FOR, peer_label, principal_id};
use adit_domain::{CertificateId, Code, SessionId};
use adit_store::{MachineSession, Opened};
use serde_json::json;

use super::instance::read_id;
use super::{Guest, LIST, decide, facts_of, instance_party};
use crate::Gateway;
use crate::access::Refusal;
use crate::audit::{Actor, Draft};
use crate::bus::Change;

/// What a heartbeat is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heartbeat {
    /// The session lives.
    Authorized,
    /// It is over, for this reason.
    Ended(Lapse),
}

impl Gateway {
    /// Opens the session of a ticket that the caller validated within the last minute.
    ///
    /// # Errors
    /// [`Code::TicketState`], [`Code::TicketTaken`], [`Code::ReachLimit`].
    pub async fn open_reach(&self, guest: &Guest, ticket: &str) -> Result<MachineSession, Refusal> {
        let peer = guest.peer()?;
        let now = self.clock.now();
        let id = SessionId::new(&*self.ids);
        let hash = self.ticket_ids.hash(ticket);
        let event = self.event("session.start", &peer.actor(), "");
        let tell = move |opened: &Opened| match opened {
            Opened::New(session) => {
                let (source, target) = (peer_label(&session.source), peer_label(&session.target));
                event
                    .on(instance_party(session.instance, &session.capability))
                    .saying(format!("{target} reaches {source} for {}", session.capability))
                    .with("session", json!(session.id.to_string()))
                    .with("ticket", json!(session.ticket.to_string()))
                    .with("source", json!(source))
                    .only()
            }
            Opened::State | Opened::Taken => event.denied(Code::TicketState).only(),
            Opened::Full => event.denied(Code::ReachLimit).only(),
        };
        let tenant = self.store.tenant(peer.tenant);
        let times = (now, now - VALIDATED_FOR);
        let limits = self.settings.reach.limits;
        let opened =
            tenant.open_machine_session((id, hash), &peer.name, times, limits, tell).await?;
        let session = match opened {
            Opened::New(session) => *session,
            Opened::State => return Err(Code::TicketState.into()),
            Opened::Taken => return Err(Code::TicketTaken.into()),
            Opened::Full => return Err(Code::ReachLimit.into()),
        };
        // What was taken away since the ticket was used counts: the session is decided about before anybody hears of it.
        let found = tenant.find_machine_session(session.id, now).await?;
        let (session, reach) = found.ok_or(Refusal::Code(Code::TicketState))?;
        if self.decide_reach(&session, &reach).await? != Heartbeat::Authorized {
            return Err(Code::TicketState.into());
        }
        self.tell_session(&session);
        self.bus.tell(peer.tenant, Change::Tickets);
        Ok(session)
    }

    /// Finds a live session for one of its ends, decides about it again, and ends it where that says no.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] alike for one that is not there and one of others.
    pub(crate) async fn look_at_reach(
        &self,
        guest: &Guest,
        id: &str,
    ) -> Result<(MachineSession, Heartbeat), Refusal> {
        let unknown = || Refusal::Code(Code::SessionUnknown);
        let peer = guest.peer()?;
        let id: SessionId = read_id(id).ok_or_else(unknown)?;
        let tenant = self.store.tenant(peer.tenant);
        let found = tenant.find_machine_session(id, self.clock.now()).await?;
        let (session, reach) =
            found.filter(|(session, _)| session.is_end(&peer.name)).ok_or_else(unknown)?;
        let heartbeat = self.decide_reach(&session, &reach).await?;
        Ok((session, heartbeat))
    }

    /// Decides about a session with today's facts, and ends it where that says no.
    pub(super) async fn decide_reach(
        &self,
        session: &MachineSession,
        reach: &Reach,
    ) -> Result<Heartbeat, Refusal> {
        if let Some(reason) = session.reason {
            return Ok(Heartbeat::Ended(reason));
        }
        let now = self.clock.now();
        let lapsed = match session.life().lapsed(now) {
            Some(lapsed) => Some(lapsed),
            None => {
                // Whose certificate it is, is one of the six; the permit names the session's own source.
                let id = principal_id(None, CertificateId(session.id.0));
                let facts = facts_of(session.tenant, &session.source, id, None)?;
                decide(&facts, reach, now).err().map(adit_domain::reach::Unreachable::reason)
            }
        };
        let Some(reason) = lapsed else { return Ok(Heartbeat::Authorized) };
        self.end_reach(session, reason, &Actor::gateway(self)).await?;
        Ok(Heartbeat::Ended(reason))
    }

    /// Notes that an end of a session is there, and tells whether it may go on.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`].
    pub async fn hear_reach(&self, guest: &Guest, id: &str) -> Result<Heartbeat, Refusal> {
        let (session, heartbeat) = self.look_at_reach(guest, id).await?;
        if heartbeat == Heartbeat::Authorized {
            let tenant = self.store.tenant(session.tenant);
            if !tenant.hear_machine_session(session.id, None, self.clock.now()).await? {
                return self.look_at_reach(guest, id).await.map(|(_, heartbeat)| heartbeat);
            }
        }
        Ok(heartbeat)
    }

    /// Gives the fingerprints of the certificates that the other end of a session may show, for ends that meet without the gateway.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`].
    pub async fn peer_certificates(
        &self,
        guest: &Guest,
        id: &str,
    ) -> Result<Vec<[u8; 32]>, Refusal> {
        let peer = guest.peer()?;
        let (session, heartbeat) = self.look_at_reach(guest, id).await?;
        if heartbeat != Heartbeat::Authorized {
            return Ok(Vec::new());
        }
        let other = if session.source == peer.name { &session.target } else { &session.source };
        let tenant = self.store.tenant(session.tenant);
        Ok(tenant.list_fingerprints(other, self.clock.now()).await?)
    }

    /// Says that an end of a session went for a moment, or is back.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`], [`Code::ReachOver`] for one that is over, or that this very look ended.
    pub async fn change_reach(
        &self,
        guest: &Guest,
        id: &str,
        status: Status,
    ) -> Result<MachineSession, Refusal> {
        let over = |reason: Lapse| Refusal::Said(Code::ReachOver, reason.sentence().to_owned());
        let (session, heartbeat) = self.look_at_reach(guest, id).await?;
        if let Heartbeat::Ended(reason) = heartbeat {
            return Err(over(reason));
        }
        let now = self.clock.now();
        let tenant = self.store.tenant(session.tenant);
        if !tenant.hear_machine_session(session.id, Some(status), now).await? {
            return Err(Code::ReachOver.into());
        }
        self.bus.tell(session.tenant, Change::Tickets);
        let found = tenant.find_machine_session(session.id, now).await?;
        found.map(|(session, _)| session).ok_or(Refusal::Code(Code::SessionUnknown))
    }

    /// Ends a session that lives: its row, its streams, and both ends are told.
    pub(super) async fn end_reach(
        &self,
        session: &MachineSession,
        reason: Lapse,
        by: &Actor,
    ) -> Result<(), Refusal> {
        let event = self.reach_end_event(session, reason, by);
        let tell = move |ended: &Option<MachineSession>| match ended {
            Some(_) => event.only(),
            None => vec![],
        };
        let (gateway, session) = (self.me.upgrade(), session.clone());
        let gateway = gateway.ok_or(Refusal::Code(Code::GatewayRestarting))?;
        // A task of its own: whoever asked may go away, and what was written down is cut all the same.
        to_the_end(async move {
            let tenant = gateway.store.tenant(session.tenant);
            tenant.end_machine_session(session.id, reason, gateway.clock.now(), tell).await?;
            gateway.cut_reach(&session, reason);
            Ok(())
        })
        .await
    }

    /// Tells the audit log that a session is over.
    pub(super) fn reach_end_event(
        &self,
        session: &MachineSession,
        reason: Lapse,
        by: &Actor,
    ) -> Draft {
        let (source, target) = (peer_label(&session.source), peer_label(&session.target));
        let sentence = format!("The session of {target} on {source} is over: {reason}");
        self.event("session.end", by, sentence)
            .on(instance_party(session.instance, &session.capability))
            .with("session", json!(session.id.to_string()))
            .with("reason", json!(reason.as_str()))
    }

    /// Cuts the streams of a session that is over, and tells both ends.
    pub(super) fn cut_reach(&self, session: &MachineSession, reason: Lapse) {
        self.streams.end(&[session.id], reason);
        self.tell_ended(session, reason);
        self.bus.tell(session.tenant, Change::Tickets);
    }

    /// Kills a session.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`]; [`Code::ReachOver`] for one that is over.
    pub async fn kill_reach(&self, guest: &Guest, id: &str) -> Result<(), Refusal> {
        let caller = self.permit_reach(guest).await?;
        let unknown = || Refusal::Code(Code::SessionUnknown);
        let id: SessionId = read_id(id).ok_or_else(unknown)?;
        let found =
            self.store.tenant(guest.tenant()).find_machine_session(id, self.clock.now()).await?;
        let (session, _) = found.ok_or_else(unknown)?;
        if session.status == Status::Dead {
            return Err(Code::ReachOver.into());
        }
        self.end_reach(&session, Lapse::AdminKilled, &caller.actor()).await
    }

    /// Lists sessions, the newest first.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_reaches(&self, guest: &Guest) -> Result<Vec<MachineSession>, Refusal> {
        self.permit_reach_view(guest).await?;
        Ok(self.store.tenant(guest.tenant()).list_machine_sessions(LIST).await?)
    }

    /// Looks at every session between machines again, after something about rights changed.
    pub(crate) async fn recheck_reaches(&self) {
        let live = match self.store.list_live_reaches(self.clock.now()).await {
            Ok(live) => live,
            Err(error) => {
                tracing::warn!(%error, "the database does not say which machines may reach each other");
                return;
            }
        };
        for (session, reach) in &live {
            if let Err(error) = self.decide_reach(session, reach).await {
                tracing::warn!(%error, "a session between machines could not be looked at");
            }
        }
        // What another gateway ended, this one still carries.
        for id in self.streams.others(live.iter().map(|(session, _)| session.id)) {
            match self.store.find_ended(id).await {
                Ok(Some(reason)) => {
                    self.streams.end(&[id], reason.unwrap_or(Lapse::AssignmentRemoved))
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a session between machines could not be found")
                }
            }
        }
    }
}

/// Runs something that was begun to its end, also when whoever waits for it goes away.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or(Err(Refusal::Code(Code::Internal)))
}
