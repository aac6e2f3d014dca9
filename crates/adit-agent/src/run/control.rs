//! The control connection: who we are, what to open, what to close.

use super::Tunnel;
use super::{Agent, host};
use crate::attended::Happened;
use crate::identity::IdentityError;
use crate::registry::{COMMANDS, Entry, Outcome};
use crate::run::serve::{Task, refusal_of};
use crate::session::exited_message;
use crate::warrants::Warrants;
use adit_domain::{Capability, Code, Secret, SessionId, StreamId, Timestamp};
use adit_link::connection::{Event, LinkError};
use adit_link::dial::AgentConnection;
use adit_wire::agent::v1::{
    FromAgent, Heartbeat, Hello, Kept, NewKey, Open, OpenRefused, RenewAsked, RenewCertificate,
    Renewed, SessionEnded, Spawn, TicketStream, ToAgent, Welcome, from_agent::Message as Up,
    to_agent::Message as Down,
};
use adit_wire::frame::Frame;
use adit_wire::warrant::Checked;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};

/// Why a control connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the gateway sent what is no message")]
    Damaged,
    #[error("the support is over")]
    Over,
}

/// What comes after a message was obeyed.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    /// A new key or certificate is here: a connection that it admits takes this one's place.
    ChangeOver,
}

impl Agent {
    /// Serves the connection until it is lost.
    pub(super) async fn serve_control(&mut self, mut connection: AgentConnection) -> Lost {
        match self.serve_connection(&mut connection).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn serve_connection(
        &mut self,
        connection: &mut AgentConnection,
    ) -> Result<std::convert::Infallible, Lost> {
        send(connection, Up::Hello(self.hello()))?;
        let mut heartbeat = every(HEARTBEAT);
        loop {
            tokio::select! {
                biased;
                event = connection.next() => {
                    if let Event::Frame(frame) = event?
                        && self.obey(connection, frame, &mut heartbeat)? == Then::ChangeOver
                    {
                        self.change_over(connection, &mut heartbeat).await?;
                    }
                }
                Some(outcome) = self.outcomes.recv() => {
                    if let Some(message) = self.note(outcome) {
                        send(connection, message)?;
                    }
                    self.tell_ends(connection)?;
                    if self.is_over {
                        connection.flush().await?;
                        return Err(Lost::Over);
                    }
                }
                Some(ended) = self.tasks.join_next() => super::note_panic(ended),
                _ = heartbeat.tick() => send(connection, Up::Heartbeat(self.heartbeat()))?,
            }
        }
    }

    /// Dials with the new key or certificate, and obeys what still comes over the old connection until the gateway ends it.
    async fn change_over(
        &mut self,
        connection: &mut AgentConnection,
        heartbeat: &mut Interval,
    ) -> Result<(), Lost> {
        connection.flush().await?;
        let shared = Arc::clone(&self.shared);
        let mut fresh = match shared.dial_control().await {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(%error, "the new key or certificate is not taken yet");
                return Ok(());
            }
        };
        send(&mut fresh, Up::Hello(self.hello()))?;
        fresh.flush().await?;
        let mut old = std::mem::replace(connection, fresh);
        let rest = async {
            while let Ok(event) = old.next().await {
                if let Event::Frame(frame) = event
                    && self.obey(&mut old, frame, heartbeat).is_err()
                {
                    return;
                }
            }
        };
        // A gateway that does not end it has the new one all the same.
        let _ = timeout(CHANGE_LIMIT, rest).await;
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello {
            sessions: self.registry.ids().map(|id| id.as_bytes().to_vec().into()).collect(),
            instance: self.shared.instance.clone(),
            now_ms: self.shared.checker.clock_now().wire(),
            renews: self.shared.identity.can_change(),
            ..host::describe()
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { now_ms: self.shared.checker.clock_now().wire() }
    }

    /// Passes a stream between machines on to whoever offers here; it says no by itself to what is not offered.
    fn pass_on(&self, stream: TicketStream) {
        let ids =
            (SessionId::from_bytes(&stream.session_id), StreamId::from_bytes(&stream.stream_id));
        let (Some(tunnels), (Some(session), Some(stream_id))) = (&self.shared.tunnels, ids) else {
            return;
        };
        let TicketStream { capability, target, dial, .. } = stream;
        let gateway = (!dial.is_empty()).then_some(dial);
        let tunnel = Tunnel { session, stream: stream_id, capability, target, gateway };
        if tunnels.try_send(tunnel).is_err() {
            tracing::warn!("more streams are opened at once than this machine takes");
        }
    }

    fn obey(
        &mut self,
        connection: &mut AgentConnection,
        frame: Frame,
        heartbeat: &mut Interval,
    ) -> Result<Then, Lost> {
        let Frame::Control(message) = frame else { return Err(Lost::Damaged) };
        let message = ToAgent::decode(message).map_err(|_| Lost::Damaged)?;
        match message.message.ok_or(Lost::Damaged)? {
            Down::Welcome(welcome) => {
                if welcome.heartbeat_ms > 0 {
                    *heartbeat = every(
                        Duration::from_millis(welcome.heartbeat_ms.into()).max(HEARTBEAT_LEAST),
                    );
                }
                self.take_welcome(welcome);
                self.tell_ends(connection)?;
            }
            Down::Heartbeat(beat) => {
                self.shared.checker.note_time(Timestamp::from_wire(beat.now_ms));
            }
            Down::Open(open) => {
                if let Some(refused) = self.open(open) {
                    send(connection, Up::OpenRefused(refused))?;
                }
            }
            Down::Close(close) => {
                if let Some(id) = SessionId::from_bytes(&close.session_id) {
                    self.registry.close(id, close.code.parse().unwrap_or(Code::SessionKilled));
                }
            }
            Down::TicketStream(stream) => self.pass_on(stream),
            Down::RenewAsked(RenewAsked {}) => self.ask_certificate(connection)?,
            Down::Renewed(Renewed { id, certificate }) => {
                let taken = self.shared.identity.take_certificate(certificate);
                return keep(connection, id, taken);
            }
            Down::NewKey(NewKey { id, key }) => {
                let taken = self.shared.identity.take_key(Secret::new(key));
                return keep(connection, id, taken);
            }
        }
        Ok(Then::GoOn)
    }

    fn ask_certificate(&self, connection: &mut AgentConnection) -> Result<(), Lost> {
        match self.shared.identity.request() {
            Ok(csr) => send(connection, Up::RenewCertificate(RenewCertificate { csr })),
            Err(error) => {
                tracing::error!(%error, "no certificate is asked for");
                Ok(())
            }
        }
    }

    fn take_welcome(&mut self, welcome: Welcome) {
        tracing::info!(machine.label = %welcome.label, gateway.id = %welcome.gateway_id, "connected to the gateway");
        self.shared.checker.note_time(Timestamp::from_wire(welcome.now_ms));
        for id in welcome.ended_sessions.iter().filter_map(|id| SessionId::from_bytes(id)) {
            self.registry.close(id, Code::SessionUnknown);
        }
        for open in welcome.resume {
            if let (Some(id), Some(warrant)) =
                (SessionId::from_bytes(&open.session_id), &open.warrant)
            {
                self.registry.resume(id, warrant);
            }
        }
    }

    /// Opens a session, or says why not.
    fn open(&mut self, open: Open) -> Option<OpenRefused> {
        let Open { session_id, warrant, spawn, dial } = open;
        let refuse = |code: Code, sentence: String| {
            tracing::warn!(%code, sentence, "a session was refused");
            Some(OpenRefused { session_id: session_id.clone(), code: code.to_string(), sentence })
        };
        let (Some(signed), Some(spawn)) = (warrant, spawn) else {
            return refuse(Code::WarrantInvalid, Code::WarrantInvalid.sentence().to_owned());
        };
        let checked = match self.shared.checker.check(&signed) {
            Ok(checked) if checked.session.as_bytes()[..] == session_id[..] => checked,
            Ok(_) => {
                return refuse(
                    Code::WarrantInvalid,
                    "The warrant is for another session.".to_owned(),
                );
            }
            Err(refusal) => {
                tracing::warn!(%refusal, "a warrant was refused");
                return refuse(Code::WarrantInvalid, Code::WarrantInvalid.sentence().to_owned());
            }
        };
        if self.registry.has(checked.session) {
            self.registry.resume(checked.session, &signed);
            return None;
        }
        if let Err(code) = covers(&checked, &spawn) {
            return refuse(code, code.sentence().to_owned());
        }
        let gateway = (!dial.is_empty()).then_some(dial);
        if let Some(gateway) = &gateway
            && let Err(error) = self.shared.identity.dialer().at(gateway)
        {
            return refuse(Code::TargetFailed, format!("The gateway cannot be dialled: {error}."));
        }
        let id = checked.session;
        let (commands, commands_of_task) = mpsc::channel(COMMANDS);
        let gateway_is_back = Arc::new(Notify::new());
        let warrants = Arc::new(Warrants::new(Arc::clone(&self.shared.checker), &checked, signed));
        let entry = Entry {
            commands,
            warrants: Arc::clone(&warrants),
            gateway_is_back: Arc::clone(&gateway_is_back),
        };
        if !self.registry.open(id, entry) {
            return refuse(
                Code::TooMany,
                "The machine has as many sessions as it takes.".to_owned(),
            );
        }
        let task = Task {
            shared: Arc::clone(&self.shared),
            checked,
            warrants,
            gateway,
            gateway_is_back,
            commands: commands_of_task,
            outcomes: self.outcomes_of_tasks.clone(),
        };
        self.tasks.spawn(adit_link::lanes::changing(task.run(spawn)));
        self.tell(Happened::Opened);
        None
    }

    /// Notes how a session's task went; says what the gateway should hear at once.
    pub(super) fn note(&mut self, outcome: Outcome) -> Option<Up> {
        match outcome {
            Outcome::Refused { id, code, sentence } => {
                self.registry.leave(id);
                self.finish(Some(code));
                Some(Up::OpenRefused(refusal_of(id, code, sentence)))
            }
            Outcome::Ended { id, ended } => {
                self.registry.leave(id);
                self.finish(ended.code);
                if !ended.delivered {
                    let position = ended.output_position;
                    let exited =
                        Some(exited_message(ended.exit, ended.code, position, ended.report));
                    if self.untold.len() >= UNTOLD {
                        self.untold.pop_front();
                    }
                    self.untold.push_back(SessionEnded {
                        session_id: id.as_bytes().to_vec().into(),
                        exited,
                    });
                }
                None
            }
        }
    }

    /// Ends support with its session: one consent is good for one.
    fn finish(&mut self, code: Option<Code>) {
        if self.shared.attended.is_some() {
            self.is_over = true;
            self.tell(Happened::Ended(code));
        }
    }

    fn tell_ends(&mut self, connection: &mut AgentConnection) -> Result<(), Lost> {
        while let Some(ended) = self.untold.pop_front() {
            send(connection, Up::SessionEnded(ended))?;
        }
        Ok(())
    }
}

/// A command that the caller names needs its own right; the login shell needs the one to open it. A job runs as it was signed, or not at all,
/// and a warrant for a job opens nothing else.
fn covers(checked: &Checked, spawn: &Spawn) -> Result<(), Code> {
    let needed = match &spawn.job {
        Some(job) if checked.warrant.job[..] == adit_wire::job::digest(job).0 => Capability::JobRun,
        Some(_) => return Err(Code::WarrantInvalid),
        None if !checked.warrant.job.is_empty() => return Err(Code::WarrantInvalid),
        None if spawn.command.is_empty() => Capability::TerminalSpawn,
        None => Capability::TerminalExec,
    };
    if checked.capabilities.has(needed) { Ok(()) } else { Err(Code::AccessCapabilityMissing) }
}

/// Tells the gateway that a new key or certificate is kept; one that cannot be kept changes nothing.
fn keep(
    connection: &mut AgentConnection,
    id: Bytes,
    taken: Result<(), IdentityError>,
) -> Result<Then, Lost> {
    match taken {
        Ok(()) => {
            tracing::info!("a new key or certificate is kept");
            send(connection, Up::Kept(Kept { id }))?;
            Ok(Then::ChangeOver)
        }
        Err(error) => {
            tracing::error!(%error, "a new key or certificate is not kept");
            Ok(Then::GoOn)
        }
    }
}

fn send(connection: &mut AgentConnection, message: Up) -> Result<(), Lost> {
    Ok(connection.send_control(&FromAgent { message: Some(message) })?)
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Until the gateway says otherwise.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Whatever the gateway says.
const HEARTBEAT_LEAST: Duration = Duration::from_millis(500);
/// Ends kept for a gateway that is away; the oldest is forgotten, and the gateway then only knows that the session is gone.
const UNTOLD: usize = 1024;
/// How long the gateway may take to end a connection whose place another took.
const CHANGE_LIMIT: Duration = Duration::from_secs(2);
