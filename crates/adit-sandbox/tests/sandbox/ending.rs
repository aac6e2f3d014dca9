//! How jobs end, and that all of them does.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use adit_wire::sandbox::{End, Layer, State};

use crate::job::{BOTH, Bench, By, Job, plan};

#[test]
fn an_exit_status_and_a_signal_pass_through() {
    // CMD-30
    let bench = Bench::new();
    for by in BOTH {
        assert_eq!(bench.run(&plan(&["sh", "-c", "exit 7"]), by).end(), End::Exited { code: 7 });
        assert_eq!(
            bench.run(&plan(&["sh", "-c", "kill -9 $$"]), by).end(),
            End::Signalled { signal: 9 }
        );
    }
}

#[test]
fn a_job_starts_and_ends_the_same_where_signals_are_ignored() {
    // JOB-29: whoever started the agent may have ignored them, and that passes through every program.
    let bench = Bench::new();
    let wrapper = ["env", "--ignore-signal=CHLD", "--ignore-signal=TERM", "--ignore-signal=PIPE"];
    let plan = plan(&["sh", "-c", "(exit 1); grep SigIgn /proc/self/status; kill $$; echo alive"]);
    let done = bench.start_below(&wrapper, &plan, By::Root).end();
    assert_eq!(done.output, "SigIgn:\t0000000000000000\n");
    assert_eq!(done.end(), End::Signalled { signal: 15 });
}

#[test]
fn cancelling_kills_what_does_everything_to_survive() {
    // CMD-33, JOB-26
    let bench = Bench::new();
    for by in BOTH {
        let mut job = bench.start(&bench.attempt(&["survive"]), by);
        job.wait_for_output("daemon");
        job.cancel();
        assert_all_dies_in_time(&mut job);
        assert_eq!(job.end().end(), End::Cancelled, "{by:?}");
    }
}

#[test]
fn a_timeout_kills_what_does_everything_to_survive() {
    // CMD-33, JOB-26
    let bench = Bench::new();
    for by in BOTH {
        let mut plan = bench.attempt(&["survive"]);
        plan.limits.timeout_ms = NonZeroU64::new(1000).unwrap();
        let mut job = bench.start(&plan, by);
        job.wait_for_output("daemon");
        assert_all_dies_in_time(&mut job);
        assert_eq!(job.end().end(), End::TimedOut, "{by:?}");
    }
}

#[test]
fn a_daemon_ends_with_the_job_that_left_it() {
    // CMD-33, JOB-26
    let bench = Bench::new();
    for by in BOTH {
        let mut job = bench.start(&plan(&["sh", "-c", "setsid sleep 1000 & echo started"]), by);
        job.wait_for_output("started");
        assert_all_dies_in_time(&mut job);
        assert_eq!(job.end().end(), End::Exited { code: 0 }, "{by:?}");
    }
}

#[test]
fn a_job_may_end_by_itself_when_it_is_cancelled() {
    // CMD-33: SIGTERM comes first, and there is a grace.
    let bench = Bench::new();
    let mut plan = plan(&[
        "sh",
        "-c",
        "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    plan.limits.grace_ms = 20_000;
    let mut job = bench.start(&plan, By::Root);
    job.wait_for_output("ready");
    job.cancel();
    assert!(job.wait_until_all_is_dead().ends_with("bye\n"));
    assert_eq!(job.end().end(), End::Cancelled);
}

#[test]
fn the_agents_death_kills_the_job() {
    // CMD-33
    let bench = Bench::new();
    for by in BOTH {
        let mut job = bench.start(&bench.attempt(&["survive"]), by);
        job.wait_for_output("daemon");
        job.die_as_agent();
        assert_all_dies_in_time(&mut job);
    }
}

#[test]
fn the_sandboxs_own_death_kills_the_job() {
    // CMD-33
    let bench = Bench::new();
    for by in BOTH {
        let mut job = bench.start(&bench.attempt(&["survive"]), by);
        job.wait_for_output("daemon");
        job.kill_sandbox();
        assert_all_dies_in_time(&mut job);
    }
}

#[test]
fn a_job_kills_nobody_but_its_own() {
    // JOB-28
    let bench = Bench::new();
    for by in BOTH {
        let mut other = bench.start(&bench.attempt(&["wait"]), by);
        other.wait_for_output("waiting");
        let agent = std::process::id().to_string();
        let sandbox = other.pid().to_string();
        let done = bench.run(&bench.attempt(&["kill", "1", &agent, &sandbox, "-1"]), by);
        // Where Landlock does not forbid it, the kernel takes the signal and drops it.
        let scoped = done.state(Layer::LandlockScope) == &State::Enforced;
        assert_eq!(done.answer("1"), if scoped { "EPERM" } else { "ok" }, "{by:?}");
        assert_eq!(done.answer(&agent), "ESRCH");
        assert_eq!(done.answer(&sandbox), "ESRCH");
        assert_eq!(done.end(), End::Exited { code: 0 });
        other.cancel();
        assert_eq!(other.end().end(), End::Cancelled, "{by:?}");
    }
}

#[test]
fn a_process_namespace_holds_by_itself() {
    // JOB-28: without Landlock; a kill of the first process is said to work and does nothing.
    let bench = Bench::new();
    for by in BOTH {
        let agent = std::process::id().to_string();
        let done = bench.run_without_landlock(&bench.attempt(&["kill", "1", &agent, "-1"]), by);
        assert_eq!((done.answer("1"), done.answer(&agent)), ("ok", "ESRCH"), "{by:?}");
        assert_eq!(done.end(), End::Exited { code: 0 });
    }
}

/// Two seconds after it was to end nothing of a job is alive; its grace is shorter.
fn assert_all_dies_in_time(job: &mut Job) {
    let from = Instant::now();
    job.wait_until_all_is_dead();
    assert!(from.elapsed() < Duration::from_secs(2), "{:?}", from.elapsed());
}
