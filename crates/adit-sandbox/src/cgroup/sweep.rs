//! Removes what killed sandboxes left.

use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};

/// What the name of every job's group begins with.
pub(super) const PREFIX: &str = "adit-job-";

/// Removes the groups below this folder that no sandbox has locked. One that still has processes stays: the kernel says no.
pub(super) fn sweep(parent: &Path) {
    let Ok(folder) = rustix::fs::open(parent, FOLDER, Mode::empty()) else { return };
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for name in entries.flatten().take(ENTRIES_MAX).map(|entry| entry.file_name()) {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        if let Ok(group) = openat(&folder, &name, FOLDER, Mode::empty())
            && flock(&group, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = unlinkat(&folder, &name, AtFlags::REMOVEDIR);
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// So many groups beside one another are somebody else's; the next sweep goes on.
const ENTRIES_MAX: usize = 10_000;
