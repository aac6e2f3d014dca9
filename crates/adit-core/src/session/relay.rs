//! The middle of a session: bytes from the machine to the recorder and the viewers, input from the viewers to the machine.
//!
//! No I/O and no clock here: [`Relay`] takes frames, arrivals and times, and fills outboxes, the tape and a list of things to send to the
//! machine. `super::driver` moves the bytes.
//!
//! The path of a key: 1. `adit-http` `terminal.rs` reads a frame, 2. [`Relay::on_viewer`] admits it (position, rate, writer),
//! 3. the driver seals and writes it (`adit-link` `connection.rs`), 4. `adit-agent` `session.rs` opens it and writes the terminal.
//! Back: 5. the agent reads the terminal, 6. [`Relay::on_frame`] gives the chunk first to the tape, then to the viewers,
//! 7. `terminal.rs` writes the socket.
//!
//! Back-pressure: the *driver* of a session is the viewer that typed last (before anybody typed: the one who opened it). The machine's
//! link is read only while the driver has less than [`VIEWER_WINDOW`] unacknowledged, so a slow driver slows its own shell. Any
//! other viewer that falls that far behind is given a snapshot instead.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use adit_domain::{Capability, Code, EndReason, Timestamp};
use adit_link::resume::{Admit, InputRelay};
use adit_session::TokenBucket;
use adit_wire::agent::v1 as agent;
use adit_wire::frame::{Data, Frame, Kind};
use adit_wire::terminal::v1 as terminal;
use adit_wire::terminal::v1::from_gateway::Message as ToViewerMessage;
use agent::from_shell::Message as FromShellMessage;
use agent::to_shell::Message as ToShellMessage;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::oneshot;

use super::outbox::{Outbox, ToViewer};
use super::tape::Tape;
use super::viewer::{Arrival, FromViewer, Phase, Viewer, ViewerId, WriterId};

/// How much output a viewer may have unacknowledged, in bytes: enough for a fast link far away, small enough that Ctrl-C is felt.
pub const VIEWER_WINDOW: u64 = 1 << 20;

/// After how many newly durable bytes the machine is told; its ring of 8 MiB holds many times that.
const ACK_EVERY: u64 = 256 * 1024;

/// The smallest and largest window, in cells.
const SIZES: std::ops::RangeInclusive<u32> = 1..=1000;

/// What must be sent to the machine.
#[derive(Debug)]
pub enum ToMachine {
    /// A message.
    Control(agent::ToShell),
    /// Typed bytes.
    Input {
        /// The position of the first byte in its writer's input.
        position: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// What the driver must know about.
#[derive(Debug)]
pub enum Happened {
    /// The shell is over, and all of its output is here.
    Exited(EndReason),
    /// A viewer with the right to wants the session to end.
    EndAsked(ViewerId),
    /// Viewers came or went.
    Viewers,
}

/// A frame that a machine must not send; the link is dropped and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Output that skips or repeats.
    #[error("output came out of order")]
    Order,
    /// Bytes that are no message, or a kind that only travels the other way.
    #[error("a message cannot be read")]
    Form,
}

/// The screen's text, for pictures in lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// The output position at which it stood so.
    pub position: u64,
    /// Its width.
    pub cols: u32,
    /// Its height.
    pub rows: u32,
    /// One string a row.
    pub lines: Vec<String>,
}

/// What a session's relay needs to know from the start.
#[derive(Debug)]
pub struct Plan {
    /// When the session started: the recording's times count from here.
    pub started_at: Timestamp,
    /// Where its recording goes.
    pub tape: Option<Tape>,
    /// The limit of messages.
    pub bucket: TokenBucket,
    /// Where output goes on: what is durable, or zero.
    pub position: u64,
}

