//! Tickets between machines: asked for by the source, used by the target, once.

use adit_domain::certificate::Carried;
use adit_domain::reach::{Lapse, TICKET_LIFE, peer_label, read_peer};
use adit_domain::{CertificateName, Code, InstanceId, TicketId, Timestamp};
use adit_store::{
    IssuedMachineTicket, MachineTicket, NewMachineTicket, Question, SecretHash, Used,
};
use aws_lc_rs::{constant_time, hmac};
use serde_json::json;

use super::instance::read_id;
use super::{Guest, LIST, decide, instance_party};
use crate::Gateway;
use crate::access::Refusal;
use crate::bus::Change;

/// Makes the ids of tickets, which are their secrets, from what the database has and a key that it has not (decision 11).
pub struct TicketIds {
    ids: hmac::Key,
    hashes: hmac::Key,
    retries: hmac::Key,
}

impl std::fmt::Debug for TicketIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketIds(…)")
    }
}

impl TicketIds {
    /// Makes it of three keys, one a purpose.
    pub fn new(ids: &[u8; 32], hashes: &[u8; 32], retries: &[u8; 32]) -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { ids: key(ids), hashes: key(hashes), retries: key(retries) }
    }

    /// Gives the id of a ticket's row, in hexadecimal.
    pub fn id(&self, row: TicketId, epoch: u64) -> String {
        let mut text = Vec::with_capacity(24);
        text.extend_from_slice(row.as_bytes());
        text.extend_from_slice(&epoch.to_be_bytes());
        hex::encode(hmac::sign(&self.ids, &text))
    }

    /// Gives the keyed hash that is kept of an id; of what is no id as well, so that it costs the same to refuse.
    pub fn hash(&self, presented: &str) -> SecretHash {
        SecretHash(digest(&self.hashes, presented.as_bytes()))
    }

    fn retry(&self, target: &CertificateName, key: &str) -> [u8; 32] {
        digest(&self.retries, format!("{target}\n{key}").as_bytes())
    }
}

fn digest(key: &hmac::Key, text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, text);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Tells whether a text has the form of a ticket's id: 64 hexadecimal digits in lower case.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The longest `Idempotency-Key`, in bytes.
const MAX_RETRY_KEY: usize = 255;

/// A ticket with the id that its target presents.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The id.
    pub id: String,
    /// For what.
    pub capability: Carried,
    /// To which instance.
    pub instance: InstanceId,
    /// Who asked.
    pub source: CertificateName,
    /// Who is let in.
    pub target: CertificateName,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// How the instance is reached.
    pub transport: Option<adit_domain::reach::Transport>,
}

impl Gateway {
    /// Issues a ticket by which a target is let in to an instance of the caller's.
    ///
    /// # Errors
    /// [`Code::ReachUnknown`] whatever stands against it but a stale instance ([`Code::InstanceStale`]); [`Code::TicketRate`],
    /// [`Code::TicketLimit`].
    pub async fn request_ticket(
        &self,
        guest: &Guest,
        scope: &str,
        instance: &str,
        target: &str,
    ) -> Result<Handed, Refusal> {
        let peer = guest.peer()?;
        let now = self.clock.now();
        // What cannot be read is asked about all the same, under names that nobody has: the answer takes as long.
        let nobody = InstanceId(uuid::Uuid::nil());
        let nothing: Carried = "-:-".parse().map_err(|_| Refusal::Code(Code::Internal))?;
        let question = Question {
            capability: scope.parse().unwrap_or(nothing),
            source: peer.name.clone(),
            target: read_peer(target).unwrap_or(CertificateName::Admin),
            instance: read_id(instance).unwrap_or(nobody),
        };
        let (capability, target, instance) =
            (question.capability.clone(), question.target.clone(), question.instance);
        let tenant = self.store.tenant(peer.tenant);
        let reach = tenant.load_reach(question, now).await?;
        if let Err(why) = decide(&peer.facts()?, &reach, now) {
            return Err(self.refuse_reach(peer, &reach, why).await);
        }
        let id = TicketId::new(&*self.ids);
        let secret = self.ticket_ids.id(id, self.epoch());
        let new = NewMachineTicket {
            id,
            hash: self.ticket_ids.hash(&secret),
            capability: capability.clone(),
            instance,
            source: peer.name.clone(),
            target: target.clone(),
            at: now,
            expires_at: now + TICKET_LIFE,
        };
        let handed = Handed {
            id: secret,
            capability,
            instance,
            source: new.source.clone(),
            target: target.clone(),
            expires_at: new.expires_at,
            transport: None,
        };
        self.keep_ticket(peer, new, &reach).await?;
        self.tell_inbox(peer.tenant, &target);
        self.bus.tell(peer.tenant, Change::Tickets);
        Ok(handed)
    }

    async fn keep_ticket(
        &self,
        peer: &super::Peer,
        new: NewMachineTicket,
        reach: &adit_domain::reach::Reach,
    ) -> Result<(), Refusal> {
        let sentence =
            format!("{} asked to let {} in", peer_label(&new.source), peer_label(&new.target));
        let event = self
            .event("ticket.issue", &peer.actor(), sentence)
            .on(instance_party(new.instance, &new.capability))
            .with("ticket", json!(new.id.to_string()))
            .with("target", json!(peer_label(&new.target)));
        let denied = event.clone();
        let tell = move |issued: &IssuedMachineTicket| match issued {
            IssuedMachineTicket::Issued => event.only(),
            IssuedMachineTicket::TooOften(_) => denied.denied(Code::TicketRate).only(),
            IssuedMachineTicket::Full => denied.denied(Code::TicketLimit).only(),
            IssuedMachineTicket::Gone => vec![],
        };
        let at = new.at;
        let tenant = self.store.tenant(peer.tenant);
        match tenant.issue_machine_ticket(new, self.settings.reach.limits, tell).await? {
            IssuedMachineTicket::Issued => Ok(()),
            IssuedMachineTicket::TooOften(until) => {
                Err(Refusal::Later(Code::TicketRate, until.since(at)))
            }
            IssuedMachineTicket::Full => Err(Code::TicketLimit.into()),
            IssuedMachineTicket::Gone => Err(self
                .refuse_reach(peer, reach, adit_domain::reach::Unreachable::Unassigned)
                .await),
        }
    }

