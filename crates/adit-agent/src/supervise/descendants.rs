//! What a session started, found by `/proc` from its supervisor downwards.
//!
//! A process can leave its group, its session and its parent, but not the subreaper above it: an orphan becomes the
//! supervisor's own child. So whoever kills all descendants until none is left has killed everything.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// Sends a signal to every descendant of this process; parents before their children. Says how many took it.
pub(super) fn signal_all(signal: Signal) -> usize {
    signal_each(&descendants(&[]), signal)
}

/// Kills every descendant of this process; says how many took it. They are stopped first, until no new one appears: who forks faster
/// than it is killed would otherwise get away.
pub(super) fn kill_all() -> usize {
    let mut known = Vec::new();
    for _ in 0..STOP_ROUNDS {
        let found = descendants(&[]);
        if found.iter().all(|pid| known.contains(pid)) {
            break;
        }
        signal_each(&found, Signal::STOP);
        known = found;
    }
    signal_each(&known, Signal::KILL)
}

/// Kills every descendant of this process but these children and what is below them.
pub(super) fn kill_all_but(spared: &[Pid]) {
    signal_each(&descendants(spared), Signal::KILL);
}

fn signal_each(pids: &[Pid], signal: Signal) -> usize {
    pids.iter().filter(|pid| kill_process(**pid, signal).is_ok()).count()
}

/// Lists the descendants of this process, parents first, without these children and what is below them.
fn descendants(spared: &[Pid]) -> Vec<Pid> {
    let mut found = children(rustix::process::getpid());
    found.retain(|pid| !spared.contains(pid));
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// Lists the children of a process; each of its threads has some of its own. A process that has just ended has none.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(parse).collect::<Vec<_>>())
        .collect()
}

fn parse(pid: &str) -> Option<Pid> {
    Pid::from_raw(pid.parse().ok()?)
}

/// After so many looks what was found is killed anyway, and the next round sees the rest.
const STOP_ROUNDS: usize = 16;
