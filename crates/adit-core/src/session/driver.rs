//! Moves a session's bytes: the task that owns its relay, its machine's link and its deadlines.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_domain::session::{Event as LifeEvent, Life, State};
use adit_domain::{Capability, Code, EndReason};
use adit_link::connection::{Connection, Event, LinkError};
use adit_session::TokenBucket;
use adit_store::{Session, SessionBytes};
use adit_wire::agent::v1 as pb;
use adit_wire::frame::{Frame, Kind};
use adit_wire::recording::End;
use futures_util::FutureExt as _;
use metrics::{counter, gauge};
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::outbox::Outbox;
use super::recheck::Verdict;
use super::registry::{COMMANDS, Command, Entry, Tally, Watcher};
use super::relay::{Happened, LinkFault, Plan, Relay, ToMachine};
use super::tape::Tape;
use super::viewer::{Arrival, ControlHandle, FromViewer, Seat, ViewerId};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::{BoxSocket, Gateway, failpoint};

/// How many messages of its viewers may wait for a session's task; a socket that sends more is read later.
const FROM_VIEWERS: usize = 64;

/// How long a shell that was told to end may take before the session ends without its last output.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How many frames of a machine a session takes before others have their turn: a flood must not hold up a key of another session.
const FRAMES: u32 = 4;

/// How often a session that waits for its recorder looks whether that has stalled.
const LOOK_AT_STALL: Duration = Duration::from_secs(1);

/// How long before its end a session is warned.
const WARNING: Duration = Duration::from_secs(60);

/// How long a machine whose connections were closed, not just silent, has to come back before its agent counts as dead.
const AGENT_RETURN: Duration = Duration::from_secs(30);

/// Bad frames within [`BAD_WINDOW`] that end a session.
const BAD_FRAMES: usize = 3;

/// See [`BAD_FRAMES`].
const BAD_WINDOW: Duration = Duration::from_secs(60);

/// How a session's task begins.
#[derive(Debug)]
pub struct Start {
    /// Its row.
    pub session: Session,
    /// Where its recording goes.
    pub tape: Option<Tape>,
    /// Where its output goes on.
    pub position: u64,
    /// Where it is in its life.
    pub state: State,
}

struct Driver {
    gateway: Arc<Gateway>,
    session: Session,
    relay: Relay,
    life: Life,
    link: Option<Box<Connection<BoxSocket>>>,
    greeted: bool,
    commands: mpsc::Receiver<Command>,
    from_viewers: mpsc::Receiver<(ViewerId, FromViewer)>,
    to_me: mpsc::Sender<(ViewerId, FromViewer)>,
    tally: Arc<Tally>,
    due: Due,
    bad_frames: Vec<Instant>,
    ending: Option<EndReason>,
    over: Option<EndReason>,
    /// Whether the machine said that the shell is over, and all of its output is here.
    drained: bool,
    frames: u32,
}

/// When something has to happen. All of it is far from the path of a key.
#[derive(Debug)]
struct Due {
    /// A newer warrant.
    refresh: Instant,
    /// The session's longest length.
    length: Instant,
    /// The word that it ends soon.
    warning: Option<Instant>,
    /// The machine's link must be back.
    link: Option<(Instant, Code)>,
    /// Somebody who may type must be back. It begins when the last one goes without having detached, whoever else watches.
    viewer: Option<Instant>,
    /// Somebody must have typed.
    idle: Option<Instant>,
    /// The word that nobody has.
    idle_warning: Option<Instant>,
    /// A shell that was told to end must have.
    last_output: Option<Instant>,
}

impl Due {
    fn next(&self) -> Instant {
        let link = self.link.map(|(at, _)| at);
        [self.warning, link, self.viewer, self.idle, self.idle_warning, self.last_output]
            .into_iter()
            .flatten()
            .chain([self.refresh, self.length])
            .min()
            .expect("two of them are always there")
    }
}

