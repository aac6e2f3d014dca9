//! Control connections: which machines are here, and how they are told to open a session.
//!
//! One machine has one control connection. When a second agent comes with the same keys, the first stays (AGT-04); and for a while
//! after such a contest only the agent that was here may come back, so that two of them cannot take turns (R37).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use adit_domain::{Code, MachineId, SessionId, Timestamp};
use adit_link::connection::{Connection, Event, LinkError};
use adit_link::socket::Socket;
use adit_store::{Machine, MachineFacts};
use adit_wire::agent::v1 as pb;
use adit_wire::frame::Frame;
use pb::from_agent::Message as FromAgent;
use pb::to_agent::Message as ToAgent;
use prost::Message as _;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use crate::Gateway;
use crate::admission::{Admission, Credential};
use crate::bus::Change;
use crate::certificate::renew_at;
use crate::clock_watch::MachineClock;
use crate::cluster::OfMachine;
use crate::machine::{machine_actor, plain_facts};

/// How many requests may wait for one machine; a machine that takes longer is told to come back.
const QUEUE: usize = 256;

/// How often an agent says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a machine counts as online after it was last heard.
pub const ONLINE_FOR: Duration = Duration::from_secs(30);

/// How long a machine counts as online that another gateway heard of: that one notes it at the first heartbeat after [`ONLINE_FOR`].
const HEARD_ELSEWHERE: Duration = Duration::from_secs(45);

/// How long a new connection has to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// For how long after a contest only the agent that was here may come back: there is one switch in this time at most.
const CONTEST: Duration = Duration::from_secs(30);

/// After how long a machine is asked again for a certificate that did not come.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// A conversation with a machine.
struct Talk<'a> {
    machine: &'a Machine,
    credential: Credential,
    renews: bool,
    /// When it was last asked to renew its certificate.
    asked: Option<Timestamp>,
    /// Whether it was asked and has not answered.
    owes: bool,
    clock: MachineClock,
}

impl Talk<'_> {
    /// Tells whether the machine is to renew its certificate now, and notes that it is asked.
    fn is_due(&mut self, now: Timestamp, life: Duration) -> bool {
        let Credential::Certificate { issued_at, not_after, .. } = self.credential else {
            return false;
        };
        // One that lasts much longer than those of today was made by an earlier version.
        let old = not_after.since(issued_at) > life * 2;
        let due = old || renew_at(issued_at, not_after) <= now;
        let waits = self.asked.is_some_and(|at| now.since(at) < ASK_AGAIN);
        if !due || waits || !self.renews {
            return false;
        }
        self.ask(now);
        true
    }

    fn ask(&mut self, now: Timestamp) {
        self.asked = Some(now);
        self.owes = true;
    }
}

/// How a machine stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Its control connection is here, or at another gateway.
    Online,
    /// Heard of not long ago.
    Stale,
    /// Not heard of.
    Offline,
}

#[derive(Debug)]
struct Entry {
    connection: Uuid,
    instance: Uuid,
    to_agent: mpsc::Sender<pb::ToAgent>,
    /// What admitted it, if its agent takes a new one.
    renews: Option<Credential>,
    /// The next certificate that it asks for ends the ones before.
    rotating: bool,
    /// It came with a certificate, so it can prove itself to a gateway at another address and hold that one's certificate against the authority.
    dials: bool,
}

/// An agent that was here when another came with its keys.
#[derive(Clone, Copy, Debug)]
struct Contest {
    instance: Uuid,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    here: HashMap<MachineId, Entry>,
    contests: HashMap<MachineId, Contest>,
    /// Whoever waits until an agent keeps a new key or certificate.
    kept: HashMap<Uuid, oneshot::Sender<Uuid>>,
}