/// The relay of one session.
#[derive(Debug)]
pub struct Relay {
    started_at: Timestamp,
    tape: Option<Tape>,
    bucket: TokenBucket,
    position: u64,
    acked: u64,
    linked: bool,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: ViewerId,
    driver: Option<ViewerId>,
    writers: HashMap<WriterId, u64>,
    writing: Option<WriterId>,
    screens: HashMap<ViewerId, Option<oneshot::Sender<Screen>>>,
    to_machine: VecDeque<ToMachine>,
    happened: VecDeque<Happened>,
    /// Bytes of input that went to the machine, and of output that came.
    pub bytes_in: u64,
    /// Times a message was refused for its rate.
    pub refused: u64,
    /// What the machine says of a job that is over.
    pub report: Bytes,
    input_at: Timestamp,
    typed: Option<Instant>,
    wanted_size: Option<(u32, u32)>,
}

impl Relay {
    /// Makes the relay of a session.
    pub fn new(plan: Plan) -> Self {
        Self {
            started_at: plan.started_at,
            tape: plan.tape,
            bucket: plan.bucket,
            position: plan.position,
            acked: plan.position,
            linked: false,
            viewers: BTreeMap::new(),
            next_viewer: 1,
            driver: None,
            writers: HashMap::new(),
            writing: None,
            screens: HashMap::new(),
            to_machine: VecDeque::new(),
            happened: VecDeque::new(),
            bytes_in: 0,
            refused: 0,
            report: Bytes::new(),
            input_at: plan.started_at,
            typed: None,
            wanted_size: None,
        }
    }

    /// Gives the next thing to send to the machine.
    pub fn poll_machine(&mut self) -> Option<ToMachine> {
        self.to_machine.pop_front()
    }

