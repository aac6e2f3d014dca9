//! What goes to the gateway, in order: answers, what a joining viewer misses, then the session's output.

use super::input::Answer;
use super::{LinkLost, Phase, Session, SessionLink};
use crate::ring::Ring;
use crate::session::link::FromShellFrame;
use crate::shell::Exit;
use adit_domain::Code;
use adit_wire::agent::v1::{
    AttachDone, Attached, Echo, Exited, FromShell, ShellHello, Snapshot, from_shell::Message,
};
use adit_wire::frame::MAX_OUTPUT;
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// How far the gateway is.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The position of the next output to send; none before the gateway has said where to begin.
    sent: Option<u64>,
    /// Everything before it is durable, as the gateway says.
    durable: u64,
    /// Everything before it is seen by the one who types.
    viewed: u64,
    answers: VecDeque<Message>,
    joining: VecDeque<Joining>,
    echo: bool,
    exit_is_told: bool,
    flushed: bool,
}

/// A viewer that is not yet where the output is.
#[derive(Debug)]
enum Joining {
    /// It gets the ring's bytes from here.
    Backlog { viewer: u32, next: u64 },
    /// It has a snapshot of this position.
    Snapshot { viewer: u32, position: u64 },
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            sent: None,
            durable: 0,
            viewed: 0,
            answers: VecDeque::new(),
            joining: VecDeque::new(),
            echo: true,
            exit_is_told: false,
            flushed: true,
        }
    }
}

impl Outgoing {
    /// Begins on a new connection with what there is to say first.
    pub(super) fn begin(&mut self, hello: ShellHello) {
        self.stop();
        self.answers.push_back(Message::Hello(hello));
        if !self.echo {
            self.answers.push_back(Message::Echo(Echo { on: false }));
        }
    }

    /// Forgets what was meant for a lost connection.
    pub(super) fn stop(&mut self) {
        self.sent = None;
        self.answers.clear();
        self.joining.clear();
        self.exit_is_told = false;
        self.flushed = true;
    }

    /// Sends output from here on.
    pub(super) fn welcome(&mut self, position: u64, ring: &Ring) {
        self.sent = Some(position.clamp(ring.start(), ring.end()));
        self.acknowledge(position, self.viewed);
    }

    pub(super) fn acknowledge(&mut self, durable: u64, viewed: u64) {
        self.durable = self.durable.max(durable);
        self.viewed = self.viewed.max(viewed);
    }

    /// Everything before it may be forgotten, as far as the gateway is concerned.
    pub(super) fn needed_from(&self) -> u64 {
        let joining = self.joining.iter().map(|joining| match joining {
            Joining::Backlog { next, .. } => *next,
            Joining::Snapshot { position, .. } => *position,
        });
        let sent = self.sent.unwrap_or(u64::MAX);
        joining.chain([self.durable, self.viewed, sent]).min().unwrap_or(0)
    }

    pub(super) fn answer(&mut self, message: Message) {
        self.answers.push_back(message);
    }

    pub(super) fn note_echo(&mut self, echo: bool) {
        if self.echo != echo {
            self.echo = echo;
            if self.sent.is_some() {
                self.answers.push_back(Message::Echo(Echo { on: echo }));
            }
        }
    }

    pub(super) fn join_with_backlog(&mut self, viewer: u32, from: u64) {
        self.leave(viewer);
        self.answers.push_back(Message::Attached(Attached {
            viewer,
            snapshot: None,
            position: from,
        }));
        self.joining.push_back(Joining::Backlog { viewer, next: from });
    }

    pub(super) fn join_with_snapshot(&mut self, viewer: u32, snapshot: Snapshot) {
        self.leave(viewer);
        let position = snapshot.position;
        self.answers.push_back(Message::Attached(Attached {
            viewer,
            snapshot: Some(snapshot),
            position,
        }));
        self.joining.push_back(Joining::Snapshot { viewer, position });
    }