/// The machines that are here.
#[derive(Debug, Default)]
pub struct Hub(Mutex<State>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells whether a machine is here.
    pub fn is_here(&self, machine: MachineId) -> bool {
        self.lock().here.contains_key(&machine)
    }

    /// Tells whether a machine that is here dials another gateway when it is told to.
    pub fn dials(&self, machine: MachineId) -> bool {
        self.lock().here.get(&machine).is_some_and(|entry| entry.dials)
    }

    /// Gives what admitted a machine that is here and takes a new key or certificate.
    pub fn renewable(&self, machine: MachineId) -> Option<Credential> {
        self.lock().here.get(&machine).and_then(|entry| entry.renews)
    }

    /// Lets the next certificate that a machine asks for end the ones before it, and asks it for one.
    ///
    /// # Errors
    /// [`Code::TargetOffline`] when it is not here or does not keep up.
    pub fn rotate_certificate(&self, machine: MachineId) -> Result<(), Code> {
        if let Some(entry) = self.lock().here.get_mut(&machine) {
            entry.rotating = true;
        }
        self.send(machine, ToAgent::RenewAsked(pb::RenewAsked {}))
    }

    /// Tells whether a certificate that a machine asks for ends the ones before it; asked once.
    fn take_rotating(&self, machine: MachineId) -> bool {
        let mut state = self.lock();
        state.here.get_mut(&machine).is_some_and(|entry| std::mem::take(&mut entry.rotating))
    }

    /// Begins to wait until a machine's agent says that it keeps a new key or certificate, and which.
    pub fn await_kept(&self, machine: MachineId) -> oneshot::Receiver<Uuid> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        // Nobody waits any more for those whose receiver is gone.
        state.kept.retain(|_, sender| !sender.is_closed());
        state.kept.insert(machine.0, sender);
        receiver
    }

    fn note_kept(&self, machine: MachineId, id: Uuid) {
        if let Some(sender) = self.lock().kept.remove(&machine.0) {
            // Whoever waited may have given up.
            let _ = sender.send(id);
        }
    }

    /// Sends something to a machine.
    ///
    /// # Errors
    /// [`Code::TargetOffline`] when it is not here or does not keep up.
    pub fn send(&self, machine: MachineId, message: ToAgent) -> Result<(), Code> {
        let state = self.lock();
        let entry = state.here.get(&machine).ok_or(Code::TargetOffline)?;
        let message = pb::ToAgent { message: Some(message) };
        entry.to_agent.try_send(message).map_err(|_| Code::TargetOffline)
    }

    /// Ends a machine's control connection, and forgets who contested it.
    pub fn drop_machine(&self, machine: MachineId) {
        let mut state = self.lock();
        state.here.remove(&machine);
        state.contests.remove(&machine);
    }

    /// Enters a machine, unless another instance with its key is here, or was when it was contested not long ago.
    fn enter(&self, machine: MachineId, entry: Entry, now: Instant) -> Result<(), Code> {
        let mut state = self.lock();
        state.contests.retain(|_, contest| now < contest.until);
        if let Some(here) = state.here.get(&machine)
            && here.instance != entry.instance
            && !here.to_agent.is_closed()
        {
            let contest = Contest { instance: here.instance, until: now + CONTEST };
            state.contests.insert(machine, contest);
            return Err(Code::AgentDuplicate);
        }
        if state.contests.get(&machine).is_some_and(|c| c.instance != entry.instance) {
            return Err(Code::AgentDuplicate);
        }
        state.here.insert(machine, entry);
        Ok(())
    }

    fn leave(&self, machine: MachineId, connection: Uuid) {
        let mut state = self.lock();
        if state.here.get(&machine).is_some_and(|e| e.connection == connection) {
            state.here.remove(&machine);
        }
    }
}

impl Gateway {
    /// Says how a machine stands, at this gateway or at another.
    pub fn presence(&self, machine: &Machine) -> Presence {
        if self.hub.is_here(machine.id) {
            return Presence::Online;
        }
        let is_elsewhere = machine.gateway.is_some_and(|at| at != self.store.gateway());
        let heard = machine.last_seen_at.map(|at| self.clock.now().since(at));
        match heard {
            Some(ago) if is_elsewhere && ago < HEARD_ELSEWHERE => Presence::Online,
            Some(ago) if ago < ONLINE_FOR * 2 => Presence::Stale,
            _ => Presence::Offline,
        }
    }

