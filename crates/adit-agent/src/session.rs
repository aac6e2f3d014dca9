//! One session on this machine: the task that owns the shell, its output and its screen.
//!
//! The data path of a key, in one task and without a queue between its ends:
//! 1. the link opens a frame (`link.rs`, behind [`SessionLink`]);
//! 2. the warrant's rights and the writer's position are checked (`input.rs`);
//! 3. the bytes are written to the terminal (`stream.rs`);
//! 4. what the shell answers is read into the ring (`stream.rs`, `ring.rs`);
//! 5. the ring's next run goes out as one frame (`outgoing.rs`), and the screen model follows later (`screen.rs`).

mod input;
mod link;
mod outgoing;
mod requests;
mod rights;
mod stream;

pub use link::{FromShellFrame, LinkLost, Received, SessionLink, ToShellFrame};
pub(crate) use outgoing::exited_message;
pub use rights::Rights;

use crate::job::Job;
use crate::ring::Ring;
use crate::screen::Screen;
use crate::shell::{Exit, Shell, Size};
use adit_domain::{Code, SessionId};
use bytes::Bytes;
use input::Input;
use outgoing::Outgoing;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use stream::ShellStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep};

/// What a session is told by whoever opened it.
pub enum Command {
    /// A newer warrant was checked.
    Refresh(Rights),
    /// End the shell and everything that it started.
    Close(Code),
}

/// Checks a newer warrant that came over the session's own connection; `None` when it is refused.
pub type CheckWarrant = Box<dyn Fn(&adit_wire::agent::v1::SignedWarrant) -> Option<Rights> + Send>;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How the shell did.
    pub exit: Exit,
    /// Why, when it was not the shell's own doing.
    pub code: Option<Code>,
    /// Where its output ends.
    pub output_position: u64,
    /// Whether the gateway has all of it and was told.
    pub delivered: bool,
    /// Frames that the warrant did not cover.
    pub refused_frames: u64,
    /// What there is to say of a job; empty for anything else.
    pub report: Bytes,
}

/// What runs in a session.
pub enum Program {
    /// A shell or a command.
    Shell(Shell),
    /// A job.
    Job(Box<Job>),
}

/// What a session needs to begin.
pub struct Opening {
    /// Its id.
    pub id: SessionId,
    /// Tells this run of the agent from another.
    pub instance: Bytes,
    /// The live shell, or the job.
    pub program: Program,
    /// The size of its terminal.
    pub size: Size,
    /// What the warrant allows.
    pub rights: Rights,
    /// How a newer warrant is checked.
    pub check_warrant: CheckWarrant,
    /// Told when the session has lost its link.
    pub link_is_lost: Arc<Notify>,
}

/// The task of one session.
pub struct Session {
    id: SessionId,
    instance: Bytes,
    shell: ShellStream,
    ring: Ring,
    screen: Screen,
    input: Input,
    outgoing: Outgoing,
    link: Option<Box<dyn SessionLink>>,
    commands: mpsc::Receiver<Command>,
    /// Fresh connections; each takes the place of the one before.
    links: mpsc::Receiver<Box<dyn SessionLink>>,
    rights: Rights,
    check_warrant: CheckWarrant,
    resize: Option<Size>,
    phase: Phase,
    /// Since when there is no link.
    unlinked: Option<Instant>,
    timer: std::pin::Pin<Box<Sleep>>,
    /// By when a key is acknowledged, if its acknowledgement waits for the shell's answer.
    ack_by: Option<Instant>,
    refused_frames: u64,
    /// When its links carried something damaged.
    damaged: Vec<Instant>,
    /// Nobody will fetch what is left.
    unwanted: bool,
    link_is_lost: Arc<Notify>,
}

/// How far a session is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The end was asked for; the supervisor is at it.
    Ending {
        code: Code,
    },
    /// The shell has ended; what it wrote may still have to be read and sent.
    Exited {
        exit: Exit,
        code: Option<Code>,
    },
}

enum Event {
    Command(Command),
    Link(Box<dyn SessionLink>),
    Received(Received),
    Exited(Exit),
    Timeout,
    Done,
}

