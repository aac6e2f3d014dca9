//! Paths that a caller named.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_wire::sandbox::{End, RefusalCode};

use crate::job::{BOTH, Bench, By, parameter, path, plan};

#[test]
fn what_is_allowed_is_there_at_its_place_and_read_only() {
    // CMD-2, CMD-30
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    std::fs::write(folder.join("file"), "content").unwrap();
    let file = folder.join("file");
    for by in BOTH {
        for value in [&folder, &file] {
            let mut plan = plan(&["cat", file.to_str().unwrap()]);
            plan.paths = vec![parameter(value, &folder)];
            assert_eq!(bench.run(&plan, by).output, "content", "{by:?} {value:?}");
        }
        let mut plan =
            bench.attempt(&["write", file.to_str().unwrap(), folder.join("new").to_str().unwrap()]);
        plan.paths = vec![parameter(&folder, &folder)];
        let done = bench.run(&plan, by);
        assert!(
            done.output.lines().all(|line| line.ends_with("=EACCES") || line.ends_with("=EROFS")),
            "{done:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "content");
}

#[test]
fn what_may_be_written_is_what_was_named_and_no_more() {
    // CMD-30
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    let beside = bench.make_folder("beside");
    for by in BOTH {
        let new = folder.join(format!("{by:?}"));
        let other = beside.join("new");
        let mut plan =
            bench.attempt(&["write", new.to_str().unwrap(), other.to_str().unwrap(), "/usr/x"]);
        plan.paths = vec![parameter(&folder, &folder)];
        plan.allow_file_write = true;
        let done = bench.run(&plan, by);
        assert_eq!(done.answer(new.to_str().unwrap()), "ok", "{by:?}");
        assert_eq!(std::fs::read_to_string(&new).unwrap(), "x");
        assert_eq!(done.answer(other.to_str().unwrap()), "ENOENT");
        assert!(matches!(done.answer("/usr/x"), "EACCES" | "EROFS"), "{done:?}");
    }
}

#[test]
fn a_path_outside_of_what_is_allowed_is_refused() {
    // CMD-2, JOB-06
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    let evil = bench.make_folder("allowedevil");
    std::fs::write(evil.join("file"), "secret").unwrap();
    symlink(evil.join("file"), folder.join("out")).unwrap();
    symlink("../allowedevil/file", folder.join("up")).unwrap();
    symlink("/etc", folder.join("etc")).unwrap();
    for value in [
        evil.join("file"),
        evil.clone(),
        folder.join("out"),
        folder.join("up"),
        folder.join("etc/shadow"),
        folder.join("missing"),
    ] {
        let mut plan = plan(&["cat", value.to_str().unwrap()]);
        plan.paths = vec![parameter(&value, &folder)];
        for by in BOTH {
            let done = bench.run(&plan, by);
            let refusal = done.refusal();
            assert_eq!(refusal.code, RefusalCode::PathRefused, "{by:?} {value:?}");
            assert_eq!(refusal.parameter.as_deref(), Some("path"));
        }
    }
}

#[test]
fn a_link_that_stays_inside_is_followed() {
    // CMD-2
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    std::fs::write(folder.join("file"), "content").unwrap();
    symlink("file", folder.join("link")).unwrap();
    let link = folder.join("link");
    let mut plan = plan(&["cat", link.to_str().unwrap()]);
    plan.paths = vec![parameter(&link, &folder)];
    assert_eq!(bench.run(&plan, By::Root).output, "content");
}

#[test]
fn what_is_forbidden_is_refused_and_not_seen_from_above() {
    // CMD-2
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    let inner = bench.make_folder("allowed/inner");
    std::fs::write(inner.join("file"), "secret").unwrap();
    symlink(&inner, bench.path("alias")).unwrap();
    for forbidden in [inner.clone(), bench.path("alias")] {
        let mut direct = parameter(&inner.join("file"), &folder);
        direct.forbidden = vec![path(forbidden.to_str().unwrap())];
        let mut from_above = parameter(&folder, &folder);
        from_above.forbidden = vec![path(forbidden.to_str().unwrap())];
        let mut plan = plan(&["cat", inner.join("file").to_str().unwrap()]);
        plan.paths = vec![direct];
        assert_eq!(bench.run(&plan, By::Root).refusal().code, RefusalCode::PathRefused);
        plan.paths = vec![from_above];
        let done = bench.run(&plan, By::Root);
        assert!(!done.output.contains("secret"), "{done:?}");
        assert_eq!(done.end(), End::Exited { code: 1 });
    }
}

#[test]
fn what_is_forbidden_cannot_be_made_either() {
    // CMD-2: `.ssh` in a home that has none.
    let bench = Bench::new();
    let home = bench.make_folder("home");
    let mut parameter = parameter(&home, &home);
    parameter.forbidden = vec![path(home.join(".ssh").to_str().unwrap())];
    for by in BOTH {
        let mut plan = plan(&["mkdir", home.join(".ssh").to_str().unwrap()]);
        plan.paths = vec![parameter.clone()];
        assert_eq!(bench.run(&plan, by).end(), End::Exited { code: 1 }, "{by:?}");
        plan.allow_file_write = true;
        assert_eq!(bench.run(&plan, by).refusal().code, RefusalCode::PathRefused, "{by:?}");
    }
    assert!(!home.join(".ssh").exists());
    std::fs::create_dir(home.join(".ssh")).unwrap();
    let key = home.join(".ssh/key");
    let mut plan = bench.attempt(&["write", key.to_str().unwrap()]);
    plan.paths = vec![parameter];
    plan.allow_file_write = true;
    assert!(matches!(bench.run(&plan, By::Root).answer(key.to_str().unwrap()), "EROFS" | "EACCES"));
}

#[test]
fn what_is_forbidden_keeps_its_path() {
    // CMD-2: a folder above it that is renamed would leave its path free.
    let bench = Bench::new();
    let home = bench.make_folder("home");
    bench.make_folder("home/.config");
    bench.make_folder("home/.config/inner");
    let mut parameter = parameter(&home, &home);
    let forbidden = bench.make_folder("home/.config/inner/forbidden");
    parameter.forbidden = vec![path(forbidden.to_str().unwrap())];
    let script =
        "cd $0 && mv .config/inner .config/other; mv .config other; touch .config/inner/new";
    let mut plan = plan(&["sh", "-c", script, home.to_str().unwrap()]);
    plan.paths = vec![parameter];
    plan.allow_file_write = true;
    for by in BOTH {
        let done = bench.run(&plan, by);
        assert_eq!(done.end(), End::Exited { code: 0 }, "{by:?} {done:?}");
        assert!(forbidden.exists(), "{by:?} {done:?}");
        assert!(home.join(".config/inner/new").exists());
        std::fs::remove_file(home.join(".config/inner/new")).unwrap();
    }
}

#[test]
fn the_sandboxs_own_places_and_special_files_cannot_be_named() {
    // CMD-2, JOB-17
    let bench = Bench::new();
    for value in
        ["/", "/proc", "/proc/1/environ", "/proc/self/root", "/dev", "/dev/null", "/etc/shadow"]
    {
        let mut plan = plan(&["ls", value]);
        plan.paths = vec![parameter(value.as_ref(), "/".as_ref())];
        let done = bench.run(&plan, By::Root);
        assert_eq!(done.refusal().code, RefusalCode::PathRefused, "{value}");
    }
}

#[test]
fn what_an_account_may_not_read_its_job_may_not_name() {
    // JOB-17: root's sandbox looks paths up with the job's rights, not with root's.
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    let closed = bench.make_folder("allowed/closed");
    std::fs::write(closed.join("file"), "secret").unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut plan = plan(&["cat", closed.join("file").to_str().unwrap()]);
    plan.paths = vec![parameter(&closed.join("file"), &folder)];
    assert_eq!(bench.run(&plan, By::Root).refusal().code, RefusalCode::PathRefused);
}

#[test]
fn a_link_that_changes_meanwhile_wins_nothing() {
    // CMD-2, JOB-06
    let bench = Bench::new();
    let folder = bench.make_folder("allowed");
    std::fs::write(folder.join("file"), "content").unwrap();
    std::fs::write(bench.path("secret"), "secret").unwrap();
    let (link, next) = (folder.join("link"), folder.join("next"));
    symlink("file", &link).unwrap();
    let mut plan = plan(&["cat", link.to_str().unwrap()]);
    plan.paths = vec![parameter(&link, &folder)];
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for target in [bench.path("secret"), folder.join("file")] {
                    symlink(target, &next).unwrap();
                    std::fs::rename(&next, &link).unwrap();
                }
            }
        });
        let outputs: Vec<String> = (0..60).map(|_| bench.run(&plan, By::Root).output).collect();
        over.store(true, Ordering::Relaxed);
        assert!(
            outputs.iter().all(|output| output.is_empty() || output == "content"),
            "{outputs:?}"
        );
        assert!(outputs.iter().any(|output| output == "content"), "{outputs:?}");
    });
}
