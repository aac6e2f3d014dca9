//! What the kernel says of the processes of Adit.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::ProcError;
use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, LimitValue, Process as Read, all_processes};
use rustix::thread::CapabilitySet;
use serde::Serialize;

use super::files::{self, Files};
use crate::config::Config;

/// More processes of Adit than are looked at: each session has one more, and those are not counted here.
const MAX_PROCESSES: usize = 256;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `adit up`, which starts the others.
    Up,
    /// `adit serve`.
    Gateway,
    /// `adit agent run` or `adit agent support`.
    Agent,
    /// `adit helper run`.
    Helper,
}

impl Role {
    /// Gives its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Gateway => "gateway",
            Self::Agent => "agent",
            Self::Helper => "helper",
        }
    }
}

/// A process and what it may do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// What it is for.
    pub role: Role,
    /// Its id.
    pub pid: i32,
    /// Its account's id.
    pub uid: u32,
    /// Its account's name.
    pub user: String,
    /// Its groups, without the account's own.
    pub groups: Vec<String>,
    /// The capabilities that it has.
    pub effective: Vec<String>,
    /// Those that a program which it starts can have at most.
    pub bounding: Vec<String>,
    /// Whether no program that it starts gains anything, by setuid or otherwise.
    pub no_new_privileges: bool,
    /// Whether its system calls are filtered.
    pub seccomp: bool,
    /// Whether others of its account are kept from its memory; nothing where it is root's, because the kernel does not tell.
    pub memory_private: Option<bool>,
    /// Whether it may leave a core file.
    pub core_files: bool,
    /// Where it listens; nothing where that may not be read.
    pub listens: Option<Vec<String>>,
    /// The folder of its keys and data, and what is open in it.
    pub files: Option<Files>,
}

/// Looks at all processes that this account can see; a process that ends meanwhile is left out.
///
/// # Errors
/// There is no `/proc`.
pub fn all() -> io::Result<Vec<Process>> {
    let processes = all_processes().map_err(to_io)?;
    let mut found: Vec<Process> =
        processes.filter_map(|read| look(&read.ok()?)).take(MAX_PROCESSES).collect();
    found.sort_by_key(|process| (process.role, process.pid));
    Ok(found)
}

fn to_io(error: ProcError) -> io::Error {
    match error {
        ProcError::Io(error, _) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn look(read: &Read) -> Option<Process> {
    let line = read.cmdline().ok()?;
    let role = role(&line)?;
    let status = read.status().ok()?;
    let core = read.limits().ok()?.max_core_file_size;
    // The files in the folder of a process that may not be dumped are root's, whosever it is; the folder itself tells nothing.
    let owner = fs::metadata(format!("/proc/{}/stat", read.pid())).ok()?.uid();
    let memory_private = (status.euid != 0).then_some(owner == 0);
    let groups: BTreeSet<u32> = status.groups.iter().copied().chain([status.egid]).collect();
    Some(Process {
        role,
        pid: read.pid(),
        uid: status.euid,
        user: files::user_name(status.euid),
        groups: groups.into_iter().map(files::group_name).collect(),
        effective: names(status.capeff),
        bounding: names(status.capbnd.unwrap_or(u64::MAX)),
        no_new_privileges: status.nonewprivs == Some(1),
        seccomp: status.seccomp.is_some_and(|mode| mode != 0),
        memory_private,
        core_files: !matches!(core.soft_limit, LimitValue::Value(0)),
        listens: listens(read),
        files: folder(role, &line, read).map(|path| files::look(&path, status.euid)),
    })
}

/// Tells a process by how it was started.
fn role(line: &[String]) -> Option<Role> {
    let program = Path::new(line.first()?).file_name()?;
    if program != "adit" {
        return None;
    }
    match (line.get(1)?.as_str(), line.get(2).map(String::as_str)) {
        ("up", _) => Some(Role::Up),
        ("serve", _) => Some(Role::Gateway),
        ("agent", Some("run" | "support")) => Some(Role::Agent),
        ("helper", Some("run")) => Some(Role::Helper),
        _ => None,
    }
}

fn names(bits: u64) -> Vec<String> {
    let set = CapabilitySet::from_bits_truncate(bits);
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

/// Gives where a process listens, from its open files and its network's tables.
fn listens(read: &Read) -> Option<Vec<String>> {
    let sockets: BTreeSet<u64> = read
        .fd()
        .ok()?
        .filter_map(|fd| match fd.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let tcp = [read.tcp(), read.tcp6()].into_iter().flatten().flatten();
    let mut listens: BTreeSet<String> = tcp
        .filter(|entry| entry.state == TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| entry.local_address.to_string())
        .collect();
    let unix = read.unix().into_iter().flatten();
    listens.extend(
        unix.filter(|entry| {
            entry.state == UnixState::UNCONNECTED && sockets.contains(&entry.inode)
        })
        .filter_map(|entry| Some(entry.path?.display().to_string())),
    );
    Some(listens.into_iter().collect())
}

/// Gives the folder of a process, as its command line or its settings name it.
fn folder(role: Role, line: &[String], read: &Read) -> Option<PathBuf> {
    let option = |name: &str| {
        let mut words = line.iter();
        words.find(|word| *word == name)?;
        words.next().map(|word| inside(read, Path::new(word)))
    };
    match role {
        Role::Up => option("--data"),
        Role::Gateway => option("--data").or_else(|| {
            let config = Config::load(&option("--config")?).ok()?;
            config.data.map(|data| inside(read, &data))
        }),
        Role::Agent => option("--dir"),
        Role::Helper => Some(PathBuf::from("/var/lib/adit-helper")),
    }
}

/// Resolves a path as the process would; a relative one where its folder cannot be read stays as it is.
fn inside(read: &Read, path: &Path) -> PathBuf {
    match read.cwd() {
        Ok(cwd) => cwd.join(path),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_how_it_was_started() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(role(&line("/usr/bin/adit serve --config x")), Some(Role::Gateway));
        assert_eq!(role(&line("adit agent run")), Some(Role::Agent));
        assert_eq!(role(&line("adit helper run")), Some(Role::Helper));
        for other in ["adit ls", "adit agent join x", "vim serve", "adit"] {
            assert_eq!(role(&line(other)), None, "{other}");
        }
    }

    #[test]
    fn capabilities_have_their_kernels_names() {
        assert_eq!(names(0), Vec::<String>::new());
        assert_eq!(names(1 << 10), ["CAP_NET_BIND_SERVICE"]);
    }
}