impl Session {
    /// Makes the session; [`Session::run`] serves it.
    #[must_use]
    pub fn new(
        opening: Opening,
        commands: mpsc::Receiver<Command>,
        links: mpsc::Receiver<Box<dyn SessionLink>>,
    ) -> Self {
        let Opening { id, instance, program, size, rights, check_warrant, link_is_lost } = opening;
        let now = Instant::now();
        let mut session = Self {
            id,
            instance,
            shell: ShellStream::new(program),
            ring: Ring::default(),
            screen: Screen::new(size),
            input: Input::default(),
            outgoing: Outgoing::default(),
            link: None,
            commands,
            links,
            rights,
            check_warrant,
            resize: None,
            phase: Phase::Running,
            unlinked: Some(now),
            timer: Box::pin(tokio::time::sleep_until(now)),
            ack_by: None,
            refused_frames: 0,
            damaged: Vec::new(),
            unwanted: false,
            link_is_lost,
        };
        session.reset_timer();
        session
    }

    /// Serves the session until its shell has ended and its output was delivered or may be forgotten.
    pub async fn run(mut self) -> Ended {
        self.serve().await;
        let ended = self.ended();
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        ended
    }

    async fn serve(&mut self) {
        loop {
            let event = std::future::poll_fn(|cx| self.poll_event(cx)).await;
            match event {
                Event::Command(command) => self.obey(command),
                Event::Link(link) => self.connect(link),
                Event::Received(received) => self.receive(received),
                Event::Exited(exit) => self.note_exit(exit),
                Event::Timeout => self.time_out(),
                Event::Done => break,
            }
        }
    }

