//! The OAuth2 server (RFC 6749, RFC 9700): clients and users get access tokens here, and the API believes them.
//!
//! An access token is a signed statement (RFC 9068) that is also a row: the signature is checked once, whether it was taken back each
//! time. Read first: `issue.rs` (how one is made), `check.rs` (how one is believed), `key.rs` (what signs them).

mod attempts;
pub mod authorize;
pub mod check;
pub mod claims;
pub mod client;
pub mod device;
pub mod exchange;
pub mod fault;
pub mod issue;
mod issuers;
pub mod key;
pub mod redeem;
pub mod redirect;
pub mod revoke;
pub mod settings;
pub mod turn;

use adit_domain::Secret;

use crate::settings::Settings;

pub use fault::{Fault, Reason};

/// The id of the client that every gateway knows: the command line.
pub const CLI: &str = "adit-cli";

/// What an OAuth2 server remembers while it runs.
#[derive(Debug)]
pub struct OAuth {
    /// The keys that sign access tokens.
    pub keys: key::Keyring,
    /// Access tokens whose signature was checked.
    pub(crate) checked: check::Checked,
    /// Devices that ask.
    pub(crate) devices: device::Devices,
    /// Issuers that are trusted.
    pub(crate) issuers: issuers::Issuers,
}

impl OAuth {
    /// Begins with no keys; the gateway loads them.
    pub(crate) fn new(secret: &str) -> Self {
        Self {
            keys: key::Keyring::new(secret),
            checked: check::Checked::default(),
            devices: device::Devices::new(secret),
            issuers: issuers::Issuers::default(),
        }
    }
}

/// What was issued (RFC 6749 §5.1).
#[derive(Debug)]
pub struct Issued {
    /// The access token.
    pub access: Secret<String>,
    /// How long it counts, in seconds.
    pub expires_in: u64,
    /// What it opens.
    pub scope: String,
    /// What another is had with.
    pub refresh: Option<Secret<String>>,
}

impl Settings {
    /// Gives the issuer's identifier (RFC 8414 §2).
    pub fn issuer(&self) -> &str {
        &self.url
    }

    /// Gives the name of what access tokens are for: this gateway's API.
    pub fn audience(&self) -> String {
        format!("{}/api/v1", self.url)
    }
}
