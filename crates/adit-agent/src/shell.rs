//! A shell or command on this machine, behind its supervisor.
//!
//! [`Spawner::spawn`] opens the terminal (or three pipes) and asks the spawner process for a supervised child on its other end.

mod environment;
mod spawner;

pub use environment::is_allowed;
pub use spawner::{SpawnError, Spawner};

use crate::job::Sandbox;
use crate::supervise::{COMMAND_END, COMMAND_SIGNAL, ExitMessage};
use adit_domain::Code;
use std::io;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// What to run, and how.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments; empty for the account's login shell.
    pub arguments: Vec<String>,
    /// Variables that the one who asks wants set; those off the allow-list are left out.
    pub env: Vec<(String, String)>,
    /// The account's name; empty for the agent's own.
    pub run_as: String,
    /// The size of its terminal, or none for three pipes.
    pub terminal: Option<Size>,
}

/// The size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    /// Clamps to what a terminal can be: 1 to 1000 either way.
    #[must_use]
    pub fn clamped(cols: u32, rows: u32) -> Self {
        let clamp = |cells: u32| u16::try_from(cells.clamp(1, SIZE_MAX)).unwrap_or(u16::MAX);
        Self { cols: clamp(cols), rows: clamp(rows) }
    }

    /// Columns.
    #[must_use]
    pub fn cols(self) -> u16 {
        self.cols
    }

    /// Rows.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// A live shell: its bytes and its supervisor.
pub struct Shell {
    /// Where its bytes go and come from.
    pub stream: Stream,
    /// What watches over it.
    pub supervisor: Supervisor,
}

/// The agent's end of a shell's standard streams.
pub enum Stream {
    /// One terminal.
    Terminal(pty_process::Pty),
    /// Standard input (until its end), output and error, each on its own.
    Pipes {
        /// Closed by dropping it.
        stdin: Option<pipe::Sender>,
        /// `None` after its end.
        stdout: Option<pipe::Receiver>,
        /// `None` after its end.
        stderr: Option<pipe::Receiver>,
    },
}

/// How a shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with its status.
    Status(i32),
    /// By a signal, with its number.
    Signal(i32),
    /// The supervisor was killed, and everything with it.
    Lost,
    /// A job's sandbox ended it, or did not begin it.
    Because(Code),
}

/// The agent's line to whatever keeps a session's processes. Dropping it ends the session.
#[derive(Debug)]
pub enum Keeper {
    /// A supervisor, around a shell or a command.
    Supervisor(Supervisor),
    /// A sandbox, around a job.
    Sandbox(Box<Sandbox>),
}

impl Keeper {
    /// Asks for the end of everything that the session started.
    pub(crate) fn end(&self) {
        match self {
            Self::Supervisor(supervisor) => supervisor.end(),
            Self::Sandbox(sandbox) => sandbox.cancel(),
        }
    }

    /// Sends a signal to the shell's process group. A job takes none.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        match self {
            Self::Supervisor(supervisor) => supervisor.signal(signal),
            Self::Sandbox(_) => tracing::debug!("a job takes no signals"),
        }
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        match self {
            Self::Supervisor(supervisor) => supervisor.poll_exited(cx),
            Self::Sandbox(sandbox) => sandbox.poll_ended(cx),
        }
    }
}

impl From<Supervisor> for Keeper {
    fn from(supervisor: Supervisor) -> Self {
        Self::Supervisor(supervisor)
    }
}

/// The agent's line to a supervisor. Dropping it ends the session.
#[derive(Debug)]
pub struct Supervisor {
    control: UnixStream,
    message: [u8; ExitMessage::LEN],
    received: usize,
}

impl Supervisor {
    fn new(control: UnixStream) -> Self {
        Self { control, message: [0; ExitMessage::LEN], received: 0 }
    }

    /// Asks for the end of everything that the session started: hang up, then kill.
    pub fn end(&self) {
        self.command(&[COMMAND_END]);
    }

    /// Sends a signal to the shell's process group.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Ok(number) = u8::try_from(signal.as_raw()) {
            self.command(&[COMMAND_SIGNAL, number]);
        }
    }

    /// Tells the supervisor; one that no longer listens has ended the session already.
    fn command(&self, command: &[u8]) {
        if let Err(error) = self.control.try_write(command) {
            tracing::debug!(%error, "supervisor takes no command");
        }
    }

    /// Waits for the shell's end.
    pub async fn exited(&mut self) -> Exit {
        std::future::poll_fn(|cx| self.poll_exited(cx)).await
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        while self.received < ExitMessage::LEN {
            let mut buffer = ReadBuf::new(&mut self.message[self.received..]);
            let read = std::pin::Pin::new(&mut self.control).poll_read(cx, &mut buffer);
            match ready!(read) {
                Ok(()) if !buffer.filled().is_empty() => self.received += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(Exit::Lost),
            }
        }
        Poll::Ready(match ExitMessage::decode(self.message) {
            ExitMessage::Status(status) => Exit::Status(status),
            ExitMessage::Signal(signal) => Exit::Signal(signal),
        })
    }

    /// Waits until nothing is left of what the session started.
    ///
    /// # Errors
    /// Whatever the socket fails with; then the supervisor is gone as well.
    pub async fn gone(&mut self) -> io::Result<()> {
        let mut rest = [0_u8; ExitMessage::LEN];
        loop {
            self.control.readable().await?;
            match self.control.try_read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It ended before it had read the last command.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Largest terminal either way; xterm.js and the screen model allocate each cell.
const SIZE_MAX: u32 = 1000;
