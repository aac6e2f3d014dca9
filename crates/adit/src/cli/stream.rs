//! The standard streams of a session's client, without a thread between them and the socket.
//!
//! A terminal or pipe is opened once more and read and written without blocking, so that the descriptor that the user's shell
//! shares with us stays as it is. A file is read and written in place, because it is always ready. Anything else that cannot be
//! opened once more (a socket) is read by a thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::connect::raw::reopen;

/// How much is read at once, in bytes: a pipe's whole buffer.
pub const READ: usize = 64 * 1024;

/// How many pieces a reading thread may be ahead.
const AHEAD: usize = 2;

/// Standard input.
#[derive(Debug)]
pub struct Input(Source);

#[derive(Debug)]
enum Source {
    /// A terminal or a pipe.
    Ready(AsyncFd<OwnedFd>),
    /// A file.
    Plain,
    /// What only a thread can read.
    Thread { pieces: mpsc::Receiver<io::Result<Vec<u8>>>, rest: Vec<u8> },
}

impl Input {
    /// Opens standard input.
    ///
    /// # Errors
    /// It is closed.
    pub fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&stdin)?.st_mode);
        if kind == FileType::RegularFile {
            return Ok(Self(Source::Plain));
        }
        let opened =
            reopen(&stdin, OFlags::RDONLY).ok().and_then(|fd| watch(fd, Interest::READABLE));
        Ok(Self(opened.map_or_else(read_by_thread, Source::Ready)))
    }

    /// Reads what is there, waiting for the first byte; 0 is the end. Cancelling it loses nothing.
    ///
    /// # Errors
    /// What the system says.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Ready(fd) => read_ready(fd, into).await,
            Source::Plain => Ok(rustix::io::read(io::stdin(), into)?),
            Source::Thread { pieces, rest } => {
                if rest.is_empty() {
                    *rest = pieces.recv().await.transpose()?.unwrap_or_default();
                }
                let taken = rest.len().min(into.len());
                into[..taken].copy_from_slice(&rest[..taken]);
                rest.drain(..taken);
                Ok(taken)
            }
        }
    }
}

/// Waits for a descriptor through the runtime; a file or a device that is always ready cannot be waited for.
#[expect(deprecated, reason = "an OwnedFd keeps what the unsafe successor asks for")]
fn watch(fd: OwnedFd, interest: Interest) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest).ok()
}

async fn read_ready(fd: &AsyncFd<OwnedFd>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = fd.readable().await?;
        let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *into)?));
        match read {
            Ok(Err(cause)) if cause.kind() == io::ErrorKind::Interrupted => {}
            // A terminal whose other side is gone says EIO: the end.
            Ok(Err(cause)) if cause.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Ok(0);
            }
            Ok(read) => return read,
            Err(_would_block) => {}
        }
    }
}

fn read_by_thread() -> Source {
    let (to, pieces) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; READ];
            let read = io::Read::read(&mut io::stdin().lock(), &mut piece);
            let is_last = !matches!(read, Ok(1..));
            let told = read.map(|length| {
                piece.truncate(length);
                piece
            });
            if to.blocking_send(told).is_err() || is_last {
                return;
            }
        }
    });
    Source::Thread { pieces, rest: Vec::new() }
}

/// Standard output or standard error: takes everything at once, and writes it as fast as its reader reads.
#[derive(Debug)]
pub struct Sink {
    out: Out,
    waiting: VecDeque<(u64, Bytes)>,
}

/// Where bytes go.
#[derive(Debug)]
enum Out {
    /// A terminal or a pipe that took everything so far. The runtime does not watch it, so it does not wake us whenever its reader reads.
    Open(OwnedFd),
    /// One that is full.
    Full(AsyncFd<OwnedFd>),
    /// A file, or what cannot be opened once more: written in place.
    Stdout,
    /// See [`Out::Stdout`].
    Stderr,
}

impl Sink {
    /// Opens standard output.
    pub fn stdout() -> Self {
        Self::open(io::stdout().as_fd(), Out::Stdout)
    }

    /// Opens standard error.
    pub fn stderr() -> Self {
        Self::open(io::stderr().as_fd(), Out::Stderr)
    }

    fn open(fd: BorrowedFd<'_>, in_place: Out) -> Self {
        let is_file = rustix::fs::fstat(fd)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let opened = (!is_file).then(|| reopen(fd, OFlags::WRONLY).ok()).flatten();
        Self { out: opened.map_or(in_place, Out::Open), waiting: VecDeque::new() }
    }

    /// Takes bytes that stand at a position of the session, and writes what its reader takes now.
    ///
    /// # Errors
    /// Its reader is gone, or the disk is full.
    pub fn take(&mut self, position: u64, bytes: Bytes) -> io::Result<()> {
        self.waiting.push_back((position, bytes));
        if self.waiting.len() == 1 { self.write() } else { Ok(()) }
    }

    /// Gives the position of the first byte that is not written.
    pub fn unwritten(&self) -> Option<u64> {
        self.waiting.front().map(|(position, _)| *position)
    }

    /// Waits until its reader takes more, and writes. Waits for ever while there is nothing to write.
    ///
    /// # Errors
    /// As [`Sink::take`].
    pub async fn drain(&mut self) -> io::Result<()> {
        let Out::Full(fd) = &self.out else { return std::future::pending().await };
        fd.writable().await?.clear_ready();
        self.write()
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// As [`Sink::take`].
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.drain().await?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        while let Some((position, bytes)) = self.waiting.front_mut() {
            match self.out.write(bytes) {
                Ok(written) => {
                    bytes.advance(written);
                    *position += written as u64;
                    if bytes.is_empty() {
                        self.waiting.pop_front();
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return self.fill(),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        self.empty();
        Ok(())
    }

    /// Has the runtime watch a full one.
    fn fill(&mut self) -> io::Result<()> {
        self.out = match std::mem::replace(&mut self.out, Out::Stdout) {
            Out::Open(fd) => {
                Out::Full(watch(fd, Interest::WRITABLE).ok_or(io::ErrorKind::WouldBlock)?)
            }
            other => other,
        };
        Ok(())
    }

    fn empty(&mut self) {
        self.out = match std::mem::replace(&mut self.out, Out::Stdout) {
            Out::Full(fd) => Out::Open(fd.into_inner()),
            other => other,
        };
    }
}

impl Out {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(match self {
            Self::Open(fd) => rustix::io::write(fd, bytes)?,
            Self::Full(fd) => rustix::io::write(fd, bytes)?,
            Self::Stdout => rustix::io::write(io::stdout(), bytes)?,
            Self::Stderr => rustix::io::write(io::stderr(), bytes)?,
        })
    }
}
