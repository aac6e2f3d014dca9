//! Sessions: opened with a redeemed ticket, joined, decided again while they live, ended with a reason.
//!
//! One task a session (`driver`), which owns its relay and its machine's link. This file is the way to it.

use std::net::IpAddr;
use std::sync::Arc;

use adit_bus::To;
use adit_domain::policy::Circumstances;
use adit_domain::session::State;
use adit_domain::ticket::{Purpose, Ticket};
use adit_domain::{
    Capabilities, Capability, Code, EndReason, Facts, MachineId, PrincipalId, RecordingMode,
    SessionId, policy,
};
use adit_store::{Job, Machine, OpenSession, Opening, Session, SessionKind};
use adit_wire::agent::v1 as pb;
use adit_wire::bus::v1 as bus;
use adit_wire::bus::v1::ask::What;
use adit_wire::recording::{Header, Mode};
use adit_wire::warrant;
use futures_util::future::join;
use metrics::counter;
use serde_json::json;
use tokio::sync::oneshot;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party, target_of};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::hub::Presence;
use crate::places::Place;
use crate::ticket::Presented;
use crate::what_ends::circumstances;
use driver::Start;
use relay::Screen;
use tape::Tape;
use viewer::{Arrival, Seat};

pub mod driver;
mod end;
pub mod outbox;
mod recheck;
pub mod recorder;
pub mod registry;
pub mod relay;
pub mod resume;
pub mod tape;
pub mod viewer;

/// What a viewer brings with its ticket.
#[derive(Clone, Debug, Default)]
pub struct Hand {
    /// Its window.
    pub cols: u32,
    /// Its window.
    pub rows: u32,
    /// The next byte that it wants; none for a snapshot.
    pub output_position: Option<u64>,
    /// The writer that it had.
    pub writer: Vec<u8>,
    /// Where its unacknowledged input begins.
    pub input_position: u64,
    /// How long the session may last that is opened for it, if that is shorter than any may.
    pub longest: Option<std::time::Duration>,
}

/// A viewer that was admitted.
#[derive(Debug)]
pub struct Admission {
    /// The session, as it is now.
    pub session: Session,
    /// What the viewer may do in it.
    pub capabilities: Capabilities,
    /// Its place.
    pub seat: Seat,
    /// Its writer.
    pub writer: [u8; 16],
    /// Where its input goes on.
    pub input_position: u64,
}

/// What a token is good for with which one sees one's own sessions.
pub const OWN: Capabilities = Capabilities::of(&[
    Capability::SessionList,
    Capability::TerminalSpawn,
    Capability::TerminalInput,
    Capability::TerminalView,
]);

/// How much longer than its time a job's session may last: its machine gets it, begins, ends it and sends what it wrote.
const JOB_MARGIN: std::time::Duration = std::time::Duration::from_secs(60);

/// What a session's beginning is called, and in words.
const SHELL_START: (&str, &str) = ("terminal_session_start", "opened a session");

/// A ticket that was spent, and what policy says of it today.
struct Redeemed {
    ticket: Ticket,
    caller: Caller,
    machine: Machine,
    permit: Result<policy::Permit, Refusal>,
}

/// The window of a viewer that does not say how large it is.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

impl Gateway {
    /// Admits whoever presents a ticket: opens the session that it reserved, or joins the one that lives.
    ///
    /// # Errors
    /// [`Refusal`] when the ticket does not count, policy has changed its mind, or the machine is not here. The ticket is spent in
    /// every case
    /// but one: a ticket that is bound to another key stays good for whoever has that key.
    pub async fn admit(
        &self,
        presented: Presented<'_>,
        hand: Hand,
        address: Option<IpAddr>,
    ) -> Result<Admission, Refusal> {
        let Redeemed { ticket, caller, machine, permit } =
            self.redeem_and_decide(presented, address).await?;
        let seated = match permit {
            Ok(permit) => self.seat_place(&caller, &machine).await.map(|place| (permit, place)),
            Err(refusal) => Err(refusal),
        };
        let (permit, place) = match (seated, ticket.purpose) {
            (Ok(seated), _) => seated,
            (Err(refusal), Purpose::Open) => {
                self.end_unopened(&ticket, refusal.code()).await;
                return Err(refusal);
            }
            (Err(refusal), Purpose::Join) => return Err(refusal),
        };
        let mut admission = match ticket.purpose {
            Purpose::Open => self.open(&caller, &ticket, &permit, &machine, hand).await?,
            Purpose::Join => self.join(&caller, &ticket, hand).await?,
        };
        admission.seat.place = Some(place);
        Ok(admission)
    }

