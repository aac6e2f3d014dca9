//! The file of `adit login`: which gateways this user signed in to, and with which tokens.
//!
//! It is `adit/credentials.toml` under `$XDG_CONFIG_HOME`, or `~/.config`, and readable by its owner alone. A link, or a file that
//! somebody else owns or can read, is refused rather than used or written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use adit_domain::Secret;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The name of the file in its folder.
const NAME: &str = "credentials.toml";

/// The largest file that is read, in bytes: room for a thousand gateways.
const MAX_BYTES: u64 = 256 * 1024;

/// Who may do what with the file: its owner alone.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Everything in the file.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The gateway of the last `adit login`.
    current: Option<String>,
    /// Each gateway by its address.
    #[serde(default)]
    gateways: BTreeMap<String, Entry>,
}

/// What is kept of one gateway.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The API token, or the access token of a sign-in.
    pub token: String,
    /// The authority that signed its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// When the token ends, in Unix seconds, where it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// What it is renewed with, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
}

impl Credentials {
    /// Reads the user's file; none is the same as an empty one.
    ///
    /// # Errors
    /// [`Failure::Credentials`] where the file cannot be trusted.
    pub fn load() -> Result<Self, Failure> {
        match folder() {
            Some(folder) => Self::load_from(&folder),
            None => Ok(Self::default()),
        }
    }

    /// Gives the address of the last `adit login`.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Finds what is kept of a gateway.
    pub fn find(&self, url: &str) -> Option<&Entry> {
        self.gateways.get(plain(url))
    }

    /// Keeps a token for a gateway and makes that gateway the current one.
    pub fn keep(&mut self, url: &str, entry: Entry) {
        self.current = Some(plain(url).to_owned());
        self.gateways.insert(plain(url).to_owned(), entry);
    }

    /// Keeps another token for a gateway, which becomes no more current by it.
    pub fn renew(&mut self, url: &str, entry: Entry) {
        self.gateways.insert(plain(url).to_owned(), entry);
    }

    /// Writes the user's file and gives its path.
    ///
    /// # Errors
    /// [`Failure::Credentials`] where what is there is not the user's own file.
    pub fn save(&self) -> Result<PathBuf, Failure> {
        let folder = folder().ok_or_else(|| {
            Failure::Usage("there is no home folder: set HOME or XDG_CONFIG_HOME".to_owned())
        })?;
        self.save_to(&folder)?;
        Ok(folder.join(NAME))
    }

    fn load_from(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NAME);
        let Some(dir) = open_folder(folder)? else { return Ok(Self::default()) };
        let Some(file) = open_file(&dir, &path)? else { return Ok(Self::default()) };
        let mut text = String::new();
        let read = File::from(file).take(MAX_BYTES).read_to_string(&mut text);
        let text = Secret::new(text);
        read.map_err(Failure::file(format!("reading {}", path.display())))?;
        toml::from_str(text.expose()).map_err(|_| {
            refuse(
                &path,
                "it is not in the form that `adit login` writes",
                "run `adit login` again after removing it",
            )
        })
    }

    fn save_to(&self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join(NAME);
        let at = || format!("writing {}", path.display());
        make_folder(folder)?;
        let dir = open_folder(folder)?
            .ok_or_else(|| refuse(&path, "its folder went away", "try again"))?;
        // Whatever is there must be the user's own before it is replaced.
        open_file(&dir, &path)?;
        let text = Secret::new(toml::to_string(self).expect("strings and paths become TOML"));
        let draft = OsString::from(format!(".{NAME}.{}", std::process::id()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, &draft, flags, OWNER_ONLY)
            .map_err(|cause| Failure::file(at())(cause.into()))?;
        let written = write(File::from(file), text.expose())
            .and_then(|()| Ok(rustix::fs::renameat(&dir, &draft, &dir, NAME)?));
        written.map_err(|cause| {
            let _already_gone = rustix::fs::unlinkat(&dir, &draft, AtFlags::empty());
            Failure::file(at())(cause)
        })
    }
}

fn write(mut file: File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives the folder of Adit's client settings.
pub fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    base.or_else(|| set("HOME").map(|home| home.join(".config"))).map(|base| base.join("adit"))
}

/// Gives the path of the user's file.
pub fn path() -> Option<PathBuf> {
    folder().map(|folder| folder.join(NAME))
}

/// Two ways to write one address are one gateway.
fn plain(url: &str) -> &str {
    url.trim_end_matches('/')
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Failure::file(format!("making {}", folder.display())))
}

/// Opens the folder; nobody else may be able to put files into it.
fn open_folder(folder: &Path) -> Result<Option<OwnedFd>, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(folder, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(None),
        Err(cause) => {
            return Err(Failure::file(format!("opening {}", folder.display()))(cause.into()));
        }
    };
    let stat = rustix::fs::fstat(&dir)
        .map_err(|cause| Failure::file(format!("looking at {}", folder.display()))(cause.into()))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refuse(
            folder,
            "another user owns it",
            "make it yours with chown, or set XDG_CONFIG_HOME",
        ));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(refuse(folder, "other users can write into it", "run chmod 700 on it"));
    }
    Ok(Some(dir))
}

/// Opens the file for reading; it must be a file, the user's, and nobody else's to read.
fn open_file(dir: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, Failure> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, NAME, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(refuse(path, "it is a symbolic link", "replace it by a file of your own"));
        }
        Err(cause) => {
            return Err(Failure::file(format!("opening {}", path.display()))(cause.into()));
        }
    };
    let stat = rustix::fs::fstat(&file)
        .map_err(|cause| Failure::file(format!("looking at {}", path.display()))(cause.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refuse(path, "it is no file", "remove it, then run `adit login` again"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refuse(path, "another user owns it", "remove it, then run `adit login` again"));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(refuse(
            path,
            "other users can read it",
            "run chmod 600 on it, and make a new token if somebody may have seen this one",
        ));
    }
    Ok(Some(file))
}

fn refuse(path: &Path, why: &str, mend: &'static str) -> Failure {
    Failure::Credentials { path: path.to_owned(), why: why.to_owned(), mend }
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
