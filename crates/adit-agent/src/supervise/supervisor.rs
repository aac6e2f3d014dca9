//! The supervisor of one session: a few pages of memory, one poll loop.

use super::child::FAILED;
use super::descendants::{kill_all, signal_all};
use super::{Descriptors, child};
use fork::Fork;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Ends the session: hang up, then kill.
pub(crate) const COMMAND_END: u8 = b'E';
/// Followed by one byte, the number of a signal for the shell's process group.
pub(crate) const COMMAND_SIGNAL: u8 = b'S';

/// How the shell ended, as the supervisor tells the agent.
///
/// `[kind: u8][value: i32 BE]`: kind 0 with an exit status, kind 1 with the number of the signal that killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitMessage {
    Status(i32),
    Signal(i32),
}

impl ExitMessage {
    /// The size of a message.
    pub(crate) const LEN: usize = 5;

    fn encode(self) -> [u8; Self::LEN] {
        let (kind, value) = match self {
            Self::Status(status) => (0, status),
            Self::Signal(signal) => (1, signal),
        };
        let [a, b, c, d] = value.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// Reads a message; kinds but the two do not occur.
    pub(crate) fn decode([kind, a, b, c, d]: [u8; Self::LEN]) -> Self {
        let value = i32::from_be_bytes([a, b, c, d]);
        if kind == 0 { Self::Status(value) } else { Self::Signal(value) }
    }
}

/// Becomes the supervisor of a session and never returns to the spawner's loop.
pub(super) fn run(descriptors: Descriptors, children: &SignalFd) -> ! {
    let status = match supervise(descriptors, children) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(status)
}

fn supervise(descriptors: Descriptors, children: &SignalFd) -> io::Result<()> {
    leave_the_spawner()?;
    let Descriptors { control, report, stdio } = descriptors;
    let shell = match fork::fork() {
        Ok(Fork::Child) => child::become_shell(report, stdio),
        Ok(Fork::Parent(pid)) => Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?,
        Err(error) => {
            // The agent may be gone; then nobody is there to tell.
            let _ = write!(UnixStream::from(report), "{FAILED}{error}");
            return Err(error);
        }
    };
    drop((report, stdio));
    let mut control = UnixStream::from(control);
    control.set_nonblocking(true)?;
    let ended = watch(&mut control, children, shell);
    end_all(children, &mut control, shell);
    ended
}

/// Lets go of the spawner's socket and session, so that neither its end nor a signal to its group reaches this process.
fn leave_the_spawner() -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Serves the agent's commands until the shell has ended, the agent wants the end, or the agent is gone.
fn watch(control: &mut UnixStream, children: &SignalFd, shell: Pid) -> io::Result<()> {
    loop {
        wait(children, Some(control), None)?;
        if reap(children, control, shell) == Reaped::Shell {
            return Ok(());
        }
        let mut command = [0_u8; 1];
        match control.read(&mut command) {
            Ok(1) if command[0] == COMMAND_SIGNAL => forward_signal(control, shell),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends the signal whose number comes next to the shell's process group.
fn forward_signal(control: &mut UnixStream, shell: Pid) {
    let mut number = [0_u8; 1];
    let read = control.read(&mut number);
    if let (Ok(1), Some(signal)) = (read, Signal::from_named_raw(i32::from(number[0]))) {
        // The shell may have ended a moment ago.
        let _ = kill_process_group(shell, signal);
    }
}

/// Hangs up on everything that the session started, then kills it, again and again until nothing is left.
fn end_all(children: &SignalFd, control: &mut UnixStream, shell: Pid) {
    signal_all(Signal::HUP);
    signal_all(Signal::CONT);
    let hung_up = Instant::now();
    let mut kills_without_effect = 0;
    while reap(children, control, shell) != Reaped::All
        && kills_without_effect < KILLS_WITHOUT_EFFECT_MAX
    {
        if hung_up.elapsed() >= HANG_UP_GRACE && kill_all() == 0 {
            kills_without_effect += 1;
        }
        // An error here could only make the loop spin faster; the next round sees the same children.
        let _ = wait(children, None, Some(KILL_INTERVAL));
    }
}

fn wait(
    children: &SignalFd,
    control: Option<&UnixStream>,
    limit: Option<Duration>,
) -> io::Result<()> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let signal = PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN);
    let waited = match control {
        Some(control) => {
            let command = PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN);
            poll(&mut [signal, command], limit.as_ref())
        }
        None => poll(&mut [signal], limit.as_ref()),
    };
    match waited {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaped {
    /// Orphans at most.
    Some,
    /// The shell among them.
    Shell,
    /// No child is left.
    All,
}

/// Collects ended children and tells the agent when the shell is among them.
fn reap(children: &SignalFd, control: &mut UnixStream, shell: Pid) -> Reaped {
    while let Ok(Some(_)) = children.read_signal() {}
    let mut reaped = Reaped::Some;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == shell => {
                // The agent may be gone; then nobody is there to tell.
                let _ = control.write_all(&exit_message(status).encode());
                reaped = Reaped::Shell;
            }
            Ok(Some(_)) => {}
            Ok(None) => return reaped,
            Err(_) if reaped == Reaped::Shell => return Reaped::Shell,
            Err(_) => return Reaped::All,
        }
    }
}

fn exit_message(status: WaitStatus) -> ExitMessage {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => ExitMessage::Status(status),
        (None, Some(signal)) => ExitMessage::Signal(signal),
        (None, None) => ExitMessage::Status(status.as_raw()),
    }
}

/// How long what hung up may take to save its work. A session is gone within a second (SES-15), with the kill after it.
const HANG_UP_GRACE: Duration = Duration::from_millis(250);
/// How long a killed process may take before the next look.
const KILL_INTERVAL: Duration = Duration::from_millis(10);
/// Rounds in which no process could be signalled (another user's, out of reach without privileges) before giving up.
const KILLS_WITHOUT_EFFECT_MAX: u32 = 100;
