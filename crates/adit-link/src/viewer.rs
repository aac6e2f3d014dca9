//! A client's end of `/ws/terminal`.
//!
//! [`Viewer`] is the protocol without I/O; [`Terminal`] drives it over a WebSocket in the task of its owner. When the connection is
//! lost, [`Viewer::resume`] is all that the next one needs, with a new ticket, to go on with nothing lost or repeated.

mod driver;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use adit_domain::Secret;
use adit_wire::frame::{Data, Frame, FrameError, Kind, write_control, write_data};
use adit_wire::terminal::v1 as pb;
use adit_wire::terminal::v1::from_gateway::Message as Down;
use adit_wire::terminal::v1::from_viewer::Message as Up;
use bytes::Bytes;
use prost::Message;

use crate::resume::{Gap, InputSender, OutputReceiver, Transmit};

pub use driver::{Terminal, ViewerError};

/// Output is acknowledged after this many bytes: an eighth of the gateway's window.
pub const ACK_EVERY: u64 = 128 * 1024;

/// Bulk output is acknowledged after this time at the latest.
pub const ACK_BULK_WITHIN: Duration = Duration::from_millis(100);

/// A few bytes of output, as the echo of keys, are acknowledged after this time at the latest: it frees nothing that matters.
pub const ACK_WITHIN: Duration = Duration::from_secs(1);

/// Fewer bytes than this are a few.
const FEW: u64 = 4 * 1024;

/// The control messages that may wait to be sent; resizes replace each other, so only a caller that repeats itself gets here.
const MAX_OUTBOX: usize = 64;

/// How a viewer begins.
#[derive(Debug)]
pub struct Start {
    /// The ticket.
    pub ticket: Secret<String>,
    /// The terminal's width.
    pub cols: u16,
    /// The terminal's height.
    pub rows: u16,
    /// Where an earlier connection to the same session stood.
    pub resume: Option<Resume>,
    /// The proof of the key that the ticket is bound to; empty: it is bound to none.
    pub proof: String,
}

/// Where a viewer stood when its connection was lost.
#[derive(Clone)]
pub struct Resume {
    output_position: Option<u64>,
    writer: Bytes,
    input: InputSender,
}

/// What a gateway tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The ticket was redeemed.
    Admitted(pb::Admitted),
    /// Output, each byte once; tell [`Viewer::shown`] when it is on the screen.
    Output(Data),
    /// The screen anew: reset, resize, write `screen`, then go on with output.
    Snapshot(pb::Snapshot),
    /// The terminal has another size.
    Resized(pb::Resize),
    /// The machine's connection came or went.
    State(pb::State),
    /// Who is here.
    Participants(Vec<pb::Participant>),
    /// A sentence for the person.
    Notice(pb::Notice),
    /// Input was refused for now; it is sent again by itself.
    Held {
        /// `rate_limited`, `reconnected` or `stream_gap`.
        code: String,
        /// The wait before it is sent again.
        retry_after: Duration,
    },
    /// There is room for input again; told once after there was none.
    InputRoom,
    /// The session is over.
    Ended(pb::Ended),
}

/// What a gateway must not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A message that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message that cannot be read.
    #[error("a message cannot be read")]
    Message,
    /// A frame that only viewers or machines send.
    #[error("a {0:?} frame does not belong here")]
    Kind(Kind),
    /// Bytes are missing.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// Input that is kept belongs to another writer.
    #[error("the gateway names another writer for input that is kept")]
    Writer,
    /// A message before the ticket was redeemed, or a second admission.
    #[error("a message came in the wrong order")]
    Order,
}

/// The viewer's protocol, without I/O.
pub struct Viewer {
    redeem: Option<pb::Redeem>,
    admitted: bool,
    writer: Bytes,
    input: InputSender,
    wants_room: bool,
    output: Option<OutputReceiver>,
    shown: u64,
    acked: u64,
    ack_at: Option<Instant>,
    outbox: VecDeque<Up>,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resume(output {:?}, {:?})", self.output_position, self.input)
    }
}

impl Resume {
    /// Drops the input that the machine has not acknowledged, and says whether there was any. The gateway then gives a new writer.
    pub fn forget_input(&mut self) -> bool {
        if self.input.is_empty() {
            return false;
        }
        self.input = InputSender::new();
        self.writer = Bytes::new();
        true
    }
}

