//! The programs that building and testing need, and the Debian packages that hold them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// A program and the package that brings it.
#[derive(Clone, Copy)]
pub struct Part {
    /// The name looked for in `PATH`.
    program: &'static str,
    /// The Debian package that holds it.
    package: &'static str,
}

/// What building needs. cmake is not here: aws-lc-sys builds with the C compiler alone on Linux.
pub const BUILD: &[Part] =
    &[part("cc", "gcc"), part("ld", "binutils"), part("node", "nodejs"), part("npm", "npm")];

/// What the tests need beside that.
pub const TESTS: &[Part] = &[
    part("asciinema", "asciinema"),
    part("chromium", "chromium"),
    // What makes a folder for programs of PyPI.
    part("ensurepip", "python3-venv"),
    part("faketime", "faketime"),
    part("fc-list", "fontconfig"),
    part("git", "git"),
    part("htop", "htop"),
    part("initdb", "postgresql"),
    part("ip", "iproute2"),
    part("less", "less"),
    part("nft", "nftables"),
    part("ps", "procps"),
    part("python3", "python3"),
    part("ssh", "openssh-client"),
    part("sqlite3", "sqlite3"),
    part("sshd", "openssh-server"),
    part("strace", "strace"),
    part("systemd-analyze", "systemd"),
    part("tmux", "tmux"),
    part("vim", "vim"),
];

/// Packages whose service Debian starts as soon as they are installed, where systemd runs.
const WITH_SERVICE: &[&str] = &["openssh-server", "postgresql"];

const fn part(program: &'static str, package: &'static str) -> Part {
    Part { program, package }
}

/// Installs the packages whose programs are not there, in one `apt-get install`, and says so.
pub fn install_missing(parts: &[Part]) -> Result<()> {
    let folders = program_folders();
    let packages =
        missing(parts, |program| folders.iter().any(|folder| folder.join(program).exists()));
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !has(&folders, "apt-get") {
        bail!("these Debian packages, or what your system calls them, are needed: {names}");
    }
    let elevate = match (rustix::process::geteuid().is_root(), has(&folders, "sudo")) {
        (true, _) => None,
        (false, true) => Some("sudo"),
        (false, false) => bail!("run this as root: apt-get install {names}"),
    };
    println!("Installing with apt-get: {names}");
    if Path::new("/run/systemd/system").exists()
        && packages.iter().any(|name| WITH_SERVICE.contains(name))
    {
        println!(
            "Debian starts the services of {} once installed; the tests do not use them.",
            WITH_SERVICE.join(", ")
        );
    }
    if let Err(error) = command::run(&mut apt_get(elevate, &["update", "--quiet"])) {
        println!("{error}; installing from the package lists that are there.");
    }
    let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
    command::run(apt_get(elevate, &install).args(&packages))
}

/// Installs a cargo subcommand of a version that this Rust builds, where none is there yet.
pub fn install_cargo_tool(subcommand: &str, version: &str) -> Result<()> {
    if command::succeeds(Command::new("cargo").args([subcommand, "--version"])) {
        return Ok(());
    }
    println!("Installing with cargo: cargo-{subcommand} (some minutes, once)");
    command::run(Command::new("cargo").args([
        "install",
        "--locked",
        &format!("cargo-{subcommand}@{version}"),
    ]))
}

/// A Python 2.7, which no Debian has had since 2023: from `PATH`, or one that pyenv built.
pub fn python_2() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let root = std::env::var_os("PYENV_ROOT").map_or(home.join(".pyenv"), PathBuf::from);
    let built = std::fs::read_dir(root.join("versions")).into_iter().flatten().flatten();
    // Those first: a shim of pyenv's in `PATH` is there for versions that are not.
    built
        .map(|version| version.path().join("bin/python2.7"))
        .chain(program_folders().into_iter().map(|folder| folder.join("python2.7")))
        .find(|program| command::succeeds(Command::new(program).args(["-m", "pip", "--version"])))
}

/// The packages of the parts whose program is absent, in the table's order, each once.
fn missing(parts: &[Part], present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    parts.iter().filter(|part| !present(part.program)).map(|part| part.package).collect()
}

/// `PATH`, the folders of system programs, and those of PostgreSQL and of Python's own parts, which Debian keeps out of both.
fn program_folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let lib = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let python = lib.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
    });
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(postgres.map(|version| version.path().join("bin")))
        .chain(python)
        .collect()
}

fn has(folders: &[PathBuf], program: &str) -> bool {
    folders.iter().any(|folder| folder.join(program).exists())
}

fn apt_get(elevate: Option<&str>, args: &[&str]) -> Command {
    let mut command = match elevate {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            command
        }
        None => {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        }
    };
    command.args(args.iter().map(OsStr::new));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absent_programs_are_installed() {
        let parts = [part("vim", "vim"), part("sshd", "openssh-server")];
        assert_eq!(missing(&parts, |program| program == "vim"), ["openssh-server"]);
    }

    #[test]
    fn nothing_is_installed_where_everything_is_there() {
        assert!(missing(TESTS, |_| true).is_empty());
    }

    #[test]
    fn sudo_keeps_apt_get_from_asking() {
        let command = apt_get(Some("sudo"), &["install", "--yes"]);
        assert_eq!(
            command::line(&command),
            "sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes"
        );
    }
}
