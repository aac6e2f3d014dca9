//! Tickets: asked for with a policy decision, redeemed once, decided again when they are.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::session::State;
use adit_domain::ticket::{Purpose, Thumbprint, Ticket};
use adit_domain::{
    Capabilities, Capability, Code, Ids, Permit, RecordingMode, Secret, SessionId, TicketId,
    Timestamp,
};
use adit_store::{
    Job, Machine, NewSession, Redemption, SecretHash, Session, SessionBytes, SessionKind,
    SessionNote,
};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::job::{Needs, job_party};
use crate::proof;
use crate::token::{self, Minted, Plane};

/// What somebody wants to open.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What may be done in it; none for everything that policy allows.
    pub capabilities: Option<Capabilities>,
    /// The command; empty for a login shell.
    pub command: Vec<String>,
    /// Whether it runs in a terminal.
    pub pty: bool,
    /// Variables for its environment.
    pub env: Vec<(String, String)>,
    /// The terminal's first size, columns and rows, for a first frame that names none.
    pub size: Option<(u16, u16)>,
    /// How long the ticket lives.
    pub life: Option<Duration>,
    /// The key that whoever redeems the ticket must prove.
    pub key: Option<Thumbprint>,
}

/// How somebody wants to come to a session that lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To type, as far as policy allows.
    Control,
    /// To watch.
    View,
}

/// What somebody presents to be admitted.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The ticket.
    pub ticket: &'a str,
    /// The proof of the key that the ticket is bound to; empty: none.
    pub proof: &'a str,
}

/// A ticket that was just issued.
#[derive(Debug)]
pub struct IssuedTicket {
    /// The ticket; its secret is beside it and nowhere else.
    pub ticket: Ticket,
    /// What its bearer presents, and its hash.
    pub minted: Minted,
}

/// A ticket that policy allows and that is not written down yet.
pub(crate) struct ReadyTicket {
    ticket: Ticket,
    minted: Minted,
    reserved: Option<NewSession>,
    event: audit::Draft,
}

impl ReadyTicket {
    fn new(
        ticket: Ticket,
        reserved: Option<NewSession>,
        event: audit::Draft,
        ids: &dyn Ids,
    ) -> Self {
        Self { ticket, minted: token::mint(Plane::Ticket, ids), reserved, event }
    }

    /// Gives what its bearer presents.
    pub(crate) fn secret(&self) -> Secret<String> {
        Secret::new(self.minted.secret.expose().to_owned())
    }
}

/// The longest command line, in bytes of all arguments together: what fits one message with room to spare.
const MAX_COMMAND_BYTES: usize = 32 * 1024;

/// The most arguments of a command.
const MAX_ARGUMENTS: usize = 1024;

const SHELL: Capabilities = Capabilities::of(&[
    Capability::TerminalSpawn,
    Capability::TerminalInput,
    Capability::TerminalResize,
    Capability::TerminalView,
]);

const COMMAND: Capabilities = Capabilities::of(&[
    Capability::TerminalSpawn,
    Capability::TerminalInput,
    Capability::TerminalResize,
    Capability::TerminalView,
    Capability::TerminalExec,
]);