    /// A viewer that asks again has no use for what it asked before.
    fn leave(&mut self, viewer: u32) {
        self.joining.retain(|joining| match joining {
            Joining::Backlog { viewer: other, .. } | Joining::Snapshot { viewer: other, .. } => {
                *other != viewer
            }
        });
    }

    /// How many answers wait; a gateway that asks on without reading is not listened to.
    pub(super) fn is_full(&self) -> bool {
        self.answers.len() + self.joining.len() >= ANSWERS_MAX
    }

    /// Tells whether the gateway was told the end and has everything, durably.
    pub(super) fn is_finished(&self, end: u64) -> bool {
        self.exit_is_told && self.flushed && self.durable >= end
    }

    /// The viewer, if any, that is now where the output is.
    fn joined(&mut self, sent: u64) -> Option<AttachDone> {
        let at = self.joining.iter().position(|joining| match joining {
            Joining::Backlog { next, .. } => *next >= sent,
            Joining::Snapshot { position, .. } => *position <= sent,
        })?;
        let (Joining::Backlog { viewer, .. } | Joining::Snapshot { viewer, .. }) =
            self.joining.remove(at)?;
        Some(AttachDone { viewer, position: sent })
    }

    /// Where the next run of output must stop, so that a viewer with a snapshot goes on exactly there.
    fn next_join(&self, sent: u64) -> u64 {
        let positions = self.joining.iter().filter_map(|joining| match joining {
            Joining::Snapshot { position, .. } if *position > sent => Some(*position),
            _ => None,
        });
        positions.min().unwrap_or(u64::MAX)
    }

    /// Sends the next frame that there is; false when there is none.
    fn send_next(&mut self, ring: &Ring, link: &mut dyn SessionLink) -> Result<bool, LinkLost> {
        if let Some(message) = self.answers.pop_front() {
            return send(link, message);
        }
        let Some(sent) = self.sent else { return Ok(false) };
        if let Some(done) = self.joined(sent) {
            return send(link, Message::AttachDone(done));
        }
        if let Some((viewer, next)) = self.joining.iter_mut().find_map(Joining::backlog) {
            let max =
                usize::try_from(sent.saturating_sub(*next)).unwrap_or(usize::MAX).min(MAX_OUTPUT);
            if let Some(run) = ring.run_at(*next, max) {
                *next = run.end();
                let (kind, position, bytes) = (run.kind, run.position, run.bytes);
                link.send(FromShellFrame::Backlog { viewer, kind, position, bytes })?;
                return Ok(true);
            }
        }
        let max =
            usize::try_from(self.next_join(sent) - sent).unwrap_or(usize::MAX).min(MAX_OUTPUT);
        let Some(run) = ring.run_at(sent, max) else { return Ok(false) };
        self.sent = Some(run.end());
        link.send(FromShellFrame::Output {
            kind: run.kind,
            position: run.position,
            bytes: run.bytes,
        })?;
        Ok(true)
    }
}

impl Joining {
    fn backlog(&mut self) -> Option<(u32, &mut u64)> {
        match self {
            Self::Backlog { viewer, next } => Some((*viewer, next)),
            Self::Snapshot { .. } => None,
        }
    }
}

fn send(link: &mut dyn SessionLink, message: Message) -> Result<bool, LinkLost> {
    link.send(FromShellFrame::Message(&FromShell { message: Some(message) }))?;
    Ok(true)
}

impl Session {
    /// Sends what there is to send while the link takes it.
    pub(super) fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Result<(), LinkLost> {
        loop {
            // Before each frame: the last output is followed by the end, and nothing else need happen for that.
            self.gather_answers();
            let Some(link) = &mut self.link else { return Ok(()) };
            if !self.rights.are_valid() && self.phase == Phase::Running {
                return Ok(());
            }
            let Poll::Ready(ready) = link.poll_ready(cx) else { break };
            ready?;
            if !self.outgoing.send_next(&self.ring, link.as_mut())? {
                break;
            }
            self.outgoing.flushed = false;
        }
        let Some(link) = &mut self.link else { return Ok(()) };
        if !self.outgoing.flushed
            && let Poll::Ready(flushed) = link.poll_flush(cx)
        {
            flushed?;
            self.outgoing.flushed = true;
        }
        Ok(())
    }

