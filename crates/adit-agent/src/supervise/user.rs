//! Whose shell it is: the account, its login shell and its rights.

use nix::unistd::{Uid, User};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The account that a session runs as.
#[derive(Debug)]
pub(super) struct Account {
    user: User,
}

/// Why there is no such account to run as.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error("there is no user {0:?} on this machine")]
    Unknown(String),
    #[error("only an agent that runs as root can open a shell as {0:?}")]
    NotRoot(String),
    #[error("the accounts of this machine can't be read: {0}")]
    Lookup(nix::Error),
    #[error("the rights of {0:?} can't be taken on: {1}")]
    Rights(String, std::io::Error),
}

impl Account {
    /// Finds the account by its name; an empty name is the agent's own account.
    pub(super) fn find(name: &str) -> Result<Self, AccountError> {
        let own = Uid::effective();
        let user = if name.is_empty() { User::from_uid(own) } else { User::from_name(name) };
        let user = user.map_err(AccountError::Lookup)?.ok_or_else(|| match name {
            "" => AccountError::Unknown(own.to_string()),
            name => AccountError::Unknown(name.to_owned()),
        })?;
        if user.uid != own && !own.is_root() {
            return Err(AccountError::NotRoot(user.name));
        }
        Ok(Self { user })
    }

    pub(super) fn name(&self) -> &str {
        &self.user.name
    }

    pub(super) fn home(&self) -> &Path {
        &self.user.dir
    }

    pub(super) fn is_root(&self) -> bool {
        self.user.uid.is_root()
    }

    /// The login shell, or the first fall-back that is there.
    pub(super) fn shell(&self) -> PathBuf {
        let fall_backs = [PathBuf::from("/bin/bash"), PathBuf::from("/bin/sh")];
        [self.user.shell.clone()]
            .into_iter()
            .chain(fall_backs)
            .find(|shell| shell.is_absolute() && shell.is_file())
            .unwrap_or_else(|| PathBuf::from("/bin/sh"))
    }

    /// Makes the terminal the account's own, as `login` does, so that it can be opened by its name.
    pub(super) fn own_terminal(&self, terminal: impl AsFd) -> Result<(), AccountError> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        std::os::unix::fs::fchown(terminal, Some(self.user.uid.as_raw()), None)
            .map_err(|error| AccountError::Rights(self.user.name.clone(), error))
    }

    /// Takes on exactly the account's groups and ids, for good. An agent without root already has them.
    pub(super) fn take_on_rights(&self) -> Result<(), AccountError> {
        if !Uid::effective().is_root() {
            return Ok(());
        }
        let failed = |error: nix::Error| AccountError::Rights(self.user.name.clone(), error.into());
        let name = CString::new(self.user.name.as_bytes())
            .map_err(|_| AccountError::Unknown(self.user.name.clone()))?;
        let (uid, gid) = (self.user.uid, self.user.gid);
        nix::unistd::initgroups(&name, gid).map_err(failed)?;
        nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
        nix::unistd::setresuid(uid, uid, uid).map_err(failed)
    }
}
