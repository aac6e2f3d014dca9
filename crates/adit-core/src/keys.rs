//! The gateway's own keys: files in its folder, mode 0600, made at the first start.
//!
//! None of them is in the database, so a reader of the database or of a backup of it can forge nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use adit_domain::{Ids, Secret};
use adit_link::keys::Keypair;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error(
        "{0} can be read by others; `chmod 600 {0}`, and make a new key if it may have been read"
    )]
    Open(PathBuf),
    /// Not a plain file, or somebody else's.
    #[error(
        "{0} is a link or belongs to another user; put the file itself there, owned by this user"
    )]
    NotOurs(PathBuf),
    /// It does not hold what it should.
    #[error("{0} does not hold a key of its kind; restore it from the backup of this folder")]
    Form(PathBuf),
    /// `SESSION_TOKEN_SECRET` is missing, short or well known.
    #[error("{0}")]
    SessionSecret(String),
}

/// Every key of a gateway.
pub struct Keys {
    /// Signs warrants.
    pub authority: Ed25519KeyPair,
    /// The session service's Noise key.
    pub session_service: Keypair,
    /// Signs checkpoints of the audit log and the last chunk of each recording.
    pub audit: Ed25519KeyPair,
    /// `SESSION_TOKEN_SECRET`: 64 hex characters.
    pub session_secret: Secret<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Reads the keys of a folder, making those that are not there. A session secret that is given wins over the file.
    ///
    /// # Errors
    /// A [`KeyError`] that names the file and how to mend it.
    pub fn load(
        dir: &Path,
        given: Option<Secret<String>>,
        ids: &dyn Ids,
    ) -> Result<Self, KeyError> {
        let session_secret = match given {
            Some(secret) => secret,
            None => load_text(&dir.join("session_token_secret"), || random_hex(ids))?,
        };
        Ok(Self {
            authority: load_ed25519(&dir.join("authority.key"))?,
            audit: load_ed25519(&dir.join("audit.key"))?,
            session_service: load_noise(&dir.join("session-service.key"), ids)?,
            session_secret,
        })
    }

    /// Gives the public half of the authority's key, 32 bytes.
    pub fn authority_public(&self) -> Vec<u8> {
        self.authority.public_key().as_ref().to_vec()
    }

    /// Gives the public half of the audit key, 32 bytes.
    pub fn audit_public(&self) -> Vec<u8> {
        self.audit.public_key().as_ref().to_vec()
    }
}

fn random_hex(ids: &dyn Ids) -> String {
    let mut bytes = [0; 32];
    ids.fill(&mut bytes);
    hex::encode(bytes)
}

fn load_text(path: &Path, make: impl FnOnce() -> String) -> Result<Secret<String>, KeyError> {
    let bytes = load_or_make(path, || make().into_bytes())?;
    let text = String::from_utf8(bytes).map_err(|_| KeyError::Form(path.to_owned()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn load_ed25519(path: &Path) -> Result<Ed25519KeyPair, KeyError> {
    let bytes = load_or_make(path, || {
        let pair = Ed25519KeyPair::generate().expect("the system has a random source");
        pair.to_pkcs8().expect("an Ed25519 key has a PKCS #8 form").as_ref().to_vec()
    })?;
    Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| KeyError::Form(path.to_owned()))
}

fn load_noise(path: &Path, ids: &dyn Ids) -> Result<Keypair, KeyError> {
    let bytes = load_or_make(path, || Keypair::generate(ids).private().expose().to_vec())?;
    let private = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| KeyError::Form(path.to_owned()))?;
    Ok(Keypair::from_private(private))
}

/// Reads a private file, or makes it: written beside its place, synced, then renamed, so that it is whole or not there.
///
/// # Errors
/// [`KeyError`] when it cannot be read, or is open to others.
pub fn load_or_make(path: &Path, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, KeyError> {
    let fail = |source| KeyError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            check_private(path, &meta)?;
            fs::read(path).map_err(fail)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = make();
            write_private(path, &bytes).map_err(fail)?;
            Ok(bytes)
        }
        Err(error) => Err(fail(error)),
    }
}

/// Reads a secret that somebody else put into a file, without the white space around it.
///
/// # Errors
/// [`KeyError`] when it cannot be read, is open to others, or holds nothing.
pub fn read_secret(path: &Path) -> Result<Secret<String>, KeyError> {
    let fail = |source| KeyError::Io { path: path.to_owned(), source };
    check_private(path, &fs::symlink_metadata(path).map_err(fail)?)?;
    let text = fs::read_to_string(path).map_err(fail)?;
    match text.trim() {
        "" => Err(KeyError::Form(path.to_owned())),
        secret => Ok(Secret::new(secret.to_owned())),
    }
}

fn check_private(path: &Path, meta: &fs::Metadata) -> Result<(), KeyError> {
    if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(KeyError::NotOurs(path.to_owned()));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Open(path.to_owned()));
    }
    Ok(())
}

/// Writes a file that only its owner reads, whole or not at all.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    #[test]
    fn keys_are_found_again_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::load(dir.path(), None, &SystemIds).unwrap();
        let again = Keys::load(dir.path(), None, &SystemIds).unwrap();
        assert_eq!(first.authority_public(), again.authority_public());
        assert_eq!(first.session_secret.expose(), again.session_secret.expose());
        for entry in fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        // AGT-19
        let dir = tempfile::tempdir().unwrap();
        Keys::load(dir.path(), None, &SystemIds).unwrap();
        let path = dir.path().join("authority.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            matches!(Keys::load(dir.path(), None, &SystemIds), Err(KeyError::Open(p)) if p == path)
        );
    }

    #[test]
    fn a_link_in_the_place_of_a_key_is_refused() {
        // AGT-19
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        write_private(&elsewhere, b"x").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("audit.key")).unwrap();
        assert!(matches!(Keys::load(dir.path(), None, &SystemIds), Err(KeyError::NotOurs(_))));
    }

    #[test]
    fn a_torn_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_private(&dir.path().join("authority.key"), b"torn").unwrap();
        assert!(matches!(Keys::load(dir.path(), None, &SystemIds), Err(KeyError::Form(_))));
    }
}