    /// Gives the next thing that the driver must know.
    pub fn poll_happened(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// Tells whether the machine's link may be read: the driving viewer and a strict recording keep up.
    pub fn may_read(&self) -> bool {
        let slow = |v: &Viewer| v.phase == Phase::Streaming && v.unacked() >= VIEWER_WINDOW;
        let held = self.driver.and_then(|id| self.viewers.get(&id)).is_some_and(slow);
        !held && !self.tape.as_ref().is_some_and(Tape::is_full)
    }

    /// Gives the tape.
    pub fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    /// Gives the tape away, to be ended.
    pub fn take_tape(&mut self) -> Option<Tape> {
        self.tape.take()
    }

    /// Gives the position of the next byte of output.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Tells when somebody last typed; none before that.
    pub fn typed(&self) -> Option<Instant> {
        self.typed
    }

    /// Lists who is here.
    pub(super) fn viewers(&self) -> impl Iterator<Item = (ViewerId, &Viewer)> {
        self.viewers.iter().map(|(id, viewer)| (*id, viewer))
    }

    /// Tells whether anybody is here who may type.
    pub fn is_attended(&self) -> bool {
        self.viewers.values().any(Viewer::can_type)
    }

    /// Gives a new viewer its place.
    pub(super) fn join(
        &mut self,
        arrival: Arrival,
        writer: WriterId,
        outbox: Outbox,
    ) -> (ViewerId, u64) {
        let id = self.next_viewer;
        self.next_viewer += 1;
        let input = self.writers.get(&writer).copied().unwrap_or(arrival.input_position);
        let phase = if arrival.opens { Phase::Streaming } else { Phase::Joining };
        let from = arrival.from;
        let viewer = Viewer {
            writer,
            outbox,
            input: InputRelay::new(input),
            phase,
            sent: from.unwrap_or(0),
            acked: from.unwrap_or(0),
            arrival,
        };
        if self.driver.is_none() && viewer.can_type() {
            self.driver = Some(id);
        }
        let size = viewer.arrival.size.filter(|_| !viewer.arrival.opens);
        let may_resize = viewer.arrival.capabilities.has(Capability::TerminalResize);
        self.viewers.insert(id, viewer);
        if phase == Phase::Joining {
            if let Some((cols, rows)) = size.filter(|_| may_resize) {
                self.resize(cols, rows);
            }
            self.attach(id, from);
        }
        self.announce();
        (id, input)
    }

    /// Takes one thing from a viewer.
    pub fn on_viewer(&mut self, id: ViewerId, what: FromViewer, at: Timestamp, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        match what {
            FromViewer::Input { position, bytes } => self.type_bytes(id, position, bytes, at, now),
            FromViewer::Eof { position } => self.eof(id, position),
            FromViewer::Ack { position } => {
                viewer.acked = viewer.acked.max(position.min(viewer.sent));
                let caught_up = viewer.phase == Phase::Lagging && viewer.unacked() == 0;
                if caught_up {
                    self.redraw(id);
                }
            }
            FromViewer::Resize { cols, rows } => {
                if viewer.arrival.capabilities.has(Capability::TerminalResize) {
                    self.resize(cols, rows);
                }
            }
            FromViewer::Signal { name } => {
                if viewer.can_type() {
                    self.tell_machine(ToShellMessage::Signal(agent::Signal { name }));
                }
            }
            FromViewer::End => {
                if viewer.can_type() {
                    self.happened.push_back(Happened::EndAsked(id));
                }
            }
            FromViewer::Detach | FromViewer::Gone => self.leave(id),
        }
    }

    /// Lets a viewer go.
    pub fn leave(&mut self, id: ViewerId) {
        if self.viewers.remove(&id).is_none() {
            return;
        }
        if self.driver == Some(id) {
            self.driver = self.viewers.iter().find(|(_, v)| v.can_type()).map(|(id, _)| *id);
        }
        self.announce();
    }

    /// Closes one viewer's connection with a reason; the session goes on.
    pub fn dismiss(&mut self, id: ViewerId, reason: &EndReason) {
        if let Some(viewer) = self.viewers.get(&id) {
            viewer.outbox.drop_data();
            viewer.outbox.put(ToViewer::Control(Box::new(ended(reason, self.position, 0))));
            viewer.outbox.put(ToViewer::Close(reason.clone()));
        }
        self.leave(id);
    }

    /// Closes every viewer's connection with a reason, at once.
    pub fn dismiss_all(&mut self, reason: &EndReason) {
        let ids: Vec<ViewerId> = self.viewers.keys().copied().collect();
        for id in ids {
            self.dismiss(id, reason);
        }
    }

    /// Closes one viewer's connection because the gateway goes down; it comes back by itself.
    pub fn close_for_restart(&mut self, id: ViewerId, reason: &EndReason) {
        if let Some(viewer) = self.viewers.get(&id) {
            viewer.outbox.put(ToViewer::Close(reason.clone()));
        }
        self.leave(id);
    }

    /// Tells a new viewer how the machine's link stands.
    pub fn greet(&self, id: ViewerId) {
        let kind = if self.linked {
            terminal::state::Kind::Live
        } else {
            terminal::state::Kind::Connecting
        };
        if let Some(viewer) = self.viewers.get(&id) {
            let state = terminal::State { kind: kind.into(), ..terminal::State::default() };
            viewer.outbox.put(ToViewer::Control(Box::new(ToViewerMessage::State(state))));
        }
    }

    /// Tells every viewer that the session is over, after all output.
    pub fn finish(&mut self, reason: &EndReason) {
        for viewer in self.viewers.values() {
            let input = self.writers.get(&viewer.writer).copied().unwrap_or(0);
            viewer.outbox.put(ToViewer::Control(Box::new(ended(reason, self.position, input))));
            viewer.outbox.put(ToViewer::Close(reason.clone()));
        }
        self.viewers.clear();
    }

    /// Tells every viewer something.
    pub fn notify(&self, code: Code) {
        self.tell_viewers(&ToViewerMessage::Notice(terminal::Notice {
            code: code.as_str().to_owned(),
            sentence: code.sentence().to_owned(),
        }));
    }

    /// Tells every viewer how the machine's link stands.
    pub fn tell_state(&self, kind: terminal::state::Kind, code: Option<Code>) {
        self.tell_viewers(&ToViewerMessage::State(terminal::State {
            kind: kind.into(),
            code: code.map(|c| c.as_str().to_owned()).unwrap_or_default(),
            sentence: code.map(|c| c.sentence().to_owned()).unwrap_or_default(),
        }));
    }

    /// Asks the machine for the screen; the answer goes to `reply`, or to nobody when the link breaks first.
    pub fn ask_screen(&mut self, reply: oneshot::Sender<Screen>) {
        if !self.linked {
            return;
        }
        let id = self.next_viewer;
        self.next_viewer += 1;
        self.screens.insert(id, Some(reply));
        self.attach(id, None);
    }

    /// Takes what the machine says first on a new link, and asks it to go on from where this relay stands.
    pub fn on_linked(&mut self, hello: &agent::ShellHello) {
        self.linked = true;
        self.writing = None;
        self.screens.clear();
        self.to_machine.clear();
        self.position =
            self.position.clamp(hello.output_start, hello.output_position.max(hello.output_start));
        self.tell_machine(ToShellMessage::Welcome(agent::ShellWelcome {
            output_position: self.position,
        }));
        for known in &hello.writers {
            if let Ok(id) = <[u8; 16]>::try_from(&known.writer[..]) {
                self.writers.insert(WriterId(id), known.position);
            }
        }
        let ids: Vec<ViewerId> = self.viewers.keys().copied().collect();
        for id in ids {
            self.relink(id);
        }
        if let Some((cols, rows)) = self.wanted_size.take() {
            self.resize(cols, rows);
        }
        self.tell_state(terminal::state::Kind::Live, None);
    }

    /// Notes that the machine's link broke.
    pub fn on_unlinked(&mut self) {
        if std::mem::take(&mut self.linked) {
            self.screens.clear();
            self.to_machine.clear();
            self.tell_state(terminal::state::Kind::Reconnecting, Some(Code::SessionLostLink));
        }
    }

    /// Sends a newer warrant.
    pub fn refresh(&mut self, warrant: agent::SignedWarrant) {
        self.tell_machine(ToShellMessage::Refresh(warrant));
    }

    /// Asks the machine to end the shell.
    pub fn close(&mut self, session: &[u8; 16], code: Code) {
        let session_id = session.to_vec().into();
        self.tell_machine(ToShellMessage::Close(agent::Close {
            session_id,
            code: code.as_str().to_owned(),
        }));
    }

    /// Tells the machine what it need not keep, if that is worth a message.
    pub fn ack_output(&mut self) {
        let durable = self.tape.as_ref().map_or(self.position, Tape::durable).min(self.position);
        if durable < self.acked + ACK_EVERY {
            return;
        }
        self.acked = durable;
        let driver = self.driver.and_then(|id| self.viewers.get(&id));
        let viewed = driver.map_or(durable, |v| v.acked);
        self.tell_machine(ToShellMessage::OutputAck(agent::OutputAck { durable, viewed }));
    }

    /// Tells the machine that all of its output is here and durable, or never will be: it may forget the session.
    pub fn ack_all(&mut self) {
        let position = self.position;
        self.tell_machine(ToShellMessage::OutputAck(agent::OutputAck {
            durable: position,
            viewed: position,
        }));
    }

    /// Tells whether output waits to become durable, so that the tape is worth watching.
    pub fn is_ahead_of_tape(&self) -> bool {
        self.tape.is_some() && self.position >= self.acked + ACK_EVERY
    }

    /// Takes one frame of the machine.
    ///
    /// # Errors
    /// [`LinkFault`] when the link must be dropped.
    pub fn on_frame(&mut self, frame: Frame, at: Timestamp) -> Result<(), LinkFault> {
        match frame {
            Frame::Data(data) => match data.kind {
                Kind::Output | Kind::Stderr => self.on_output(data, at),
                Kind::Backlog => self.on_backlog(data),
                Kind::Input => Err(LinkFault::Form),
            },
            Frame::Control(message) => {
                let message = agent::FromShell::decode(message).map_err(|_| LinkFault::Form)?;
                self.on_message(message.message.ok_or(LinkFault::Form)?, at)
            }
        }
    }

    fn on_output(&mut self, data: Data, at: Timestamp) -> Result<(), LinkFault> {
        if data.position != self.position {
            return Err(LinkFault::Order);
        }
        let at_ms = self.at_ms(at);
        if let Some(tape) = &self.tape {
            match data.kind {
                Kind::Stderr => tape.stderr(at_ms, data.position, data.bytes.clone()),
                _ => tape.output(at_ms, data.position, data.bytes.clone()),
            }
        }
        self.position += data.bytes.len() as u64;
        for (id, viewer) in &mut self.viewers {
            if viewer.phase != Phase::Streaming || viewer.sent >= self.position {
                continue;
            }
            if self.driver != Some(*id) && viewer.unacked() >= VIEWER_WINDOW {
                viewer.phase = Phase::Lagging;
                continue;
            }
            let (kind, position) = (data.kind, viewer.sent.max(data.position));
            let bytes = data.bytes.slice(here(position - data.position)..);
            viewer.sent = self.position;
            viewer.outbox.put(ToViewer::Data { kind, position, bytes });
        }
        self.ack_output();
        Ok(())
    }

    fn on_backlog(&mut self, data: Data) -> Result<(), LinkFault> {
        let (id, bytes) = data.bytes.split_at_checked(4).ok_or(LinkFault::Form)?;
        let id = u32::from_be_bytes(id.try_into().map_err(|_| LinkFault::Form)?);
        let Some((&stream, _)) = bytes.split_first() else { return Err(LinkFault::Form) };
        let bytes = data.bytes.slice(5..);
        let kind = if stream == Kind::Stderr as u8 { Kind::Stderr } else { Kind::Output };
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.sent = data.position + bytes.len() as u64;
            viewer.outbox.put(ToViewer::Data { kind, position: data.position, bytes });
        }
        Ok(())
    }