    /// Serves a machine's control connection until it ends.
    pub async fn serve_control<S: Socket>(&self, mut link: Connection<S>, admission: Admission) {
        let Admission { machine, credential, renewal_only } = admission;
        let hello = match tokio::time::timeout(HELLO_WITHIN, next_message(&mut link)).await {
            Ok(Ok(FromAgent::Hello(hello))) => hello,
            Ok(_) | Err(_) => return link.close(Code::FrameInvalid.close_code()).await,
        };
        if renewal_only {
            return self.serve_renewal(link, &machine, credential).await;
        }
        let instance = Uuid::from_slice(&hello.instance).unwrap_or_default();
        let (to_agent, requests) = mpsc::channel(QUEUE);
        let connection = self.ids.uuid();
        let renews = hello.renews.then_some(credential);
        let dials = matches!(credential, Credential::Certificate { .. });
        let entry = Entry { connection, instance, to_agent, renews, rotating: false, dials };
        if let Err(code) = self.hub.enter(machine.id, entry, Instant::now()) {
            self.note_duplicate(&machine).await;
            return link.close(code.close_code()).await;
        }
        info!(machine.label = %machine.label, "a machine came");
        self.bus.tell(machine.tenant, Change::Machines);
        self.jobs.look();
        let (renews, clock) = (hello.renews, MachineClock::default());
        let mut talk =
            Talk { machine: &machine, credential, renews, asked: None, owes: false, clock };
        let ended = self.converse(&mut link, &mut talk, &hello, requests).await;
        self.hub.leave(machine.id, connection);
        self.leave(&machine).await;
        self.bus.tell(machine.tenant, Change::Machines);
        match ended {
            Ok(()) => link.close(Code::GatewayRestarting.close_code()).await,
            Err(error) => {
                info!(machine.label = %machine.label, %error, "a machine's connection ended")
            }
        }
    }

    /// Renews the certificate that a machine came with after its end, and nothing else (R62). It has proved both its keys.
    async fn serve_renewal<S: Socket>(
        &self,
        mut link: Connection<S>,
        machine: &Machine,
        credential: Credential,
    ) {
        let asked = pb::ToAgent { message: Some(ToAgent::RenewAsked(pb::RenewAsked {})) };
        let renewed = async {
            link.send_control(&asked)?;
            loop {
                if let FromAgent::RenewCertificate(wish) = next_message(&mut link).await? {
                    let answer = self.renew_of_machine(machine, credential, &wish.csr, false).await;
                    link.send_control(&pb::ToAgent { message: answer })?;
                    return link.flush().await;
                }
            }
        };
        match tokio::time::timeout(HELLO_WITHIN, renewed).await {
            Ok(Ok(())) => {
                info!(machine.label = %machine.label, "an expired certificate was renewed")
            }
            Ok(Err(error)) => {
                warn!(machine.label = %machine.label, %error, "an expired certificate was not renewed");
            }
            Err(_) => {
                warn!(machine.label = %machine.label, "an agent did not renew its expired certificate");
            }
        }
        link.close(Code::CertificateExpired.close_code()).await;
    }

