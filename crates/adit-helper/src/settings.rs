//! The helper's own settings: a file that root alone can write, with the lists of what may be named.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use crate::folder::walk;
use crate::name::{Name, UnitName};
use crate::request::{OwnUnit, WebServer};

/// The longest file of settings, in bytes; ours has a few hundred.
const MAX_BYTES: u64 = 64 * 1024;

/// Who may ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The accounts whose processes may ask, by name.
    pub users: Vec<String>,
    /// The helper's own audit log.
    #[serde(default = "default_audit")]
    pub audit: PathBuf,
    /// The folder that holds a folder for each certificate.
    #[serde(default = "default_certificates")]
    pub certificates: PathBuf,
    /// The places of certificates, by their names.
    #[serde(default)]
    pub certificate: BTreeMap<Name, Place>,
    /// The services that may be reloaded and restarted.
    #[serde(default)]
    pub services: Vec<UnitName>,
    /// The web servers whose configuration may be tested.
    #[serde(default)]
    pub web_servers: Vec<WebServer>,
    /// The units of Adit's own that may be written.
    #[serde(default)]
    pub units: Vec<OwnUnit>,
    /// Where units are.
    #[serde(default = "default_unit_folder")]
    pub unit_folder: PathBuf,
    /// This program, as units start it.
    #[serde(default = "default_program")]
    pub program: PathBuf,
}

/// Whose a certificate's files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// The account that owns the files; absent: root.
    pub owner: Option<String>,
    /// The group that may read the key; absent: nobody but the owner.
    pub group: Option<String>,
}

fn default_audit() -> PathBuf {
    PathBuf::from("/var/lib/adit-helper/audit.jsonl")
}

fn default_certificates() -> PathBuf {
    PathBuf::from("/etc/adit/certificates")
}

fn default_unit_folder() -> PathBuf {
    PathBuf::from("/etc/systemd/system")
}

fn default_program() -> PathBuf {
    PathBuf::from("/usr/bin/adit")
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be opened or read.
    #[error("the helper's settings {path} cannot be read: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Somebody else could have written it.
    #[error(
        "the helper's settings {0} could have been written by somebody else; `chown root {0}` and `chmod go-w {0}`"
    )]
    Writable(PathBuf),
    /// It is no TOML of ours.
    #[error("the helper's settings {path}: {cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        cause: String,
    },
    /// A path is not absolute.
    #[error("the helper's settings name {0}; write the whole path, from /")]
    Relative(PathBuf),
    /// Nobody may ask.
    #[error("the helper's settings name nobody under `users`; write the gateway's account there")]
    Nobody,
    /// An account or group is not there.
    #[error(
        "the helper's settings name {0:?}, which is no account or group here; make it (`systemd-sysusers`), or correct the name"
    )]
    Unknown(String),
}

impl Settings {
    /// Reads the file, which must belong to whoever runs this and be writable by nobody else.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let read = |cause: std::io::Error| SettingsError::Read { path: path.to_owned(), cause };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(SettingsError::Relative(path.to_owned()));
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file =
            walk(folder).and_then(|folder| rustix::fs::openat(folder, name, flags, Mode::empty()));
        let file = File::from(file.map_err(|error| read(error.into()))?);
        let about = file.metadata().map_err(read)?;
        let own = rustix::process::geteuid().as_raw();
        if !about.is_file() || about.uid() != own || about.mode() & 0o022 != 0 {
            return Err(SettingsError::Writable(path.to_owned()));
        }
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(read)?;
        let form = |cause: String| SettingsError::Form { path: path.to_owned(), cause };
        Self::parse(&text).map_err(|error| match error {
            ParseError::Form(cause) => form(cause),
            ParseError::Settings(error) => error,
        })
    }

    fn parse(text: &str) -> Result<Self, ParseError> {
        let settings: Self =
            toml::from_str(text).map_err(|error| ParseError::Form(error.to_string()))?;
        if settings.users.is_empty() {
            return Err(SettingsError::Nobody.into());
        }
        let paths =
            [&settings.audit, &settings.certificates, &settings.unit_folder, &settings.program];
        if let Some(path) = paths.into_iter().find(|path| !path.is_absolute()) {
            return Err(SettingsError::Relative(path.clone()).into());
        }
        Ok(settings)
    }

    /// Gives the ids of the accounts that may ask.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`].
    pub fn user_ids(&self) -> Result<Vec<u32>, SettingsError> {
        self.users.iter().map(|name| user_id(name)).collect()
    }
}

