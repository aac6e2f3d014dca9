//! A session as the measurements see it: bytes to it, bytes from it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use crate::far;

/// How long anything may take before it counts as broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One open session.
pub trait Terminal: Send {
    /// Types.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// What can be read when there is output.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Appends the output that is there, once [`Self::fd`] can be read.
    ///
    /// # Errors
    /// The session ended.
    fn take(&mut self, into: &mut Vec<u8>) -> Result<()>;

    /// Waits for output until a deadline and appends it; appends nothing where none came.
    ///
    /// # Errors
    /// The session ended.
    fn read(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Result<()> {
        if wait_readable(self.fd(), deadline)? { self.take(into) } else { Ok(()) }
    }

    /// The process that shows the session, where there is one.
    fn client(&self) -> Option<u32> {
        None
    }
}

/// Reads until a text is shown, and returns everything that was read.
pub fn wait_for(terminal: &mut dyn Terminal, text: &[u8]) -> Result<Vec<u8>> {
    wait_until(terminal, |shown| contains(shown, text))
}

/// Reads until a shell shows its prompt.
pub fn wait_for_prompt(terminal: &mut dyn Terminal) -> Result<Vec<u8>> {
    wait_until(terminal, |shown| shown.ends_with(b"$ ") || shown.ends_with(b"# "))
}

/// Puts the far end's program in the shell's place.
pub fn start_far(terminal: &mut dyn Terminal, part: &str) -> Result<()> {
    let program = std::env::current_exe()?;
    terminal.send(format!("exec '{}' far {part}\r", program.display()).as_bytes())?;
    wait_for(terminal, far::READY).map(drop)
}

/// Tells whether bytes hold a text.
pub fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Waits until a descriptor can be read, or a deadline.
pub fn wait_readable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<bool> {
    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
    let ready = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&left))?;
    Ok(ready > 0)
}

fn wait_until(terminal: &mut dyn Terminal, mut done: impl FnMut(&[u8]) -> bool) -> Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut shown = Vec::new();
    while !done(&shown) {
        if Instant::now() >= deadline {
            bail!(
                "this came instead of what was waited for: {:?}",
                String::from_utf8_lossy(&shown)
            );
        }
        terminal.read(&mut shown, deadline)?;
    }
    Ok(shown)
}

/// Lets time pass: what is measured has no event to wait for.
pub fn pause(time: Duration) -> Result<()> {
    poll(&mut [], Some(&Timespec::try_from(time)?))?;
    Ok(())
}
