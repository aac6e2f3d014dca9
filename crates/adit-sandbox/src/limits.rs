//! The limits of each process, which need no control group.

use adit_wire::sandbox::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What control groups hold for the whole job; each process has its own limit of the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouped {
    pub(crate) memory: bool,
    pub(crate) pids: bool,
}

/// Sets every limit; an error is the first that could not be set.
pub(crate) fn set(limits: &Limits, grouped: Grouped) -> rustix::io::Result<()> {
    let cpu = limits.cpu_seconds.get();
    // The soft limit tells the process by SIGXCPU, which says why it ended; the hard one does not ask.
    cap(Resource::Cpu, cpu, cpu.saturating_add(1))?;
    both(Resource::Nofile, limits.open_files.get())?;
    both(Resource::Fsize, limits.file_bytes.get())?;
    // The kernel counts the sandbox's own first process among the user namespace's. A group's limit comes first, because it counts refusals.
    let beside = if grouped.pids { PIDS_BEYOND_THE_GROUP } else { PIDS_BEYOND };
    both(Resource::Nproc, u64::from(limits.pids.get()).saturating_add(beside))?;
    both(Resource::Core, 0)?;
    both(Resource::Memlock, MEMLOCK_BYTES_MAX)?;
    both(Resource::Msgqueue, 0)?;
    both(Resource::Nice, 0)?;
    both(Resource::Rtprio, 0)?;
    both(Resource::Sigpending, SIGNALS_PENDING_MAX)?;
    if !grouped.memory {
        both(Resource::As, limits.memory_bytes.get())?;
    }
    Ok(())
}

fn both(resource: Resource, value: u64) -> rustix::io::Result<()> {
    cap(resource, value, value)
}

/// Lowers a limit. One that is lower already stays.
fn cap(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let now = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let maximum = hard.min(now);
    setrlimit(resource, Rlimit { current: Some(soft.min(maximum)), maximum: Some(maximum) })
}

/// The sandbox's own, and one more than is allowed: who has it is seen and ended, who has all that is allowed is not.
const PIDS_BEYOND: u64 = 2;

/// Room for the group's limit to be the one that is met.
const PIDS_BEYOND_THE_GROUP: u64 = 16;

/// Enough for a key that should not reach the disk.
const MEMLOCK_BYTES_MAX: u64 = 64 * 1024;

/// Signals cost the kernel memory while they wait.
const SIGNALS_PENDING_MAX: u64 = 1024;
