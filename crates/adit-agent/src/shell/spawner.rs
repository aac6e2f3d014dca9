//! The agent's end of the spawner process.

use super::{Command, Shell, Size, Stream, Supervisor, is_allowed};
use crate::supervise::{self, READY, REFUSED_ACCOUNT, Request};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

/// Opens shells through a process of its own, which is started again when it has died.
#[derive(Debug)]
pub struct Spawner {
    program: PathBuf,
    process: Mutex<Process>,
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

#[derive(Debug)]
struct Process {
    socket: UnixStream,
    /// Held so that the runtime reaps it.
    _child: tokio::process::Child,
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
        let process = Mutex::new(Process::start(&program)?);
        Ok(Self { program, process })
    }

    /// Gives the binary that it starts.
    pub(crate) fn program(&self) -> &Path {
        &self.program
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
        self.send(&fds).await?;
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

    /// Hands a session's descriptors to the spawner, to a new one if the old one has died.
    async fn send(&self, fds: &[OwnedFd]) -> Result<(), SpawnError> {
        let mut process = self.process.lock().await;
        if process.send(fds).await.is_ok() {
            return Ok(());
        }
        tracing::warn!("the process that opens shells has died and is started again");
        *process = Process::start(&self.program).map_err(SpawnError::Spawner)?;
        process.send(fds).await.map_err(SpawnError::Spawner)
    }
}

impl Process {
    fn start(program: &PathBuf) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let child = tokio::process::Command::new(program)
            .arg0("adit")
            .arg(supervise::SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { socket, _child: child })
    }

    async fn send(&self, fds: &[OwnedFd]) -> io::Result<()> {
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.socket
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                sendmsg(&self.socket, &[IoSlice::new(b"s")], &mut ancillary, flags)
                    .map_err(io::Error::from)
            })
            .await
            .map(drop)
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

fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (theirs, ours) = pipe::pipe()?;
    Ok((ours, theirs.into_blocking_fd()?))
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
