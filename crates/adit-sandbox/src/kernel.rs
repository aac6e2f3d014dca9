//! The few calls of the kernel that no library wraps safely: making a process, mount attributes, descriptors by number.
#![expect(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::{CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Side {
    Parent(Pid),
    Child,
}

/// Forks into new namespaces (`CLONE_NEW…`), and into the control group, if there is one.
///
/// The caller has one thread; so the child may do all that the parent may.
pub(crate) fn fork_into(namespaces: c_int, group: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    // SAFETY: the struct is plain numbers; zero means "not asked for" in each of them.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(group) = group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(group.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM and a stack this is fork: the child has a copy of everything, and this process has one thread, so that
    // no lock is held by a thread that is not there. The pointer and the size are those of the struct above.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    };
    side(pid)
}

/// Forks; the parent goes on when the child executes a program or ends.
pub(crate) fn fork_until_exec() -> io::Result<Side> {
    let flags = c_long::from(libc::CLONE_VFORK | libc::SIGCHLD);
    // SAFETY: as above; CLONE_VFORK only makes the parent wait. All other arguments are unused without their flags.
    side(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

fn side(pid: c_long) -> io::Result<Side> {
    match i32::try_from(pid) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) if pid > 0 => {
            Pid::from_raw(pid).map(Side::Parent).ok_or_else(io::Error::last_os_error)
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// What `mount_setattr` sets and the propagation that it gives.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty, terminated string, the struct lives through the call and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the view of the control groups of whoever started this process.
pub(crate) fn unshare_cgroups() -> io::Result<()> {
    // SAFETY: it changes what this process sees of control groups, and no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has every descriptor above standard error close when a program is executed.
pub(crate) fn close_the_rest_at_exec() -> io::Result<()> {
    close_range(3, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes all but the standard descriptors and those that are named, which move to 3 and on.
pub(crate) fn keep_only<const N: usize>(kept: [OwnedFd; N]) -> io::Result<[OwnedFd; N]> {
    let first = FIRST + c_int::try_from(N).unwrap_or(FIRST);
    // Above the range first, so that none is overwritten before it moved.
    let high: Vec<OwnedFd> = kept.iter().map(|fd| above(fd, first)).collect::<io::Result<_>>()?;
    std::mem::forget(kept);
    for (place, fd) in (FIRST..first).zip(&high) {
        // SAFETY: whoever owned a descriptor in this range is gone: the caller gave all that it needs, and this process ends by
        // `_exit` without running another destructor of the parent's.
        if unsafe { libc::dup3(fd.as_raw_fd(), place, libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    std::mem::forget(high);
    close_range(first, 0)?;
    let mut places = FIRST..first;
    // SAFETY: each place was filled by dup3 above and has no other owner.
    Ok(std::array::from_fn(|_| unsafe { OwnedFd::from_raw_fd(places.next().unwrap_or(-1)) }))
}

/// Takes over a descriptor that the parent left open under this number.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl fails on a number that is not open; it makes a new descriptor, which nobody else owns.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made it just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives every signal its default again and blocks none: an ignored one would stay so in the job, and children would vanish unseen
/// where SIGCHLD is ignored.
pub(crate) fn reset_signals() {
    // The library's own call refuses the two signals that it keeps for itself.
    let default = [0_u64; 4];
    // SAFETY: the kernel's `struct sigaction` is four words, and zero in each means the default, which installs no code; a set of signals
    // is plain bits of eight bytes. What may not be changed fails.
    unsafe {
        for signal in 1..=64 {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SIGNAL_SET_BYTES);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Has a write to who is gone fail, and not end this process.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Has children that ended vanish: nobody asks how.
pub(crate) fn let_children_go() {
    // SAFETY: ignoring a signal runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Keeps SIGCHLD and SIGTERM waiting until they are asked for; inherited by a fork, so before the first child.
pub(crate) fn hold_signals() {
    let set = heeded();
    // SAFETY: the set lives through the call, and only this thread's mask changes.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Waits for one of the two; tells whether it is a request to end from outside this process namespace.
pub(crate) fn wait_for_child_or_request() -> bool {
    let set = heeded();
    // SAFETY: plain numbers, which the kernel fills.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that live through the call.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, &raw mut info) };
    // SAFETY: for a signal that a process sent, which SIGTERM is, the field is filled; a sender outside of the namespace has no number.
    signal == libc::SIGTERM && unsafe { info.si_pid() } == 0
}

fn heeded() -> libc::sigset_t {
    // SAFETY: a set of signals is plain bits; it is emptied before it is filled.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

/// Becomes the program; returns only when that fails.
pub(crate) fn execute(program: &CString, argv: &[CString], environment: &[CString]) -> io::Error {
    let argv = pointers(argv);
    let environment = pointers(environment);
    // SAFETY: all three are terminated strings, the lists end with a null pointer, and all of it lives through the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process without running anything of the process it was forked from.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: it does not return and runs no handler.
    unsafe { libc::_exit(status) }
}

fn above(fd: &OwnedFd, least: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open; the kernel makes a new one.
    let fd = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made it just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn close_range(first: c_int, flags: u32) -> io::Result<()> {
    // SAFETY: it takes numbers. The callers see to it that no descriptor in the range is used by its owner again.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// 64 signals.
const SIGNAL_SET_BYTES: usize = 8;

/// Of linux/sched.h; it does not fit the type that the library gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The first descriptor after standard input, output and error.
const FIRST: c_int = 3;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    /// Where the unified hierarchy is.
    fn unified() -> std::path::PathBuf {
        let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
        let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2");
        mount.expect("these tests need a mounted cgroup2").mount_point
    }

    #[test]
    fn a_process_is_forked_into_a_group_of_the_unified_hierarchy() {
        // CMD-30
        let group = unified().join(format!("adit-test-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let folder = OwnedFd::from(std::fs::File::open(&group).unwrap());
        let (mut told, tells) = std::io::pipe().unwrap();
        let side = fork_into(0, Some(folder.as_fd())).unwrap();
        let Side::Parent(pid) = side else {
            // One call and no memory of the parent's: the parent may have more threads.
            let mut bytes = [0_u8; 4096];
            let file = rustix::fs::open(
                "/proc/self/cgroup",
                rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty(),
            );
            let count = file.and_then(|file| rustix::io::read(file, &mut bytes)).unwrap_or(0);
            let _ = rustix::io::write(&tells, &bytes[..count]);
            exit_now(0)
        };
        drop(tells);
        let mut groups = String::new();
        told.read_to_string(&mut groups).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
        std::fs::remove_dir(&group).unwrap();
        let name = group.file_name().unwrap().to_str().unwrap();
        assert!(
            groups.lines().any(|line| line.starts_with("0::") && line.ends_with(name)),
            "{groups}"
        );
    }
}