    async fn converse<S: Socket>(
        &self,
        link: &mut Connection<S>,
        talk: &mut Talk<'_>,
        hello: &pb::Hello,
        mut requests: mpsc::Receiver<pb::ToAgent>,
    ) -> Result<(), LinkError> {
        let machine = talk.machine;
        let instance = Uuid::from_slice(&hello.instance).ok();
        self.greet(machine, hello, instance).await;
        self.hear_clock(machine, &mut talk.clock, hello.now_ms).await;
        let welcome = self.welcome(machine, hello).await;
        link.send_control(&pb::ToAgent { message: Some(ToAgent::Welcome(welcome)) })?;
        let mut touched = self.clock.now();
        loop {
            if talk.is_due(self.clock.now(), self.settings.certificate_life) {
                let asked = ToAgent::RenewAsked(pb::RenewAsked {});
                link.send_control(&pb::ToAgent { message: Some(asked) })?;
            }
            tokio::select! {
                biased;
                () = self.tasks.ending() => return Ok(()),
                request = requests.recv() => match request {
                    Some(request) => {
                        if let Some(ToAgent::RenewAsked(_)) = request.message {
                            talk.ask(self.clock.now());
                        }
                        link.send_control(&request)?;
                    }
                    None => return Ok(()),
                },
                message = next_message(link) => {
                    let answer = self.on_agent(talk, message?).await;
                    if let Some(answer) = answer {
                        link.send_control(&pb::ToAgent { message: Some(answer) })?;
                    }
                    if self.clock.now().since(touched) > ONLINE_FOR {
                        touched = self.clock.now();
                        self.touch(machine).await;
                    }
                }
            }
        }
    }

    async fn on_agent(&self, talk: &mut Talk<'_>, message: FromAgent) -> Option<ToAgent> {
        let machine = talk.machine;
        match message {
            FromAgent::Heartbeat(beat) => {
                self.hear_clock(machine, &mut talk.clock, beat.now_ms).await;
                Some(ToAgent::Heartbeat(pb::Heartbeat { now_ms: self.clock.now().wire() }))
            }
            FromAgent::OpenRefused(refused) => {
                if let Some(session) = SessionId::from_bytes(&refused.session_id) {
                    warn!(session.id = %session, machine.label = %machine.label, code = %refused.code, "a machine refused a session");
                    let code = refused.code.parse().unwrap_or(Code::TargetFailed);
                    match self.sessions.tenant(session) {
                        Some(_) => self.sessions.refused(session, machine.id, code),
                        None => {
                            self.tell_of_machine(session, machine.id, &OfMachine::Refused(code))
                        }
                    }
                }
                None
            }
            FromAgent::SessionEnded(ended) => {
                let session = SessionId::from_bytes(&ended.session_id)?;
                let reason = crate::session::relay::end_reason(&ended.exited.unwrap_or_default());
                match self.sessions.tenant(session) {
                    Some(_) => self.sessions.ended_by_machine(session, machine.id, reason),
                    None => self.tell_of_machine(session, machine.id, &OfMachine::Ended(reason)),
                }
                None
            }
            FromAgent::RenewCertificate(wish) => {
                // Only what was asked for: a machine makes no certificates of its own accord.
                if !std::mem::take(&mut talk.owes) {
                    return None;
                }
                let retires = self.hub.take_rotating(machine.id);
                self.renew_of_machine(machine, talk.credential, &wish.csr, retires).await
            }
            FromAgent::Kept(kept) => {
                self.hub.note_kept(machine.id, Uuid::from_slice(&kept.id).ok()?);
                None
            }
            FromAgent::Hello(_) => None,
        }
    }

    async fn renew_of_machine(
        &self,
        machine: &Machine,
        credential: Credential,
        csr: &str,
        retires: bool,
    ) -> Option<ToAgent> {
        let Credential::Certificate { id, .. } = credential else { return None };
        match self.renew_machine_certificate(machine, id, csr, retires).await {
            Ok(made) => Some(ToAgent::Renewed(pb::Renewed {
                id: made.id.as_bytes().to_vec().into(),
                certificate: made.pem,
            })),
            Err(error) => {
                warn!(machine.label = %machine.label, %error, "a machine's certificate was not renewed");
                None
            }
        }
    }

