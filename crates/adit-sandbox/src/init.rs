//! The first process inside: it builds the sandbox around itself, starts the job's program, and reaps.
//!
//! When it ends, the kernel kills everything in its process namespace, whatever that did to survive.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use adit_wire::sandbox::{Layer, Plan, Refusal, Resource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Gid, Uid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, set_dumpable_behavior,
    set_parent_process_death_signal, wait,
};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::kernel::{self, Side};
use crate::limits::Grouped;
use crate::refuse::{Holding, unavailable};
use crate::root::{self, Root};
use crate::word::{Status, Word, Words};
use crate::{capability, child};

/// What the outside gives to the inside.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    pub(crate) plan: &'a Plan,
    /// Whom this process becomes, where it is root.
    pub(crate) account: Option<(Uid, Gid)>,
    pub(crate) grouped: Grouped,
    /// Writing `0` to each joins the control groups.
    pub(crate) doors: Vec<OwnedFd>,
    pub(crate) words: Words,
    /// One byte when the account's map is written; its end is the outside's death.
    pub(crate) outside: OwnedFd,
}

/// Serves as the first process of the new namespaces.
pub(crate) fn serve(inside: Inside<'_>) -> ! {
    // The parent's code must not run on in this process, whatever happens.
    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(inside)));
    kernel::exit_now(if served.is_ok() { 0 } else { FAILED })
}

fn run(inside: Inside<'_>) {
    let Inside { plan, account, grouped, doors, words, outside } = inside;
    kernel::hold_signals();
    if join(&doors).is_err() || !is_told_to_go(&outside) {
        return;
    }
    drop(doors);
    let Ok([words, outside]) = kernel::keep_only([words.into_pipe(), outside]) else { return };
    let words = Words::new(words);
    let started =
        settle(account, &outside).and_then(|()| confine(plan)).and_then(|(root, holding)| {
            start(plan, grouped, &root, holding, &words).map(|pid| (root, pid))
        });
    match started {
        Ok((root, job)) => {
            words.say(&Word::Started);
            let _ = leave_output();
            let status = reap(job);
            words.say(&Word::Ended { status, scratch: scratch_used_up(&root) });
        }
        Err(refusal) => words.say(&Word::Refused(refusal)),
    }
}

/// Joins the control groups, and offers itself and its children first when memory is short.
fn join(doors: &[OwnedFd]) -> io::Result<()> {
    for door in doors {
        rustix::io::write(door, b"0")?;
    }
    // Where this is not allowed the machine's own choice stands.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Waits for the outside to write the map of accounts.
fn is_told_to_go(outside: &OwnedFd) -> bool {
    matches!(rustix::io::read(outside, &mut [0_u8; 1]), Ok(1))
}

/// Becomes the job's account, unreadable for it, and mortal with the outside.
fn settle(account: Option<(Uid, Gid)>, outside: &OwnedFd) -> Result<(), Refusal> {
    let user = |error: Errno| unavailable(Layer::UserNamespace, &error);
    if let Some((uid, gid)) = account {
        set_thread_res_gid(gid, gid, gid).map_err(user)?;
        set_thread_res_uid(uid, uid, uid).map_err(user)?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(user)?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| unavailable(Layer::PidNamespace, &error))?;
    if is_closed(outside) {
        // It died before the kernel was told; nobody would ever end this process.
        kernel::exit_now(FAILED);
    }
    Ok(())
}

fn is_closed(outside: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(outside.as_fd(), PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_err() || fds.iter().any(|fd| !fd.revents().is_empty())
}

/// Raises everything that holds this process as well as the job.
fn confine(plan: &Plan) -> Result<(Root, Holding), Refusal> {
    let mut holding = Holding::new(&plan.demanded);
    holding.tried(Layer::CgroupNamespace, kernel::unshare_cgroups())?;
    let named = nix::unistd::sethostname("job");
    holding.tried(Layer::UtsNamespace, named)?;
    let root = root::enter(plan, &mut holding)?;
    take_no_input().map_err(|error| unavailable(Layer::PrivateRoot, &error))?;
    capability::drop_all()?;
    holding.enforced(Layer::NoNewPrivileges);
    holding.enforced(Layer::Capabilities);
    Ok((root, holding))
}

/// Standard input is empty for everything in here.
fn take_no_input() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)
}

/// Forks the child that becomes the job's program. It says by itself why it did not.
fn start(
    plan: &Plan,
    grouped: Grouped,
    root: &Root,
    holding: Holding,
    words: &Words,
) -> Result<Pid, Refusal> {
    match kernel::fork_until_exec() {
        Ok(Side::Parent(pid)) => Ok(pid),
        Ok(Side::Child) => {
            let refusal = child::become_job(plan, grouped, root, holding, words);
            words.say(&Word::Refused(refusal));
            kernel::exit_now(FAILED)
        }
        Err(error) => Err(unavailable(Layer::PidNamespace, &error)),
    }
}

/// Lets go of the job's output: its end is the end of its last writer.
fn leave_output() -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdout(rustix::stdio::stdin())?;
    rustix::stdio::dup2_stderr(rustix::stdio::stdin())
}

/// Reaps all that ends until the job's program does. SIGTERM from outside asks everything here to end.
fn reap(job: Pid) -> Status {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == job => {
                let by_itself = status.exit_status().map(Status::Exited);
                if let Some(status) =
                    by_itself.or(status.terminating_signal().map(Status::Signalled))
                {
                    return status;
                }
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                if kernel::wait_for_child_or_request() {
                    let _ = ask_all_to_end();
                }
            }
            // There is a job until it was reaped.
            Err(_) => return Status::Signalled(Signal::KILL.as_raw()),
        }
    }
}

/// Asks every process of this namespace but this one to end.
fn ask_all_to_end() -> nix::Result<()> {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(-1), nix::sys::signal::Signal::SIGTERM)
}

/// Whether the job's files in memory had reached their limit when it ended.
fn scratch_used_up(root: &Root) -> Option<Resource> {
    root.scratch.iter().find_map(|scratch| {
        let used = rustix::fs::fstatvfs(scratch).ok()?;
        match (used.f_bavail, used.f_ffree) {
            (0, _) => Some(Resource::Scratch),
            (_, 0) => Some(Resource::Files),
            _ => None,
        }
    })
}

/// The status of a process that became nothing.
const FAILED: i32 = 127;