    fn on_message(&mut self, message: FromShellMessage, at: Timestamp) -> Result<(), LinkFault> {
        match message {
            FromShellMessage::InputAck(ack) => self.on_input_ack(&ack.writer, ack.position),
            FromShellMessage::InputRewind(rewind) => {
                self.rewind_writer(&rewind.writer, rewind.position);
            }
            FromShellMessage::Attached(attached) => self.on_attached(attached),
            FromShellMessage::AttachDone(done) => {
                if let Some(viewer) = self.viewers.get_mut(&done.viewer) {
                    viewer.phase = Phase::Streaming;
                    // A viewer may have more than the stream: the machine sends again what was not durable.
                    viewer.sent = viewer.sent.max(done.position);
                }
                self.screens.remove(&done.viewer);
            }
            FromShellMessage::Exited(exited) => {
                if exited.output_position != self.position {
                    return Err(LinkFault::Order);
                }
                self.report = exited.report.clone();
                self.happened.push_back(Happened::Exited(end_reason(&exited)));
            }
            FromShellMessage::Echo(echo) => {
                if let Some(tape) = &self.tape {
                    tape.echo(self.at_ms(at), echo.on);
                }
            }
            FromShellMessage::Resized(resized) => self.on_resized(&resized, at),
            FromShellMessage::Hello(_) => return Err(LinkFault::Form),
        }
        Ok(())
    }

