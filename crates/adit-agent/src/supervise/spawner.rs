//! The spawner: forks a supervisor for each message of the agent.

use super::child::FAILED;
use super::descendants::kill_all_but;
use super::{DESCRIPTORS_MAX, Descriptors, Stdio, supervisor};
use fork::Fork;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, WaitOptions};
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Serves until the agent is gone and every supervisor has finished.
pub(super) fn serve() -> io::Result<()> {
    let children = prepare()?;
    let mut supervisors: Vec<Pid> = Vec::new();
    let mut agent_lives = true;
    while agent_lives || !supervisors.is_empty() {
        let (message, child) = wait(agent_lives, &children)?;
        if child {
            reap(&children, &mut supervisors);
        }
        if message {
            match receive(rustix::stdio::stdin())? {
                Some(descriptors) => start(descriptors, &children, &mut supervisors),
                None => agent_lives = false,
            }
        }
    }
    Ok(())
}

/// Makes the process unreadable, deaf to the terminal's signals and the parent of what a killed supervisor leaves.
fn prepare() -> io::Result<SignalFd> {
    close_fds::set_fds_cloexec(3, &[]);
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // A process-group leader may not make a session; then it already has a group of its own.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    catch_what_exec_should_reset()?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block()?;
    Ok(SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Catches each signal that the agent's starter may have left ignored: exec gives a caught signal its default again,
/// an ignored one stays ignored, and then Ctrl-C would not end a command.
fn catch_what_exec_should_reset() -> io::Result<()> {
    use signal_hook::consts::signal::{
        SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN,
        SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
    };
    let nobody_looks = Arc::new(AtomicBool::new(false));
    for signal in [
        SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN,
        SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&nobody_looks))?;
    }
    Ok(())
}

/// Waits for the agent's next message (while it lives) or a child's end.
fn wait(agent_lives: bool, children: &SignalFd) -> io::Result<(bool, bool)> {
    let stdin = rustix::stdio::stdin();
    let mut fds = [
        PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(stdin, PollFlags::IN),
    ];
    let watched = if agent_lives { &mut fds[..] } else { &mut fds[..1] };
    match poll(watched, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok((!fds[1].revents().is_empty(), !fds[0].revents().is_empty()))
}

/// Receives one session's descriptors; `None` when the agent is gone.
fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Descriptors>> {
    let mut kind = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut kind)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    match received {
        Ok(message) if message.bytes == 0 => return Ok(None),
        Ok(_) => {}
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut fds: Vec<OwnedFd> = Vec::with_capacity(DESCRIPTORS_MAX);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    descriptors(fds).map(Some)
}

fn descriptors(fds: Vec<OwnedFd>) -> io::Result<Descriptors> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or(io::ErrorKind::InvalidData);
    let (control, report, first) = (next()?, next()?, next()?);
    let stdio = match (next(), next()) {
        (Ok(second), Ok(third)) => Stdio::Pipes([first, second, third]),
        _ => Stdio::Terminal(first),
    };
    Ok(Descriptors { control, report, stdio })
}

/// Forks the supervisor. What fails is told to the agent; the spawner goes on.
fn start(descriptors: Descriptors, children: &SignalFd, supervisors: &mut Vec<Pid>) {
    match fork::fork() {
        Ok(Fork::Child) => supervisor::run(descriptors, children),
        Ok(Fork::Parent(pid)) => supervisors.extend(Pid::from_raw(pid)),
        Err(error) => {
            let mut report = UnixStream::from(descriptors.report);
            // The agent may be gone; then nobody is there to tell.
            let _ = write!(report, "{FAILED}{error}");
        }
    }
}

/// Collects ended children. What a killed supervisor left behind is now the spawner's: it is killed too.
fn reap(children: &SignalFd, supervisors: &mut Vec<Pid>) {
    while let Ok(Some(_)) = children.read_signal() {}
    let mut a_supervisor_ended = false;
    while let Ok(Some((pid, _))) = rustix::process::wait(WaitOptions::NOHANG) {
        let before = supervisors.len();
        supervisors.retain(|supervisor| *supervisor != pid);
        a_supervisor_ended |= supervisors.len() != before;
    }
    if a_supervisor_ended {
        kill_all_but(supervisors);
    }
}
