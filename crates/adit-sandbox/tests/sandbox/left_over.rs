//! What is left when a job ended.

use std::path::{Path, PathBuf};

use adit_wire::sandbox::{CgroupKind, End, JobName, Plan};

use crate::job::{BOTH, Bench, By};

/// The groups of a job of this name, wherever control groups are.
fn groups(name: &str) -> Vec<PathBuf> {
    let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
    let mut found = Vec::new();
    for mount in mounts.into_iter().filter(|mount| mount.fs_type.starts_with("cgroup")) {
        collect(&mount.mount_point, &format!("adit-job-{name}-"), &mut found);
    }
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
            collect(&entry.path(), prefix, found);
        }
    }
}

fn named(mut plan: Plan, name: &str) -> Plan {
    plan.job = JobName::try_from(name.to_owned()).unwrap();
    plan
}

/// A name that no other test has.
fn name(of: &str) -> String {
    format!("{of}-{}", std::process::id())
}

#[test]
fn a_job_leaves_nothing() {
    // JOB-30
    let bench = Bench::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for by in BOTH {
        let name = name("nothing");
        let done = bench.run(&named(bench.attempt(&["ipc"]), &name), by);
        assert_eq!(done.answer("shm"), "ok");
        assert_eq!(done.answer("/tmp/left"), "ok");
        assert_eq!(done.end(), End::Exited { code: 0 });
        for left in ["/tmp/left", "/tmp/left-socket", "/dev/shm/left"] {
            assert!(!Path::new(left).exists(), "{left}");
        }
        let shared = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        assert!(!shared.contains("181497856"), "{shared}");
        assert_eq!(groups(&name), Vec::<PathBuf>::new());
    }
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
}

#[test]
fn a_refused_job_leaves_no_group() {
    // JOB-30, JOB-36
    let bench = Bench::new();
    let name = name("refused");
    let done = bench.run(&named(crate::job::plan(&["no-such-program"]), &name), By::Root);
    assert_eq!(done.refusal().code, adit_wire::sandbox::RefusalCode::ProgramUnavailable);
    assert_eq!(groups(&name), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_sandbox_left_is_removed_by_another_and_live_groups_stay() {
    // JOB-30
    let bench = Bench::new();
    let (killed_name, live_name) = (name("killed"), name("live"));
    let mut live = bench.start(&named(bench.attempt(&["wait"]), &live_name), By::Root);
    live.wait_for_output("waiting");
    let held = groups(&live_name);
    assert!(!held.is_empty());
    let mut killed = bench.start(&named(bench.attempt(&["wait"]), &killed_name), By::Root);
    killed.wait_for_output("waiting");
    killed.kill_sandbox();
    killed.wait_until_all_is_dead();
    assert!(!groups(&killed_name).is_empty());

    bench.run(&bench.attempt(&["gain"]), By::Root);

    assert_eq!(groups(&killed_name), Vec::<PathBuf>::new());
    assert_eq!(groups(&live_name), held);
    live.cancel();
    assert_eq!(live.end().end(), End::Cancelled);
    assert_eq!(groups(&live_name), Vec::<PathBuf>::new());
}

#[test]
fn it_is_said_which_control_groups_hold_a_job() {
    // CMD-30, CMD-32
    let bench = Bench::new();
    let root = bench.run(&bench.attempt(&["gain"]), By::Root);
    assert!(matches!(root.layers().1, CgroupKind::V1 | CgroupKind::V2), "{root:?}");
    let user = bench.run(&bench.attempt(&["gain"]), By::User);
    assert_eq!(user.layers().1, CgroupKind::LimitsOnly);
}
