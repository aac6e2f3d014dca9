//! What is refused, and what is run without a layer and said so.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use adit_wire::sandbox::{End, Layer, RefusalCode, Report, SUBCOMMAND, State, read_report};

use crate::job::{BOTH, Bench, By, Done, holds_as_far_as_it_can, plan};

fn assert_unavailable(done: &Done, layer: Layer) {
    let refusal = done.refusal();
    assert_eq!(refusal.code, RefusalCode::SandboxUnavailable, "{done:?}");
    assert_eq!(refusal.layer, Some(layer), "{done:?}");
    assert!(!refusal.reason.is_empty());
    assert_eq!(done.output, "", "nothing ran");
}

fn run_without(bench: &Bench, call: &str, errno: i32, demanded: &[Layer]) -> Done {
    let attempt = bench.path("attempt");
    let mut plan = plan(&["echo", "ran"]);
    plan.demanded = demanded.to_vec();
    bench
        .start_below(
            &[attempt.to_str().unwrap(), "without", call, &errno.to_string()],
            &plan,
            By::Root,
        )
        .end()
}

#[test]
fn without_user_namespaces_a_job_is_refused() {
    // CMD-32, JOB-36
    let bench = Bench::new();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    let job = bench.start_below(
        &["unshare", "--user", "--map-root-user", "sh", "-c", script],
        &plan(&["echo", "ran"]),
        By::Root,
    );
    assert_unavailable(&job.end(), Layer::UserNamespace);
}

#[test]
fn in_a_chroot_a_job_is_refused() {
    // CMD-32, JOB-36
    let bench = Bench::new();
    let root = bench.make_folder("root");
    let script = "cd \"$1\" && mkdir -p usr proc dev tmp && mount --rbind /usr usr && mount --rbind /proc proc && mount --rbind /dev dev \
        && mount --rbind \"$2\" tmp && for l in bin lib lib64; do ln -s usr/$l $l; done && exec chroot . /tmp/sandbox __sandbox";
    let folder = bench.path("");
    let words = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        root.to_str().unwrap(),
        folder.to_str().unwrap(),
    ];
    let job = bench.start_below(&words, &plan(&["echo", "ran"]), By::Root);
    assert_unavailable(&job.end(), Layer::UserNamespace);
}

#[test]
fn without_seccomp_a_job_is_refused() {
    // CMD-32, JOB-36
    let bench = Bench::new();
    assert_unavailable(&run_without(&bench, "seccomp", EPERM, &[]), Layer::Seccomp);
}

#[test]
fn without_mounts_a_job_is_refused() {
    // CMD-32, JOB-36
    let bench = Bench::new();
    assert_unavailable(&run_without(&bench, "mount", EPERM, &[]), Layer::PrivateRoot);
}

#[test]
fn a_layer_that_is_demanded_and_missing_refuses_the_job() {
    // CMD-32, JOB-36
    let bench = Bench::new();
    for layer in [Layer::Landlock, Layer::LandlockNetwork, Layer::LandlockScope] {
        assert_unavailable(&run_without(&bench, "landlock", ENOSYS, &[layer]), layer);
    }
    for layer in [Layer::MemoryGroup, Layer::PidsGroup, Layer::CpuGroup] {
        let mut plan = plan(&["echo", "ran"]);
        plan.demanded = vec![layer];
        assert_unavailable(&bench.run(&plan, By::User), layer);
    }
}

#[test]
fn where_proc_is_not_to_be_had_there_is_none() {
    // CMD-32: as in a container that masks parts of its own.
    let bench = Bench::new();
    let script = "mount -t tmpfs none /proc/tty && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script];
    let mut plan = plan(&["sh", "-c", "echo /proc/*"]);
    let done = bench.start_below(&wrapper, &plan, By::Root).end();
    assert_eq!((done.output.as_str(), done.end()), ("/proc/*\n", End::Exited { code: 0 }));
    assert!(matches!(done.state(Layer::MaskedProc), State::Missing { .. }), "{done:?}");
    plan.demanded = vec![Layer::MaskedProc];
    assert_unavailable(&bench.start_below(&wrapper, &plan, By::Root).end(), Layer::MaskedProc);
}

#[test]
fn a_layer_that_is_missing_and_not_demanded_is_reported() {
    // CMD-32
    let bench = Bench::new();
    let done = run_without(&bench, "landlock", ENOSYS, &[]);
    assert_eq!((done.output.as_str(), done.end()), ("ran\n", End::Exited { code: 0 }));
    for layer in [Layer::Landlock, Layer::LandlockNetwork, Layer::LandlockScope] {
        assert!(
            matches!(done.state(layer), State::Missing { reason } if !reason.is_empty()),
            "{done:?}"
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_said_to_be_missing() {
    // CMD-30
    let bench = Bench::new();
    for program in
        ["no-such-program", "/no/such/program", "/etc/passwd", "./sh", "/usr/bin/../bin/sh"]
    {
        for by in BOTH {
            let done = bench.run(&plan(&[program]), by);
            assert_eq!(
                done.refusal().code,
                RefusalCode::ProgramUnavailable,
                "{by:?} {program} {done:?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_no_plan_are_refused_before_anything_is_done() {
    // P12 of the promises: a size is looked at before there is room for it.
    let bench = Bench::new();
    for bytes in [&b"\0\0\0\x02{}"[..], b"\xff\xff\xff\xff", b"\0\0", b""] {
        let (mut agent, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(bench.path("sandbox"));
        command.arg(SUBCOMMAND).stdin(std::os::fd::OwnedFd::from(theirs)).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(command);
        agent.write_all(bytes).unwrap();
        agent.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        agent.read_to_end(&mut said).unwrap();
        child.wait().unwrap();
        let report = read_report(&mut &said[..]).unwrap();
        let Some(Report::Refused(refusal)) = report else { panic!("{report:?}") };
        assert_eq!(refusal.code, RefusalCode::BadPlan);
    }
}

#[test]
fn plan_control_and_reports_may_each_have_a_descriptor() {
    // CMD-30
    let bench = Bench::new();
    let script = "exec \"$@\" --plan 3 --control 4 --report 5 3<&0 4<&0 5>&0 </dev/null";
    let done =
        bench.start_below(&["sh", "-c", script, "sh"], &plan(&["echo", "ran"]), By::Root).end();
    assert_eq!((done.output.as_str(), done.end()), ("ran\n", End::Exited { code: 0 }));
}

#[test]
fn what_this_machine_can_enforce_is_told() {
    // CMD-32
    let bench = Bench::new();
    let (layers, _) = adit_sandbox::probe(&bench.path("sandbox")).unwrap();
    let names: Vec<Layer> = layers.iter().map(|state| state.layer).collect();
    assert_eq!(names, Layer::ALL);
    assert!(layers.iter().all(holds_as_far_as_it_can), "{layers:?}");
}

#[test]
fn what_this_machine_cannot_enforce_is_told_with_the_reason() {
    // CMD-32
    let bench = Bench::new();
    let script = "#!/bin/sh\nexec unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"' \
        \"$(dirname \"$0\")/sandbox\" \"$@\"\n";
    let wrapper = bench.path("wrapper");
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let (layers, _) = adit_sandbox::probe(&wrapper).unwrap();
    let missing = |wanted| {
        layers
            .iter()
            .any(|state| state.layer == wanted && matches!(state.state, State::Missing { .. }))
    };
    assert!(missing(Layer::UserNamespace) && missing(Layer::PrivateRoot), "{layers:?}");
}

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