    /// Does what can be done without waiting; input before output.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            return Poll::Ready(Event::Command(command));
        }
        if let Poll::Ready(Some(link)) = self.links.poll_recv(cx) {
            return Poll::Ready(Event::Link(link));
        }
        if let Some(link) = &mut self.link
            && !self.outgoing.is_full()
            && let Poll::Ready(received) = link.poll_receive(cx)
        {
            return Poll::Ready(Event::Received(received));
        }
        self.apply_resize();
        self.poll_input(cx);
        for round in 0.. {
            if self.poll_outgoing(cx).is_err() {
                return Poll::Ready(Event::Received(Received::Lost));
            }
            if round == ROUNDS {
                cx.waker().wake_by_ref();
                break;
            }
            if self.poll_output(cx).is_pending() {
                break;
            }
        }
        if self.is_done() {
            return Poll::Ready(Event::Done);
        }
        if let Poll::Ready(exit) = self.shell.poll_exited(cx) {
            return Poll::Ready(Event::Exited(exit));
        }
        self.timer.as_mut().poll_event(cx)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Refresh(rights) => self.refresh(rights),
            Command::Close(code) => self.abandon(code),
        }
    }

    /// Begins anew on a fresh connection: says what there is, then waits for the gateway to say where to go on.
    fn connect(&mut self, link: Box<dyn SessionLink>) {
        self.link = Some(link);
        self.unlinked = None;
        let hello = self.hello();
        self.outgoing.begin(hello);
        self.reset_timer();
    }

    fn receive(&mut self, received: Received) {
        match received {
            Received::Frame(frame) => self.take(frame),
            Received::Lost => self.lose_link(),
            Received::Damaged => {
                self.lose_link();
                self.note_damage(Instant::now());
            }
            Received::Over => {
                self.lose_link();
                self.abandon(Code::SessionClosed);
            }
        }
    }

    fn lose_link(&mut self) {
        tracing::info!(session.id = %self.id, "session has lost its link");
        self.link = None;
        self.outgoing.stop();
        self.unlinked = Some(Instant::now());
        self.link_is_lost.notify_one();
        self.reset_timer();
    }

    /// Ends a session whose links carry damaged frames again and again.
    fn note_damage(&mut self, now: Instant) {
        self.damaged.retain(|at| now.duration_since(*at) < DAMAGE_WINDOW);
        self.damaged.push(now);
        if self.damaged.len() >= DAMAGE_MAX {
            self.end(Code::SessionCorrupted);
        }
    }

    /// Ends a session whose output nobody will fetch.
    fn abandon(&mut self, code: Code) {
        self.end(code);
        self.unwanted = true;
    }

    fn refresh(&mut self, rights: Rights) {
        self.rights = rights;
        self.reset_timer();
    }

    /// Ends the shell; ending twice is ending once.
    fn end(&mut self, code: Code) {
        if self.phase == Phase::Running {
            tracing::info!(session.id = %self.id, %code, "session ends");
            self.phase = Phase::Ending { code };
            self.shell.end();
        }
    }

    fn note_exit(&mut self, exit: Exit) {
        let code = match self.phase {
            Phase::Running => None,
            Phase::Ending { code } => Some(code),
            Phase::Exited { .. } => return,
        };
        self.phase = Phase::Exited { exit, code };
        self.reset_timer();
    }

    fn time_out(&mut self) {
        let now = Instant::now();
        let overdue = self.unlinked.is_some_and(|since| now >= since + self.rights.grace);
        self.unwanted |= overdue;
        if now >= self.rights.ends {
            self.end(Code::SessionExpired);
        } else if now >= self.rights.expires + self.rights.grace || overdue {
            self.end(Code::SessionLostLink);
        }
        self.screen_may_freeze(now);
        self.reset_timer();
    }

    /// Sets the timer to the next moment at which something is over.
    fn reset_timer(&mut self) {
        let lost = self.unlinked.filter(|_| !self.unwanted).map(|since| since + self.rights.grace);
        let limit = self.rights.ends.min(self.rights.expires + self.rights.grace);
        let limit = (self.phase == Phase::Running).then_some(limit);
        let next = [lost, limit, self.screen.freezes_at(), self.ack_by].into_iter().flatten().min();
        self.timer.as_mut().reset(next.unwrap_or_else(|| Instant::now() + FAR));
    }

    fn screen_may_freeze(&mut self, now: Instant) {
        if self.screen.freezes_at().is_none_or(|at| now < at) {
            return;
        }
        if self.screen.position() < self.ring.end() {
            // What a flood left behind leaves the ring; the screen is folded up the next time.
            self.screen.catch_up(&self.ring);
            self.forget();
        } else {
            self.screen.freeze();
        }
    }

    /// Tells whether the shell has ended and nobody waits for what it wrote: the gateway has it, or will not come for it.
    fn is_done(&self) -> bool {
        let exited = matches!(self.phase, Phase::Exited { .. }) && self.shell.is_drained();
        exited && (self.is_delivered() || (self.unwanted && self.link.is_none()))
    }

    fn is_delivered(&self) -> bool {
        self.outgoing.is_finished(self.ring.end())
    }

    fn ended(&self) -> Ended {
        let (exit, code) = match self.phase {
            Phase::Exited { exit, code } => (exit, code),
            Phase::Ending { code } => (Exit::Lost, Some(code)),
            Phase::Running => (Exit::Lost, None),
        };
        let (output_position, delivered) = (self.ring.end(), self.is_delivered());
        Ended {
            exit,
            code,
            output_position,
            delivered,
            refused_frames: self.refused_frames,
            report: self.shell.report(),
        }
    }
}

/// A timer that ends with an event.
trait PollEvent {
    fn poll_event(self, cx: &mut Context<'_>) -> Poll<Event>;
}

impl PollEvent for std::pin::Pin<&mut Sleep> {
    fn poll_event(self, cx: &mut Context<'_>) -> Poll<Event> {
        self.poll(cx).map(|()| Event::Timeout)
    }
}

/// How many pieces of output one session may send before others have their turn: a flood must not hold up a key of another session.
const ROUNDS: u32 = 2;

/// Damaged frames within [`DAMAGE_WINDOW`] that end a session (decision 9).
const DAMAGE_MAX: usize = 3;
/// See [`DAMAGE_MAX`].
const DAMAGE_WINDOW: Duration = Duration::from_secs(60);
/// Stands for never; the timer is set again with each change.
const FAR: Duration = Duration::from_secs(24 * 3600);
