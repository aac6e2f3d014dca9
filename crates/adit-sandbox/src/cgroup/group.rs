//! One group.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use adit_wire::sandbox::Limits;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};

use super::Controller;
use super::find::Unified;

/// A group that this process made and has locked; it is removed with this value.
#[derive(Debug)]
pub(crate) struct Group {
    parent: PathBuf,
    name: String,
    folder: OwnedFd,
    holds: Vec<Controller>,
}

/// Makes a group in the unified hierarchy: beside this process's own, because a group with processes can limit no group below it.
pub(super) fn make_unified(own: &Unified, name: &str) -> io::Result<Group> {
    let above = own.path.parent().filter(|above| above.starts_with(&own.top));
    let mut tried = Err(io::Error::other("the unified hierarchy has no controller for this group"));
    for parent in above.into_iter().chain([own.path.as_path()]) {
        if parent == own.path {
            // Works in the uppermost group and in one without processes only.
            let _ = std::fs::write(parent.join("cgroup.subtree_control"), "+memory +pids +cpu");
        }
        let enabled = std::fs::read_to_string(parent.join("cgroup.subtree_control"))?;
        if !enabled.split_whitespace().any(|name| matches!(name, "memory" | "pids" | "cpu")) {
            continue;
        }
        tried = Group::make(parent, name);
        if tried.is_ok() {
            break;
        }
    }
    tried
}

impl Group {
    pub(super) fn make(parent: &Path, name: &str) -> io::Result<Self> {
        // A sweeper may take the folder between its making and its lock; then it is made again.
        for _ in 0..ATTEMPTS {
            match rustix::fs::mkdir(parent.join(name), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(folder) = rustix::fs::open(parent.join(name), flags, Mode::empty()) else {
                continue;
            };
            let locked = flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && super::is_there(&folder) {
                let (parent, name) = (parent.to_owned(), name.to_owned());
                return Ok(Self { parent, name, folder, holds: Vec::new() });
            }
        }
        Err(io::Error::other("a group of this name is in use"))
    }

    pub(super) fn limit_v1(&mut self, controller: Controller, limits: &Limits) -> io::Result<()> {
        match controller {
            Controller::Memory => {
                let bytes = limits.memory_bytes.to_string();
                self.set("memory.limit_in_bytes", &bytes)?;
                // Kernels that do not count swap do not have it.
                let _ = self.set("memory.memsw.limit_in_bytes", &bytes);
            }
            Controller::Pids => self.set("pids.max", &processes(limits))?,
            Controller::Cpu => {
                self.set("cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                self.set("cpu.cfs_quota_us", &quota_us(limits).to_string())?;
            }
            Controller::Cpuacct => {}
        }
        self.holds.push(controller);
        Ok(())
    }

    pub(super) fn limit_v2(&mut self, controller: Controller, limits: &Limits) -> io::Result<()> {
        match controller {
            Controller::Memory => {
                self.set("memory.max", &limits.memory_bytes.to_string())?;
                let _ = self.set("memory.swap.max", "0");
                let _ = self.set("memory.oom.group", "1");
            }
            Controller::Pids => self.set("pids.max", &processes(limits))?,
            Controller::Cpu => {
                self.set("cpu.max", &format!("{} {CPU_PERIOD_US}", quota_us(limits)))?
            }
            // Counted by every group of this hierarchy.
            Controller::Cpuacct => return Ok(()),
        }
        self.holds.push(controller);
        Ok(())
    }

    pub(super) fn has(&self, controller: Controller) -> bool {
        self.holds.contains(&controller)
    }

    pub(super) fn is_useful(&self) -> bool {
        !self.holds.is_empty()
    }

    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What a process writes `0` to in order to join. A thread that moves itself waits for no other, unlike one that is moved.
    pub(super) fn door(&self) -> io::Result<OwnedFd> {
        Ok(openat(&self.folder, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    /// One counter of a file of `name value` lines.
    pub(super) fn counter(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.text(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    pub(super) fn kill(&self) {
        let _ = self.set("cgroup.kill", "1");
    }

    fn text(&self, file: &str) -> Option<String> {
        let file =
            openat(&self.folder, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = String::new();
        std::fs::File::from(file).take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let file = openat(&self.folder, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        std::fs::File::from(file).write_all(value.as_bytes())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = unlinkat(rustix::fs::CWD, self.parent.join(&self.name), AtFlags::REMOVEDIR);
    }
}

/// The job's, and the sandbox's first process inside.
fn processes(limits: &Limits) -> String {
    u64::from(limits.pids.get()).saturating_add(1).to_string()
}

/// The kernel takes no quota below a thousandth of a second.
fn quota_us(limits: &Limits) -> u64 {
    (u64::from(limits.cpu_millicores.get()) * CPU_PERIOD_US / 1000).max(1000)
}

/// The kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;

/// A sweeper takes a new folder once; twice is bad luck.
const ATTEMPTS: usize = 4;

/// No file that is read has more; a longer one is cut.
const FILE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use adit_wire::sandbox::Limits;

    use super::*;

    const LIMITS: &str = r#"{"timeout_ms":1,"grace_ms":0,"memory_bytes":4096,"pids":7,"cpu_millicores":250,"cpu_seconds":1,
        "open_files":1,"file_bytes":1,"scratch_bytes":1,"scratch_files":1}"#;

    /// A folder that has what a group of the unified hierarchy has.
    fn unified() -> (tempfile::TempDir, Group) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("group");
        std::fs::create_dir(&path).unwrap();
        for file in ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"] {
            std::fs::write(path.join(file), "").unwrap();
        }
        let folder =
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let group = Group {
            parent: parent.path().to_owned(),
            name: "group".to_owned(),
            folder,
            holds: Vec::new(),
        };
        (parent, group)
    }

    #[test]
    fn limits_of_the_unified_hierarchy_are_written_in_its_words() {
        // CMD-30
        let limits: Limits = serde_json::from_str(LIMITS).unwrap();
        let (_parent, mut group) = unified();
        for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
            group.limit_v2(controller, &limits).unwrap();
        }
        let text = |file| group.text(file).unwrap();
        assert_eq!(text("memory.max"), "4096");
        assert_eq!(
            (text("memory.swap.max"), text("memory.oom.group")),
            ("0".to_owned(), "1".to_owned())
        );
        assert_eq!(
            (text("pids.max"), text("cpu.max")),
            ("8".to_owned(), "25000 100000".to_owned())
        );
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let (parent, group) = unified();
        std::fs::write(
            parent.path().join("group/memory.events"),
            "oom 3\noom_kill 2\noom_group_kill 1\n",
        )
        .unwrap();
        assert_eq!(group.counter("memory.events", "oom_kill"), Some(2));
        assert_eq!(group.counter("memory.events", "missing"), None);
    }
}
