//! Services: the clients of the OAuth2 server.

use std::str::FromStr;

/// Whether a client can keep a secret (RFC 6749 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClientKind {
    /// It has a secret and acts for itself, or for a user who lets it.
    Confidential,
    /// It has none: a program on users' own machines, which acts for them alone.
    Public,
}

impl ClientKind {
    /// Gives the word in the database and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confidential => "confidential",
            Self::Public => "public",
        }
    }
}

impl FromStr for ClientKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Confidential, Self::Public].into_iter().find(|k| k.as_str() == text).ok_or(())
    }
}
