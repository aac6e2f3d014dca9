//! What this machine shows to be let in, and how that changes while it runs.

use crate::keys::{Admission, Enrolment, KeysError};
use adit_domain::{MachineId, Secret};
use adit_link::dial::{DialError, Dialer};
use rcgen::{CertificateParams, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

/// The dialer of today, and where its key or certificate is kept.
pub(crate) struct Identity {
    dir: Option<PathBuf>,
    machine: MachineId,
    /// The address that is dialled, which need not be the one that is kept.
    url: String,
    dialer: RwLock<Dialer>,
    /// Whether the gateway itself answers, and no proxy that stands before it.
    is_direct: bool,
    /// The key that a certificate was asked for.
    asked: Mutex<Option<Secret<String>>>,
}

/// Why a new key or certificate is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("no key could be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("nobody asked for it")]
    Unasked,
    #[error("this machine was enrolled anew meanwhile")]
    Replaced,
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Dial(#[from] DialError),
}

impl Identity {
    /// Begins with an enrolment as it is used; `dir` has it as it is kept.
    pub(crate) fn of(enrolment: &Enrolment, dir: Option<PathBuf>) -> Result<Self, DialError> {
        let dialer = RwLock::new(enrolment.dialer()?);
        let (machine, url) = (enrolment.machine, enrolment.url.clone());
        let is_direct = matches!(enrolment.admission, Admission::Certificate { .. });
        Ok(Self { dir, machine, url, dialer, is_direct, asked: Mutex::default() })
    }

    /// Tells whether a new key or certificate would be kept.
    pub(crate) fn can_change(&self) -> bool {
        self.dir.is_some()
    }

    /// Gives the folder in which the enrolment is kept, where there is one.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Tells whether a refusal is the gateway's own: on the mutual-TLS listener nobody else answers.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Gives the dialer of today.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a key and gives a request for a certificate with it. The key stays here.
    pub(crate) fn request(&self) -> Result<String, IdentityError> {
        let key = KeyPair::generate()?;
        let csr = CertificateParams::default().serialize_request(&key)?.pem()?;
        *self.asked() = Some(Secret::new(key.serialize_pem()));
        Ok(csr)
    }

    /// Keeps the certificate that came for the request, and shows it from now on.
    pub(crate) fn take_certificate(&self, chain: String) -> Result<(), IdentityError> {
        let key = self.asked().take().ok_or(IdentityError::Unasked)?;
        self.take(Admission::Certificate { chain, key })
    }

    /// Keeps a new machine key, and shows it from now on.
    pub(crate) fn take_key(&self, key: Secret<String>) -> Result<(), IdentityError> {
        self.take(Admission::Key(key))
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Option<Secret<String>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, admission: Admission) -> Result<(), IdentityError> {
        let dir = self.dir.as_ref().ok_or(IdentityError::Unasked)?;
        let mut kept = Enrolment::load(dir)?;
        if kept.machine != self.machine {
            return Err(IdentityError::Replaced);
        }
        let same_kind = matches!(
            (&kept.admission, &admission),
            (Admission::Key(_), Admission::Key(_))
                | (Admission::Certificate { .. }, Admission::Certificate { .. })
        );
        if !same_kind {
            return Err(IdentityError::Unasked);
        }
        kept.admission = admission;
        // What cannot be dialled with is not kept.
        let url = std::mem::replace(&mut kept.url, self.url.clone());
        let dialer = kept.dialer()?;
        kept.url = url;
        kept.save(dir)?;
        *self.dialer.write().unwrap_or_else(PoisonError::into_inner) = dialer;
        Ok(())
    }
}
