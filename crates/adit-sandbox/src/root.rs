//! The root that the job sees: in memory, with chosen read-only parts of the machine, and a `/tmp` of its own.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use adit_wire::sandbox::{AbsolutePath, Layer, Plan, Refusal, SYSTEM_PATHS};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};

use crate::mount::{self, Access};
use crate::refuse::{Holding, path_refused, unavailable};
use crate::resolve::{Kind, Machine, Source};

/// What of the new root can be written, and what else the last steps must know.
#[derive(Debug)]
pub(crate) struct Root {
    /// The job's own `/tmp`, and `/dev/shm`.
    pub(crate) scratch: [OwnedFd; 2],
    /// Where the former is.
    pub(crate) home: &'static str,
    /// What path parameters name, where the job may write it.
    pub(crate) writable: Vec<OwnedFd>,
    /// Whether a folder of the machine is there beside the usual ones; it may hold sockets.
    pub(crate) has_unusual_folder: bool,
}

/// Builds the new root, enters it and leaves the machine's behind.
pub(crate) fn enter(plan: &Plan, holding: &mut Holding) -> Result<Root, Refusal> {
    let machine = Machine::open(&plan.hidden).map_err(private_root)?;
    let system = system(plan, &machine).map_err(private_root)?;
    let named: Vec<Source> =
        plan.paths.iter().map(|path| machine.open_parameter(path)).collect::<Result<_, _>>()?;
    let new = NewRoot::mount().map_err(private_root)?;
    new.add_links(&machine, plan).map_err(private_root)?;
    let shm = new.add_devices(&machine, plan).map_err(private_root)?;
    if plan.host_processes {
        new.show_processes(&machine, holding)?;
    } else {
        new.add_processes(&machine, holding)?;
    }
    let home = home(plan);
    let tmp = new.add_scratch(home, plan, MountAttrFlags::empty()).map_err(private_root)?;
    for source in &system {
        new.add(source, access(source)).map_err(|error| private_root_of(&source.place, &error))?;
    }
    let writable = new.add_named(plan, &named)?;
    new.enter().map_err(private_root)?;
    holding.enforced(Layer::PrivateRoot);
    let mut unusual = named.iter().chain(system.iter().filter(|one| is_unusual(one)));
    let has_unusual_folder = unusual.any(|one| one.kind == Kind::Folder);
    Ok(Root { scratch: [tmp, shm], home, writable, has_unusual_folder })
}

/// Where the job may write. Landlock's right on a folder holds for all that is mounted below, and a pipe in a read-only mount can be
/// written: so what is shown of the machine's `/tmp` is not put into the job's.
fn home(plan: &Plan) -> &'static str {
    let named = plan.paths.iter().map(|path| path.value.as_path());
    let is_taken = named.chain(system_paths(plan)).any(|place| place.starts_with(HOME));
    if is_taken { HOME_BESIDE } else { HOME }
}

/// The paths of the plan or of the house that are there.
fn system(plan: &Plan, machine: &Machine) -> io::Result<Vec<Source>> {
    let mut found = Vec::new();
    for path in system_paths(plan) {
        if link_of(machine, path).is_none()
            && let Some(source) = machine.find_system(path)?
        {
            found.push(source);
        }
    }
    if plan.allow_network
        && let Some(source) = machine.find_system(Path::new("/etc/resolv.conf"))?
    {
        found.push(source);
    }
    Ok(found)
}

/// What the kernel tells of devices is read and never executed.
fn access(source: &Source) -> Access {
    if source.place.starts_with("/sys") { Access::ReadOnlyData } else { Access::Read }
}

/// Whether this is beside what jobs usually see.
fn is_unusual(source: &Source) -> bool {
    SYSTEM_PATHS.iter().all(|usual| Path::new(usual) != source.place)
}

fn system_paths(plan: &Plan) -> Vec<&Path> {
    match &plan.system {
        Some(paths) => paths.iter().map(AbsolutePath::as_path).collect(),
        None => SYSTEM_PATHS.iter().map(Path::new).collect(),
    }
}

/// Where a path of the root is but a link into `/usr`, where that link leads.
fn link_of(machine: &Machine, path: &Path) -> Option<PathBuf> {
    let root = machine.open_place(Path::new("/")).ok()?;
    let name = path.strip_prefix("/").ok().filter(|name| name.components().count() == 1)?;
    let target = rustix::fs::readlinkat(root, name, Vec::new()).ok()?.into_string().ok()?;
    let target = PathBuf::from(target.strip_prefix('/').unwrap_or(&target));
    target.starts_with("usr").then_some(target)
}

/// What came of hiding something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Covered,
    NotThere,
}

/// The new root while it is filled.
#[derive(Debug)]
struct NewRoot {
    mount: OwnedFd,
}

