//! What a machine keeps from its enrolment: its keys, and whom it trusts.
//!
//! One file, readable by its owner alone. A file that others could have read or replaced is refused, and so is one reached
//! through a symbolic link.

use adit_domain::{MachineId, Secret};
use adit_link::dial::{BindingRule, Credential, DialError, Dialer, Endpoint, Trust};
use adit_link::keys::{Keypair, PublicKey};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A machine's enrolment.
#[derive(Debug)]
pub struct Enrolment {
    /// Which machine this is.
    pub machine: MachineId,
    /// `wss://host:7892/ws/agent`.
    pub url: String,
    /// Certificates that the gateway's must come from, as PEM; none for those of the system.
    pub trust: Option<String>,
    /// What admits to the machine plane.
    pub admission: Admission,
    /// Whether the channel is bound to TLS; not behind a TLS terminator.
    pub binding: BindingRule,
    /// The machine's own key; it never leaves this file.
    pub link_key: Keypair,
    /// The key of the service that may serve sessions.
    pub session_service: PublicKey,
    /// The Ed25519 key that signs warrants.
    pub authority: [u8; 32],
}

/// What admits a machine to the machine plane.
#[derive(Debug)]
pub enum Admission {
    /// A certificate, for the mutual-TLS listener.
    Certificate {
        /// PEM.
        chain: String,
        /// PEM.
        key: Secret<String>,
    },
    /// A machine key, `cak_…`.
    Key(Secret<String>),
}

/// Why an enrolment can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is none: the machine has to join first.
    #[error("{0} is not there; run `adit agent join` first")]
    Missing(PathBuf),
    /// Others may read or write it, or it is not this user's.
    #[error("{path} holds keys and {why}; nobody but its owner may read or write it (chmod 600)")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// It can't be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It is not what was written.
    #[error("{0} is damaged; join again")]
    Damaged(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    machine_id: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<StoredCertificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_key: Option<String>,
    tls_exporter: bool,
    link_key: String,
    session_service_key: String,
    authority_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredCertificate {
    chain: String,
    key: String,
}

impl Enrolment {
    /// Reads the enrolment that is kept in a folder.
    ///
    /// # Errors
    /// [`KeysError::Missing`] before the machine has joined, [`KeysError::Exposed`] when others could have read it.
    pub fn load(dir: &Path) -> Result<Self, KeysError> {
        let path = dir.join(FILE);
        let text = read_private(&path)?;
        let stored: Stored =
            serde_json::from_str(text.expose()).map_err(|_| KeysError::Damaged(path.clone()))?;
        stored.parse().ok_or(KeysError::Damaged(path))
    }

    /// Writes the enrolment to a folder, all of it or nothing.
    ///
    /// # Errors
    /// [`KeysError::Io`] when the folder or the file can't be written.
    pub fn save(&self, dir: &Path) -> Result<(), KeysError> {
        let stored =
            serde_json::to_vec_pretty(&Stored::of(self)).expect("strings and flags can be written");
        let stored = Secret::new(stored);
        write_private(&dir.join(FILE), stored.expose())
    }

    /// Makes a dialer of it.
    ///
    /// # Errors
    /// [`DialError`] when the address, the certificates or the key can't be used.
    pub fn dialer(&self) -> Result<Dialer, DialError> {
        let trust = match &self.trust {
            Some(pem) => Trust::from_pem(pem.as_bytes())?,
            None => Trust::System,
        };
        let credential = match &self.admission {
            Admission::Certificate { chain, key } => {
                Credential::from_pem(chain.as_bytes(), key.expose().as_bytes())?
            }
            Admission::Key(key) => Credential::Key(key.clone()),
        };
        Dialer::new(Endpoint { url: self.url.clone(), trust, credential, binding: self.binding })
    }
}

impl Stored {
    fn of(enrolment: &Enrolment) -> Self {
        let (certificate, agent_key) = match &enrolment.admission {
            Admission::Certificate { chain, key } => {
                (Some(StoredCertificate { chain: chain.clone(), key: key.expose().clone() }), None)
            }
            Admission::Key(key) => (None, Some(key.expose().clone())),
        };
        Self {
            machine_id: enrolment.machine.to_string(),
            url: enrolment.url.clone(),
            trust: enrolment.trust.clone(),
            certificate,
            agent_key,
            tls_exporter: enrolment.binding == BindingRule::Exporter,
            link_key: hex::encode(enrolment.link_key.private().expose()),
            session_service_key: hex::encode(enrolment.session_service.0),
            authority_key: hex::encode(enrolment.authority),
        }
    }

    fn parse(self) -> Option<Enrolment> {
        let admission = match (self.certificate, self.agent_key) {
            (Some(StoredCertificate { chain, key }), _) => {
                Admission::Certificate { chain, key: Secret::new(key) }
            }
            (None, Some(key)) => Admission::Key(Secret::new(key)),
            (None, None) => return None,
        };
        Some(Enrolment {
            machine: self.machine_id.parse().ok()?,
            url: self.url,
            trust: self.trust,
            admission,
            binding: if self.tls_exporter { BindingRule::Exporter } else { BindingRule::None },
            link_key: Keypair::from_private(read_key(&self.link_key)?),
            session_service: PublicKey(read_key(&self.session_service_key)?),
            authority: read_key(&self.authority_key)?,
        })
    }
}

fn read_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok()?;
    Some(key)
}

/// Reads a file that only its owner, this user, may read or write.
pub(crate) fn read_private(path: &Path) -> Result<Secret<String>, KeysError> {
    let io = |error: io::Error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
    {
        Some(rustix::io::Errno::NOENT) => KeysError::Missing(path.to_owned()),
        Some(rustix::io::Errno::LOOP) => exposed(path, "is a symbolic link"),
        _ => KeysError::Io(path.to_owned(), error),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| io(error.into()))?);
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(exposed(path, "is not a plain file"));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(exposed(path, "is open to its group or to others"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(exposed(path, "belongs to another user"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(Secret::new(text))
}

/// Replaces a file by one that only its owner may read; a crash leaves the old one or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let failed = |error: io::Error| KeysError::Io(path.to_owned(), error);
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What an earlier crash left behind is of no use.
    let _ = std::fs::remove_file(&fresh);
    let fd = rustix::fs::open(&fresh, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| failed(error.into()))?;
    let mut file = File::from(fd);
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&fresh);
        return Err(failed(error));
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn exposed(path: &Path, why: &'static str) -> KeysError {
    KeysError::Exposed { path: path.to_owned(), why }
}

/// The file in the agent's folder.
const FILE: &str = "agent.json";
/// Permissions of anybody but the owner.
const OTHERS: u32 = 0o077;
/// Far more than keys and certificates need.
const FILE_BYTES: u64 = 1 << 20;
