//! `cargo xtask ci`: every check and every test, one step after the other, the quick ones first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, packages, tidy};

/// One thing that must hold, and the commands that show it.
struct Step {
    name: &'static str,
    commands: Vec<Command>,
}

/// Runs all steps; the first that fails ends the run with its name.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut times = Times::default();
    times.take("tidy", || tidy::run(workspace))?;
    for step in checks(workspace) {
        times.take(step.name, || run_all(step.commands))?;
    }
    let adit = times.take("build adit", || workspace.build("adit", "dev"))?;
    for step in tests(workspace, &adit)? {
        times.take(step.name, || run_all(step.commands))?;
    }
    times.print();
    Ok(())
}

/// What is checked without running Adit. The console's build comes first: it makes the types that its checks need, and
/// the files that the Rust build embeds.
fn checks(workspace: &Workspace) -> Vec<Step> {
    let cargo = |args: &[&str]| workspace.command("cargo", args);
    let npm = |script: &str| {
        let mut command = workspace.command("npm", &["run", script]);
        command.current_dir(workspace.root.join("web"));
        command
    };
    // The advisory database is a second source that moves by itself: a release looks at it, a build of an old commit
    // must not change its answer because of it.
    let deny = cargo(&[
        "deny",
        "--log-level",
        "error",
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    let clippy =
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]);
    vec![
        step("format", [cargo(&["fmt", "--all", "--check"])]),
        step("dependencies", [deny]),
        step("console: build", [npm("build")]),
        step("console: check", [npm("check")]),
        step("console: test", [npm("test")]),
        step("clippy", [clippy]),
    ]
}

/// What runs Adit. Tests find the binary under test by `ADIT_BIN`.
fn tests(workspace: &Workspace, adit: &Path) -> Result<Vec<Step>> {
    let cargo = |args: &[&str]| {
        let mut command = workspace.command("cargo", args);
        command.env("ADIT_BIN", adit);
        command
    };
    let mut all = cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    match packages::python_2() {
        Some(python) => _ = all.env("PYTHON27", python),
        None => println!(
            "\nSKIPPED: the WebSocket against Autobahn's suite, which needs Python 2.7 in PATH or in ~/.pyenv/versions."
        ),
    }
    let mut steps = vec![
        step("tests", [all]),
        step("documentation examples", [cargo(&["test", "--doc", "--workspace", "--locked"])]),
    ];
    let sdk = |args: &[&str]| {
        let mut command = workspace.command("npm", &["--silent", "--prefix", "sdk/typescript"]);
        command.args(args).env("ADIT_BIN", adit);
        command
    };
    steps.push(step("npm package", [sdk(&["run", "check"]), sdk(&["test"])]));
    let scripts = browser_tests(&workspace.root.join("tests/e2e"))?;
    if !scripts.is_empty() {
        let mut browser =
            workspace.command("node", &["--test", "--test-concurrency=1", "--test-timeout=300000"]);
        browser.args(scripts).env("ADIT_BIN", adit);
        steps.push(step("browser tests", [browser]));
    }
    Ok(steps)
}

/// The scripts named `*.test.mjs` in a folder, in the order of their names; none where there is no such folder.
fn browser_tests(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut scripts = Vec::new();
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?
    {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            scripts.push(path);
        }
    }
    scripts.sort();
    Ok(scripts)
}

fn step<const N: usize>(name: &'static str, commands: [Command; N]) -> Step {
    Step { name, commands: commands.into() }
}

fn run_all(commands: Vec<Command>) -> Result<()> {
    commands.into_iter().try_for_each(|mut command| command::run(&mut command))
}

/// How long each step took, for the table at the end.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    /// Runs one step between its heading and its time.
    fn take<T>(&mut self, name: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n── {name}");
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        println!(
            "── {name}: {} after {:.1} s",
            if outcome.is_ok() { "ok" } else { "FAILED" },
            took.as_secs_f64()
        );
        self.0.push((name, took));
        outcome.with_context(|| format!("the step “{name}” failed"))
    }

    fn print(&self) {
        println!("\nEverything holds:");
        for (name, took) in &self.0 {
            println!("  {name:<24} {:>7.1} s", took.as_secs_f64());
        }
        let total: Duration = self.0.iter().map(|(_, took)| *took).sum();
        println!("  {:<24} {:>7.1} s", "in all", total.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_step_is_named() {
        let outcome: Result<()> =
            Times::default().take("clippy", || bail!("`cargo clippy` failed"));
        let error = outcome.expect_err("the step failed");
        assert_eq!(format!("{error:#}"), "the step “clippy” failed: `cargo clippy` failed");
    }

    #[test]
    fn browser_tests_are_the_scripts_with_that_ending_in_order() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for name in ["b.test.mjs", "a.test.mjs", "harness.mjs", "package.json"] {
            std::fs::write(folder.path().join(name), "").expect("file");
        }
        let names: Vec<_> = browser_tests(folder.path()).expect("listed").into_iter().collect();
        assert_eq!(names, [folder.path().join("a.test.mjs"), folder.path().join("b.test.mjs")]);
    }
}