impl NewRoot {
    /// Mounts it over the machine's root, where nobody looks: a lookup from `/` begins below it.
    fn mount() -> io::Result<Self> {
        let mount = mount::memory(ROOT_BYTES, ROOT_FILES, "755", MountAttrFlags::empty())?;
        let machine = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount::attach(mount.as_fd(), machine.as_fd())?;
        Ok(Self { mount })
    }

    fn add_links(&self, machine: &Machine, plan: &Plan) -> io::Result<()> {
        for path in system_paths(plan) {
            if let (Some(target), Ok(name)) = (link_of(machine, path), path.strip_prefix("/")) {
                symlinkat(target, &self.mount, name)?;
            }
        }
        Ok(())
    }

    /// Mounts something of the machine at its place, and hides what must not be seen below it.
    fn add(&self, source: &Source, access: Access) -> io::Result<OwnedFd> {
        let tree = mount::tree(source.fd.as_fd(), access)?;
        self.attach(&tree, &source.place, source.kind)?;
        for hidden in &source.hidden {
            let path = source.place.join(hidden);
            if access == Access::Write {
                self.pin(&source.place, hidden)?;
            }
            if self.hide(&path)? == Hidden::NotThere
                && access == Access::Write
                && self.could_be_made(&path)
            {
                let sentence =
                    format!("the job could make {}, which is hidden from it", path.display());
                return Err(io::Error::other(sentence));
            }
        }
        Ok(tree)
    }

    /// Mounts what callers named, the outer before the inner, and tells what of it can be written.
    fn add_named(&self, plan: &Plan, named: &[Source]) -> Result<Vec<OwnedFd>, Refusal> {
        let access = if plan.allow_file_write { Access::Write } else { Access::Read };
        let mut order: Vec<(&Source, &str)> = named
            .iter()
            .zip(&plan.paths)
            .map(|(source, path)| (source, path.name.as_str()))
            .collect();
        order.sort_by_key(|(source, _)| source.place.components().count());
        let mut trees = Vec::new();
        for (source, name) in order {
            trees.push(self.add(source, access).map_err(|error| path_refused(name, &error))?);
        }
        Ok(if plan.allow_file_write { trees } else { Vec::new() })
    }

    fn add_devices(&self, machine: &Machine, plan: &Plan) -> io::Result<OwnedFd> {
        mkdirat(&self.mount, "dev", FOLDER)?;
        for device in DEVICES {
            let source = machine.open_place(Path::new(device))?;
            let tree = mount::device(source.as_fd())?;
            self.attach(&tree, Path::new(device), Kind::File)?;
        }
        for (name, target) in DEVICE_LINKS {
            symlinkat(*target, &self.mount, *name)?;
        }
        self.add_scratch("dev/shm", plan, MountAttrFlags::MOUNT_ATTR_NOEXEC)
    }

    fn add_scratch(&self, place: &str, plan: &Plan, flags: MountAttrFlags) -> io::Result<OwnedFd> {
        let limits = &plan.limits;
        let files = limits.scratch_files.get();
        let memory = mount::memory(limits.scratch_bytes.get(), files, "1777", flags)?;
        self.attach(&memory, Path::new(place), Kind::Folder)?;
        Ok(memory)
    }

    /// Mounts `/proc`, if the kernel gives it: it does not where this process sees but a part of it. Then there is none.
    fn add_processes(&self, machine: &Machine, holding: &mut Holding) -> Result<(), Refusal> {
        mkdirat(&self.mount, "proc", FOLDER).map_err(private_root)?;
        match mount::processes() {
            // One that is there and not masked would be worse than none.
            Ok(processes) => self.mask(&processes, machine).map_err(private_root)?,
            Err(error) => return holding.missing(Layer::MaskedProc, &error),
        }
        holding.enforced(Layer::MaskedProc);
        Ok(())
    }

    /// Shows the machine's processes, masked and read-only. The job's namespaces still keep it from signalling them and, as it has no
    /// right in theirs, from reading what only a debugger may: a plan that asks for this is never run with less.
    fn show_processes(&self, machine: &Machine, holding: &mut Holding) -> Result<(), Refusal> {
        let refused = |error: io::Error| unavailable(Layer::MaskedProc, &error);
        mkdirat(&self.mount, "proc", FOLDER).map_err(private_root)?;
        let source =
            machine.open_place(Path::new("/proc")).map_err(|error| refused(error.into()))?;
        // With what is mounted below it: the kernel parts no mount from those that cover something in it.
        let processes = mount::tree(source.as_fd(), Access::ReadOnlyData).map_err(refused)?;
        self.mask(&processes, machine).map_err(refused)?;
        holding.waived(Layer::MaskedProc);
        Ok(())
    }