impl Gateway {
    /// Starts the task of a session.
    pub(crate) fn start_driver(self: &Gateway, start: Start) {
        let Some(gateway) = self.me.upgrade() else { return };
        let (commands_tx, commands) = mpsc::channel(COMMANDS);
        let tally = Arc::new(Tally::default());
        let id = start.session.id;
        let entry = Entry {
            machine: start.session.machine,
            tenant: start.session.tenant,
            commands: commands_tx,
            tally: Arc::clone(&tally),
        };
        self.sessions.enter(id, entry);
        gauge!("adit_sessions_live").increment(1.0);
        let session = start.session.clone();
        let driver = Driver::new(Arc::clone(&gateway), start, commands, tally);
        self.tasks.spawn(adit_link::lanes::changing(async move {
            let panicked = AssertUnwindSafe(driver.run()).catch_unwind().await.is_err();
            gateway.sessions.leave(id);
            gauge!("adit_sessions_live").decrement(1.0);
            if panicked {
                gateway.bury(&session).await;
            }
        }));
    }
}

impl Driver {
    fn new(
        gateway: Arc<Gateway>,
        start: Start,
        commands: mpsc::Receiver<Command>,
        tally: Arc<Tally>,
    ) -> Self {
        let now = Instant::now();
        let wall = gateway.clock.now();
        let settings = &gateway.settings;
        let capacity = settings.rate_tokens.saturating_add(settings.rate_burst);
        let bucket = TokenBucket::new(capacity, settings.rate_tokens, now);
        let ends_at = start.session.ends_at.unwrap_or(wall + settings.max_length);
        let length = ends_at.since(wall);
        let away = start.state == State::Away;
        let is_job = start.session.job.is_some();
        let idle = settings.idle.filter(|_| !is_job);
        let due = Due {
            refresh: now + settings.token_life.saturating_sub(settings.refresh_before),
            length: now + length,
            warning: Some(now + length - warning_before(length)),
            link: Some((
                now + settings.grace,
                if away { Code::SessionLostAgent } else { Code::TargetFailed },
            )),
            // A job goes on whoever watches.
            viewer: (!is_job).then(|| now + settings.grace),
            idle: idle.map(|idle| now + idle),
            idle_warning: idle.map(|idle| now + idle - warning_before(idle)),
            last_output: None,
        };
        let started_at = start.session.started_at.unwrap_or(wall);
        let relay =
            Relay::new(Plan { started_at, tape: start.tape, bucket, position: start.position });
        let (to_me, from_viewers) = mpsc::channel(FROM_VIEWERS);
        Self {
            life: Life::Going(start.state),
            session: start.session,
            relay,
            link: None,
            greeted: false,
            commands,
            from_viewers,
            to_me,
            tally,
            due,
            bad_frames: Vec::new(),
            ending: None,
            over: None,
            drained: false,
            frames: 0,
            gateway,
        }
    }

    async fn run(mut self) {
        while self.over.is_none() {
            self.send_to_machine();
            self.look_at_happened();
            if self.over.is_some() {
                break;
            }
            if self.turn().await.is_break() {
                return;
            }
        }
        self.finish().await;
    }

    /// Waits for one thing and takes it. Breaks when the gateway goes down: then the session goes on without it.
    async fn turn(&mut self) -> std::ops::ControlFlow<()> {
        let may_read = self.relay.may_read();
        let has_room = self.link.as_ref().is_none_or(|link| link.has_room());
        let watch_tape = self.relay.is_ahead_of_tape();
        let due = self.due.next();
        let stall =
            self.relay.tape().is_some_and(Tape::is_full).then(|| Instant::now() + LOOK_AT_STALL);
        let due = tokio::time::Instant::from_std(stall.map_or(due, |stall| stall.min(due)));
        tokio::select! {
            biased;
            () = self.gateway.tasks.ending() => return self.leave_for_restart().await,
            Some(command) = self.commands.recv() => self.on_command(command),
            Some((viewer, what)) = self.from_viewers.recv(), if has_room => self.on_viewer(viewer, what),
            event = read(self.link.as_mut(), may_read) => {
                self.on_link(event);
                self.frames = self.frames.wrapping_add(1);
                if self.frames.is_multiple_of(FRAMES) {
                    tokio::task::yield_now().await;
                }
            }
            () = moved(self.relay.tape()), if watch_tape => self.relay.ack_output(),
            () = tokio::time::sleep_until(due) => self.on_due(Instant::now()),
        }
        std::ops::ControlFlow::Continue(())
    }

