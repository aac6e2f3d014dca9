//! The outside: makes the control groups and the namespaces, watches over the job, and tells the agent.
//!
//! 1. `cgroup.rs` makes the groups; `start` forks the first process of the namespaces (`init.rs`) and writes its map of accounts.
//! 2. That one joins the groups, builds the root (`root.rs`, `resolve.rs`, `mount.rs`), gives up its rights (`capability.rs`) and forks
//!    the child (`child.rs`), which raises Landlock, limits and the filter, and becomes the program.
//! 3. `watch` waits for the program's end, the agent's word or death, and the limits of time and use.
//! 4. When the first process is dead, so is everything: the kernel sees to that. Then the groups go, and the agent hears how it ended.

mod start;
mod watch;

use std::time::Instant;

use adit_wire::sandbox::{Layer, Plan, Report, Totals};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rustix::process::WaitOptions;

use crate::cgroup::Groups;
use crate::channel::Agent;
use crate::refuse::Holding;
use start::{Started, start};
use watch::{Outcome, Watch};

/// Runs one job to its end. The agent hears everything; an error is the agent's death, and then there is no job.
pub(crate) fn run(plan: &Plan, agent: &mut Agent) -> std::io::Result<()> {
    let from = Instant::now();
    crate::usage::learn_units();
    let mut holding = Holding::new(&plan.demanded);
    let groups = match Groups::make(&plan.job, &plan.limits, &mut holding) {
        Ok(groups) => groups,
        Err(refusal) => return agent.report(&Report::Refused(refusal)),
    };
    let mut started = match start(plan, &groups) {
        Ok(started) => started,
        Err(refusal) => return agent.report(&Report::Refused(refusal)),
    };
    hold_namespaces(plan, &mut holding);
    let outcome = Watch::new(plan, &groups, &mut started, holding, agent, from).until_end();
    let outcome = end(started, &groups, plan, outcome);
    let totals = totals(from);
    let report = match outcome {
        Outcome::Refused(refusal) => Report::Refused(refusal),
        Outcome::Ended(end) => Report::Ended { end, totals },
    };
    // What is left is gone before the agent hears that it is; what others left can wait until then.
    let places = groups.remove();
    agent.hear();
    let told = agent.report(&report);
    places.sweep();
    told
}

/// The namespaces were made by one call, which makes all of them or none.
fn hold_namespaces(plan: &Plan, holding: &mut Holding) {
    for layer in
        [Layer::UserNamespace, Layer::MountNamespace, Layer::PidNamespace, Layer::IpcNamespace]
    {
        holding.enforced(layer);
    }
    if plan.allow_network {
        holding.waived(Layer::NetNamespace);
    } else {
        holding.enforced(Layer::NetNamespace);
    }
}

/// Kills what may still be there, waits until it is gone, and looks once more why.
fn end(started: Started, groups: &Groups, plan: &Plan, outcome: Outcome) -> Outcome {
    let Started { pid, handle, .. } = started;
    groups.kill();
    let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
    while matches!(
        rustix::process::waitpid(Some(pid), WaitOptions::empty()),
        Err(rustix::io::Errno::INTR)
    ) {}
    match outcome {
        Outcome::Ended(end) => Outcome::Ended(watch::why(end, groups, plan, cpu_seconds())),
        refused @ Outcome::Refused(_) => refused,
    }
}

fn totals(from: Instant) -> Totals {
    let elapsed_ms = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Totals { elapsed_ms, ..Totals::default() };
    };
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Totals {
        user_ms: positive(usage.user_time().num_milliseconds()),
        system_ms: positive(usage.system_time().num_milliseconds()),
        peak_bytes: positive(usage.max_rss()).saturating_mul(1024),
        elapsed_ms,
    }
}

fn cpu_seconds() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0 };
    let time = usage.user_time() + usage.system_time();
    u64::try_from(time.num_seconds()).unwrap_or(0)
}