    fn mask(&self, processes: &OwnedFd, machine: &Machine) -> io::Result<()> {
        self.attach(processes, Path::new("/proc"), Kind::Folder)?;
        let null = machine.open_place(Path::new("/dev/null"))?;
        for masked in PROC_MASKED {
            let path = Path::new("proc").join(masked);
            match statat(&self.mount, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    let _ = self.hide(&path)?;
                }
                Ok(_) => {
                    mount::attach(mount::device(null.as_fd())?.as_fd(), self.open(&path)?.as_fd())?
                }
                Err(Errno::NOENT | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Covers what is at this place by an empty folder or an empty file. What is not there, or not for this account, needs no cover.
    fn hide(&self, path: &Path) -> io::Result<Hidden> {
        let place = match self.open(path) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(Hidden::NotThere),
            Err(error) => return Err(error.into()),
        };
        let folder = rustix::fs::fstat(&place)?;
        let kind = match FileType::from_raw_mode(folder.st_mode) {
            FileType::Directory => Kind::Folder,
            _ => Kind::File,
        };
        let empty = self.make(Path::new(NOTHING), Path::new(kind.nothing()), kind)?;
        mount::attach(mount::tree(empty.as_fd(), Access::Read)?.as_fd(), place.as_fd())?;
        Ok(Hidden::Covered)
    }

    /// Mounts each folder on the way to a hidden place over itself: what is mounted cannot be renamed, so that nothing else gets its path.
    fn pin(&self, place: &Path, hidden: &Path) -> io::Result<()> {
        let way: Vec<&Path> =
            hidden.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
        for part in way.into_iter().rev() {
            let folder = match self.open(&place.join(part)) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            mount::attach(mount::tree(folder.as_fd(), Access::Write)?.as_fd(), folder.as_fd())?;
        }
        Ok(())
    }

    /// Whether the nearest folder above a place that is not there can be written.
    fn could_be_made(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1).find_map(|above| self.open(above).ok());
        let write = rustix::fs::Access::WRITE_OK;
        above.is_none_or(|above| rustix::fs::accessat(above, ".", write, AtFlags::EACCESS).is_ok())
    }

    fn attach(&self, mount: &OwnedFd, place: &Path, kind: Kind) -> io::Result<()> {
        let place = place.strip_prefix("/").unwrap_or(place);
        let folder = place.parent().unwrap_or(Path::new(""));
        let name = place.file_name().unwrap_or(OsStr::new(""));
        let place = self.make(folder, Path::new(name), kind)?;
        mount::attach(mount.as_fd(), place.as_fd())
    }

    /// Opens a place in the new root, and makes it where it is not there.
    fn make(&self, folder: &Path, name: &Path, kind: Kind) -> io::Result<OwnedFd> {
        let path = folder.join(name);
        match self.open(&path) {
            Ok(place) => return Ok(place),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = self.make_folders(folder)?;
        match kind {
            Kind::Folder => mkdirat(&folder, name, FOLDER)?,
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
                rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o444))?;
            }
        }
        Ok(self.open(&path)?)
    }

    fn make_folders(&self, folder: &Path) -> io::Result<OwnedFd> {
        let mut path = PathBuf::new();
        for component in folder.components() {
            let Component::Normal(name) = component else { continue };
            let parent = self.open(&path)?;
            path.push(name);
            match mkdirat(&parent, name, FOLDER) {
                Ok(()) | Err(Errno::EXIST) => {}
                // A part of the machine that is there and read-only.
                Err(Errno::ROFS) if self.open(&path).is_ok() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.open(&path)?)
    }

    /// Opens a place below the new root, whatever the links on the way say.
    fn open(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.mount, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Makes it the root of this process, and lets go of the machine's.
    fn enter(&self) -> io::Result<()> {
        mount::seal(self.mount.as_fd())?;
        rustix::process::fchdir(&self.mount)?;
        // With one folder for both, the old root ends up over the new one, and goes from there.
        rustix::process::pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

impl Kind {
    fn nothing(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::File => "file",
        }
    }
}

fn private_root(error: impl Into<io::Error>) -> Refusal {
    unavailable(Layer::PrivateRoot, &error.into())
}

fn private_root_of(place: &Path, error: &io::Error) -> Refusal {
    unavailable(Layer::PrivateRoot, &format_args!("{}: {error}", place.display()))
}

const HOME: &str = "/tmp";

const HOME_BESIDE: &str = "/run/tmp";

const FOLDER: Mode = Mode::from_raw_mode(0o755);

/// Folders, links and places of mounts are small, and each costs a page.
const ROOT_BYTES: u64 = 4 * 1024 * 1024;

/// As many as 64 paths of 16 components could need.
const ROOT_FILES: u64 = 1024;

/// Where what covers hidden things is kept.
const NOTHING: &str = ".nothing";

/// What programs need of devices; none of them keeps state or reaches hardware.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

const DEVICE_LINKS: &[(&str, &str)] = &[
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
];

/// What `/proc` tells of the machine rather than of processes, as OCI runtimes mask it, and keys besides. All of it is read-only.
const PROC_MASKED: &[&str] = &[
    "acpi",
    "asound",
    "bus",
    "driver",
    "fs",
    "interrupts",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sys/fs/binfmt_misc",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];
