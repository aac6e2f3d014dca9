//! What a path leads to: opened first, looked at then, and used by its descriptor alone.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use adit_wire::sandbox::{AbsolutePath, PathParameter, Refusal};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::refuse::path_refused;

/// Something of the machine that the job sees.
#[derive(Debug)]
pub(crate) struct Source {
    /// What was opened, by its place alone.
    pub(crate) fd: OwnedFd,
    /// Where it is seen.
    pub(crate) place: PathBuf,
    pub(crate) kind: Kind,
    /// What is not seen below it, relative to it.
    pub(crate) hidden: Vec<PathBuf>,
}

/// What can be mounted. Sockets, pipes and devices cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
}

/// The machine's root, and what is never seen of it.
#[derive(Debug)]
pub(crate) struct Machine {
    root: OwnedFd,
    hidden: Vec<PathBuf>,
}

impl Machine {
    pub(crate) fn open(hidden: &[AbsolutePath]) -> rustix::io::Result<Self> {
        let root = rustix::fs::open("/", PLACE | OFlags::DIRECTORY, Mode::empty())?;
        let named = hidden.iter().map(AbsolutePath::as_path);
        let mut machine = Self { root, hidden: Vec::new() };
        machine.hidden = machine.with_targets(ALWAYS_HIDDEN.iter().map(Path::new).chain(named));
        Ok(machine)
    }

    /// Opens what is at this path, whatever it is; the last link is followed as all others are.
    pub(crate) fn open_place(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        openat2(&self.root, path, PLACE, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    }

    /// Opens a path that the operator chose; `None` when it is not there or not for this account.
    pub(crate) fn find_system(&self, path: &Path) -> rustix::io::Result<Option<Source>> {
        let fd = match self.open_place(path) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(kind) = kind(fd.as_fd())? else { return Ok(None) };
        let target = path_of(fd.as_fd())?;
        if self.hidden.iter().any(|hidden| target.starts_with(hidden)) {
            return Ok(None);
        }
        let hidden = below(&target, &self.hidden);
        Ok(Some(Source { fd, place: path.to_owned(), kind, hidden }))
    }

    /// Opens what a caller named, and holds what was opened against what the template says.
    pub(crate) fn open_parameter(&self, parameter: &PathParameter) -> Result<Source, Refusal> {
        let refused = |reason: &dyn std::fmt::Display| path_refused(&parameter.name, reason);
        let place = parameter.value.as_path();
        if OWN_PLACES.iter().any(|own| place.starts_with(own)) || place == Path::new("/") {
            return Err(refused(&"this place is the sandbox's own"));
        }
        let fd = self.open_place(place).map_err(|error| refused(&error))?;
        let kind = kind(fd.as_fd()).map_err(|error| refused(&error))?;
        let kind = kind.ok_or_else(|| refused(&"it is neither a file nor a folder"))?;
        let target = path_of(fd.as_fd()).map_err(|error| refused(&error))?;
        if !parameter.allowed.iter().any(|allowed| target.starts_with(allowed.as_path())) {
            return Err(refused(&"it leads outside of what is allowed"));
        }
        let mut forbidden =
            self.with_targets(parameter.forbidden.iter().map(AbsolutePath::as_path));
        forbidden.extend(self.hidden.iter().cloned());
        forbidden.extend(OWN_PLACES.iter().map(PathBuf::from));
        if forbidden.iter().any(|forbidden| target.starts_with(forbidden)) {
            return Err(refused(&"it leads into what is forbidden"));
        }
        let hidden = below(&target, &forbidden);
        Ok(Source { fd, place: place.to_owned(), kind, hidden })
    }

    /// Paths, and where they lead. What is allowed is not looked up like this: whoever may write there could then lead it anywhere.
    fn with_targets<'a>(&self, paths: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for path in paths {
            if let Ok(fd) = self.open_place(path)
                && let Ok(target) = path_of(fd.as_fd())
                && target != path
            {
                all.push(target);
            }
            all.push(path.to_owned());
        }
        all
    }
}

fn kind(fd: BorrowedFd<'_>) -> rustix::io::Result<Option<Kind>> {
    Ok(match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::Directory => Some(Kind::Folder),
        FileType::RegularFile => Some(Kind::File),
        _ => None,
    })
}

/// The path of what is open, as the kernel tells it.
fn path_of(fd: BorrowedFd<'_>) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = rustix::fs::readlink(link, Vec::new())?.into_bytes();
    let path = PathBuf::from(OsString::from_vec(target));
    // What was removed has no path, and what is not below the root has none that begins with it.
    let removed = path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
    if removed || !path.is_absolute() { Err(Errno::NOENT) } else { Ok(path) }
}

fn below(target: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let relative = |path: &PathBuf| path.strip_prefix(target).map(Path::to_owned).ok();
    hidden.iter().filter_map(relative).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Opens a thing without opening what is in it: no driver and no writer of a pipe notices.
const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What only the sandbox itself puts there.
const OWN_PLACES: &[&str] = &["/proc", "/dev", "/run/tmp"];

/// What no job sees, even where its account could. Below `/sys` it is what OCI runtimes mask, what belongs to root, and the groups of other jobs.
const ALWAYS_HIDDEN: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/pki/tls/private",
    "/etc/ssl/private",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/cgroup",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];