impl Viewer {
    /// Begins; [`Self::poll_transmit`] gives the first frame.
    pub fn new(start: Start) -> Self {
        let resume = start.resume.unwrap_or_else(|| Resume {
            output_position: None,
            writer: Bytes::new(),
            input: InputSender::new(),
        });
        let position = resume.output_position;
        Self {
            redeem: Some(pb::Redeem {
                ticket: start.ticket.expose().clone(),
                cols: start.cols.into(),
                rows: start.rows.into(),
                output_position: position,
                writer: resume.writer.clone(),
                input_position: resume.input.acknowledged(),
                proof: start.proof,
            }),
            admitted: false,
            writer: resume.writer,
            input: resume.input,
            wants_room: false,
            output: position.map(OutputReceiver::new),
            shown: position.unwrap_or(0),
            acked: position.unwrap_or(0),
            ack_at: None,
            outbox: VecDeque::new(),
        }
    }

    /// Takes one WebSocket message of the gateway.
    ///
    /// # Errors
    /// [`ProtocolError`]; the connection is of no more use then.
    pub fn handle_input(
        &mut self,
        message: Bytes,
        now: Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        match Frame::read(message)? {
            Frame::Data(data) => self.handle_data(data),
            Frame::Control(message) => {
                let message =
                    pb::FromGateway::decode(message).map_err(|_| ProtocolError::Message)?;
                match message.message {
                    Some(message) => self.handle_message(message, now),
                    None => Ok(None),
                }
            }
        }
    }

