//! A session shown by a command-line client: the client runs under a terminal of ours.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::process::Child;

use anyhow::{Context, Result, bail};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::fd::{AsFd, BorrowedFd};

use crate::terminal::Terminal;

/// The size of every measured terminal.
pub const SIZE: (u16, u16) = (24, 80);

/// What one read takes at most.
const READ: usize = 64 * 1024;

/// A client under a terminal; it is ended with this value.
pub struct Client {
    pty: Pty,
    process: Child,
}

impl Client {
    /// Starts a client.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        args: &[A],
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let (pty, pts) = open().context("opening a terminal")?;
        pty.resize(Size::new(SIZE.0, SIZE.1))?;
        let command = Command::new(program.as_ref()).args(args).envs(env.iter().copied());
        let process =
            command.spawn(pts).with_context(|| format!("starting {:?}", program.as_ref()))?;
        Ok(Self { pty, process })
    }
}

impl Terminal for Client {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.pty.write_all(bytes)?)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.pty.as_fd()
    }

    fn take(&mut self, into: &mut Vec<u8>) -> Result<()> {
        let start = into.len();
        into.resize(start + READ, 0);
        let count = match self.pty.read(&mut into[start..]) {
            Ok(0) => bail!("the client ended"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error).context("the client ended"),
        };
        into.truncate(start + count);
        Ok(())
    }

    fn client(&self) -> Option<u32> {
        Some(self.process.id())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A client that has ended by itself cannot be ended again; either way it is collected.
        if self.process.kill().is_ok() {
            drop(self.process.wait());
        }
    }
}