    fn on_input_ack(&mut self, writer: &[u8], position: u64) {
        let Ok(id) = <[u8; 16]>::try_from(writer) else { return };
        self.writers.insert(WriterId(id), position);
        let message = ToViewerMessage::InputAck(terminal::InputAck { position });
        for viewer in self.viewers.values().filter(|v| v.writer.0 == id) {
            viewer.outbox.put(ToViewer::Control(Box::new(message.clone())));
        }
    }

    fn on_resized(&mut self, resized: &agent::Resized, at: Timestamp) {
        let (cols, rows) = (resized.cols, resized.rows);
        if let Some(tape) = &self.tape {
            let narrow = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
            tape.resize(self.at_ms(at), narrow(cols), narrow(rows));
        }
        self.tell_viewers(&ToViewerMessage::Resized(terminal::Resize { cols, rows }));
    }

    fn on_attached(&mut self, attached: agent::Attached) {
        if let Some(Some(reply)) = self.screens.get_mut(&attached.viewer).map(Option::take) {
            if let Some(snapshot) = attached.snapshot {
                // Whoever asked may have given up; then nobody wants the picture.
                let _ = reply.send(Screen {
                    position: snapshot.position,
                    cols: snapshot.cols,
                    rows: snapshot.rows,
                    lines: snapshot.lines,
                });
            }
            return;
        }
        let Some(viewer) = self.viewers.get_mut(&attached.viewer) else { return };
        viewer.sent = attached.position;
        viewer.acked = viewer.acked.clamp(0, attached.position);
        if let Some(snapshot) = attached.snapshot {
            viewer.acked = snapshot.position;
            viewer.outbox.drop_data();
            viewer.outbox.put(ToViewer::Control(Box::new(ToViewerMessage::Snapshot(
                terminal::Snapshot {
                    position: snapshot.position,
                    cols: snapshot.cols,
                    rows: snapshot.rows,
                    screen: snapshot.screen,
                },
            ))));
        }
    }

