//! How much a job may use.

use std::num::{NonZeroU32, NonZeroU64};

use adit_wire::sandbox::{End, Plan, Report, Resource};

use crate::job::{BOTH, Bench, By};

fn exceeded(resource: Resource) -> End {
    End::ResourceExceeded { resource }
}

fn with_cpu_seconds(mut plan: Plan, seconds: u64) -> Plan {
    plan.limits.cpu_seconds = NonZeroU64::new(seconds).unwrap();
    plan
}

#[test]
fn a_job_that_takes_too_much_memory_ends_alone() {
    // JOB-25
    let bench = Bench::new();
    let done = bench.run(&bench.attempt(&["memory"]), By::Root);
    assert_eq!(done.end(), exceeded(Resource::Memory), "{done:?}");
}

#[test]
fn without_control_groups_no_process_takes_too_much_memory() {
    // CMD-30, JOB-25
    let bench = Bench::new();
    let done = bench.run(&bench.attempt(&["memory"]), By::User);
    assert_eq!(done.end(), End::Signalled { signal: SIGABRT }, "{done:?}");
    assert!(!done.output.contains("allocated="), "{done:?}");
}

#[test]
fn a_fork_bomb_ends_alone_and_is_named() {
    // JOB-25
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["bomb"]), by);
        // Without a group there is room for one more, by which the excess is seen.
        let forks = if by == By::Root { "forks=31 EAGAIN" } else { "forks=32 EAGAIN" };
        assert!(done.output.contains(forks), "{by:?} {done:?}");
        assert_eq!(done.end(), exceeded(Resource::Pids), "{by:?} {done:?}");
    }
}

#[test]
fn as_many_processes_as_are_allowed_are_no_excess() {
    // JOB-25: at n, not at n + 1.
    let bench = Bench::new();
    for by in BOTH {
        let mut plan = crate::job::plan(&["sh", "-c", "sleep 1 | sleep 1 | sleep 1; echo done"]);
        plan.limits.pids = NonZeroU32::new(4).unwrap();
        let done = bench.run(&plan, by);
        assert_eq!(
            (done.output.as_str(), done.end()),
            ("done\n", End::Exited { code: 0 }),
            "{by:?}"
        );
    }
}

#[test]
fn a_job_that_spins_ends_at_its_cpu_time() {
    // JOB-25
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&with_cpu_seconds(bench.attempt(&["spin"]), 1), by);
        assert_eq!(done.end(), exceeded(Resource::Cpu), "{by:?} {done:?}");
    }
}

#[test]
fn a_job_gets_its_share_of_the_cpu_and_no_more() {
    // CMD-30
    let bench = Bench::new();
    let mut plan = bench.attempt(&["spin"]);
    plan.limits.cpu_millicores = NonZeroU32::new(200).unwrap();
    plan.limits.timeout_ms = NonZeroU64::new(2000).unwrap();
    plan.limits.grace_ms = 0;
    let done = bench.run(&plan, By::Root);
    let Some(Report::Ended { totals, end: End::TimedOut }) = done.reports.last() else {
        panic!("{done:?}")
    };
    // A fifth of two seconds is 400 ms; a whole core would be five times that.
    assert!(totals.user_ms + totals.system_ms < 1000, "{totals:?}");
}

#[test]
fn a_large_file_ends_its_job() {
    // JOB-25
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["file"]), by);
        assert_eq!(done.end(), exceeded(Resource::FileSize), "{by:?} {done:?}");
    }
}

#[test]
fn a_full_tmp_is_named() {
    // JOB-25
    let bench = Bench::new();
    for by in BOTH {
        let mut plan = bench.attempt(&["file"]);
        plan.limits.scratch_bytes = NonZeroU64::new(2 * 1024 * 1024).unwrap();
        let done = bench.run(&plan, by);
        assert_eq!(done.answer("file"), "ENOSPC");
        assert_eq!(done.end(), exceeded(Resource::Scratch), "{by:?}");
        let done = bench.run(&bench.attempt(&["files"]), by);
        assert_eq!(done.answer("files"), "ENOSPC");
        assert_eq!(done.end(), exceeded(Resource::Files), "{by:?}");
    }
}

#[test]
fn a_crash_leaves_no_core() {
    // JOB-25
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["core"]), by);
        assert!(done.output.starts_with("core=0 0\n"), "{by:?} {done:?}");
        assert_eq!(done.end(), End::Signalled { signal: SIGABRT });
    }
}

#[test]
fn use_is_reported_while_the_job_runs() {
    // CMD-30: by control groups, and process by process without them.
    let bench = Bench::new();
    for by in BOTH {
        let mut job = bench.start(&bench.attempt(&["spin"]), by);
        let report = job.wait_for_report(|report| matches!(report, Report::Usage(_)));
        let Report::Usage(usage) = report else { unreachable!() };
        assert!(usage.memory_bytes > 0 && usage.cpu_ms > 100, "{by:?} {usage:?}");
        assert_eq!(usage.pids, 2, "{by:?}");
        job.cancel();
        assert_eq!(job.end().end(), End::Cancelled);
    }
}

#[test]
fn output_is_passed_on_byte_for_byte() {
    // JOB-31: the sandbox does not touch it; what shows it escapes it.
    let bench = Bench::new();
    let (mut output, theirs) = std::io::pipe().unwrap();
    let plan = crate::job::plan(&["printf", r"\377\376\0\033[31m"]);
    let job = bench.start_with(&[], &plan, By::Root, theirs.into());
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut output, &mut bytes).unwrap();
    assert_eq!(bytes, b"\xff\xfe\0\x1b[31m");
    job.end();
}

const SIGABRT: i32 = 6;