    /// Lists the live tickets whose target is the caller, with their ids, which are made again.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is no machine.
    pub async fn inbox(&self, guest: &Guest) -> Result<Vec<Handed>, Refusal> {
        let peer = guest.peer()?;
        let tenant = self.store.tenant(peer.tenant);
        let found = tenant.list_inbox(&peer.name, self.clock.now()).await?;
        let mut handed = Vec::with_capacity(found.len());
        for ticket in found {
            handed.push(self.handed(&tenant, ticket).await?);
        }
        Ok(handed)
    }

    async fn handed(
        &self,
        tenant: &adit_store::TenantStore,
        ticket: MachineTicket,
    ) -> Result<Handed, Refusal> {
        let allowed = self.transport_of(tenant, &ticket.capability).await?;
        let transport = ticket.transport.as_ref().zip(allowed);
        Ok(Handed {
            id: self.ticket_ids.id(ticket.id, self.epoch()),
            transport: transport.map(|(own, allowed)| own.within(&allowed)),
            capability: ticket.capability,
            instance: ticket.instance,
            source: ticket.source,
            target: ticket.target,
            expires_at: ticket.expires_at,
        })
    }

    /// Uses a ticket. Of any number of callers on any number of gateways one wins; the same caller with the same `Idempotency-Key` gets
    /// the same answer for a minute.
    ///
    /// # Errors
    /// [`Code::TicketInvalid`] alike for everything that can be wrong with it.
    pub async fn validate_ticket(
        &self,
        guest: &Guest,
        presented: &str,
        retry: Option<&str>,
    ) -> Result<Handed, Refusal> {
        let peer = guest.peer()?;
        let invalid = || Refusal::Said(Code::TicketInvalid, "Invalid ticket".to_owned());
        let hash = self.ticket_ids.hash(if is_id(presented) { presented } else { "" });
        let retry = retry.filter(|key| !key.is_empty() && key.len() <= MAX_RETRY_KEY);
        let retry = retry.map(|key| self.ticket_ids.retry(&peer.name, key));
        let label = peer_label(&peer.name);
        let success = self.event("ticket.redeem", &peer.actor(), format!("{label} used a ticket"));
        let refusal = self
            .event("ticket.refused", &peer.actor(), format!("A ticket of {label} was refused"))
            .denied(Code::TicketInvalid);
        let tell = move |used: &Used| match used {
            Used::Once(ticket) => success
                .on(instance_party(ticket.instance, &ticket.capability))
                .with("ticket", json!(ticket.id.to_string()))
                .with("source", json!(peer_label(&ticket.source)))
                .only(),
            Used::Invalid => refusal.only(),
        };
        let tenant = self.store.tenant(peer.tenant);
        let used =
            tenant.use_machine_ticket(hash, &peer.name, self.clock.now(), retry, tell).await?;
        let Used::Once(ticket) = used else { return Err(invalid()) };
        let handed = self.handed(&tenant, *ticket).await?;
        // The database found it by its keyed hash; the id itself is held against what was presented as well.
        constant_time::verify_slices_are_equal(handed.id.as_bytes(), presented.as_bytes())
            .map_err(|_| invalid())?;
        self.bus.tell(peer.tenant, Change::Tickets);
        Ok(handed)
    }

    /// Lists tickets, the newest first.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_machine_tickets(&self, guest: &Guest) -> Result<Vec<MachineTicket>, Refusal> {
        self.permit_reach_view(guest).await?;
        Ok(self.store.tenant(guest.tenant()).list_machine_tickets(LIST).await?)
    }

    /// Marks a ticket as used and ends its session. It is named by its handle, or by its id as the wire contract has it.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn revoke_machine_ticket(&self, guest: &Guest, named: &str) -> Result<(), Refusal> {
        let caller = self.permit_reach(guest).await?;
        let unknown = || Refusal::Said(Code::NotFound, "There is no such ticket.".to_owned());
        let tenant = self.store.tenant(guest.tenant());
        let hash = is_id(named).then(|| self.ticket_ids.hash(named));
        let found = tenant.find_machine_ticket(read_id(named), hash).await?.ok_or_else(unknown)?;
        let sentence = format!(
            "A ticket of {} for {} was taken back",
            peer_label(&found.source),
            peer_label(&found.target)
        );
        let event = self
            .event("ticket.revoke", &caller.actor(), sentence)
            .on(instance_party(found.instance, &found.capability))
            .with("ticket", json!(found.id.to_string()));
        let tell = move |there: &bool| if *there { event.only() } else { vec![] };
        if !tenant.revoke_machine_ticket(found.id, self.clock.now(), tell).await? {
            return Err(unknown());
        }
        if let Some(session) = tenant.find_session_of_ticket(found.id).await? {
            self.end_reach(&session, Lapse::AdminKilled, &caller.actor()).await?;
        }
        self.tell_inbox(tenant.id(), &found.target);
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(())
    }
}