    fn type_bytes(
        &mut self,
        id: ViewerId,
        position: u64,
        bytes: Bytes,
        at: Timestamp,
        now: Instant,
    ) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        if !self.linked {
            viewer.input.refuse();
            return;
        }
        match viewer.input.admit(position, bytes.len()) {
            Admit::Ignore => return,
            Admit::Rewind { position } => {
                rewind(viewer, position, 0, Code::StreamGap);
                return;
            }
            Admit::Forward => {}
        }
        if let Err(wait) = self.bucket.take(now) {
            let position = viewer.input.refuse();
            self.refused += 1;
            let ms = u32::try_from(wait.0.as_millis()).unwrap_or(u32::MAX).max(1);
            rewind(viewer, position, ms, Code::RateLimited);
            return;
        }
        let (writer, name) = (viewer.writer, Arc::clone(&viewer.arrival.name));
        if self.driver != Some(id) {
            self.driver = Some(id);
            self.announce();
        }
        self.set_writer(writer, position);
        self.bytes_in += bytes.len() as u64;
        self.input_at = at;
        self.typed = Some(now);
        if let Some(tape) = &self.tape {
            tape.input(self.at_ms(at), &name, bytes.clone());
        }
        self.to_machine.push_back(ToMachine::Input { position, bytes });
    }

    fn eof(&mut self, id: ViewerId, position: u64) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        if !self.linked || !viewer.can_type() {
            return;
        }
        if !matches!(viewer.input.admit(position, 0), Admit::Forward) {
            return;
        }
        let writer = viewer.writer;
        self.set_writer(writer, position);
        let writer = writer.0.to_vec().into();
        self.tell_machine(ToShellMessage::InputEof(agent::InputEof { writer, position }));
    }

    fn set_writer(&mut self, writer: WriterId, position: u64) {
        if self.writing != Some(writer) {
            self.writing = Some(writer);
            let position = self.writers.get(&writer).copied().unwrap_or(position);
            let writer = writer.0.to_vec().into();
            self.tell_machine(ToShellMessage::Writer(agent::SetWriter { writer, position }));
        }
    }

    fn rewind_writer(&mut self, writer: &[u8], position: u64) {
        for viewer in self.viewers.values_mut().filter(|v| v.writer.0[..] == *writer) {
            viewer.input.rewind(position);
            rewind(viewer, position, 0, Code::StreamGap);
        }
    }

    /// Makes a viewer whole after the link came back: its input goes on where the machine has it, its output where it stood.
    fn relink(&mut self, id: ViewerId) {
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        if viewer.can_type() {
            let base = viewer.arrival.input_position;
            let position = self.writers.get(&viewer.writer).copied().unwrap_or(base);
            viewer.input.rewind(position);
            rewind(viewer, position, 0, Code::Reconnected);
        }
        let fresh = viewer.arrival.opens && viewer.sent == 0;
        if viewer.phase == Phase::Streaming && (viewer.sent == self.position || fresh) {
            return;
        }
        let knows = viewer.phase == Phase::Streaming || viewer.arrival.from.is_some();
        let from = knows.then_some(viewer.sent);
        viewer.phase = Phase::Joining;
        self.attach(id, from);
    }

    fn redraw(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.phase = Phase::Joining;
            viewer.arrival.from = None;
            viewer.outbox.put(ToViewer::Control(Box::new(ToViewerMessage::Notice(
                terminal::Notice {
                    code: Code::ViewerLagged.as_str().to_owned(),
                    sentence: Code::ViewerLagged.sentence().to_owned(),
                },
            ))));
            self.attach(id, None);
        }
    }

    fn attach(&mut self, viewer: ViewerId, from: Option<u64>) {
        self.tell_machine(ToShellMessage::Attach(agent::Attach { viewer, from }));
    }

    fn resize(&mut self, cols: u32, rows: u32) {
        let (cols, rows) = (clamp(cols), clamp(rows));
        if !self.linked {
            self.wanted_size = Some((cols, rows));
            return;
        }
        if let Some(ToMachine::Control(agent::ToShell {
            message: Some(ToShellMessage::Resize(waiting)),
        })) = self.to_machine.back_mut()
        {
            *waiting = agent::Resize { cols, rows };
            return;
        }
        self.tell_machine(ToShellMessage::Resize(agent::Resize { cols, rows }));
    }

    fn tell_machine(&mut self, message: ToShellMessage) {
        if self.linked {
            self.to_machine
                .push_back(ToMachine::Control(agent::ToShell { message: Some(message) }));
        }
    }

    fn tell_viewers(&self, message: &ToViewerMessage) {
        for viewer in self.viewers.values() {
            viewer.outbox.put(ToViewer::Control(Box::new(message.clone())));
        }
    }

    fn announce(&mut self) {
        for (id, viewer) in &self.viewers {
            let list = self.viewers.iter().map(|(other, v)| terminal::Participant {
                name: v.arrival.name.to_string(),
                can_type: v.can_type(),
                you: other == id,
                typed_at_ms: if self.driver == Some(*other) { self.input_at.wire() } else { 0 },
            });
            let message =
                ToViewerMessage::Participants(terminal::Participants { list: list.collect() });
            viewer.outbox.put(ToViewer::Control(Box::new(message)));
        }
        self.happened.push_back(Happened::Viewers);
    }

    fn at_ms(&self, at: Timestamp) -> u64 {
        u64::try_from(at.since(self.started_at).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Gives an offset into bytes that are here, which is never more than a frame's length.
fn here(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn clamp(cells: u32) -> u32 {
    cells.clamp(*SIZES.start(), *SIZES.end())
}

fn rewind(viewer: &Viewer, position: u64, retry_after_ms: u32, code: Code) {
    viewer.outbox.put(ToViewer::Control(Box::new(ToViewerMessage::InputRewind(
        terminal::InputRewind { position, retry_after_ms, code: code.as_str().to_owned() },
    ))));
}

fn ended(reason: &EndReason, output_position: u64, input_position: u64) -> ToViewerMessage {
    ToViewerMessage::Ended(terminal::Ended {
        code: reason.code().as_str().to_owned(),
        sentence: reason.to_string(),
        exit_status: reason.exit_status(),
        signal: reason.signal().unwrap_or_default().to_owned(),
        output_position,
        input_position,
    })
}

/// Reads why a shell ended, as the machine tells it; a code that it may not give counts as a failure.
pub fn end_reason(exited: &agent::Exited) -> EndReason {
    if let Ok(code) = exited.code.parse::<Code>() {
        return EndReason::Because(code);
    }
    match exited.status {
        Some(status) => EndReason::Exited(status),
        None if !exited.signal.is_empty() => {
            let plain = |one: &char| one.is_ascii_alphanumeric() || matches!(one, '+' | '-');
            EndReason::Signalled(exited.signal.chars().filter(plain).take(16).collect())
        }
        None => EndReason::Because(Code::SessionFailed),
    }
}

#[cfg(test)]
#[path = "relay/tests.rs"]
mod tests;
