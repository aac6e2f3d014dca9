//! The shell's bytes: reading them into the ring, writing input to them, and the terminal's own state.

use super::Program;
use super::Session;
use crate::job::Job;
use crate::ring::Kind;
use crate::shell::{Exit, Keeper, Shell, Size, Stream};
use adit_wire::job::StreamBytes;
use bytes::Bytes;
use rustix::termios::LocalModes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A shell whose end and whose streams' ends are remembered.
pub(super) struct ShellStream {
    stream: Stream,
    keeper: Keeper,
    exited: bool,
    terminal_is_closed: bool,
    /// How much of a job's output is kept; all of anything else's.
    kept: Option<Kept>,
}

/// How much of a job's streams was kept, of how much.
#[derive(Debug)]
struct Kept {
    limit: u64,
    stdout: StreamBytes,
    stderr: StreamBytes,
}

impl Kept {
    /// Counts what was read and says how much of it is kept: the first bytes of each stream, up to the limit.
    fn count(&mut self, kind: Kind, read: usize) -> usize {
        let stream = if kind == Kind::Error { &mut self.stderr } else { &mut self.stdout };
        let room = self.limit.saturating_sub(stream.written);
        let kept = read.min(usize::try_from(room).unwrap_or(usize::MAX));
        stream.written += read as u64;
        stream.dropped += (read - kept) as u64;
        kept
    }
}

impl ShellStream {
    pub(super) fn new(program: Program) -> Self {
        let (stream, keeper, kept) = match program {
            Program::Shell(Shell { stream, supervisor }) => (stream, supervisor.into(), None),
            Program::Job(job) => {
                let Job { stream, sandbox, output_bytes } = *job;
                let (stdout, stderr) = (StreamBytes::default(), StreamBytes::default());
                let kept = Kept { limit: output_bytes, stdout, stderr };
                (stream, Keeper::Sandbox(Box::new(sandbox)), Some(kept))
            }
        };
        Self { stream, keeper, exited: false, terminal_is_closed: false, kept }
    }

    pub(super) fn end(&self) {
        self.keeper.end();
    }

    /// Gives what there is to say of a job, for its gateway; nothing for anything else.
    pub(super) fn report(&self) -> Bytes {
        let (Keeper::Sandbox(sandbox), Some(kept)) = (&self.keeper, &self.kept) else {
            return Bytes::new();
        };
        sandbox.report(kept.stdout, kept.stderr).to_bytes().into()
    }

    /// Ready once, when the shell has ended.
    pub(super) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        if self.exited {
            return Poll::Pending;
        }
        let exit = std::task::ready!(self.keeper.poll_exited(cx));
        self.exited = true;
        Poll::Ready(exit)
    }

    /// Tells whether no output can come any more.
    pub(super) fn is_drained(&self) -> bool {
        match &self.stream {
            Stream::Terminal(_) => self.terminal_is_closed,
            Stream::Pipes { stdout, stderr, .. } => stdout.is_none() && stderr.is_none(),
        }
    }

    /// Says how much of what was read is kept.
    fn keep(&mut self, kind: Kind, read: usize) -> usize {
        if let Keeper::Sandbox(sandbox) = &mut self.keeper
            && read > 0
        {
            sandbox.note_output();
        }
        self.kept.as_mut().map_or(read, |kept| kept.count(kind, read))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.stream, Stream::Terminal(_))
    }

    /// Reads once from whichever stream has something.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Kind> {
        match &mut self.stream {
            Stream::Terminal(_) if self.terminal_is_closed => Poll::Pending,
            Stream::Terminal(pty) => match Pin::new(pty).poll_read(cx, buffer) {
                Poll::Pending => Poll::Pending,
                // A terminal whose last user has left answers with an error.
                Poll::Ready(Err(_)) => {
                    self.terminal_is_closed = true;
                    Poll::Ready(Kind::Output)
                }
                Poll::Ready(Ok(())) => {
                    self.terminal_is_closed = buffer.filled().is_empty();
                    Poll::Ready(Kind::Output)
                }
            },
            Stream::Pipes { stdout, stderr, .. } => match poll_pipe(stdout, cx, buffer) {
                Poll::Ready(()) => Poll::Ready(Kind::Output),
                Poll::Pending => poll_pipe(stderr, cx, buffer).map(|()| Kind::Error),
            },
        }
    }

    /// Writes input; an error when nobody can read it any more.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Terminal(pty) => Pin::new(pty).poll_write(cx, bytes),
            Stream::Pipes { stdin: Some(stdin), .. } => Pin::new(stdin).poll_write(cx, bytes),
            Stream::Pipes { stdin: None, .. } => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends the input: closes the pipe, or types the terminal's end-of-file character.
    fn poll_end_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Stream::Terminal(pty) => Pin::new(pty).poll_write(cx, &[END_OF_TRANSMISSION]).map(drop),
            Stream::Pipes { stdin, .. } => {
                *stdin = None;
                Poll::Ready(())
            }
        }
    }

    /// Tells whether the terminal shows what is typed; a pipe hides nothing.
    ///
    /// It is the terminal's own flag: a program that reads keys one by one and draws them itself counts as hiding them,
    /// because it may as well be asking for a password.
    pub(super) fn echoes(&self) -> bool {
        match &self.stream {
            Stream::Terminal(pty) => rustix::termios::tcgetattr(pty)
                .is_ok_and(|termios| termios.local_modes.contains(LocalModes::ECHO)),
            Stream::Pipes { .. } => true,
        }
    }

    pub(super) fn resize(&self, size: Size) {
        if let Stream::Terminal(pty) = &self.stream
            && let Err(error) = pty.resize(pty_process::Size::new(size.rows(), size.cols()))
        {
            tracing::debug!(%error, "terminal takes no new size");
        }
    }

    /// Sends a signal to the terminal's foreground, or to the command.
    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        match &self.stream {
            Stream::Terminal(pty) => {
                let sent = rustix::termios::tcgetpgrp(pty)
                    .and_then(|group| rustix::process::kill_process_group(group, signal));
                if let Err(error) = sent {
                    tracing::debug!(%error, "foreground takes no signal");
                }
            }
            Stream::Pipes { .. } => self.keeper.signal(signal),
        }
    }
}

