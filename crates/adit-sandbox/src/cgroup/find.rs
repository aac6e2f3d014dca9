//! Where control groups are: told by the kernel, never assumed.

use std::path::{Path, PathBuf};

use procfs::ProcResult;
use procfs::process::{MountInfo, Process};

use super::Controller;

/// The groups that this process is in.
#[derive(Debug, Default)]
pub(crate) struct Hierarchies {
    pub(crate) v1: Vec<Own>,
    pub(crate) v2: Option<Unified>,
}

/// This process's group in one old hierarchy.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) path: PathBuf,
    controllers: Vec<String>,
}

impl Own {
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.controllers.iter().any(|name| name == controller.name())
    }
}

/// This process's group in the unified hierarchy.
#[derive(Debug)]
pub(crate) struct Unified {
    pub(crate) path: PathBuf,
    /// The uppermost group that is seen here; nothing above it can be used.
    pub(crate) top: PathBuf,
}

/// Reads where this process is.
pub(crate) fn find() -> ProcResult<Hierarchies> {
    let process = Process::myself()?;
    let mounts = process.mountinfo()?;
    let mut found = Hierarchies::default();
    for group in process.cgroups()? {
        let at =
            |mount: &MountInfo| Some((below(mount, &group.pathname)?, mount.mount_point.clone()));
        if group.hierarchy == 0 {
            let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2");
            found.v2 = mount.and_then(at).map(|(path, top)| Unified { path, top });
        } else if group.controllers.iter().any(|name| WANTED.iter().any(|want| want.name() == name))
        {
            let mount = mounts.iter().find(|mount| carries(mount, &group.controllers));
            if let Some((path, _)) = mount.and_then(at) {
                found.v1.push(Own { path, controllers: group.controllers });
            }
        }
    }
    Ok(found)
}

fn carries(mount: &MountInfo, controllers: &[String]) -> bool {
    mount.fs_type == "cgroup"
        && controllers.iter().all(|name| mount.super_options.contains_key(name))
}

/// The folder of a group: below the mount, which may show a part of the hierarchy only.
fn below(mount: &MountInfo, group: &str) -> Option<PathBuf> {
    let relative = Path::new(group).strip_prefix(&mount.root).ok()?;
    let path = mount.mount_point.join(relative);
    path.is_dir().then_some(path)
}

const WANTED: [Controller; 4] =
    [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuacct];
