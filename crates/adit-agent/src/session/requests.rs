//! What the gateway asks of a session, each request held against the warrant.

use super::input::Taken;
use super::{Session, ToShellFrame};
use crate::shell::Size;
use adit_domain::Code;
use adit_wire::agent::v1::{
    Attach, Resized, SignedWarrant, Snapshot, ToShell, from_shell, to_shell::Message,
};
use rustix::process::Signal;

impl Session {
    /// Takes one frame; what the warrant does not cover is counted and dropped.
    pub(super) fn take(&mut self, frame: ToShellFrame) {
        let allowed = match &frame {
            ToShellFrame::Input { .. } => self.rights.are_valid() && self.rights.cover_input(),
            ToShellFrame::Message(message) => self.is_allowed(message),
        };
        if !allowed {
            self.refuse();
            return;
        }
        match frame {
            ToShellFrame::Input { position, bytes } => {
                if self.input.take(position, &bytes) == Taken::NoWriter {
                    self.refuse();
                }
            }
            ToShellFrame::Message(message) => self.answer(message),
        }
    }

    /// A message that the session's end or its next warrant needs passes after the warrant's end too.
    fn is_allowed(&self, message: &ToShell) -> bool {
        let needs_no_right = matches!(
            message.message,
            Some(
                Message::Refresh(_)
                    | Message::Close(_)
                    | Message::Welcome(_)
                    | Message::OutputAck(_)
            )
        );
        (needs_no_right || self.rights.are_valid()) && self.rights.cover(message)
    }

    fn refuse(&mut self) {
        self.refused_frames += 1;
        if self.refused_frames.is_power_of_two() {
            tracing::warn!(session.id = %self.id, count = self.refused_frames, "frame that the warrant does not cover was refused");
        }
    }

    fn answer(&mut self, message: ToShell) {
        let Some(message) = message.message else { return };
        match message {
            Message::Welcome(welcome) => self.outgoing.welcome(welcome.output_position, &self.ring),
            Message::Writer(set) => self.input.set_writer(&set.writer, set.position),
            Message::Resize(resize) => self.resize = Some(Size::clamped(resize.cols, resize.rows)),
            Message::Signal(signal) => self.signal(&signal.name),
            Message::InputEof(end) => self.input.end(&end.writer, end.position),
            Message::OutputAck(ack) => self.acknowledge(ack.durable, ack.viewed),
            Message::Attach(attach) => self.attach(attach),
            Message::Refresh(warrant) => self.check_newer(&warrant),
            Message::Close(close) => self.end(close.code.parse().unwrap_or(Code::SessionKilled)),
        }
    }

    fn signal(&mut self, name: &str) {
        match signal_named(name) {
            Some(signal) => self.shell.signal(signal),
            None => self.refuse(),
        }
    }

    fn acknowledge(&mut self, durable: u64, viewed: u64) {
        let end = self.ring.end();
        self.outgoing.acknowledge(durable.min(end), viewed.min(end));
        self.forget();
    }

    /// Lets go of output that nobody needs any more, once the screen model has it.
    pub(super) fn forget(&mut self) {
        let needed = self.outgoing.needed_from();
        if !self.shell.is_terminal() {
            // Streams have no screen; a late viewer is shown what the ring still has.
            self.screen.pass(needed.min(self.ring.end()));
        } else if self.screen.follow(&self.ring, needed) {
            self.reset_timer();
        }
        self.ring.forget_before(needed.min(self.screen.position()));
    }

    fn attach(&mut self, attach: Attach) {
        let start = self.ring.start();
        match attach.from {
            Some(from) if (start..=self.ring.end()).contains(&from) => {
                self.outgoing.join_with_backlog(attach.viewer, from);
            }
            _ => {
                let snapshot = self.snapshot();
                self.outgoing.join_with_snapshot(attach.viewer, snapshot);
            }
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.screen.catch_up(&self.ring);
        let size = self.screen.size();
        let snapshot = Snapshot {
            position: self.screen.position(),
            cols: size.cols().into(),
            rows: size.rows().into(),
            screen: self.screen.dump().into(),
            lines: self.screen.lines(),
        };
        self.reset_timer();
        snapshot
    }

    fn check_newer(&mut self, warrant: &SignedWarrant) {
        match (self.check_warrant)(warrant) {
            Some(rights) => self.refresh(rights),
            None => self.refuse(),
        }
    }

    /// Applies the newest of the sizes that were asked for.
    pub(super) fn apply_resize(&mut self) {
        let Some(size) = self.resize.take() else { return };
        if size == self.screen.size() || !self.shell.is_terminal() {
            return;
        }
        self.screen.catch_up(&self.ring);
        self.screen.resize(size);
        self.shell.resize(size);
        let (cols, rows) = (size.cols().into(), size.rows().into());
        let resized = Resized { cols, rows, position: self.ring.end() };
        self.outgoing.answer(from_shell::Message::Resized(resized));
        self.reset_timer();
    }
}

/// Finds a signal by its POSIX name without SIG.
fn signal_named(name: &str) -> Option<Signal> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal)
}

/// Names a signal without SIG; one without a name by its number.
pub(super) fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// The signals of POSIX.
const SIGNALS: &[(&str, Signal)] = &[
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("PROF", Signal::PROF),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("VTALRM", Signal::VTALARM),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
];