fn poll_pipe<R: AsyncRead + Unpin>(
    pipe: &mut Option<R>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<()> {
    let Some(open) = pipe else { return Poll::Pending };
    let read = std::task::ready!(Pin::new(open).poll_read(cx, buffer));
    if read.is_err() || buffer.filled().is_empty() {
        *pipe = None;
    }
    Poll::Ready(())
}

impl Session {
    /// Reads output while it can be kept and, with a link, sent. Ready when something changed.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shell.is_drained() || self.ring.room() < READ_BYTES || self.outgoing_is_behind() {
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let kind = std::task::ready!(self.shell.poll_read(cx, &mut buffer));
            // A terminal gives at most 4 KiB at a time: gather more, so that a frame is worth its seal.
            while buffer.filled().len() >= GATHER_BYTES
                && buffer.remaining() > 0
                && self.shell.is_terminal()
            {
                let before = buffer.filled().len();
                if self.shell.poll_read(cx, &mut buffer).is_pending()
                    || buffer.filled().len() - before < GATHER_BYTES
                {
                    break;
                }
            }
            let read = buffer.filled();
            let kept = self.shell.keep(kind, read.len()).min(read.len());
            self.ring.push(kind, read.split_at(kept).0);
            if self.shell.is_terminal() && self.screen.follow(&self.ring, 0) {
                self.reset_timer();
            }
            Poll::Ready(())
        })
    }

    /// Writes waiting input to the shell, and tells the gateway when the terminal begins or stops to show what is typed, before the input's
    /// acknowledgement.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) {
        while let Some(bytes) = self.input.next() {
            // Before it is written: the program that reads it may change the terminal at once.
            let echo = self.shell.echoes();
            let written = match bytes {
                Some(bytes) => match self.shell.poll_write(cx, &bytes) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(written)) => written,
                    // Nobody reads any more: what is typed then goes nowhere, as on any terminal.
                    Poll::Ready(Err(_)) => bytes.len(),
                },
                None => match self.shell.poll_end_input(cx) {
                    Poll::Pending => return,
                    Poll::Ready(()) => 0,
                },
            };
            self.outgoing.note_echo(echo);
            self.input.written(written);
        }
    }
}

/// Input that waits for the shell.
pub(super) type Waiting = VecDeque<(usize, Option<Bytes>)>;

thread_local! {
    /// Where output is read to before it goes to a ring: one for each thread and not for each session.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// One frame of output.
const READ_BYTES: usize = adit_wire::frame::MAX_OUTPUT;
/// A read as long as this was probably cut short by the kernel's buffer, whose size is 4 KiB.
const GATHER_BYTES: usize = 2048;
/// What ctrl-D types.
const END_OF_TRANSMISSION: u8 = 4;
