//! What a job sees of the machine's processes where its plan shows them, and what it cannot do to them.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use adit_wire::sandbox::{Layer, Plan, State};

use crate::job::{BOTH, Bench, By, Done, USER, plan};

/// A process of the machine, of the very account that the job has.
struct Other(Child);

impl Other {
    fn start(bench: &Bench, by: By) -> Self {
        let account = if by == By::Root { 65534 } else { USER };
        let mut command = Command::new(bench.path("attempt"));
        command.arg("wait").env("AGENT_SECRET", "hidden").stdin(Stdio::null());
        command.stdout(Stdio::null()).uid(account).gid(account);
        Self(command.spawn().unwrap())
    }

    fn folder(&self) -> String {
        format!("/proc/{}", self.0.id())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As the kernel is, and as one without Landlock would be.
fn run_both_ways(bench: &Bench, plan: &Plan, by: By) -> [Done; 2] {
    [bench.run(plan, by), bench.run_without_landlock(plan, by)]
}

fn seeing(mut plan: Plan) -> Plan {
    plan.host_processes = true;
    plan
}

#[test]
fn a_job_that_may_sees_the_machines_processes_and_says_that_it_does() {
    // CMD-30
    let bench = Bench::new();
    let here = format!("/proc/{}/stat", std::process::id());
    for by in BOTH {
        let done = bench.run(&seeing(bench.attempt(&["read", &here, "/proc/self/stat"])), by);
        assert_eq!((done.answer(&here), done.answer("/proc/self/stat")), ("ok", "ok"), "{by:?}");
        assert_eq!(done.state(Layer::MaskedProc), &State::Waived);
        let done = bench.run(&bench.attempt(&["read", &here]), by);
        assert_eq!(done.answer(&here), "ENOENT", "{by:?}");
    }
}

#[test]
fn a_job_that_sees_processes_reads_nothing_that_they_keep_to_themselves() {
    // JOB-17: of root's, of its own account's and of the test's own, which is as the agent. Of its own account's the numbers of open
    // descriptors are told, and not what is behind them.
    let bench = Bench::new();
    for by in BOTH {
        let other = Other::start(&bench, by);
        let agent = format!("/proc/{}", std::process::id());
        for folder in ["/proc/1", &agent, &other.folder()] {
            let files = ["environ", "mem", "maps", "auxv", "exe", "fd/0"]
                .map(|it| format!("{folder}/{it}"));
            let folders = ["root/", "cwd/", "fdinfo"].map(|it| format!("{folder}/{it}"));
            for (word, places) in [("read", &files[..]), ("list", &folders[..])] {
                let places: Vec<&str> = places.iter().map(String::as_str).collect();
                let attempt = bench.attempt(&[&[word], &places[..]].concat());
                for done in run_both_ways(&bench, &seeing(attempt), by) {
                    for place in &places {
                        assert_eq!(done.answer(place), "EACCES", "{by:?} {place} {done:?}");
                    }
                }
            }
        }
    }
    // Outside of the sandbox the same account reads it.
    let other = Other::start(&bench, By::User);
    let environ = format!("{}/environ", other.folder());
    assert_eq!(bench.attempt_outside(&["read", &environ]), format!("{environ}=ok\n"));
}

#[test]
fn a_job_that_sees_processes_signals_none() {
    // JOB-28: neither by number nor by what `/proc` gives for a handle.
    let bench = Bench::new();
    for by in BOTH {
        let mut other = Other::start(&bench, by);
        let (folder, number) = (other.folder(), other.0.id().to_string());
        for done in run_both_ways(&bench, &seeing(bench.attempt(&["signal", &folder])), by) {
            assert!(matches!(done.answer(&folder), "EINVAL" | "EPERM"), "{by:?} {done:?}");
        }
        for done in run_both_ways(&bench, &seeing(bench.attempt(&["kill", &number])), by) {
            assert_eq!(done.answer(&number), "ESRCH", "{by:?}");
        }
        assert!(other.is_alive(), "{by:?}");
    }
}

#[test]
fn a_job_that_sees_processes_writes_nothing_of_them_and_of_the_kernel() {
    // CMD-30, JOB-18
    let bench = Bench::new();
    for by in BOTH {
        let other = Other::start(&bench, by);
        let own = ["comm", "oom_score_adj", "coredump_filter", "mem"]
            .map(|it| format!("{}/{it}", other.folder()));
        let kernel =
            ["/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/self/comm"];
        let mut places: Vec<&str> = own.iter().map(String::as_str).chain(kernel).collect();
        for done in
            run_both_ways(&bench, &seeing(bench.attempt(&[&["write"], &places[..]].concat())), by)
        {
            for place in &places {
                assert!(
                    matches!(done.answer(place), "EROFS" | "EACCES"),
                    "{by:?} {place} {done:?}"
                );
            }
        }
        places = vec!["/proc/sysrq-trigger"];
        let done = bench.run(&seeing(bench.attempt(&[&["write"], &places[..]].concat())), by);
        assert!(
            matches!(done.answer("/proc/sysrq-trigger"), "EROFS" | "EACCES" | "ENOENT"),
            "{by:?} {done:?}"
        );
    }
}

#[test]
fn what_proc_tells_of_the_kernel_is_masked_where_a_job_sees_processes() {
    // CMD-30
    let bench = Bench::new();
    let files = ["keys", "timer_list", "interrupts", "kallsyms", "key-users", "kcore", "kmsg"]
        .map(|name| format!("/proc/{name}"));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let folders =
        ["/proc/bus", "/proc/irq", "/proc/fs", "/proc/driver", "/proc/sys/fs/binfmt_misc"];
    for by in BOTH {
        let done = bench.run(&seeing(plan(&[&["cat"], &files[..]].concat())), by);
        let said: Vec<&str> =
            done.output.lines().filter(|line| !line.starts_with("cat: ")).collect();
        assert!(said.is_empty(), "{by:?} {said:?}");
        let done = bench.run(&seeing(plan(&[&["ls", "-A"], &folders[..]].concat())), by);
        let said = done.output.lines().filter(|line| {
            !line.is_empty() && !line.starts_with("/proc/") && !line.starts_with("ls: ")
        });
        assert_eq!(said.count(), 0, "{by:?} {done:?}");
    }
}
