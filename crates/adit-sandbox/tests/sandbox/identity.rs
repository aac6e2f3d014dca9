//! Who a job is, what it has, what it gets to know.

use std::os::unix::fs::PermissionsExt as _;

use adit_wire::sandbox::{Account, Environment, Layer};

use crate::job::{BOTH, Bench, By, USER, holds_as_far_as_it_can, path};

#[test]
fn a_job_has_no_capability_and_gains_none() {
    // CMD-30, JOB-21
    let bench = Bench::new();
    for by in BOTH {
        let done = bench.run(&bench.attempt(&["gain"]), by);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(done.output.contains(&format!("{set}: 0000000000000000")), "{by:?} {done:?}");
        }
        assert!(done.output.contains("NoNewPrivs: 1"), "{done:?}");
        assert!(done.output.contains("Seccomp: 2"), "{done:?}");
    }
}

#[test]
fn a_job_gives_up_capabilities_and_takes_none() {
    // JOB-21: programs give theirs up before they begin, and may; `none` is that.
    let bench = Bench::new();
    for by in BOTH {
        let sets = ["effective", "permitted", "inheritable", "effective+permitted"];
        let done = bench.run(&bench.attempt(&[&["raise"], &sets[..], &["none"]].concat()), by);
        for set in sets {
            assert_eq!(done.answer(set), "EPERM", "{by:?} {set}");
        }
        assert_eq!(done.answer("none"), "ok", "{by:?}");
    }
}

#[test]
fn a_setuid_program_gives_nothing() {
    // JOB-21
    let bench = Bench::new();
    let setuid = bench.path("setuid");
    std::fs::copy(bench.path("attempt"), &setuid).unwrap();
    std::fs::set_permissions(&setuid, std::fs::Permissions::from_mode(0o4755)).unwrap();
    for by in BOTH {
        let name = setuid.to_str().unwrap();
        let mut plan = crate::job::plan(&[name, "gain"]);
        plan.system.as_mut().unwrap().push(path(name));
        let done = bench.run(&plan, by);
        let uid = if by == By::Root { 65534 } else { USER };
        assert!(done.output.contains(&format!("Uid: {uid} {uid} {uid} {uid}")), "{by:?} {done:?}");
    }
}

#[test]
fn root_starts_jobs_of_any_account_but_root() {
    // JOB-21
    let bench = Bench::new();
    let mut plan = bench.attempt(&["gain"]);
    let number = |number| std::num::NonZeroU32::new(number).unwrap();
    plan.account = Some(Account { uid: number(USER), gid: number(USER + 1) });
    let done = bench.run(&plan, By::Root);
    assert!(done.output.contains(&format!("Uid: {USER} {USER} {USER} {USER}")), "{done:?}");
    assert!(
        done.output.contains(&format!("Gid: {0} {0} {0} {0}\nGroups:\n", USER + 1)),
        "{done:?}"
    );
}

#[test]
fn a_job_starts_the_same_everywhere() {
    // JOB-29
    let bench = Bench::new();
    for by in BOTH {
        let mut plan = bench.attempt(&["environment"]);
        let extra = [("TERM".to_owned(), "dumb".to_owned())]
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>();
        plan.environment = Environment::try_from(extra).unwrap();
        let done = bench.run(&plan, by);
        let mut lines: Vec<&str> = done.output.lines().collect();
        let last = lines.pop().unwrap();
        lines.sort_unstable();
        let expected = [
            "HOME=/tmp",
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=dumb",
            "TMPDIR=/tmp",
            "cwd=/tmp",
            "input=Ok(0)",
            "umask=22",
        ];
        assert_eq!(lines, expected, "{by:?}");
        assert!(last.ends_with("session=true"), "{last}");
    }
}

#[test]
fn a_job_inherits_no_descriptor() {
    // JOB-17
    let bench = Bench::new();
    let mut plan = bench.attempt(&["descriptors"]);
    // Left open to whoever is executed, as a careless agent would.
    let secret = std::fs::File::open("/etc/shadow").unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    plan.demanded = vec![Layer::MaskedProc];
    for by in BOTH {
        // The fourth is the folder that is being read.
        assert_eq!(bench.run(&plan, by).output, "0 1 2 3\n", "{by:?}");
    }
}

#[test]
fn every_layer_holds_on_this_machine_for_root() {
    // CMD-30, CMD-32
    let bench = Bench::new();
    let mut plan = bench.attempt(&["gain"]);
    let young = [Layer::LandlockNetwork, Layer::LandlockScope];
    plan.demanded = Layer::ALL.into_iter().filter(|layer| !young.contains(layer)).collect();
    let done = bench.run(&plan, By::Root);
    let (layers, _) = done.layers();
    assert_eq!(layers.iter().map(|state| state.layer).collect::<Vec<_>>(), Layer::ALL);
    assert!(layers.iter().all(holds_as_far_as_it_can), "{layers:?}");
}