    /// Gives the next WebSocket message to send; call until there is none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(redeem) = self.redeem.take() {
            return Some(write_up(Up::Redeem(redeem)));
        }
        if let Some(message) = self.outbox.pop_front() {
            return Some(write_up(message));
        }
        match self.input.poll_transmit(now) {
            Some(Transmit::Data { position, bytes }) => {
                Some(write_data(Kind::Input, position, &bytes))
            }
            Some(Transmit::Eof { position }) => {
                Some(write_up(Up::InputEof(pb::InputEof { position })))
            }
            None => self.poll_ack(now),
        }
    }

    /// Gives the time at which [`Self::poll_transmit`] may have something again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.ack_at, self.input.poll_timeout()].into_iter().flatten().min()
    }

    /// Takes input, as much as there is room for, and says how much; [`Event::InputRoom`] tells of more room.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        if !self.may_type() {
            return 0;
        }
        let taken = self.input.push(bytes);
        self.wants_room |= taken < bytes.len();
        taken
    }

    /// Gives the bytes that [`Self::input`] would take.
    pub fn input_room(&self) -> usize {
        if self.may_type() { self.input.room() } else { 0 }
    }

    /// Tells whether input waits for the machine's word that it has it.
    pub fn input_waits(&self) -> bool {
        !self.input.is_empty()
    }

    /// Ends the input.
    pub fn eof(&mut self) {
        self.input.eof();
    }

    /// Tells the terminal's new size.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        self.outbox.retain(|message| !matches!(message, Up::Resize(_)));
        self.push(Up::Resize(pb::Resize { cols: cols.into(), rows: rows.into() }));
    }

    /// Sends a signal, by its name without SIG, to a command without a terminal.
    pub fn signal(&mut self, name: &str) {
        self.push(Up::Signal(pb::Signal { name: name.to_owned() }));
    }

    /// Leaves on purpose; the shell goes on.
    pub fn detach(&mut self) {
        self.push(Up::Detach(pb::Detach {}));
    }

    /// Ends the session for everybody.
    pub fn end(&mut self) {
        self.push(Up::End(pb::End {}));
    }

    /// Tells that all output before `position` is on the screen; it is acknowledged before long.
    pub fn shown(&mut self, position: u64, now: Instant) {
        self.shown = self.shown.max(position);
        let waiting = self.shown.saturating_sub(self.acked);
        if waiting == 0 {
            return;
        }
        let within = if waiting < FEW { ACK_WITHIN } else { ACK_BULK_WITHIN };
        let latest = now + within;
        self.ack_at = Some(self.ack_at.map_or(latest, |at| at.min(latest)));
    }

    /// Gives what the next connection to this session needs.
    pub fn resume(&self) -> Resume {
        let mut input = self.input.clone();
        input.lost();
        let output_position = self.output.map(|output| output.position());
        Resume { output_position, writer: self.writer.clone(), input }
    }

    /// Gives the first byte of input that the machine has not acknowledged.
    pub fn input_acknowledged(&self) -> u64 {
        self.input.acknowledged()
    }

    fn may_type(&self) -> bool {
        !self.admitted || !self.writer.is_empty()
    }

    fn push(&mut self, message: Up) {
        if self.outbox.len() < MAX_OUTBOX {
            self.outbox.push_back(message);
        }
    }

    fn poll_ack(&mut self, now: Instant) -> Option<Bytes> {
        let waiting = self.shown.saturating_sub(self.acked);
        let due = waiting >= ACK_EVERY || self.ack_at.is_some_and(|at| at <= now);
        if !due || !self.admitted {
            return None;
        }
        self.ack_at = None;
        self.acked = self.shown;
        Some(write_up(Up::OutputAck(pb::OutputAck { position: self.shown })))
    }

    fn handle_data(&mut self, data: Data) -> Result<Option<Event>, ProtocolError> {
        if !matches!(data.kind, Kind::Output | Kind::Stderr) {
            return Err(ProtocolError::Kind(data.kind));
        }
        if !self.admitted {
            return Err(ProtocolError::Order);
        }
        let output = self.output.get_or_insert(OutputReceiver::new(data.position));
        let Some(bytes) = output.accept(data.position, &data.bytes)? else { return Ok(None) };
        let position = output.position() - bytes.len() as u64;
        Ok(Some(Event::Output(Data { kind: data.kind, position, bytes })))
    }

    fn handle_message(
        &mut self,
        message: Down,
        now: Instant,
    ) -> Result<Option<Event>, ProtocolError> {
        let event = match message {
            Down::Admitted(admitted) => self.handle_admitted(admitted)?,
            Down::Ended(ended) => Event::Ended(ended),
            _ if !self.admitted => return Err(ProtocolError::Order),
            Down::Snapshot(snapshot) => self.handle_snapshot(snapshot),
            Down::InputAck(ack) => return self.handle_ack(ack.position),
            Down::InputRewind(rewind) => self.handle_rewind(rewind, now)?,
            Down::Resized(size) => Event::Resized(size),
            Down::State(state) => Event::State(state),
            Down::Participants(participants) => Event::Participants(participants.list),
            Down::Notice(notice) => Event::Notice(notice),
            Down::Pong(_) => return Ok(None),
        };
        Ok(Some(event))
    }

    fn handle_admitted(&mut self, admitted: pb::Admitted) -> Result<Event, ProtocolError> {
        if self.admitted {
            return Err(ProtocolError::Order);
        }
        if !admitted.writer.is_empty() {
            self.take_writer(&admitted)?;
        }
        self.admitted = true;
        self.writer = admitted.writer.clone();
        Ok(Event::Admitted(admitted))
    }

    /// Goes on as the writer that the gateway names, which must be the one whose input is kept.
    fn take_writer(&mut self, admitted: &pb::Admitted) -> Result<(), ProtocolError> {
        if self.writer.is_empty() {
            self.input.begin(admitted.input_position);
        } else if self.writer != admitted.writer {
            return Err(ProtocolError::Writer);
        }
        Ok(self.input.resume(admitted.input_position)?)
    }

    fn handle_snapshot(&mut self, snapshot: pb::Snapshot) -> Event {
        self.output = Some(OutputReceiver::new(snapshot.position));
        self.shown = snapshot.position;
        self.acked = snapshot.position;
        self.ack_at = None;
        Event::Snapshot(snapshot)
    }

    fn handle_ack(&mut self, position: u64) -> Result<Option<Event>, ProtocolError> {
        self.input.acked(position)?;
        let told = self.wants_room && self.input.room() > 0;
        self.wants_room &= !told;
        Ok(told.then_some(Event::InputRoom))
    }

    fn handle_rewind(
        &mut self,
        rewind: pb::InputRewind,
        now: Instant,
    ) -> Result<Event, ProtocolError> {
        let retry_after = Duration::from_millis(rewind.retry_after_ms.into()).min(LONGEST_HOLD);
        self.input.rewind(rewind.position, retry_after, now)?;
        Ok(Event::Held { code: rewind.code, retry_after })
    }
}

/// The longest wait that a gateway may ask for.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

fn write_up(message: Up) -> Bytes {
    write_control(&pb::FromViewer { message: Some(message) })
}

#[cfg(test)]
#[path = "viewer/tests.rs"]
mod tests;