    /// Opens the session of a job that was given out: a ticket is issued for it and redeemed, as for anybody's session. Nobody is in it.
    ///
    /// # Errors
    /// [`Refusal`] when policy has changed its mind, or the machine is not here.
    pub(crate) async fn open_job(&self, job: &Job, session: SessionId) -> Result<(), Refusal> {
        let ready = self.ready_job_ticket(job, session).await?;
        let secret = ready.secret();
        let presented = Presented { ticket: secret.expose(), proof: "" };
        let address = job.asked.client.as_deref().and_then(|text| text.parse().ok());
        // The database takes both in this order; waiting for the first to be durable would only take time.
        let (issued, redeemed) =
            join(self.store_ticket(ready), self.redeem_and_decide(presented, address)).await;
        let Redeemed { ticket, caller, machine, permit } = issued.and(redeemed)?;
        let permit = match permit {
            Ok(permit) => permit,
            Err(refusal) => {
                self.end_unopened(&ticket, refusal.code()).await;
                return Err(refusal);
            }
        };
        // Its machine ends it in time; a machine that does not say so must not hold its place.
        let timeout = std::time::Duration::from_millis(job.asked.timeout_ms);
        let hand = Hand { longest: Some(timeout + JOB_MARGIN), ..Hand::default() };
        let (session, is_here) = self.begin(&caller, &ticket, &permit, &machine, &hand).await?;
        self.jobs.tell(job.id);
        if let Err(code) = self.send_open(&session, is_here).await {
            // The machine went and was told nothing, so the job waits for it again: before its session ends, whose end is then not the job's.
            if is_here && code == Code::TargetOffline && self.let_wait(job, session.id).await {
                tracing::debug!(job.id = %job.id, "a job waits again for its machine");
            }
            self.sessions.end(session.id, EndReason::Because(code));
            return Ok(());
        }
        // Whoever cancelled it before its session was there left it to this look.
        let look = async {
            let now = self.store.tenant(job.tenant).find_job(job.id).await?;
            match now.filter(|job| job.cancelled_at.is_some()) {
                Some(job) => self.end_cancelled(&job).await,
                None => Ok(()),
            }
        };
        if let Err(refusal) = look.await {
            tracing::warn!(job.id = %job.id, %refusal, "nobody knows whether a job was cancelled as it began");
        }
        Ok(())
    }

