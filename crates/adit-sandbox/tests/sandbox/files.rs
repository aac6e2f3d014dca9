//! What a job reads and writes.

use std::os::unix::fs::PermissionsExt as _;

use crate::job::{BOTH, Bench, By, parameter, path};

#[test]
fn a_job_reads_nothing_of_the_agent_and_of_other_jobs() {
    // JOB-17
    let bench = Bench::new();
    let secret = bench.make_folder("agent").join("key");
    std::fs::write(&secret, "secret").unwrap();
    let secret = secret.to_str().unwrap();
    let places = [
        secret,
        "/etc/shadow",
        "/root/.bashrc",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/proc/1/root/etc/passwd",
    ];
    for by in BOTH {
        let words: Vec<&str> = std::iter::once("read").chain(places).collect();
        let done = bench.run(&bench.attempt(&words), by);
        for place in places {
            assert!(matches!(done.answer(place), "ENOENT" | "EACCES"), "{by:?} {place} {done:?}");
        }
    }
    assert_eq!(bench.attempt_outside(&["read", secret]), format!("{secret}=ok\n"));
}

#[test]
fn the_process_that_is_outside_of_the_job_cannot_be_read() {
    // JOB-17, and the rewriting of /proc/self/exe
    let bench = Bench::new();
    let places = ["/proc/1/environ", "/proc/1/exe", "/proc/1/mem", "/proc/1/maps", "/proc/1/auxv"];
    for by in BOTH {
        let words: Vec<&str> = std::iter::once("read").chain(places).collect();
        let done = bench.run(&bench.attempt(&words), by);
        for place in places {
            assert_eq!(done.answer(place), "EACCES", "{by:?} {place}");
        }
        let done =
            bench.run(&bench.attempt(&["list", "/proc/1/fd", "/proc/1/root/", "/proc/1/cwd/"]), by);
        assert!(done.output.lines().all(|line| line.ends_with("=EACCES")), "{by:?} {done:?}");
    }
}

#[test]
fn a_job_cannot_write_to_any_program_that_runs_it() {
    // The rewriting of /proc/self/exe
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["write", "/proc/self/exe", "/proc/1/exe"]), by);
        for place in ["/proc/self/exe", "/proc/1/exe"] {
            assert!(
                matches!(done.answer(place), "EROFS" | "EACCES" | "ETXTBSY"),
                "{by:?} {done:?}"
            );
        }
    }
}

#[test]
fn a_process_is_no_program() {
    // The rewriting of /proc/self/exe: it would be the sandbox itself.
    let bench = Bench::new();
    let done = bench.run(&crate::job::plan(&["/proc/self/exe", "__sandbox"]), By::Root);
    assert_eq!(done.refusal().code, adit_wire::sandbox::RefusalCode::ProgramUnavailable);
}

#[test]
fn a_job_writes_to_its_own_tmp_only() {
    // CMD-30, JOB-18
    let bench = Bench::new();
    let outside = [
        "/x",
        "/usr/x",
        "/etc/x",
        "/etc/passwd",
        "/dev/x",
        "/proc/x",
        "/proc/self/oom_score_adj",
        "/proc/sys/kernel/hostname",
    ];
    for by in BOTH {
        let words: Vec<&str> = std::iter::once("write")
            .chain(outside)
            .chain(["/tmp/x", "/dev/shm/x", "/dev/null"])
            .collect();
        let done = bench.run(&bench.attempt(&words), by);
        for place in outside {
            assert!(
                matches!(done.answer(place), "EROFS" | "EACCES" | "ENOENT"),
                "{by:?} {place} {done:?}"
            );
        }
        for place in ["/tmp/x", "/dev/shm/x", "/dev/null"] {
            assert_eq!(done.answer(place), "ok", "{by:?} {place}");
        }
    }
    assert!(!std::path::Path::new("/tmp/x").exists());
}

#[test]
fn read_only_mounts_hold_by_themselves() {
    // CMD-30, JOB-18: without Landlock, in a folder where everybody may write.
    let bench = Bench::new();
    let (named, shown) = (bench.make_folder("named"), bench.make_folder("shown"));
    let places = [named.join("x"), shown.join("x")];
    let places: Vec<&str> = places.iter().map(|place| place.to_str().unwrap()).collect();
    for by in BOTH {
        let mut plan = bench.attempt(
            &[&["write"][..], &places, &["/x", "/dev/x", "/etc/x", "/proc/self/comm"]].concat(),
        );
        plan.system.as_mut().unwrap().push(path(shown.to_str().unwrap()));
        plan.paths = vec![parameter(&named, &named)];
        let done = bench.run_without_landlock(&plan, by);
        assert_eq!(
            done.output.lines().filter(|line| line.ends_with("=EROFS")).count(),
            6,
            "{by:?} {done:?}"
        );
    }
}

#[test]
fn a_private_root_hides_by_itself() {
    // JOB-17: without Landlock, files that everybody may read.
    let bench = Bench::new();
    let open = bench.make_folder("open").join("file");
    std::fs::write(&open, "open").unwrap();
    let open = open.to_str().unwrap();
    for by in BOTH {
        let done = bench.run_without_landlock(
            &bench.attempt(&["read", open, "/sys/kernel/uevent_seqnum", "/proc/1/root/etc/passwd"]),
            by,
        );
        assert_eq!(done.answer(open), "ENOENT", "{by:?}");
        assert_eq!(done.answer("/sys/kernel/uevent_seqnum"), "ENOENT");
        assert_eq!(done.answer("/proc/1/root/etc/passwd"), "EACCES");
    }
    assert_eq!(bench.attempt_outside(&["read", open]), format!("{open}=ok\n"));
}

