//! The agent's end of a process that forks another for each message: starting this binary anew would cost each its whole table of relocations.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

/// A process that forks, which is started with the first message or before, and again when it has died.
#[derive(Debug)]
pub(crate) struct Forker {
    program: PathBuf,
    arguments: &'static [&'static str],
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    socket: UnixStream,
    /// Held so that the runtime reaps it.
    _child: tokio::process::Child,
}

impl Forker {
    /// Makes one whose process starts with its first message.
    pub(crate) fn new(program: PathBuf, arguments: &'static [&'static str]) -> Self {
        Self { program, arguments, process: Mutex::new(None) }
    }

    /// Makes one whose process is there already.
    ///
    /// # Errors
    /// Fails when the process can't be started.
    pub(crate) fn start(program: PathBuf, arguments: &'static [&'static str]) -> io::Result<Self> {
        let process = Mutex::new(Some(Process::start(&program, arguments)?));
        Ok(Self { program, arguments, process })
    }

    /// Gives the binary that it starts.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Hands descriptors to the process, to a new one if the old one has died.
    ///
    /// # Errors
    /// Fails when the process can't be started.
    pub(crate) async fn send(&self, fds: &[OwnedFd]) -> io::Result<()> {
        let mut process = self.process.lock().await;
        if let Some(process) = &*process {
            if process.send(fds).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(arguments = ?self.arguments, "a process that forks has died and is started again");
        }
        let fresh = process.insert(Process::start(&self.program, self.arguments)?);
        fresh.send(fds).await
    }
}

impl Process {
    fn start(program: &Path, arguments: &[&str]) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        theirs.set_nonblocking(false)?;
        let child = tokio::process::Command::new(program)
            .arg0("adit")
            .args(arguments)
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

/// Opens a pipe: the agent's end, and the end that a program writes to.
pub(crate) fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (theirs, ours) = pipe::pipe()?;
    Ok((ours, theirs.into_blocking_fd()?))
}
