//! The agent's end of the spawner process.

use super::{Command, Shell, Size, Stream, Supervisor, is_allowed};
use crate::forker::{Forker, output_pipe};
use crate::supervise::{self, READY, REFUSED_ACCOUNT, Request};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// Opens shells through a process of its own, which is started again when it has died.
#[derive(Debug)]
pub struct Spawner {
    forker: Forker,
}

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The machine has no terminal, pipe or process left; another time it may.
    #[error("the machine can't open a shell now: {0}")]
    Exhausted(#[source] io::Error),
    /// The spawner process is gone and can't be started again.
    #[error("the process that opens shells can't be started: {0}")]
    Spawner(#[source] io::Error),
    /// The account can't be taken on; the sentence says why.
    #[error("{0}")]
    Account(String),
    /// The program can't be run; the sentence says why.
    #[error("{0}")]
    Program(String),
}

impl Spawner {
    /// Starts this very binary as the spawner.
    ///
    /// # Errors
    /// Fails when the process can't be started.
    pub fn start() -> io::Result<Self> {
        Self::with_program(PathBuf::from("/proc/self/exe"))
    }

    /// Starts a binary that calls [`supervise::main`] as the spawner.
    ///
    /// # Errors
    /// Fails when the process can't be started.
    pub fn with_program(program: PathBuf) -> io::Result<Self> {
        Forker::start(program, &[supervise::SUBCOMMAND]).map(|forker| Self { forker })
    }

    /// Gives the binary that it starts.
    pub(crate) fn program(&self) -> &Path {
        self.forker.program()
    }

    /// Opens a shell or runs a command.
    ///
    /// # Errors
    /// `Exhausted` and `Spawner` may be tried again; the others say what is wrong with the command.
    pub async fn spawn(&self, command: &Command) -> Result<Shell, SpawnError> {
        let (control, theirs) = UnixStream::pair().map_err(SpawnError::Exhausted)?;
        let (mut report, child_report) = UnixStream::pair().map_err(SpawnError::Exhausted)?;
        let (stream, stdio) = open_stream(command.terminal).map_err(SpawnError::Exhausted)?;
        let mut fds = vec![blocking(theirs)?, blocking(child_report)?];
        fds.extend(stdio);
        self.forker.send(&fds).await.map_err(SpawnError::Spawner)?;
        drop(fds);
        write_request(&mut report, command).await.map_err(SpawnError::Exhausted)?;
        let mut refusal = String::new();
        report.read_to_string(&mut refusal).await.map_err(SpawnError::Exhausted)?;
        let is_ready = refusal.starts_with(char::from(READY));
        let mut sentence = refusal.trim_start_matches(char::from(READY)).chars();
        match sentence.next() {
            None if is_ready => Ok(Shell { stream, supervisor: Supervisor::new(control) }),
            None => Err(SpawnError::Spawner(io::ErrorKind::UnexpectedEof.into())),
            Some(REFUSED_ACCOUNT) => Err(SpawnError::Account(sentence.collect())),
            Some(_) => Err(SpawnError::Program(sentence.collect())),
        }
    }
}

/// Opens the agent's ends of the standard streams and the child's.
fn open_stream(terminal: Option<Size>) -> io::Result<(Stream, Vec<OwnedFd>)> {
    if let Some(size) = terminal {
        let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
        pty.resize(pty_process::Size::new(size.rows(), size.cols())).map_err(io::Error::other)?;
        return Ok((Stream::Terminal(pty), vec![pts.as_fd().try_clone_to_owned()?]));
    }
    let (stdin, child_stdin) =
        pipe::pipe().and_then(|(ours, theirs)| Ok((ours, theirs.into_blocking_fd()?)))?;
    let (stdout, child_stdout) = output_pipe()?;
    let (stderr, child_stderr) = output_pipe()?;
    let stream = Stream::Pipes { stdin: Some(stdin), stdout: Some(stdout), stderr: Some(stderr) };
    Ok((stream, vec![child_stdin, child_stdout, child_stderr]))
}

fn blocking(socket: UnixStream) -> Result<OwnedFd, SpawnError> {
    let socket = socket.into_std().map_err(SpawnError::Exhausted)?;
    socket.set_nonblocking(false).map_err(SpawnError::Exhausted)?;
    Ok(socket.into())
}

async fn write_request(report: &mut UnixStream, command: &Command) -> io::Result<()> {
    let env = command.env.iter().filter(|(name, value)| is_allowed(name, value)).cloned().collect();
    let request =
        Request { command: command.arguments.clone(), env, run_as: command.run_as.clone() };
    report.write_all(&serde_json::to_vec(&request)?).await?;
    report.shutdown().await
}