impl Gateway {
    /// Issues a ticket for a new session on a machine, and reserves the session's id.
    ///
    /// # Errors
    /// [`Refusal`] when policy does not allow it, or the wish is not well formed.
    pub async fn issue_ticket(
        &self,
        caller: &Caller,
        machine: &str,
        wish: Wish,
    ) -> Result<IssuedTicket, Refusal> {
        check_command(&wish)?;
        let machine = self.find_machine(caller, machine).await?;
        let runs = !wish.command.is_empty();
        let wanted = wish.capabilities.unwrap_or(if runs { COMMAND } else { SHELL });
        let needed = if runs {
            wanted.or(Capabilities::of(&[Capability::TerminalSpawn, Capability::TerminalExec]))
        } else {
            wanted.or(Capabilities::of(&[Capability::TerminalSpawn]))
        };
        let permit = self.permit_machine(caller, needed, &machine).await?;
        let now = self.clock.now();
        let session = SessionId::new(&*self.ids);
        let life = wish.life.unwrap_or(adit_domain::ticket::LIFE);
        let ticket = Ticket {
            id: TicketId::new(&*self.ids),
            tenant: machine.tenant,
            principal: caller.principal.id,
            machine: machine.id,
            session,
            purpose: Purpose::Open,
            capabilities: permit.capabilities(),
            issued_at: now,
            expires_at: now + life,
            credential: Some(caller.credential),
            key: wish.key,
        };
        let reserved = NewSession {
            id: session,
            principal: caller.principal.id,
            machine: machine.id,
            kind: if runs { SessionKind::Exec } else { SessionKind::Shell },
            command: wish.command,
            env: wish.env,
            pty: wish.pty,
            capabilities: permit.capabilities(),
            grants: permit.grants().to_vec(),
            recording: self.settings.recording,
            strict: self.settings.recording_strict,
            run_as: None,
            client: caller.address.map(|a| a.to_string()),
            at: now,
            job: None,
        };
        let sentence =
            format!("{} asked for a session on {}", caller.principal.name.name(), machine.label);
        let event =
            self.ticket_event(&caller.actor(), &ticket, sentence).on(machine_party(&machine));
        let size = wish.size;
        let ready = ReadyTicket::new(ticket, Some(reserved), event, &*self.ids);
        let issued = self.store_ticket(ready).await?;
        if let Some((cols, rows)) = size {
            let note = SessionNote { bytes: SessionBytes::default(), cols, rows };
            self.store.tenant(machine.tenant).note_session(session, note).await?;
        }
        Ok(issued)
    }

    /// Issues a ticket for a session that lives: to come back to it, or to watch it.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] alike for a session that is not there and one that the caller may not see; otherwise policy's reason.
    pub async fn issue_join_ticket(
        &self,
        caller: &Caller,
        session: SessionId,
        mode: Mode,
        key: Option<Thumbprint>,
    ) -> Result<IssuedTicket, Refusal> {
        let session = self.find_session(caller, session).await?;
        if session.state == State::Ended {
            return Err(ended_refusal(&session));
        }
        if session.job.is_some() {
            let sentence = "This session runs a job, which takes no viewers. Follow it with `adit jobs logs --follow`.";
            return Err(Refusal::Said(Code::AccessCapabilityMissing, sentence.to_owned()));
        }
        let machine = self.machine_of_session(&session).await?;
        let wanted = match mode {
            Mode::Control => session.capabilities.terminal(),
            Mode::View => Capabilities::of(&[Capability::TerminalView]),
        };
        let permit = self.permit_machine(caller, wanted, &machine).await?;
        self.check_is_here(&session).await?;
        let ready = self.ready_join_ticket(caller, &session, &permit, key, "join a session");
        self.store_ticket(ready).await
    }

    /// Makes the ticket of a job that was given out, which reserves its session.
    ///
    /// # Errors
    /// [`Refusal`] when whoever asked for it may no longer.
    pub(crate) async fn ready_job_ticket(
        &self,
        job: &Job,
        session: SessionId,
    ) -> Result<ReadyTicket, Refusal> {
        let tenant = self.store.tenant(job.tenant);
        let machine = tenant.find_machine(job.machine).await?;
        let machine = machine.ok_or(Refusal::Code(Code::TargetUnknown))?;
        // A sign-in that has ended is refused, and audited, when the ticket is redeemed.
        let standing = self.store.find_standing(job.asked.credential, self.clock.now()).await?;
        let caller = Caller {
            principal: job.principal.clone(),
            credential: job.asked.credential,
            address: job.asked.client.as_deref().and_then(|text| text.parse().ok()),
            second_factor_at: standing.and_then(|standing| standing.second_factor_at),
            limit: None,
            client: None,
        };
        let wanted = Needs::read(&job.asked.needs).capabilities;
        let named = (session, Some(job.id));
        let target = self.target_of_session(job.tenant, named, &machine).await?;
        let about = Some(machine_party(&machine));
        let permit =
            self.permit_since(&caller, Some(job.created_at), wanted, target, about).await?;
        let now = self.clock.now();
        let ticket = Ticket {
            id: TicketId::new(&*self.ids),
            tenant: job.tenant,
            principal: job.principal.id,
            machine: job.machine,
            session,
            purpose: Purpose::Open,
            capabilities: permit.capabilities(),
            issued_at: now,
            expires_at: now + adit_domain::ticket::LIFE,
            credential: Some(job.asked.credential),
            key: None,
        };
        let reserved = NewSession {
            id: session,
            principal: job.principal.id,
            machine: job.machine,
            kind: SessionKind::Exec,
            command: job.asked.argv.clone(),
            env: Vec::new(),
            pty: false,
            capabilities: permit.capabilities(),
            grants: permit.grants().to_vec(),
            // What a job wrote is its result.
            recording: RecordingMode::Output,
            strict: self.settings.recording_strict,
            run_as: None,
            client: job.asked.client.clone(),
            at: now,
            job: Some(job.id),
        };
        let sentence = format!("A ticket for {} on {}", job.asked.template, machine.label);
        let event = self.ticket_event(&caller.actor(), &ticket, sentence).on(job_party(job));
        Ok(ReadyTicket::new(ticket, Some(reserved), event, &*self.ids))
    }