enum ParseError {
    Form(String),
    Settings(SettingsError),
}

impl From<SettingsError> for ParseError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl Place {
    /// Gives the ids of the files' owner and group, where they are not those of whoever runs this.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`].
    pub fn ids(&self) -> Result<(Option<u32>, Option<u32>), SettingsError> {
        let owner = self.owner.as_deref().map(user_id).transpose()?;
        let group = self.group.as_deref().map(group_id).transpose()?;
        Ok((owner, group))
    }
}

fn user_id(name: &str) -> Result<u32, SettingsError> {
    let unknown = || SettingsError::Unknown(name.to_owned());
    let user = nix::unistd::User::from_name(name).map_err(|_| unknown())?;
    user.map(|user| user.uid.as_raw()).ok_or_else(unknown)
}

/// Gives the id of an account's own group.
///
/// # Errors
/// [`SettingsError::Unknown`].
pub fn group_of(name: &str) -> Result<u32, SettingsError> {
    let unknown = || SettingsError::Unknown(name.to_owned());
    let user = nix::unistd::User::from_name(name).map_err(|_| unknown())?;
    user.map(|user| user.gid.as_raw()).ok_or_else(unknown)
}

fn group_id(name: &str) -> Result<u32, SettingsError> {
    let unknown = || SettingsError::Unknown(name.to_owned());
    let group = nix::unistd::Group::from_name(name).map_err(|_| unknown())?;
    group.map(|group| group.gid.as_raw()).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn load(text: &str, mode: u32) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        Settings::load(&path)
    }

    const GOOD: &str = "users = [\"adit-gateway\"]\nservices = [\"nginx.service\"]\nweb_servers = [\"nginx\"]\n\
        units = [\"gateway\"]\n[certificate.nginx]\ngroup = \"www-data\"\n";

    #[test]
    fn settings_are_lists_of_names() {
        let settings = load(GOOD, 0o644).unwrap();
        assert_eq!(settings.services[0].as_str(), "nginx.service");
        assert_eq!(settings.certificates, Path::new("/etc/adit/certificates"));
        assert_eq!(settings.units, [OwnUnit::Gateway]);
    }

    #[test]
    fn settings_that_others_can_write_are_refused() {
        assert!(matches!(load(GOOD, 0o666), Err(SettingsError::Writable(_))));
        assert!(matches!(load(GOOD, 0o664), Err(SettingsError::Writable(_))));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), GOOD).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        let link = Settings::load(&folder.path().join("b"));
        assert!(matches!(link, Err(SettingsError::Read { .. })));
    }

    #[test]
    fn settings_that_say_something_else_are_refused() {
        for bad in [
            "",
            "users = []",
            "users = [\"a\"]\nservices = [\"*.service\"]",
            "users = [\"a\"]\nservices = [\"nginx\"]",
            "users = [\"a\"]\nunits = [\"helper\"]",
            "users = [\"a\"]\n[certificate.\"../x\"]",
            "users = [\"a\"]\naudit = \"audit.jsonl\"",
            "users = [\"a\"]\nuser = \"b\"",
        ] {
            assert!(load(bad, 0o600).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_that_is_not_there_is_named() {
        let settings = load("users = [\"no-such-account\"]", 0o600).unwrap();
        assert!(settings.user_ids().unwrap_err().to_string().contains("no-such-account"));
    }
}
