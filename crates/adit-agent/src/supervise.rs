//! The processes between the agent and its shells.
//!
//! 1. The agent starts its own binary once as the *spawner* (`adit __supervise`): one thread, no environment, nothing open.
//! 2. For each session the agent sends the spawner the session's descriptors; it forks a *supervisor*. A fork costs a session
//!    some pages; starting the binary again would cost it the whole table of relocations.
//! 3. The supervisor is the subreaper of its session. It forks the child that becomes the shell (`child.rs`), tells the agent
//!    how the shell ended, and kills whatever the session started (`descendants.rs`) when the shell ends, when the agent says so,
//!    or when the agent is gone.
//!
//! None of them has threads, so forking is sound, and none may panic: what fails is reported or ends the session.

mod child;
mod descendants;
mod spawner;
mod supervisor;
mod user;

pub(crate) use child::{READY, REFUSED_ACCOUNT, Request};
pub(crate) use supervisor::{COMMAND_END, COMMAND_SIGNAL, ExitMessage};

use std::os::fd::OwnedFd;

/// The hidden subcommand under which the binary is the spawner.
pub const SUBCOMMAND: &str = "__supervise";

/// Serves as the spawner and ends the process when the binary was started as one; returns at once otherwise.
///
/// A binary that runs the agent calls it first thing in its `main`, before there are threads.
pub fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == SUBCOMMAND) {
        let status = match spawner::serve() {
            Ok(()) => 0,
            Err(_) => 1,
        };
        std::process::exit(status);
    }
}

/// The descriptors of one session, in the order in which the agent sends them.
#[derive(Debug)]
struct Descriptors {
    /// Stream: commands from the agent, the exit message to it. Its end tells each side of the other's.
    control: OwnedFd,
    /// Stream: the request to the child, and whether it became the shell or why not.
    report: OwnedFd,
    /// One terminal for all three, or standard input, output and error.
    stdio: Stdio,
}

#[derive(Debug)]
enum Stdio {
    Terminal(OwnedFd),
    Pipes([OwnedFd; 3]),
}

/// The most descriptors that a spawn message carries.
const DESCRIPTORS_MAX: usize = 5;