    /// Lets the acknowledgement of a key leave with the shell's answer to it, one message to the socket instead of two, or after a moment.
    fn few_may_wait(&mut self) -> bool {
        if !self.input.few_are_due() {
            return false;
        }
        let nothing_follows = self.outgoing.sent == Some(self.ring.end());
        let now = Instant::now();
        let wait = self.ack_by.unwrap_or(now + ACK_WITHIN);
        let may_wait = nothing_follows && self.phase == Phase::Running && now < wait;
        let ack_by = may_wait.then_some(wait);
        if self.ack_by != ack_by {
            self.ack_by = ack_by;
            self.reset_timer();
        }
        may_wait
    }

    /// Turns what has happened into messages: acknowledged input, and the end after the last output.
    fn gather_answers(&mut self) {
        if self.outgoing.sent.is_none() {
            self.ack_by = None;
            return;
        }
        let few_may_wait = self.few_may_wait();
        while let Some(answer) = self.input.next_answer(few_may_wait) {
            self.outgoing.answer(match answer {
                Answer::Ack(ack) => Message::InputAck(ack),
                Answer::Rewind(rewind) => Message::InputRewind(rewind),
            });
        }
        let all_sent =
            self.outgoing.sent == Some(self.ring.end()) && self.outgoing.joining.is_empty();
        if !self.outgoing.exit_is_told
            && all_sent
            && let Some(exited) = self.exited()
        {
            self.outgoing.exit_is_told = true;
            self.outgoing.answer(Message::Exited(exited));
        }
    }

    /// Tells whether the link has enough to do; the shell then waits.
    pub(super) fn outgoing_is_behind(&self) -> bool {
        self.link.is_some()
            && self.outgoing.sent.is_some_and(|sent| self.ring.end() - sent >= UNSENT_BYTES)
    }

    pub(super) fn hello(&mut self) -> ShellHello {
        self.input.reconnect();
        let size = self.screen.size();
        ShellHello {
            output_start: self.ring.start(),
            output_position: self.ring.end(),
            writers: self.input.writers(),
            exited: self.exited(),
            cols: size.cols().into(),
            rows: size.rows().into(),
            instance: self.instance.clone(),
        }
    }

    /// How the session ended, once no output can follow.
    pub(super) fn exited(&self) -> Option<Exited> {
        let Phase::Exited { exit, code } = self.phase else { return None };
        if !self.shell.is_drained() {
            return None;
        }
        let report = self.shell.report();
        Some(exited_message(exit, code, self.ring.end(), report))
    }
}

/// Writes a session's end for the gateway.
pub(crate) fn exited_message(
    exit: Exit,
    code: Option<Code>,
    output_position: u64,
    report: Bytes,
) -> Exited {
    let (status, signal) = match exit {
        Exit::Status(status) => (Some(status), String::new()),
        Exit::Signal(number) => (None, super::requests::signal_name(number)),
        Exit::Lost => (None, "KILL".to_owned()),
        Exit::Because(_) => (None, String::new()),
    };
    let own = if let Exit::Because(code) = exit { Some(code) } else { None };
    let code = code.or(own).map_or(String::new(), |code| code.to_string());
    Exited { status, signal, output_position, code, report }
}

/// How long a shell may take to answer a key before the key is acknowledged without it.
const ACK_WITHIN: Duration = Duration::from_millis(10);
/// Answers and joining viewers at a time; more than a session has people.
const ANSWERS_MAX: usize = 256;
/// Output that waits for the link before the shell does: two frames, so that one is read while one is written.
const UNSENT_BYTES: u64 = 2 * MAX_OUTPUT as u64;
