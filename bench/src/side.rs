//! Moves bytes between two descriptors, with a bound on what waits.

use std::io::{self, ErrorKind, Read, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};

/// Reading from one side stops while this much waits for the other: what a relay would hold for one slow peer.
const WINDOW: usize = 256 * 1024;

/// What one read takes at most.
const READ: usize = 64 * 1024;

/// One end of a relay. Nothing here blocks.
pub trait Side {
    /// What is waited for.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Appends what is there; an end is an error.
    fn take(&mut self, into: &mut Vec<u8>) -> io::Result<()>;
    /// Queues bytes and writes what can be written.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Bytes that wait to be written.
    fn waiting(&self) -> usize;
}

/// A descriptor without a protocol: a terminal.
pub struct Plain<F> {
    file: F,
    queue: Vec<u8>,
}

impl<F> Plain<F> {
    /// Wraps a descriptor that does not block.
    pub fn new(file: F) -> Self {
        Self { file, queue: Vec::new() }
    }
}

impl<F: Read + Write + AsFd> Side for Plain<F> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn take(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let start = into.len();
        into.resize(start + READ, 0);
        let read = self.file.read(&mut into[start..]);
        into.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.queue.extend_from_slice(bytes);
        let mut written = 0;
        while written < self.queue.len() {
            match self.file.write(&self.queue[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.queue.drain(..written);
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Carries bytes both ways until one side ends.
pub fn relay(mut left: impl Side, mut right: impl Side) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(READ);
    loop {
        let flags = |side: &dyn Side, other: &dyn Side| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, other.waiting() < WINDOW);
            flags.set(PollFlags::OUT, side.waiting() > 0);
            flags
        };
        let (wants_left, wants_right) = (flags(&left, &right), flags(&right, &left));
        let (left_ready, right_ready) = {
            let mut fds = [
                PollFd::from_borrowed_fd(left.fd(), wants_left),
                PollFd::from_borrowed_fd(right.fd(), wants_right),
            ];
            poll(&mut fds, None)?;
            (fds[0].revents(), fds[1].revents())
        };
        carry(left_ready, &mut left, &mut right, &mut bytes)?;
        carry(right_ready, &mut right, &mut left, &mut bytes)?;
    }
}

fn carry(
    ready: PollFlags,
    from: &mut impl Side,
    to: &mut impl Side,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    if ready.contains(PollFlags::OUT) {
        from.put(&[])?;
    }
    if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
        bytes.clear();
        let taken = from.take(bytes);
        to.put(bytes)?;
        taken?;
    }
    Ok(())
}
