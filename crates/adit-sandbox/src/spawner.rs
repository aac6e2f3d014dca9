//! The spawner: forks a sandbox for each message of the agent.
//!
//! Forking a process that waits costs a job some pages; starting the binary again costs it the whole table of relocations.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::kernel::{self, Side};

/// Serves until the agent is gone. Each message carries three descriptors: the channel of one job, its output and its error output.
pub(crate) fn serve() -> io::Result<()> {
    kernel::let_children_go();
    rustix::process::chdir("/")?;
    loop {
        match receive()? {
            Message::Job(descriptors) => start(descriptors),
            // Who sends anything else loses one job: the channel closes with its descriptors.
            Message::Nothing => {}
            Message::End => return Ok(()),
        }
    }
}

enum Message {
    Job([OwnedFd; DESCRIPTORS]),
    Nothing,
    End,
}

fn receive() -> io::Result<Message> {
    let mut kind = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let socket = rustix::stdio::stdin();
    let mut bytes = [IoSliceMut::new(&mut kind)];
    match recvmsg(socket, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) if message.bytes == 0 => return Ok(Message::End),
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Message::Nothing),
        Err(rustix::io::Errno::CONNRESET) => return Ok(Message::End),
        Err(error) => return Err(error.into()),
    }
    let mut descriptors: Vec<OwnedFd> = Vec::with_capacity(DESCRIPTORS);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(descriptors.try_into().map_or(Message::Nothing, Message::Job))
}

/// Forks the sandbox of one job. Where that fails the job's channel closes, which the agent sees.
fn start(descriptors: [OwnedFd; DESCRIPTORS]) {
    if let Ok(Side::Child) = kernel::fork_into(0, None) {
        let served = std::panic::catch_unwind(|| become_sandbox(descriptors));
        kernel::exit_now(if matches!(served, Ok(Ok(()))) { 0 } else { 1 });
    }
}

/// Stands where a process that was started for this one job would.
fn become_sandbox(descriptors: [OwnedFd; DESCRIPTORS]) -> io::Result<()> {
    let [channel, output, errors] = kernel::keep_only(descriptors)?;
    rustix::stdio::dup2_stdin(&channel)?;
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&errors)?;
    drop((channel, output, errors));
    crate::serve(&[])
}

/// The channel, the output, the error output.
const DESCRIPTORS: usize = 3;