    async fn leave_for_restart(&mut self) -> std::ops::ControlFlow<()> {
        let reason = EndReason::Because(Code::GatewayRestarting);
        let ids: Vec<ViewerId> = self.relay.viewers().map(|(id, _)| id).collect();
        for id in ids {
            self.relay.close_for_restart(id, &reason);
        }
        if let Some(link) = self.link.take() {
            link.close(Code::GatewayRestarting.close_code()).await;
        }
        let bytes = SessionBytes { input: self.relay.bytes_in, output: self.relay.position() };
        let (gateway, session) = (Arc::clone(&self.gateway), self.session.clone());
        gateway.note_counters(&session, bytes).await;
        std::ops::ControlFlow::Break(())
    }

    /// Tells whether somebody is here for whom the session goes on: who may type, or where nobody may, who watches.
    fn is_attended(&self) -> bool {
        if self.session.job.is_some() {
            return true;
        }
        let typed_into = self.session.capabilities.has(Capability::TerminalInput);
        self.relay.is_attended() || (!typed_into && self.relay.viewers().next().is_some())
    }

    fn on_viewer(&mut self, viewer: ViewerId, what: FromViewer) {
        let now = Instant::now();
        let (attended, detaches) = (self.is_attended(), matches!(what, FromViewer::Detach));
        if let FromViewer::Input { bytes, .. } = &what {
            failpoint::pass("relay", bytes);
        }
        let refused = self.relay.refused;
        self.relay.on_viewer(viewer, what, self.gateway.clock.now(), now);
        if self.relay.refused != refused {
            self.note_rate_limit();
        }
        if attended && !self.is_attended() {
            self.due.viewer = (!detaches).then(|| now + self.gateway.settings.grace);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Link(link) => self.on_new_link(link),
            Command::Join(arrival, writer, reply) => {
                let (id, key) = (self.session.id, &self.gateway.writer_key);
                let known = key.check(id, arrival.principal, &writer);
                let mint = || key.mint(id, arrival.principal, &*self.gateway.ids);
                let writer = known.unwrap_or_else(mint);
                let capabilities = arrival.capabilities;
                let (outbox, inbox) = Outbox::new();
                let (viewer, input) = self.relay.join(arrival, writer, outbox.clone());
                let control = ControlHandle { viewer, relay: self.to_me.clone() };
                self.relay.greet(viewer);
                let seat = Seat::new(control, inbox, capabilities);
                if reply.send((seat, writer.0, input)).is_err() {
                    self.relay.leave(viewer);
                }
                if self.is_attended() {
                    self.due.viewer = None;
                }
            }
            Command::Screen(reply) => self.relay.ask_screen(reply),
            Command::End(reason) => self.end(reason),
            Command::Gone(reason) => {
                // With a link, its own word of the end comes after the last output.
                if self.link.is_none()
                    || matches!(reason, EndReason::Because(Code::SessionLostAgent))
                {
                    self.over.get_or_insert(self.ending.clone().unwrap_or(reason));
                }
            }
            Command::Recheck => self.recheck(),
            Command::Rechecked(verdict) => self.on_verdict(&verdict),
            Command::Refreshed(Ok(warrant)) => {
                self.relay.refresh(warrant);
                let settings = &self.gateway.settings;
                self.due.refresh =
                    Instant::now() + settings.token_life.saturating_sub(settings.refresh_before);
            }
            Command::Refreshed(Err(code)) => self.end(EndReason::Because(code)),
        }
    }

    fn on_new_link(&mut self, link: Box<Connection<BoxSocket>>) {
        self.relay.on_unlinked();
        self.link = Some(link);
        self.greeted = false;
    }

    fn on_link(&mut self, event: Result<Event, LinkError>) {
        let result = match event {
            Ok(Event::Room) => Ok(()),
            Ok(Event::Frame(frame)) if self.greeted => {
                let at = self.gateway.clock.now();
                self.relay.on_frame(frame, at)
            }
            Ok(Event::Frame(frame)) => self.on_hello(frame),
            Err(error) => {
                if error.is_bad_frame() {
                    self.count_bad_frame(&error.to_string());
                }
                let closed = matches!(error, LinkError::Closed(_) | LinkError::Socket(_));
                return self.drop_link(closed);
            }
        };
        if let Err(fault) = result {
            self.count_bad_frame(&fault.to_string());
            self.drop_link(false);
        }
    }

