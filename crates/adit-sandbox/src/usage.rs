//! What a job uses at the moment: its control groups know, else its processes are asked one by one.

use adit_wire::sandbox::Usage;
use procfs::process::Process;
use rustix::process::Pid;

use crate::cgroup::Groups;

/// Asks for the units in which the kernel counts, while this process may: before Linux 6.4 they are read from a file of its own, which it
/// must not open once it is unreadable for others.
pub(crate) fn learn_units() {
    let _ = (procfs::page_size(), procfs::ticks_per_second());
}

/// Reads it.
pub(crate) fn read(groups: &Groups, first: Pid) -> Usage {
    let (memory, cpu, pids) = (groups.memory_bytes(), groups.cpu_ms(), groups.pids());
    match (memory, cpu, pids) {
        (Some(memory_bytes), Some(cpu_ms), Some(pids)) => Usage { memory_bytes, cpu_ms, pids },
        _ => {
            let seen = count(first);
            Usage {
                memory_bytes: memory.unwrap_or(seen.memory_bytes),
                cpu_ms: cpu.unwrap_or(seen.cpu_ms),
                pids: pids.unwrap_or(seen.pids),
            }
        }
    }
}

/// Adds up everything below the first process. What ends meanwhile is missed, and seen next time in its parent's time.
fn count(first: Pid) -> Usage {
    let mut usage = Usage { memory_bytes: 0, cpu_ms: 0, pids: 0 };
    let mut left = vec![first.as_raw_pid()];
    while let Some(pid) = left.pop() {
        let Ok(process) = Process::new(pid) else { continue };
        let Ok(stat) = process.stat() else { continue };
        let ticks = stat.utime + stat.stime + u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        usage.memory_bytes += stat.rss.saturating_mul(procfs::page_size());
        usage.cpu_ms += ticks.saturating_mul(1000) / procfs::ticks_per_second().max(1);
        usage.pids += u64::try_from(stat.num_threads).unwrap_or(0);
        let tasks = process.tasks().into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| task.children().ok()).flatten();
        left.extend(children.filter_map(|child| i32::try_from(child).ok()));
        if usage.pids > PIDS_MAX {
            break;
        }
    }
    usage
}

/// So many that the count itself would cost too much; the limit of processes ends them.
const PIDS_MAX: u64 = 10_000;