    async fn greet(&self, machine: &Machine, hello: &pb::Hello, instance: Option<Uuid>) {
        let facts = MachineFacts {
            hostname: hello.hostname.clone(),
            os: hello.os.clone(),
            arch: hello.arch.clone(),
            version: hello.version.clone(),
            cores: hello.cores,
            memory_bytes: hello.memory_bytes,
        };
        let tenant = self.store.tenant(machine.tenant);
        let (at, facts) = (self.clock.now(), plain_facts(facts));
        if let Err(error) = tenant.touch_machine(machine.id, at, instance, Some(facts)).await {
            warn!(%error, machine.label = %machine.label, "a machine's facts could not be kept");
        }
    }

    async fn touch(&self, machine: &Machine) {
        let tenant = self.store.tenant(machine.tenant);
        if let Err(error) = tenant.touch_machine(machine.id, self.clock.now(), None, None).await {
            warn!(%error, machine.label = %machine.label, "a machine's last time could not be kept");
        }
    }

    async fn leave(&self, machine: &Machine) {
        // A newer connection took the place of the one that ended.
        if self.hub.is_here(machine.id) {
            return self.touch(machine).await;
        }
        let tenant = self.store.tenant(machine.tenant);
        if let Err(error) = tenant.leave_machine(machine.id, self.clock.now()).await {
            warn!(%error, machine.label = %machine.label, "a machine's last time could not be kept");
        }
    }

    /// Answers a hello: which of the machine's sessions go on, and which are over.
    async fn welcome(&self, machine: &Machine, hello: &pb::Hello) -> pb::Welcome {
        let said: Vec<SessionId> =
            hello.sessions.iter().filter_map(|id| SessionId::from_bytes(id)).collect();
        let standing = self.sessions.reconcile(machine.id, &said);
        let mut resume = Vec::new();
        for session in standing.live {
            match self.warrant_again(session).await {
                Ok(warrant) => resume.push(pb::Open {
                    session_id: session.as_bytes().to_vec().into(),
                    warrant: Some(warrant),
                    spawn: None,
                    dial: self.own_address(machine.id),
                }),
                Err(refusal) => {
                    self.sessions.end(session, adit_domain::EndReason::Because(refusal.code()))
                }
            }
        }
        let mut ended = Vec::new();
        for session in standing.ended {
            if !self.lives_elsewhere(machine, session).await {
                ended.push(session.as_bytes().to_vec().into());
            }
        }
        pb::Welcome {
            machine_id: machine.id.as_bytes().to_vec().into(),
            label: machine.label.to_string(),
            now_ms: self.clock.now().wire(),
            heartbeat_ms: u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX),
            gateway_id: self.store.gateway().to_string(),
            epoch: self.epoch(),
            ended_sessions: ended,
            resume,
        }
    }

    /// Tells whether a machine's session that is not here lives at another gateway; so too while the database does not say.
    async fn lives_elsewhere(&self, machine: &Machine, session: SessionId) -> bool {
        match self.store.tenant(machine.tenant).find_session(session).await {
            Ok(Some(found)) => {
                let lives = found.state != adit_domain::session::State::Ended;
                lives && found.machine == machine.id && self.other_gateway(&found).is_some()
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn note_duplicate(&self, machine: &Machine) {
        warn!(machine.label = %machine.label, "a second agent came with a machine's key; the first one stays");
        let event = self
            .event(
                "agent.duplicate",
                &machine_actor(machine, None),
                format!(
                    "A second agent came with the key of {}; the first one stays",
                    machine.label
                ),
            )
            .on(crate::access::machine_party(machine))
            .with("winner", json!("first"))
            .denied(Code::AgentDuplicate);
        self.note(event).await;
    }
}

/// Reads the next control message; anything else is a broken connection.
async fn next_message<S: Socket>(link: &mut Connection<S>) -> Result<FromAgent, LinkError> {
    loop {
        match link.next().await? {
            Event::Room => {}
            Event::Frame(Frame::Control(bytes)) => {
                let message = pb::FromAgent::decode(bytes).ok().and_then(|m| m.message);
                return message.ok_or(LinkError::Text);
            }
            Event::Frame(Frame::Data(_)) => {
                return Err(LinkError::Text);
            }
        }
    }
}