#[test]
fn a_job_mounts_nothing_and_makes_no_device() {
    // JOB-18
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["remount"]), by);
        for name in ["remount", "mknod", "handle"] {
            assert_eq!(done.answer(name), "EPERM", "{by:?} {name}");
        }
    }
}

#[test]
fn what_proc_tells_of_the_machine_is_masked() {
    // CMD-30
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(
            &crate::job::plan(&[
                "cat",
                "/proc/keys",
                "/proc/timer_list",
                "/proc/interrupts",
                "/proc/kallsyms",
                "/proc/key-users",
            ]),
            by,
        );
        let said: Vec<&str> =
            done.output.lines().filter(|line| !line.starts_with("cat: ")).collect();
        assert!(said.is_empty(), "{by:?} {said:?}");
        let done = bench.run(&crate::job::plan(&["ls", "/proc/bus", "/proc/irq", "/proc/fs"]), by);
        let said = done.output.lines().filter(|line| {
            !line.is_empty() && !line.starts_with("/proc/") && !line.starts_with("ls: ")
        });
        assert_eq!(said.count(), 0, "{by:?} {done:?}");
    }
}

#[test]
fn a_job_sees_its_own_processes_only() {
    // JOB-28
    let bench = Bench::new();
    let done = bench.run(&crate::job::plan(&["sh", "-c", "echo /proc/[0-9]*"]), By::Root);
    assert_eq!(done.output, "/proc/1 /proc/2\n");
}

#[test]
fn what_is_hidden_is_not_seen_through_a_system_path() {
    // JOB-17: neither the agent's folder nor shadow files, even where a whole folder is shown and the account could read them.
    let bench = Bench::new();
    let shown = bench.make_folder("shown");
    let hidden = bench.make_folder("shown/adit");
    std::fs::write(hidden.join("key"), "secret").unwrap();
    std::fs::write(shown.join("plain"), "plain").unwrap();
    let (key, plain) = (hidden.join("key"), shown.join("plain"));
    for by in BOTH {
        let mut plan = bench.attempt(&[
            "read",
            key.to_str().unwrap(),
            plain.to_str().unwrap(),
            "/etc/shadow",
            "/etc/passwd",
        ]);
        plan.system.as_mut().unwrap().push(path(shown.to_str().unwrap()));
        plan.system.as_mut().unwrap().push(path("/etc"));
        plan.hidden = vec![path(hidden.to_str().unwrap())];
        let done = bench.run(&plan, by);
        assert_eq!(done.answer(key.to_str().unwrap()), "ENOENT", "{by:?}");
        assert_eq!(done.answer(plain.to_str().unwrap()), "ok");
        assert!(matches!(done.answer("/etc/shadow"), "ok" | "EACCES"));
        plan.argv = vec!["cat".to_owned(), "/etc/shadow".to_owned()].try_into().unwrap();
        assert!(!bench.run(&plan, by).output.contains("root:"), "{by:?}");
    }
}

#[test]
fn sys_is_read_and_nothing_of_it_is_written_executed_or_tells_of_the_kernels_inside() {
    // CMD-30, JOB-17
    let bench = Bench::new();
    let number = "/sys/kernel/uevent_seqnum";
    let written = ["/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/x"];
    for by in BOTH {
        let words = [&["write"][..], &written].concat();
        let mut plan = bench.attempt(&["read", number]);
        plan.system.as_mut().unwrap().push(path("/sys"));
        assert_eq!(bench.run(&plan, by).answer(number), "ok", "{by:?}");
        let mut plan = bench.attempt(&words);
        plan.system.as_mut().unwrap().push(path("/sys"));
        let done = bench.run(&plan, by);
        for place in written {
            assert!(matches!(done.answer(place), "EROFS" | "EACCES" | "ENOENT"), "{by:?} {done:?}");
        }
        let hidden = ["/sys/firmware", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/fs/bpf"];
        let mut plan = crate::job::plan(&[&["ls", "-A"][..], &hidden].concat());
        plan.system.as_mut().unwrap().push(path("/sys"));
        let done = bench.run(&plan, by);
        let seen = done.output.lines().filter(|line| {
            !line.is_empty() && !line.starts_with("/sys/") && !line.starts_with("ls: ")
        });
        assert_eq!(seen.count(), 0, "{by:?} {done:?}");
        let mut plan = crate::job::plan(&["grep", "-E", "^sysfs /sys sysfs ro,", "/proc/mounts"]);
        plan.system.as_mut().unwrap().push(path("/sys"));
        let done = bench.run(&plan, by);
        assert!(done.output.contains("nosuid,nodev,noexec"), "{by:?} {done:?}");
    }
}

#[test]
fn a_pipe_in_a_named_folder_cannot_be_written() {
    // JOB-18: a read-only mount alone does not keep anybody from that.
    let bench = Bench::new();
    let folder = bench.make_folder("named");
    let pipe = folder.join("pipe");
    make_pipe(&pipe);
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    for by in BOTH {
        let mut plan = bench.attempt(&["write", pipe.to_str().unwrap()]);
        plan.paths = vec![parameter(&folder, &folder)];
        assert_eq!(bench.run(&plan, by).answer(pipe.to_str().unwrap()), "EACCES");
    }
}

#[test]
fn what_is_named_below_tmp_does_not_become_part_of_the_jobs_own() {
    // JOB-18
    let bench = Bench::new();
    let folder = tempfile::Builder::new().prefix("adit-sandbox-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut plan = bench.attempt(&["write", pipe.to_str().unwrap(), "x"]);
    plan.paths = vec![parameter(folder.path(), folder.path())];
    let done = bench.run(&plan, By::Root);
    assert_eq!((done.answer(pipe.to_str().unwrap()), done.answer("x")), ("EACCES", "ok"));
}

fn make_pipe(path: &std::path::Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
}
