//! Which programs a template may not run, whatever its operator wrote.
//!
//! This keeps mistakes out, it is no wall: what holds a program in is the sandbox. A word is known by its last component, `/usr/bin/sudo`.

use super::{Argument, BadCommand, Command};

/// Programs that change who runs what follows.
const RISERS: &[&str] = &["doas", "pkexec", "run0", "runuser", "su", "sudo", "sudoedit"];

/// Shells.
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "posh", "pwsh",
    "rbash", "sh", "tcsh", "yash", "zsh",
];

/// Programs that run what their arguments name.
const RUNNERS: &[&str] = &[
    "chroot",
    "chrt",
    "entr",
    "env",
    "flock",
    "ionice",
    "ltrace",
    "nice",
    "nohup",
    "nsenter",
    "parallel",
    "prlimit",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "ssh",
    "stdbuf",
    "strace",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "unshare",
    "watch",
    "xargs",
];

/// Interpreters, without the version at the end of their names.
const INTERPRETERS: &[&str] = &[
    "bun",
    "deno",
    "guile",
    "julia",
    "lua",
    "luajit",
    "node",
    "nodejs",
    "osascript",
    "perl",
    "php",
    "pypy",
    "python",
    "r",
    "raku",
    "rscript",
    "ruby",
    "tclsh",
];

/// Programs whose first operand is a program of its own.
const SCRIPTED: &[&str] = &["awk", "ed", "gawk", "mawk", "nawk", "sed", "vi", "vim"];

/// Arguments after which `find` takes a program.
const FIND_RUNS: &[&str] = &["-exec", "-execdir", "-ok", "-okdir"];

/// Letters of options by which interpreters take code: `-c`, `-e`, `-E`, `-r`, `-p`.
const CODE_LETTERS: &[char] = &['c', 'e', 'E', 'r', 'p'];

/// Long forms of the same.
const CODE_OPTIONS: &[&str] = &["--eval", "--execute", "--print", "--require", "--run", "eval"];

pub(super) fn check(command: &Command) -> Result<(), BadCommand> {
    let words = command.arguments.iter().filter_map(Argument::literal);
    for word in std::iter::once(command.program.as_str()).chain(words) {
        let name = last_component(word);
        if RISERS.contains(&name) {
            return Err(BadCommand::Rises(name.to_owned()));
        }
        if SHELLS.contains(&name) {
            return Err(BadCommand::IsShell(name.to_owned()));
        }
    }
    check_runner(command)?;
    check_find(command)?;
    check_interpreter(command)
}

fn check_runner(command: &Command) -> Result<(), BadCommand> {
    let name = last_component(&command.program);
    if RUNNERS.contains(&name) && command.placeholders().next().is_some() {
        return Err(BadCommand::Chooses(name.to_owned()));
    }
    Ok(())
}

fn check_find(command: &Command) -> Result<(), BadCommand> {
    let runs = |one: &Argument| one.literal().is_some_and(|word| FIND_RUNS.contains(&word));
    let mut after = command.arguments.iter().skip_while(|one| !runs(one));
    if last_component(&command.program) == "find" && after.any(|one| one.literal().is_none()) {
        return Err(BadCommand::Chooses("find".to_owned()));
    }
    Ok(())
}

fn check_interpreter(command: &Command) -> Result<(), BadCommand> {
    let name = last_component(&command.program);
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_lowercase();
    let interprets = INTERPRETERS.contains(&plain.as_str());
    if interprets && command.arguments.iter().any(brings_code) {
        return Err(BadCommand::Code(name.to_owned()));
    }
    let chooses = command.arguments.iter().find(|one| !one.start().starts_with('-'));
    let is_value = chooses.is_some_and(|first| first.literal().is_none());
    if is_value && (interprets || SCRIPTED.contains(&name)) {
        return Err(BadCommand::Chooses(name.to_owned()));
    }
    Ok(())
}

fn brings_code(argument: &Argument) -> bool {
    let start = argument.start();
    if start == "-" || CODE_OPTIONS.iter().any(|option| start.starts_with(option)) {
        return true;
    }
    let letters = start.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
    letters.is_some_and(|letters| letters.contains(CODE_LETTERS))
}

fn last_component(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}
