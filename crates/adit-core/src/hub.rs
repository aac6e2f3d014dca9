//! Control connections: which machines are here, and how they are told to open a session.

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
use tokio::sync::mpsc;
use tracing::{info, warn};
use uuid::Uuid;

use crate::Gateway;
use crate::bus::Change;
use crate::machine::{machine_actor, plain_facts};

/// How many requests may wait for one machine; a machine that takes longer is told to come back.
const QUEUE: usize = 256;

/// How often an agent says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a machine counts as online after it was last heard.
pub const ONLINE_FOR: Duration = Duration::from_secs(30);

/// How long a new connection has to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How a machine stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Its control connection is here.
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
}

/// The machines that are here.
#[derive(Debug, Default)]
pub struct Hub(Mutex<HashMap<MachineId, Entry>>);

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<MachineId, Entry>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells whether a machine is here.
    pub fn is_here(&self, machine: MachineId) -> bool {
        self.lock().contains_key(&machine)
    }

    /// Says how a machine stands.
    pub fn presence(&self, machine: &Machine, now: Timestamp) -> Presence {
        if self.is_here(machine.id) {
            return Presence::Online;
        }
        match machine.last_seen_at {
            Some(at) if now.since(at) < ONLINE_FOR * 2 => Presence::Stale,
            _ => Presence::Offline,
        }
    }

    /// Sends something to a machine.
    ///
    /// # Errors
    /// [`Code::TargetOffline`] when it is not here or does not keep up.
    pub fn send(&self, machine: MachineId, message: ToAgent) -> Result<(), Code> {
        let map = self.lock();
        let entry = map.get(&machine).ok_or(Code::TargetOffline)?;
        let message = pb::ToAgent { message: Some(message) };
        entry.to_agent.try_send(message).map_err(|_| Code::TargetOffline)
    }

    /// Ends a machine's control connection.
    pub fn drop_machine(&self, machine: MachineId) {
        self.lock().remove(&machine);
    }

    /// Enters a machine, unless another instance with its key is here: the one that is here stays (AGT-04).
    fn enter(&self, machine: MachineId, entry: Entry) -> Result<(), Code> {
        let mut map = self.lock();
        if let Some(here) = map.get(&machine)
            && here.instance != entry.instance
            && !here.to_agent.is_closed()
        {
            return Err(Code::AgentDuplicate);
        }
        map.insert(machine, entry);
        Ok(())
    }

    fn leave(&self, machine: MachineId, connection: Uuid) {
        let mut map = self.lock();
        if map.get(&machine).is_some_and(|e| e.connection == connection) {
            map.remove(&machine);
        }
    }
}

impl Gateway {
    /// Serves a machine's control connection until it ends.
    pub async fn serve_control<S: Socket>(&self, mut link: Connection<S>, machine: Machine) {
        let hello = match tokio::time::timeout(HELLO_WITHIN, next_message(&mut link)).await {
            Ok(Ok(FromAgent::Hello(hello))) => hello,
            Ok(_) | Err(_) => return link.close(Code::FrameInvalid.close_code()).await,
        };
        let instance = Uuid::from_slice(&hello.instance).unwrap_or_default();
        let (to_agent, requests) = mpsc::channel(QUEUE);
        let connection = self.ids.uuid();
        if let Err(code) = self.hub.enter(machine.id, Entry { connection, instance, to_agent }) {
            self.note_duplicate(&machine).await;
            return link.close(code.close_code()).await;
        }
        info!(machine.label = %machine.label, "a machine came");
        self.bus.tell(Change::Machines);
        let ended = self.converse(&mut link, &machine, &hello, requests).await;
        self.hub.leave(machine.id, connection);
        self.touch(&machine, None).await;
        self.bus.tell(Change::Machines);
        match ended {
            Ok(()) => link.close(Code::GatewayRestarting.close_code()).await,
            Err(error) => {
                info!(machine.label = %machine.label, %error, "a machine's connection ended")
            }
        }
    }

    async fn converse<S: Socket>(
        &self,
        link: &mut Connection<S>,
        machine: &Machine,
        hello: &pb::Hello,
        mut requests: mpsc::Receiver<pb::ToAgent>,
    ) -> Result<(), LinkError> {
        let instance = Uuid::from_slice(&hello.instance).ok();
        self.greet(machine, hello, instance).await;
        let welcome = self.welcome(machine, hello).await;
        link.send_control(&pb::ToAgent { message: Some(ToAgent::Welcome(welcome)) })?;
        let mut touched = self.clock.now();
        loop {
            tokio::select! {
                biased;
                () = self.tasks.ending() => return Ok(()),
                request = requests.recv() => match request {
                    Some(request) => link.send_control(&request)?,
                    None => return Ok(()),
                },
                message = next_message(link) => {
                    let answer = self.on_agent(machine, message?).await;
                    if let Some(answer) = answer {
                        link.send_control(&pb::ToAgent { message: Some(answer) })?;
                    }
                    if self.clock.now().since(touched) > ONLINE_FOR {
                        touched = self.clock.now();
                        self.touch(machine, None).await;
                    }
                }
            }
        }
    }

    async fn on_agent(&self, machine: &Machine, message: FromAgent) -> Option<ToAgent> {
        match message {
            FromAgent::Heartbeat(_) => {
                Some(ToAgent::Heartbeat(pb::Heartbeat { now_ms: self.clock.now().wire() }))
            }
            FromAgent::OpenRefused(refused) => {
                if let Some(session) = SessionId::from_bytes(&refused.session_id) {
                    warn!(session.id = %session, machine.label = %machine.label, code = %refused.code, "a machine refused a session");
                    let code = refused.code.parse().unwrap_or(Code::TargetFailed);
                    self.sessions.refused(session, machine.id, code);
                }
                None
            }
            FromAgent::SessionEnded(ended) => {
                let session = SessionId::from_bytes(&ended.session_id)?;
                let reason = crate::session::relay::end_reason(&ended.exited.unwrap_or_default());
                self.sessions.ended_by_machine(session, machine.id, reason);
                None
            }
            FromAgent::Hello(_) => None,
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

    async fn touch(&self, machine: &Machine, facts: Option<MachineFacts>) {
        let tenant = self.store.tenant(machine.tenant);
        if let Err(error) = tenant.touch_machine(machine.id, self.clock.now(), None, facts).await {
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
                }),
                Err(refusal) => {
                    self.sessions.end(session, adit_domain::EndReason::Because(refusal.code()))
                }
            }
        }
        let ended = standing.ended.iter().map(|s| s.as_bytes().to_vec().into()).collect();
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