    fn on_hello(&mut self, frame: Frame) -> Result<(), LinkFault> {
        let Frame::Control(bytes) = frame else { return Err(LinkFault::Form) };
        let message = pb::FromShell::decode(bytes).map_err(|_| LinkFault::Form)?;
        let Some(pb::from_shell::Message::Hello(hello)) = message.message else {
            return Err(LinkFault::Form);
        };
        self.greeted = true;
        self.due.link = None;
        self.relay.on_linked(&hello);
        self.life =
            std::mem::replace(&mut self.life, Life::Going(State::Live)).on(LifeEvent::Linked);
        self.mark(State::Live);
        if let Some(reason) = self.ending.clone() {
            self.relay.close(self.session.id.as_bytes(), reason.code());
        }
        Ok(())
    }

    fn drop_link(&mut self, closed: bool) {
        self.link = None;
        self.greeted = false;
        self.relay.on_unlinked();
        if let Some(reason) = self.ending.take() {
            self.over.get_or_insert(reason);
            return;
        }
        let grace = self.gateway.settings.grace;
        let due = if closed {
            (Instant::now() + grace.min(AGENT_RETURN), Code::SessionLostAgent)
        } else {
            (Instant::now() + grace, Code::SessionLostLink)
        };
        self.due.link = Some(due);
        self.life =
            std::mem::replace(&mut self.life, Life::Going(State::Away)).on(LifeEvent::Unlinked);
        self.mark(State::Away);
    }

    fn count_bad_frame(&mut self, why: &str) {
        warn!(session.id = %self.session.id, why, "a machine's link carried a bad frame; it is dropped");
        counter!("adit_link_bad_frames_total").increment(1);
        let now = Instant::now();
        self.bad_frames.retain(|at| now.duration_since(*at) < BAD_WINDOW);
        self.bad_frames.push(now);
        let event = self
            .gateway
            .event(
                "stream_gap",
                &Actor::gateway(&self.gateway),
                format!(
                    "The link of a session on {} carried a bad frame",
                    self.session.machine_label
                ),
            )
            .on(audit::party("session", self.session.id.0, self.session.machine_label.as_str()))
            .failed(Code::StreamGap);
        self.spawn_note(event);
        if self.bad_frames.len() >= BAD_FRAMES {
            self.over.get_or_insert(EndReason::Because(Code::SessionCorrupted));
        }
    }

    fn send_to_machine(&mut self) {
        let Some(link) = self.link.as_mut() else { return };
        while let Some(what) = self.relay.poll_machine() {
            let sent = match what {
                ToMachine::Control(message) => link.send_control(&message),
                ToMachine::Input { position, bytes } => {
                    link.send_data(Kind::Input, position, &bytes)
                }
            };
            if let Err(error) = sent {
                warn!(session.id = %self.session.id, %error, "a machine's link does not take more");
                return self.drop_link(false);
            }
        }
    }

    fn look_at_happened(&mut self) {
        while let Some(happened) = self.relay.poll_happened() {
            match happened {
                Happened::Exited(reason) => {
                    self.drained = true;
                    self.over.get_or_insert(self.ending.take().unwrap_or(reason));
                }
                Happened::EndAsked(viewer) => {
                    let own = self.relay.viewers().any(|(id, v)| {
                        id == viewer && v.arrival.principal == self.session.principal.id
                    });
                    let code = if own { Code::SessionClosed } else { Code::SessionKilled };
                    self.end(EndReason::Because(code));
                }
                Happened::Viewers => {
                    let list = self.relay.viewers().map(|(_, v)| Watcher {
                        name: v.arrival.name.to_string(),
                        can_type: v.can_type(),
                    });
                    self.tally.set_viewers(list.collect());
                    self.gateway.bus.tell(self.session.tenant, Change::Sessions);
                }
            }
        }
        self.tally.count(self.relay.bytes_in, self.relay.position());
        if self.relay.tape().is_some_and(Tape::must_end) {
            self.end(EndReason::Because(Code::SessionRecordingFailed));
        }
    }

