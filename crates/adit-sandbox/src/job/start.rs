//! Forks the first process of the new namespaces and gives it its account.

use std::os::fd::OwnedFd;

use adit_wire::sandbox::{Layer, Plan, Refusal};
use nix::libc;
use rustix::fs::{Gid, Uid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open, set_dumpable_behavior};

use crate::cgroup::{Controller, Groups};
use crate::init::{self, Inside};
use crate::kernel::{self, Side};
use crate::limits::Grouped;
use crate::refuse::unavailable;
use crate::word::{Hearing, Words};

/// The first process of a job, and what this one hears of it.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) handle: OwnedFd,
    pub(crate) words: Hearing,
    /// The inside dies when it closes.
    _outside: OwnedFd,
}

/// Starts the inside; from here on it tells by itself how far it got.
pub(crate) fn start(plan: &Plan, groups: &Groups) -> Result<Started, Refusal> {
    let account = account(plan).map_err(|error| unavailable(Layer::UserNamespace, &error))?;
    let pids = |error: std::io::Error| unavailable(Layer::PidNamespace, &error);
    let (words, words_inside) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| pids(error.into()))?;
    let (outside, outside_end) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| pids(error.into()))?;
    let doors = groups.doors().map_err(|error| unavailable(Layer::MemoryGroup, &error))?;
    let grouped = Grouped {
        memory: groups.limits(Controller::Memory),
        pids: groups.limits(Controller::Pids),
    };
    let side = kernel::fork_into(namespaces(plan), groups.unified());
    match side.map_err(|error| unavailable(Layer::UserNamespace, &error))? {
        Side::Child => {
            drop((outside_end, words));
            let words = Words::new(words_inside);
            let account = account.must_change.then_some((account.uid, account.gid));
            init::serve(Inside { plan, account, grouped, doors, words, outside })
        }
        Side::Parent(pid) => {
            drop((words_inside, outside, doors));
            write_maps(pid, &account).map_err(|error| unavailable(Layer::UserNamespace, &error))?;
            // Neither another job of this account nor the job itself reads or traces what is outside.
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
            let _ = leave_output();
            let _ = rustix::io::write(&outside_end, b"!");
            let handle =
                pidfd_open(pid, PidfdFlags::empty()).map_err(|error| pids(error.into()))?;
            Ok(Started { pid, handle, words: Hearing::new(words), _outside: outside_end })
        }
    }
}

/// Whom the job is.
#[derive(Clone, Copy, Debug)]
struct Identity {
    uid: Uid,
    gid: Gid,
    /// Whether this process is root and the inside has to become it.
    must_change: bool,
}

/// The plan's account or nobody, where this process is root; else its own, since it can be no other.
fn account(plan: &Plan) -> rustix::io::Result<Identity> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if !uid.is_root() {
        return Ok(Identity { uid, gid, must_change: false });
    }
    rustix::thread::set_thread_groups(&[])?;
    let (uid, gid) = match plan.account {
        Some(account) => (Uid::from_raw(account.uid.get()), Gid::from_raw(account.gid.get())),
        None => (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)),
    };
    Ok(Identity { uid, gid, must_change: true })
}

fn namespaces(plan: &Plan) -> libc::c_int {
    let network = if plan.allow_network { 0 } else { libc::CLONE_NEWNET };
    network
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
}

/// The one account that exists inside is the same as outside, and there is no root.
fn write_maps(pid: Pid, account: &Identity) -> std::io::Result<()> {
    let folder = format!("/proc/{}", pid.as_raw_pid());
    let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
    std::fs::write(format!("{folder}/setgroups"), "deny")?;
    std::fs::write(format!("{folder}/uid_map"), format!("{uid} {uid} 1"))?;
    std::fs::write(format!("{folder}/gid_map"), format!("{gid} {gid} 1"))
}

/// Lets go of the job's output, whose end is the end of the job's last writer.
fn leave_output() -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// `nobody` and `nogroup` where they have numbers of their own, and nobody's where they have not.
const NOBODY: u32 = 65534;