    /// Makes a ticket to follow a job that runs: for its own user, and for whoever may see jobs on its machine.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] for a session that runs no job, its end's code for one that is over, or policy's reason.
    pub(crate) async fn ready_follow_ticket(
        &self,
        caller: &Caller,
        session: SessionId,
    ) -> Result<ReadyTicket, Refusal> {
        let tenant = self.store.tenant(caller.principal.tenant);
        let found = tenant.find_session(session).await?.filter(|row| row.job.is_some());
        let session = found.ok_or(Refusal::Code(Code::SessionUnknown))?;
        if session.state == State::Ended {
            return Err(ended_refusal(&session));
        }
        let machine = self.machine_of_session(&session).await?;
        let own = caller.owns(session.principal.id, Capabilities::of(&[Capability::JobRun]));
        let wanted = if own { Capability::JobRun } else { Capability::JobView };
        let permit = self.permit_machine(caller, Capabilities::of(&[wanted]), &machine).await?;
        Ok(self.ready_join_ticket(caller, &session, &permit, None, "follow a job"))
    }

    /// Makes the ticket of somebody who may come to a session that lives.
    fn ready_join_ticket(
        &self,
        caller: &Caller,
        session: &Session,
        permit: &Permit,
        key: Option<Thumbprint>,
        wish: &str,
    ) -> ReadyTicket {
        let now = self.clock.now();
        let ticket = Ticket {
            id: TicketId::new(&*self.ids),
            tenant: session.tenant,
            principal: caller.principal.id,
            machine: session.machine,
            session: session.id,
            purpose: Purpose::Join,
            capabilities: permit.capabilities(),
            issued_at: now,
            expires_at: now + adit_domain::ticket::LIFE,
            credential: Some(caller.credential),
            key,
        };
        let (who, label) = (caller.principal.name.name(), &session.machine_label);
        let sentence = format!("{who} asked to {wish} on {label}");
        let party = audit::party("session", session.id.0, label.as_str());
        let event = self.ticket_event(&caller.actor(), &ticket, sentence).on(party);
        ReadyTicket::new(ticket, None, event, &*self.ids)
    }

    fn ticket_event(&self, actor: &Actor, ticket: &Ticket, sentence: String) -> audit::Draft {
        self.event("ticket.issue", actor, sentence)
            .with("ticket", json!(ticket.id.to_string()))
            .with("session", json!(ticket.session.to_string()))
            .with("capabilities", json!(ticket.capabilities.names()))
            .with("boundToKey", json!(ticket.key.is_some()))
    }