    /// Begins to end: the shell is told, and what it still writes is kept. A right that was taken away closes the viewers at once.
    fn end(&mut self, reason: EndReason) {
        if self.ending.is_some() || self.over.is_some() {
            return;
        }
        let revoked = matches!(
            reason.code(),
            Code::AccessRevoked
                | Code::PrincipalInactive
                | Code::SessionKilled
                | Code::TargetInactive
        );
        if revoked {
            self.relay.dismiss_all(&reason);
        }
        if self.link.is_none() || !self.greeted {
            self.over = Some(reason);
            return;
        }
        self.relay.close(self.session.id.as_bytes(), reason.code());
        self.due.last_output = Some(Instant::now() + LAST_OUTPUT);
        self.ending = Some(reason);
    }

    fn on_due(&mut self, now: Instant) {
        if self.due.last_output.is_some_and(|at| at <= now) {
            self.over = self.ending.take().or(Some(EndReason::Because(Code::SessionFailed)));
            return;
        }
        if self.due.length <= now {
            return self.end(EndReason::Because(Code::SessionExpired));
        }
        if let Some((at, code)) = self.due.link
            && at <= now
        {
            self.over = Some(EndReason::Because(code));
            return;
        }
        if self.due.viewer.is_some_and(|at| at <= now) {
            return self.end(EndReason::Because(Code::SessionAbandoned));
        }
        if self.is_idle(now) {
            return self.end(EndReason::Because(Code::SessionIdle));
        }
        if self.due.warning.is_some_and(|at| at <= now) {
            self.due.warning = None;
            self.relay.notify(Code::SessionEnding);
        }
        if self.due.refresh <= now {
            self.refresh();
        }
    }

    /// Tells whether nobody typed for too long, warns of it before, and moves both on when somebody did.
    fn is_idle(&mut self, now: Instant) -> bool {
        let Some(idle) = self.gateway.settings.idle.filter(|_| self.session.job.is_none()) else {
            return false;
        };
        if let Some(ends) = self.relay.typed().map(|typed| typed + idle)
            && self.due.idle.is_some_and(|at| at < ends)
        {
            self.due.idle = Some(ends);
            self.due.idle_warning = Some(ends - warning_before(idle));
        }
        if self.due.idle_warning.is_some_and(|at| at <= now) {
            self.due.idle_warning = None;
            self.relay.notify(Code::SessionIdleSoon);
        }
        self.due.idle.is_some_and(|at| at <= now)
    }

    fn refresh(&mut self) {
        self.due.refresh = Instant::now() + self.gateway.settings.refresh_before;
        let (gateway, id) = (Arc::clone(&self.gateway), self.session.id);
        self.spawn_command(async move {
            Command::Refreshed(gateway.warrant_again(id).await.map_err(|refusal| refusal.code()))
        });
        self.recheck();
    }

    fn recheck(&self) {
        let list: Vec<(ViewerId, Arrival)> =
            self.relay.viewers().map(|(id, v)| (id, v.arrival.clone())).collect();
        let (gateway, session) = (Arc::clone(&self.gateway), self.session.clone());
        self.spawn_command(async move {
            Command::Rechecked(Box::new(gateway.look_again(&session, &list).await))
        });
    }

    fn on_verdict(&mut self, verdict: &Verdict) {
        if let Some(code) = verdict.owner {
            return self.end(EndReason::Because(code));
        }
        let attended = self.is_attended();
        for (viewer, code) in &verdict.viewers {
            self.relay.dismiss(*viewer, &EndReason::Because(*code));
            let event = self
                .gateway
                .event(
                    "session.dismiss",
                    &Actor::gateway(&self.gateway),
                    format!(
                        "A viewer of a session on {} lost the right to it",
                        self.session.machine_label
                    ),
                )
                .on(audit::party("session", self.session.id.0, self.session.machine_label.as_str()))
                .denied(*code);
            self.spawn_note(event);
        }
        if attended && !self.is_attended() {
            self.due.viewer = Some(Instant::now() + self.gateway.settings.grace);
        }
    }

