//! System calls.

use adit_wire::sandbox::End;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::job::{BOTH, Bench, By};

#[test]
fn no_call_opens_the_sandbox() {
    // CMD-30, JOB-22, JOB-23
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["calls"]), by);
        assert_eq!(done.end(), End::Exited { code: 0 }, "{done:?}");
        assert!(done.output.lines().count() >= 40, "{done:?}");
        for line in done.output.lines() {
            let expected = if line.starts_with("clone3=") || line.starts_with("unknown=") {
                "=ENOSYS"
            } else {
                "=EPERM"
            };
            assert!(line.ends_with(expected), "{by:?} {line}");
        }
    }
}

#[test]
fn outside_the_same_calls_get_other_answers() {
    // JOB-22, JOB-23: what shows that the attempts attempt something.
    let outside = Bench::new().attempt_outside(&["calls"]);
    for name in [
        "unshare_user",
        "clone_user",
        "clone3",
        "setns",
        "ptrace",
        "process_vm_readv",
        "pidfd_getfd",
        "io_uring_setup",
        "keyctl",
        "add_key",
        "personality",
    ] {
        let line = outside.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap();
        assert!(!line.ends_with("=EPERM") && !line.ends_with("=ENOSYS"), "{line}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_by_another_table_kills() {
    // JOB-23
    let bench = Bench::new();
    for attempt in ["x32", "int80"] {
        let done = bench.run(&bench.attempt(&[attempt]), By::Root);
        assert_eq!(done.end(), End::Signalled { signal: SIGSYS }, "{attempt}: {done:?}");
    }
    assert_eq!(bench.attempt_outside(&["int80"]), "alive\n");
}

#[test]
fn a_job_types_into_no_terminal() {
    // JOB-20
    let bench = Bench::new();
    for by in BOTH {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let side = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
        let job = bench.start_with(&[], &bench.attempt(&["tty"]), by, side.into());
        job.end();
        let mut bytes = [0; 4096];
        let count = rustix::io::read(&terminal, &mut bytes).unwrap();
        let output = String::from_utf8_lossy(&bytes[..count]).replace('\r', "");
        let expected = "sti=EPERM\nlinux=EPERM\nsctty=EPERM\n/dev/tty=ENOENT\n";
        assert!(output.starts_with(expected), "{by:?}: {output}");
        assert!(output.lines().any(|line| line == "/proc/self/fd/1=EACCES"), "{by:?}: {output}");
    }
}

const SIGSYS: i32 = 31;