    /// Spends a ticket and decides about it with today's facts.
    async fn redeem_and_decide(
        &self,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Redeemed, Refusal> {
        let ticket = self.redeem_ticket(presented, address).await?;
        let tenant = self.store.tenant(ticket.tenant);
        let account = tenant.find_principal(ticket.principal).await?;
        let principal =
            account.map(|a| a.principal).ok_or(Refusal::Code(Code::PrincipalInactive))?;
        let machine = tenant.find_machine(ticket.machine).await?;
        let machine = machine.ok_or(Refusal::Code(Code::TargetUnknown))?;
        let credential = ticket.credential.unwrap_or(adit_domain::TokenId(ticket.id.0));
        let mut caller = Caller {
            principal,
            credential,
            address,
            second_factor_at: None,
            limit: None,
            client: None,
        };
        let permit = match self.still_signed_in(&mut caller, &ticket, &machine).await {
            Ok(()) => self.permit_ticket(&caller, &ticket, &machine).await,
            Err(refusal) => Err(refusal),
        };
        Ok(Redeemed { ticket, caller, machine, permit })
    }

    async fn permit_ticket(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        machine: &Machine,
    ) -> Result<policy::Permit, Refusal> {
        let opens_job =
            ticket.purpose == Purpose::Open && ticket.capabilities.has(Capability::JobRun);
        if !opens_job {
            return self.permit_machine(caller, ticket.capabilities, machine).await;
        }
        let tenant = self.store.tenant(ticket.tenant);
        let session = tenant.find_session(ticket.session).await?;
        let id = session.and_then(|session| session.job).ok_or(Refusal::Code(Code::JobUnknown))?;
        let job = tenant.find_job(id).await?.ok_or(Refusal::Code(Code::JobUnknown))?;
        let target =
            self.target_of_session(ticket.tenant, (ticket.session, Some(id)), machine).await?;
        let about = Some(machine_party(machine));
        let asked = Some(job.created_at);
        self.permit_since(caller, asked, ticket.capabilities, target, about).await
    }

    // RES-12
    async fn seat_place(
        &self,
        caller: &Caller,
        machine: &Machine,
    ) -> Result<Place<PrincipalId>, Refusal> {
        let most = self.settings.viewers_per_user;
        if let Some(place) = self.viewers.take(caller.principal.id, most) {
            return Ok(place);
        }
        counter!("adit_viewers_refused_total").increment(1);
        let sentence = format!("{} watches as much as one may", caller.principal.name.name());
        let event = self.event("access.denied", &caller.actor(), sentence);
        self.note(event.on(machine_party(machine)).denied(Code::TooMany)).await;
        let sentence = format!(
            "You have {most} terminals open, which is as many as you may. Close one, then try again."
        );
        Err(Refusal::Said(Code::TooMany, sentence))
    }

    async fn open(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        permit: &policy::Permit,
        machine: &Machine,
        hand: Hand,
    ) -> Result<Admission, Refusal> {
        let (session, is_here) = self.begin(caller, ticket, permit, machine, &hand).await?;
        let arrival = self.arrival(caller, ticket, &hand, true, &session);
        let seated = self.sessions.join(session.id, arrival, &hand.writer).await;
        if let Err(code) = self.send_open(&session, is_here).await {
            self.sessions.end(session.id, EndReason::Because(code));
            return Err(code.into());
        }
        let (seat, writer, input_position) = seated?;
        let capabilities = ticket.capabilities;
        Ok(Admission { session, capabilities, seat, writer, input_position })
    }

    /// Begins a session: its row, its recording, its task. The flag tells whether its machine is at this gateway.
    async fn begin(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        permit: &policy::Permit,
        machine: &Machine,
        hand: &Hand,
    ) -> Result<(Session, bool), Refusal> {
        if self.sessions.count() >= self.settings.sessions_total {
            if !permit.capabilities().has(Capability::JobRun) {
                self.end_unopened(ticket, Code::TooMany).await;
            }
            return Err(Code::TooMany.into());
        }
        let is_here = self.hub.is_here(machine.id);
        let may_be_elsewhere = self.cluster.is_up() && self.presence(machine) != Presence::Offline;
        if !is_here && !may_be_elsewhere {
            // A job waits for its machine again.
            if !permit.capabilities().has(Capability::JobRun) {
                self.end_unopened(ticket, Code::TargetOffline).await;
            }
            return Err(Code::TargetOffline.into());
        }
        let session = match self.open_row(caller, ticket, permit, machine, hand).await? {
            Opening::Opened(session) => *session,
            Opening::Full(live) => {
                self.end_unopened(ticket, Code::SessionLimit).await;
                return Err(self.too_many(&live));
            }
            Opening::Gone => return Err(Code::TicketInvalid.into()),
        };
        let tape = match self.begin_recording(&session, machine).await {
            Ok(tape) => tape,
            Err(refusal) => {
                self.end_row(&session, &EndReason::Because(refusal.code())).await;
                return Err(refusal);
            }
        };
        self.start_driver(Start {
            session: session.clone(),
            tape,
            position: 0,
            state: State::Opening,
        });
        Ok((session, is_here))
    }

    /// Tells a session's machine to open it, through the gateway that has the machine.
    async fn send_open(&self, session: &Session, is_here: bool) -> Result<(), Code> {
        if is_here {
            let open = self.open_message(session, self.own_address(session.machine)).await;
            let open = open.map_err(|refusal| refusal.code())?;
            return self.hub.send(session.machine, pb::to_agent::Message::Open(open));
        }
        let open = What::Open(bus::Open {});
        self.cluster.ask(&*self.ids, To::All, (session.tenant, session.id), open).await
    }

    /// Makes what tells a machine to open a session and to dial it at an address.
    ///
    /// # Errors
    /// [`Refusal`] when the job that the session runs cannot be found.
    pub(crate) async fn open_message(
        &self,
        session: &Session,
        dial: String,
    ) -> Result<pb::Open, Refusal> {
        let job = self.job_message(session).await?;
        Ok(pb::Open {
            session_id: session.id.as_bytes().to_vec().into(),
            warrant: Some(self.sign_warrant_for(session, job.as_ref())),
            spawn: Some(spawn_of(session, job)),
            dial,
        })
    }

    /// Makes what a machine is given of a job; none for any other session.
    async fn job_message(&self, session: &Session) -> Result<Option<pb::Job>, Refusal> {
        let Some(id) = session.job else { return Ok(None) };
        let job = self.store.tenant(session.tenant).find_job(id).await?;
        let job = job.ok_or(Refusal::Code(Code::JobUnknown))?;
        let plan = job.asked.plan.into_bytes().into();
        Ok(Some(pb::Job { plan, output_bytes: job.asked.output_bytes }))
    }

    async fn open_row(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        permit: &policy::Permit,
        machine: &Machine,
        hand: &Hand,
    ) -> Result<Opening, Refusal> {
        let now = self.clock.now();
        let (cols, rows) = self.first_size(ticket, hand).await?;
        let longest = hand.longest.unwrap_or(self.settings.max_length);
        let ends_at = now + longest.min(self.settings.max_length);
        let is_job = permit.capabilities().has(Capability::JobRun);
        let open = OpenSession {
            id: ticket.session,
            // Jobs have caps of their own.
            cap: (!is_job).then_some(self.settings.sessions_per_user),
            capabilities: permit.capabilities(),
            grants: permit.grants().to_vec(),
            client: caller.address.map(|a| a.to_string()),
            second_factor_at: caller.second_factor_at,
            cols,
            rows,
            at: now,
            ends_at: permit.until().map_or(ends_at, |until| until.min(ends_at)),
        };
        let (what, verb) = if is_job { ("job.start", "runs a job") } else { SHELL_START };
        let sentence = format!("{} {verb} on {}", caller.principal.name.name(), machine.label);
        let start = self
            .event(what, &caller.actor(), sentence)
            .on(audit::party("session", ticket.session.0, machine.label.as_str()))
            .with("userId", json!(caller.principal.id.to_string()))
            .with("machineId", json!(machine.id.to_string()))
            .with("capabilities", json!(permit.capabilities().names()));
        let full = self
            .event(
                "access.denied",
                &caller.actor(),
                format!("{} has too many live sessions", caller.principal.name.name()),
            )
            .on(machine_party(machine))
            .denied(Code::SessionLimit);
        let tell = move |opening: &Opening| match opening {
            Opening::Opened(session) => start
                .with("command", json!(session.command))
                .with("recording", json!(session.recording.as_str()))
                .only(),
            Opening::Full(_) => full.only(),
            Opening::Gone => vec![],
        };
        let opening = self.store.tenant(ticket.tenant).open_session(open, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Sessions);
        self.bus.tell(caller.principal.tenant, Change::Audit);
        Ok(opening)
    }

    /// Gives the terminal's first size: of the first frame, else of the request, else the usual one.
    async fn first_size(&self, ticket: &Ticket, hand: &Hand) -> Result<(u16, u16), Refusal> {
        let cells = |n: u32| u16::try_from(n.clamp(1, 1000)).unwrap_or(1000);
        if hand.cols > 0 && hand.rows > 0 {
            return Ok((cells(hand.cols), cells(hand.rows)));
        }
        let reserved = self.store.tenant(ticket.tenant).find_session(ticket.session).await?;
        let asked = reserved.map(|session| (session.cols, session.rows));
        Ok(asked.filter(|(cols, rows)| *cols > 0 && *rows > 0).unwrap_or(DEFAULT_SIZE))
    }

    fn too_many(&self, live: &[SessionId]) -> Refusal {
        let list: Vec<String> = live.iter().map(ToString::to_string).collect();
        Refusal::Said(
            Code::SessionLimit,
            format!(
                "You have {} live sessions, which is as many as you may. End one, then try again: {}.",
                live.len(),
                list.join(", ")
            ),
        )
    }

    async fn join(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        hand: Hand,
    ) -> Result<Admission, Refusal> {
        let principal = &caller.principal;
        let tenant = self.store.tenant(ticket.tenant);
        let session = tenant.find_session(ticket.session).await?;
        let session = session.ok_or(Refusal::Code(Code::SessionUnknown))?;
        if session.state == State::Ended {
            return Err(crate::ticket::ended_refusal(&session));
        }
        self.check_is_here(&session).await?;
        let arrival = self.arrival(caller, ticket, &hand, false, &session);
        let name = principal.name.name().to_owned();
        let (seat, writer, input_position) =
            self.sessions.join(session.id, arrival, &hand.writer).await?;
        let event = self
            .event(
                "session.join",
                &Actor::principal(principal, None),
                format!("{name} joined a session on {}", session.machine_label),
            )
            .on(audit::party("session", session.id.0, session.machine_label.as_str()))
            .with("canType", json!(ticket.capabilities.has(Capability::TerminalInput)));
        self.note(event).await;
        let capabilities = ticket.capabilities;
        Ok(Admission { session, capabilities, seat, writer, input_position })
    }

    /// Refuses a session that lives at another gateway.
    pub(crate) async fn check_is_here(&self, session: &Session) -> Result<(), Refusal> {
        match self.other_gateway(session) {
            Some(other) => Err(self.elsewhere(other).await),
            None => Ok(()),
        }
    }

    fn arrival(
        &self,
        caller: &Caller,
        ticket: &Ticket,
        hand: &Hand,
        opens: bool,
        session: &Session,
    ) -> Arrival {
        let principal = &caller.principal;
        Arrival {
            circumstances: Circumstances {
                since: Some(self.clock.now()),
                ..caller.circumstances()
            },
            principal: principal.id,
            credential: ticket.credential,
            name: Arc::from(principal.name.to_string()),
            capabilities: ticket.capabilities,
            size: (session.pty && hand.cols > 0 && hand.rows > 0).then_some((hand.cols, hand.rows)),
            from: if opens { Some(0) } else { hand.output_position },
            writer: None,
            input_position: hand.input_position,
            opens,
        }
    }

    async fn begin_recording(
        &self,
        session: &Session,
        machine: &Machine,
    ) -> Result<Option<Tape>, Refusal> {
        let mode = match session.recording {
            RecordingMode::Off => return Ok(None),
            RecordingMode::Output => Mode::Output,
            RecordingMode::Input => Mode::Input,
        };
        let mut salt = [0; 16];
        self.ids.fill(&mut salt);
        let started_at = session.started_at.unwrap_or(session.reserved_at);
        let header = Header {
            session: session.id,
            machine: machine.label.to_string(),
            principal: session.principal.name.to_string(),
            command: session.command.clone(),
            started_at,
            cols: session.cols,
            rows: session.rows,
            mode,
            salt,
        };
        match self.recorder.begin(&header, session.strict) {
            Ok(tape) => Ok(Some(tape)),
            Err(error) if session.strict => {
                tracing::warn!(%error, session.id = %session.id, "a required recording cannot begin");
                Err(Code::SessionRecordingFailed.into())
            }
            Err(error) => {
                tracing::warn!(%error, session.id = %session.id, "a recording cannot begin; the session goes on without");
                Ok(None)
            }
        }
    }

    async fn end_unopened(&self, ticket: &Ticket, code: Code) {
        let tenant = self.store.tenant(ticket.tenant);
        let reason = EndReason::Because(code);
        let bytes = adit_store::SessionBytes::default();
        let ended =
            tenant.end_session(ticket.session, reason, self.clock.now(), bytes, |_| vec![]).await;
        if let Err(error) = ended {
            tracing::warn!(%error, session.id = %ticket.session, "a session that never opened could not be closed");
        }
    }

    /// Signs what the machine is to know of a session.
    pub(crate) fn sign_warrant(&self, session: &Session) -> pb::SignedWarrant {
        self.sign_warrant_for(session, None)
    }

    fn sign_warrant_for(&self, session: &Session, job: Option<&pb::Job>) -> pb::SignedWarrant {
        let now = self.clock.now();
        let started = session.started_at.unwrap_or(now);
        let ends_at = session.ends_at.unwrap_or(started + self.settings.max_length);
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let statement = pb::Warrant {
            session_id: session.id.as_bytes().to_vec().into(),
            tenant_id: session.tenant.as_bytes().to_vec().into(),
            principal: session.principal.name.to_string(),
            principal_id: session.principal.id.as_bytes().to_vec().into(),
            machine_id: session.machine.as_bytes().to_vec().into(),
            session_service: self.keys.session_service.public().0.to_vec().into(),
            capabilities: session.capabilities.names(),
            issued_at_ms: now.wire(),
            expires_at_ms: (now + self.settings.token_life).wire(),
            ends_at_ms: ends_at.wire(),
            recording: session.recording.as_str().to_owned(),
            recording_strict: session.strict,
            epoch: self.epoch(),
            run_as: session.run_as.clone().unwrap_or_default(),
            grace_ms: ms(self.settings.grace),
            job: job.map(|job| adit_wire::job::digest(job).0.to_vec().into()).unwrap_or_default(),
        };
        warrant::sign(&statement, &self.keys.authority)
    }

    /// Tells whether a warrant that a machine shows is one that this authority signed for this session on this machine. Its expiry is not
    /// looked at: how long a session may live is the gateway's own knowledge, and a machine that was cut off comes back with an old one.
    pub fn knows_warrant(
        &self,
        signed: Option<&pb::SignedWarrant>,
        id: SessionId,
        machine: MachineId,
    ) -> bool {
        let read = signed.map(|signed| warrant::read(signed, &self.keys.authority_public()));
        let Some(Ok(warrant)) = read else { return false };
        warrant.session_id[..] == *id.as_bytes() && warrant.machine_id[..] == *machine.as_bytes()
    }

    /// Decides about a session anew, with today's facts, and signs a newer warrant.
    ///
    /// # Errors
    /// [`Refusal`] when the one who opened it may no longer have it.
    pub async fn warrant_again(&self, id: SessionId) -> Result<pb::SignedWarrant, Refusal> {
        let tenant =
            self.store.tenant(self.sessions.tenant(id).ok_or(Refusal::Code(Code::SessionUnknown))?);
        let session = tenant.find_session(id).await?.ok_or(Refusal::Code(Code::SessionUnknown))?;
        let machine = self.machine_of_session(&session).await?;
        let facts = Facts {
            circumstances: circumstances(&session),
            ..self.facts(&session.principal).await?
        };
        let now = self.clock.now();
        let named = (session.id, session.job);
        let target = self.target_of_session(session.tenant, named, &machine).await?;
        policy::authorize(&facts, session.capabilities, &target, now)
            .map_err(|_| Refusal::Code(Code::AccessRevoked))?;
        Ok(self.sign_warrant(&session))
    }

    /// Finds a session that the caller may see: its own, or one on a machine whose sessions it may list.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] alike for one that is not there and one that the caller may not see.
    pub async fn find_session(&self, caller: &Caller, id: SessionId) -> Result<Session, Refusal> {
        let unknown = || Refusal::Code(Code::SessionUnknown);
        let found = self.store.tenant(caller.principal.tenant).find_session(id).await?;
        let session = found.filter(|s| s.state != State::Reserved).ok_or_else(unknown)?;
        if caller.owns(session.principal.id, OWN) {
            return Ok(session);
        }
        let machine = self.machine_of_session(&session).await?;
        let may = self.may(caller, &machine).await?;
        if may.has(Capability::SessionList) { Ok(session) } else { Err(unknown()) }
    }

    /// Gives everything that a caller may do on a machine.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is gone or the database does not answer.
    pub async fn may(&self, caller: &Caller, machine: &Machine) -> Result<Capabilities, Refusal> {
        let facts = self.facts_of(caller).await?;
        Ok(policy::allowed(&facts, &target_of(machine), self.clock.now()))
    }

    /// Finds the machine of a session, removed or not.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] when its row is gone.
    pub async fn machine_of_session(&self, session: &Session) -> Result<Machine, Refusal> {
        let found = self.store.tenant(session.tenant).find_machine(session.machine).await?;
        found.ok_or(Refusal::Code(Code::TargetUnknown))
    }

    /// Ends a session: its own user may, and whoever has `session:end` on its machine.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or there is no such session. One that is over already is no error.
    pub async fn end_session(&self, caller: &Caller, id: SessionId) -> Result<(), Refusal> {
        let session = self.find_session(caller, id).await?;
        let ends = Capabilities::of(&[Capability::SessionEnd, Capability::TerminalSpawn]);
        let own = caller.owns(session.principal.id, ends);
        if !own {
            let machine = self.machine_of_session(&session).await?;
            let wanted = Capabilities::of(&[Capability::SessionEnd]);
            self.permit_machine(caller, wanted, &machine).await?;
        }
        if session.state == State::Ended {
            return Ok(());
        }
        let code = if own { Code::SessionClosed } else { Code::SessionKilled };
        let event = self
            .event(
                "session.end",
                &caller.actor(),
                format!(
                    "{} ended {}'s session on {}",
                    caller.principal.name.name(),
                    session.principal.name.name(),
                    session.machine_label
                ),
            )
            .on(audit::party("session", session.id.0, session.machine_label.as_str()));
        self.note(event).await;
        if let Some(other) = self.other_gateway(&session) {
            return self.end_elsewhere(&session, other, code).await;
        }
        self.sessions.end(id, EndReason::Because(code));
        Ok(())
    }

    /// Asks the machine for a session's screen.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not watch, or the session is not live.
    pub async fn screen(&self, caller: &Caller, id: SessionId) -> Result<Screen, Refusal> {
        let session = self.find_session(caller, id).await?;
        let machine = self.machine_of_session(&session).await?;
        let wanted = Capabilities::of(&[Capability::TerminalView]);
        if !caller.owns(session.principal.id, wanted) {
            self.permit_machine(caller, wanted, &machine).await?;
        }
        self.check_is_here(&session).await?;
        let (reply, answer) = oneshot::channel();
        self.sessions.ask_screen(id, reply);
        answer.await.map_err(|_| Refusal::Code(Code::TargetOffline))
    }
}

fn spawn_of(session: &Session, job: Option<pb::Job>) -> pb::Spawn {
    pb::Spawn {
        cols: u32::from(session.cols),
        rows: u32::from(session.rows),
        // A job's arguments are in its plan.
        command: if job.is_some() { Vec::new() } else { session.command.clone() },
        pty: session.pty || session.kind == SessionKind::Shell,
        env: session.env.iter().cloned().collect(),
        job,
    }
}
