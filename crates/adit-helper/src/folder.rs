//! Writing into folders without following a link: everything is opened from a folder that is held, by a name that is no path.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Uid, fstat, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

/// Why something is not written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("{place}: {cause}")]
    Io {
        /// Where.
        place: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others can write there.
    #[error("{0} could be changed by others; `chown root {0}` and `chmod go-w {0}`")]
    Open(PathBuf),
    /// Something else has the name: a link, or what is not ours.
    #[error(
        "{0} is there and is no file or folder of the helper's own (a link, or more in it); look what it is and move it away"
    )]
    InTheWay(PathBuf),
}

/// One file to write.
#[derive(Debug)]
pub struct Content<'a> {
    /// Its name, no path.
    pub name: &'static str,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Its mode.
    pub mode: Mode,
}

/// Whose files are to be; `None` leaves them to whoever runs this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owners {
    /// The owner's id.
    pub user: Option<u32>,
    /// The group's id.
    pub group: Option<u32>,
}

/// A folder that is held open, that belongs to whoever runs this and that nobody else can write.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens it; no part of the path may be a link.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let fd = walk(path)
            .map_err(|error| FolderError::Io { place: path.to_owned(), cause: error.into() })?;
        let folder = Self { path: path.to_owned(), fd };
        let about = fstat(&folder.fd).map_err(|error| folder.io("", error))?;
        if about.st_uid != rustix::process::geteuid().as_raw() || about.st_mode & 0o022 != 0 {
            return Err(FolderError::Open(folder.path));
        }
        Ok(folder)
    }

    /// Writes a file in one step: it is the old one or the new one, never a part.
    ///
    /// # Errors
    /// [`FolderError`]; what was there is there.
    pub fn replace_file(&self, content: &Content<'_>, owners: Owners) -> Result<(), FolderError> {
        self.refuse_other(content.name, FileType::RegularFile)?;
        let fresh = format!(".{}.new", content.name);
        remove(&self.fd, &fresh).map_err(|error| self.io(&fresh, error))?;
        let written = write(&self.fd, &fresh, content, owners).and_then(|()| {
            rustix::fs::renameat(&self.fd, &fresh, &self.fd, content.name)?;
            Ok(rustix::fs::fsync(&self.fd)?)
        });
        written.map_err(|cause| FolderError::Io { place: self.path.join(content.name), cause })
    }

    /// Writes a folder with these files in one step: whoever opens them by their paths finds all old or all new.
    ///
    /// # Errors
    /// [`FolderError`]; what was there is there.
    pub fn replace_folder(
        &self,
        name: &str,
        contents: &[Content<'_>],
        owners: Owners,
    ) -> Result<(), FolderError> {
        let is_there = self.refuse_other(name, FileType::Directory)?;
        if is_there {
            self.refuse_more(name, contents)?;
        }
        let fresh = format!(".{name}.new");
        self.discard(&fresh, contents).map_err(|error| self.io(&fresh, error))?;
        self.make(&fresh, contents, owners)
            .map_err(|cause| FolderError::Io { place: self.path.join(&fresh), cause })?;
        let how = if is_there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let renamed = renameat_with(&self.fd, &fresh, &self.fd, name, how)
            .and_then(|()| rustix::fs::fsync(&self.fd))
            .and_then(|()| self.discard(&fresh, contents));
        renamed.map_err(|error| self.io(name, error))
    }

    fn make(&self, name: &str, contents: &[Content<'_>], owners: Owners) -> io::Result<()> {
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?;
        let inner = openat(&self.fd, name, READ | OFlags::NOFOLLOW, Mode::empty())?;
        for content in contents {
            write(&inner, content.name, content, owners)?;
        }
        rustix::fs::fchmod(&inner, Mode::from_raw_mode(0o755))?;
        Ok(rustix::fs::fsync(&inner)?)
    }

    /// Removes what an attempt left, or what was replaced.
    fn discard(&self, name: &str, contents: &[Content<'_>]) -> Result<(), Errno> {
        let inner = match openat(&self.fd, name, READ | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(inner) => inner,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        for content in contents {
            remove(&inner, content.name)?;
        }
        unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
    }

    /// Tells whether a name is taken; a link or anything but `kind` is refused.
    fn refuse_other(&self, name: &str, kind: FileType) -> Result<bool, FolderError> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) if FileType::from_raw_mode(about.st_mode) == kind => Ok(true),
            Ok(_) => Err(FolderError::InTheWay(self.path.join(name))),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(self.io(name, error)),
        }
    }

    /// Refuses a folder that holds more than these files: it would be lost with the old ones.
    fn refuse_more(&self, name: &str, contents: &[Content<'_>]) -> Result<(), FolderError> {
        let inner = openat(&self.fd, name, READ | OFlags::NOFOLLOW, Mode::empty());
        let inner = inner.and_then(|inner| Dir::read_from(&inner));
        for entry in inner.map_err(|error| self.io(name, error))? {
            let entry = entry.map_err(|error| self.io(name, error))?;
            let found = entry.file_name().to_bytes();
            let is_ours = matches!(found, b"." | b"..")
                || contents.iter().any(|content| content.name.as_bytes() == found);
            if !is_ours {
                return Err(FolderError::InTheWay(self.path.join(name)));
            }
        }
        Ok(())
    }

    fn io(&self, name: &str, error: Errno) -> FolderError {
        FolderError::Io { place: self.path.join(name), cause: error.into() }
    }
}

fn write(folder: impl AsFd, name: &str, content: &Content<'_>, owners: Owners) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(content.bytes)?;
    if owners.user.is_some() || owners.group.is_some() {
        let (user, group) = (owners.user.map(Uid::from_raw), owners.group.map(Gid::from_raw));
        rustix::fs::fchown(&file, user, group)?;
    }
    rustix::fs::fchmod(&file, content.mode)?;
    file.sync_all()
}

/// Opens a folder part by part, none of which may be a link.
///
/// `openat2` would do it in one call; systemd's `RestrictSUIDSGID=` takes that call away, because a filter cannot see its mode.
pub(crate) fn walk(path: &Path) -> Result<OwnedFd, Errno> {
    let mut parts = path.components();
    if parts.next() != Some(Component::RootDir) {
        return Err(Errno::INVAL);
    }
    let mut fd = openat(rustix::fs::CWD, "/", READ, Mode::empty())?;
    for part in parts {
        let Component::Normal(name) = part else { return Err(Errno::INVAL) };
        fd = openat(&fd, name, READ | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(fd)
}

fn remove(folder: impl AsFd, name: &str) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    use super::*;

    const CHAIN: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);
    const KEY: Mode = Mode::RUSR.union(Mode::WUSR);

    fn pair<'a>(chain: &'a [u8], key: &'a [u8]) -> [Content<'a>; 2] {
        [
            Content { name: "chain.pem", bytes: chain, mode: CHAIN },
            Content { name: "key.pem", bytes: key, mode: KEY },
        ]
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let made = tempfile::tempdir().unwrap();
        let folder = Folder::open(&made.path().canonicalize().unwrap()).unwrap();
        (made, folder)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_pair_is_there_with_its_modes_and_replaced_at_once() {
        let (made, folder) = folder();
        for (chain, key) in [(b"a1", b"b1"), (b"a2", b"b2")] {
            folder.replace_folder("web", &pair(chain, key), Owners::default()).unwrap();
            let web = made.path().join("web");
            assert_eq!(std::fs::read(web.join("chain.pem")).unwrap(), chain);
            assert_eq!(std::fs::read(web.join("key.pem")).unwrap(), key);
            assert_eq!(std::fs::metadata(web.join("key.pem")).unwrap().mode() & 0o777, 0o600);
            assert_eq!(names(made.path()), ["web"]);
        }
    }

    #[test]
    fn a_link_at_the_destination_is_refused_and_not_followed() {
        // TIX-72
        let (made, folder) = folder();
        let other = tempfile::tempdir().unwrap();
        symlink(other.path(), made.path().join("web")).unwrap();
        let refused = folder.replace_folder("web", &pair(b"a", b"b"), Owners::default());
        assert!(matches!(refused, Err(FolderError::InTheWay(_))));
        symlink("/dev/null", made.path().join("adit-gateway.service")).unwrap();
        let unit = Content { name: "adit-gateway.service", bytes: b"x", mode: CHAIN };
        let refused = folder.replace_file(&unit, Owners::default());
        assert!(matches!(refused, Err(FolderError::InTheWay(_))));
        assert!(names(other.path()).is_empty());
    }

    #[test]
    fn a_link_where_the_new_files_are_made_is_not_followed() {
        let (made, folder) = folder();
        let other = tempfile::tempdir().unwrap();
        symlink(other.path(), made.path().join(".web.new")).unwrap();
        assert!(folder.replace_folder("web", &pair(b"a", b"b"), Owners::default()).is_err());
        std::fs::write(other.path().join("victim"), "old").unwrap();
        symlink(other.path().join("victim"), made.path().join(".a.new")).unwrap();
        let file = Content { name: "a", bytes: b"new", mode: CHAIN };
        folder.replace_file(&file, Owners::default()).unwrap();
        assert_eq!(std::fs::read(other.path().join("victim")).unwrap(), b"old");
        assert_eq!(names(other.path()), ["victim"]);
    }

    #[test]
    fn a_folder_with_more_in_it_is_left_alone() {
        let (made, folder) = folder();
        std::fs::create_dir(made.path().join("web")).unwrap();
        std::fs::write(made.path().join("web/dhparam.pem"), "x").unwrap();
        let refused = folder.replace_folder("web", &pair(b"a", b"b"), Owners::default());
        assert!(matches!(refused, Err(FolderError::InTheWay(_))));
        assert_eq!(names(&made.path().join("web")), ["dhparam.pem"]);
    }

    #[test]
    fn what_an_attempt_left_is_replaced() {
        let (made, folder) = folder();
        std::fs::create_dir(made.path().join(".web.new")).unwrap();
        std::fs::write(made.path().join(".web.new/key.pem"), "half").unwrap();
        folder.replace_folder("web", &pair(b"a", b"b"), Owners::default()).unwrap();
        assert_eq!(names(made.path()), ["web"]);
    }

    #[test]
    fn a_folder_behind_a_link_or_open_to_others_is_refused() {
        let (made, _) = folder();
        let path = made.path().canonicalize().unwrap();
        symlink(&path, path.join("link")).unwrap();
        assert!(matches!(Folder::open(&path.join("link")), Err(FolderError::Io { .. })));
        std::fs::create_dir(path.join("inner")).unwrap();
        assert!(Folder::open(&path.join("link/inner")).is_err());
        std::fs::set_permissions(path.join("inner"), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(Folder::open(&path.join("inner")), Err(FolderError::Open(_))));
    }
}
