//! Mounts as descriptors: what was opened is what is mounted, whatever happens to its name meanwhile.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::kernel;

/// Whether what is mounted can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Read, and nothing of it is executed.
    ReadOnlyData,
    Write,
}

/// A detached mount of what is open, with all that is mounted below it.
pub(crate) fn tree(source: BorrowedFd<'_>, access: Access) -> io::Result<OwnedFd> {
    let tree = clone_tree(source)?;
    let more = match access {
        Access::Read => libc::MOUNT_ATTR_RDONLY,
        Access::ReadOnlyData => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC,
        Access::Write => 0,
    };
    let set = more | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    kernel::set_mount_attributes(tree.as_fd(), set, true)?;
    Ok(tree)
}

/// A detached mount of a device.
pub(crate) fn device(source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let tree = clone_tree(source)?;
    kernel::set_mount_attributes(
        tree.as_fd(),
        libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        true,
    )?;
    Ok(tree)
}

/// A detached mount of a file system in memory.
pub(crate) fn memory(
    bytes: u64,
    files: u64,
    mode: &str,
    flags: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", bytes.to_string())?;
    fsconfig_set_string(&context, "nr_inodes", files.to_string())?;
    fsconfig_set_string(&context, "mode", mode)?;
    mounted(&context, flags | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// A detached mount of the processes of this process's namespace.
pub(crate) fn processes() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mounted(&context, flags)
}

/// Attaches a detached mount over what is open at its place.
pub(crate) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, EMPTY, place, EMPTY, flags)?)
}

/// Makes an attached mount read-only, and not what is mounted below it.
pub(crate) fn seal(mount: BorrowedFd<'_>) -> io::Result<()> {
    kernel::set_mount_attributes(mount, libc::MOUNT_ATTR_RDONLY, false)
}

fn clone_tree(source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(source, EMPTY, flags)?)
}

fn mounted(context: &OwnedFd, flags: MountAttrFlags) -> io::Result<OwnedFd> {
    fsconfig_create(context)?;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

const EMPTY: &CStr = c"";