    fn spawn_command(&self, work: impl Future<Output = Command> + Send + 'static) {
        let (gateway, id) = (Arc::clone(&self.gateway), self.session.id);
        self.gateway.tasks.spawn(async move {
            let command = work.await;
            gateway.sessions.answer(id, command).await;
        });
    }

    fn spawn_note(&self, event: audit::Draft) {
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tasks.spawn(async move { gateway.note(event).await });
    }

    fn note_rate_limit(&self) {
        counter!("adit_rate_limited_total").increment(1);
        // SES-32: each tenth refusal, and the first, so that a single one is seen too.
        if self.relay.refused != 1 && !self.relay.refused.is_multiple_of(10) {
            return;
        }
        let event = self
            .gateway
            .event(
                "RateLimitExceeded",
                &Actor::principal(&self.session.principal, None),
                format!(
                    "{} sent more messages than a session may",
                    self.session.principal.name.name()
                ),
            )
            .on(audit::party("session", self.session.id.0, self.session.machine_label.as_str()))
            .with("count", json!(self.relay.refused))
            .denied(Code::RateLimited);
        self.spawn_note(event);
    }

    fn mark(&self, state: State) {
        let (gateway, session) = (Arc::clone(&self.gateway), self.session.clone());
        self.gateway.tasks.spawn(async move {
            let tenant = gateway.store.tenant(session.tenant);
            if let Err(error) = tenant
                .mark_session(session.id, state, gateway.clock.now(), adit_store::silent)
                .await
            {
                warn!(session.id = %session.id, %error, "the state of a session could not be kept");
            }
            gateway.bus.tell(session.tenant, Change::Sessions);
        });
    }

    /// Writes down the end, then tells whoever is here. What the shell wrote is in the recording before anybody hears of the end.
    async fn finish(mut self) {
        let reason = self.over.clone().unwrap_or(EndReason::Because(Code::SessionFailed));
        info!(session.id = %self.session.id, code = %reason.code(), "a session ended");
        self.finish_recording(&reason).await;
        let bytes = SessionBytes { input: self.relay.bytes_in, output: self.relay.position() };
        let report = self.relay.report.clone();
        self.gateway.end_row_with(&self.session, &reason, bytes, &report).await;
        self.relay.finish(&reason);
        self.relay.ack_all();
        self.send_to_machine();
        match self.link.take() {
            Some(link) => link.close(1000).await,
            None => self.gateway.tell_machine_closed(&self.session, &reason),
        }
    }

    async fn finish_recording(&mut self, reason: &EndReason) {
        let Some(tape) = self.relay.take_tape() else { return };
        let now = self.gateway.clock.now();
        let length = now.since(self.session.started_at.unwrap_or(now));
        let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let end = End {
            reason: reason.code().as_str().to_owned(),
            exit_status: reason.exit_status(),
            signal: reason.signal().map(str::to_owned),
            length_ms,
        };
        let mut finished = tape.end(length_ms, end).await;
        if let Some(finished) = &mut finished {
            // What the machine still had is not in it.
            finished.complete &= self.drained;
        }
        self.gateway.keep_recording(&self.session, finished, length_ms, now).await;
    }
}

/// How long before a limit of a session its viewers are told: a minute, or half of a shorter limit.
fn warning_before(limit: Duration) -> Duration {
    WARNING.min(limit / 2)
}

/// Reads the machine's link; while nothing may be read it only writes. Never resolves without a link.
async fn read(
    link: Option<&mut Box<Connection<BoxSocket>>>,
    may_read: bool,
) -> Result<Event, LinkError> {
    match link {
        None => std::future::pending().await,
        Some(link) if may_read => link.next().await,
        // Room that was made must be seen: what viewers send waits for it.
        Some(link) if !link.has_room() => link.flush().await.map(|()| Event::Room),
        Some(link) => Err(link.hold().await),
    }
}

async fn moved(tape: Option<&Tape>) {
    match tape {
        Some(tape) => tape.moved().await,
        None => std::future::pending().await,
    }
}