    /// Writes a ticket down.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub(crate) async fn store_ticket(&self, ready: ReadyTicket) -> Result<IssuedTicket, Refusal> {
        let ReadyTicket { ticket, minted, reserved, event } = ready;
        let tenant = self.store.tenant(ticket.tenant);
        let hash = SecretHash(minted.hash.0);
        tenant.issue_ticket(ticket.clone(), hash, reserved, move |()| event.only()).await?;
        self.bus.tell(tenant.id(), Change::Audit);
        Ok(IssuedTicket { ticket, minted })
    }

    /// Spends a ticket. Whatever happens next, it opens nothing again.
    ///
    /// # Errors
    /// [`Code::TicketInvalid`] alike for one that was used, has expired, never was or is bound to another key. The last still counts,
    /// for whoever has its key.
    pub async fn redeem_ticket(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Ticket, Refusal> {
        let invalid = || Refusal::Code(Code::TicketInvalid);
        let refusal = self
            .event("ticket.refused", &Actor::nobody(address), "A ticket was refused")
            .denied(Code::TicketInvalid);
        let now: Timestamp = self.clock.now();
        let proved = match presented.proof {
            "" => Ok(None),
            proof => proof::read(proof, presented.ticket).map(Some),
        };
        let (proved, hash) = match (proved, token::read(Plane::Ticket, presented.ticket)) {
            (Ok(proved), Ok(hash)) => (proved, hash),
            (Err(why), _) => {
                self.note(refusal.with("proof", json!(why.as_str()))).await;
                return Err(invalid());
            }
            (_, Err(_)) => {
                self.note(refusal).await;
                return Err(invalid());
            }
        };
        let success = self.event("ticket.redeem", &Actor::nobody(address), "A ticket was redeemed");
        let of = |event: audit::Draft, ticket: &Ticket| {
            event
                .on(audit::party("session", ticket.session.0, ticket.session.to_string()))
                .with("ticket", json!(ticket.id.to_string()))
        };
        let tell = move |redemption: &Redemption| match redemption {
            Redemption::Unknown => refusal.only(),
            Redemption::OtherKey(ticket) => {
                of(refusal, ticket).with("proof", json!("another key")).only()
            }
            Redemption::Redeemed(ticket) => {
                let principal = ticket.principal;
                of(success, ticket)
                    .by(audit::party("user", principal.0, principal.to_string()))
                    .only()
            }
        };
        match self.store.redeem_ticket(SecretHash(hash.0), proved, now, tell).await? {
            Redemption::Redeemed(ticket) => Ok(ticket),
            Redemption::OtherKey(_) | Redemption::Unknown => Err(invalid()),
        }
    }
}

impl Gateway {
    /// Looks whether the sign-in or token that asked for a ticket counts still, and audits that it does not. The caller gets the name
    /// of the OAuth2 client that holds it.
    ///
    /// # Errors
    /// [`Code::AuthEnded`] when it does not.
    pub(crate) async fn still_signed_in(
        &self,
        caller: &mut Caller,
        ticket: &Ticket,
        machine: &Machine,
    ) -> Result<(), Refusal> {
        let Some(id) = ticket.credential else { return Ok(()) };
        if let Some(standing) = self.store.find_standing(id, self.clock.now()).await? {
            caller.client = standing.client;
            // What was shown with the credential counts for its tickets too.
            caller.second_factor_at = standing.second_factor_at;
            return Ok(());
        }
        let name = caller.principal.name.name();
        let sentence =
            format!("A ticket of {name} was refused: the sign-in that asked for it ended");
        let event =
            self.event("access.denied", &caller.actor(), sentence).on(machine_party(machine));
        self.note(event.denied(Code::AuthEnded)).await;
        Err(Code::AuthEnded.into())
    }
}

/// Says that a session is over, and why.
pub fn ended_refusal(session: &Session) -> Refusal {
    let code = session.reason.as_ref().map_or(Code::SessionExited, adit_domain::EndReason::code);
    let sentence = session.reason.as_ref().map_or_else(String::new, ToString::to_string);
    Refusal::Said(code, format!("This session is over. {sentence}"))
}

fn check_command(wish: &Wish) -> Result<(), Refusal> {
    let bad = |sentence: &str| Err(Refusal::Said(Code::RequestInvalid, sentence.to_owned()));
    let bytes: usize = wish.command.iter().map(String::len).sum();
    if bytes > MAX_COMMAND_BYTES || wish.command.len() > MAX_ARGUMENTS {
        return bad("The command is longer than 32 KiB or has more than 1,024 arguments.");
    }
    if wish.command.first().is_some_and(String::is_empty) {
        return bad("The command's first word is empty.");
    }
    let has_nul = |text: &String| text.contains('\0');
    if wish.command.iter().any(has_nul) || wish.env.iter().any(|(k, v)| has_nul(k) || has_nul(v)) {
        return bad("A command or its environment cannot hold a NUL.");
    }
    if wish.env.len() > 64 {
        return bad("At most 64 variables can be sent along.");
    }
    Ok(())
}
