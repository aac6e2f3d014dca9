//! Certificates: the names that they give, and what they carry.

use std::fmt;
use std::str::FromStr;

use crate::MachineLabel;

/// Whom a certificate names. It is the certificate's common name, and the gateway alone chooses it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CertificateName {
    /// A machine: `agent:web-1`.
    Agent(MachineLabel),
    /// An operator: `admin`.
    Admin,
    /// Somebody that a machine speaks for: `plugin-agent:web-1:backup`.
    Delegated {
        /// The machine that asked for it.
        delegator: MachineLabel,
        /// Its name there.
        name: MachineLabel,
    },
}

/// A text that is no certificate's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a certificate is for agent:LABEL, admin or plugin-agent:DELEGATOR:NAME, where each part is 1 to 64 of a-z 0-9 - and begins and ends with a letter or digit"
)]
pub struct BadCertificateName;

impl FromStr for CertificateName {
    type Err = BadCertificateName;
    fn from_str(text: &str) -> Result<Self, BadCertificateName> {
        let label = |text: &str| text.parse().map_err(|_| BadCertificateName);
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["admin"] => Ok(Self::Admin),
            ["agent", machine] => Ok(Self::Agent(label(machine)?)),
            ["plugin-agent", delegator, name] => {
                Ok(Self::Delegated { delegator: label(delegator)?, name: label(name)? })
            }
            _ => Err(BadCertificateName),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(label) => write!(f, "agent:{label}"),
            Self::Admin => f.write_str("admin"),
            Self::Delegated { delegator, name } => write!(f, "plugin-agent:{delegator}:{name}"),
        }
    }
}

/// The longest scope and the longest action, in characters (TIX-10).
pub const MAX_SCOPE_CHARS: usize = 50;

/// How many capabilities one certificate carries (TIX-10).
pub const MAX_CARRIED: usize = 50;

/// What a certificate's holder may do where tickets are asked for: `scope` or `scope:action`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Carried(String);

/// A text that no certificate carries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a certificate carries scope:action or a whole scope, each 1 to 50 of a-z 0-9 -, such as files:read"
)]
pub struct BadCarried;

impl Carried {
    /// Gives its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Carried {
    type Err = BadCarried;
    fn from_str(text: &str) -> Result<Self, BadCarried> {
        let plain = |part: &str| {
            (1..=MAX_SCOPE_CHARS).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let mut parts = text.splitn(2, ':');
        if parts.all(plain) { Ok(Self(text.to_owned())) } else { Err(BadCarried) }
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        for text in ["agent:web-1", "admin", "plugin-agent:web-1:backup"] {
            assert_eq!(text.parse::<CertificateName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_name_that_could_mean_something_else_is_refused() {
        for bad in [
            "",
            "agent",
            "agent:",
            "agent:admin",
            "admin:",
            "Admin",
            "admin\0",
            "agent:a:b",
            "plugin-agent:a",
            "plugin-agent:a:b:c",
            "plugin-agent::b",
            "agent:a, O=b",
            "root:a",
        ] {
            assert_eq!(bad.parse::<CertificateName>(), Err(BadCertificateName), "{bad}");
        }
    }

    #[test]
    fn only_scopes_and_their_actions_are_carried() {
        let long = "a".repeat(51);
        for good in ["files", "files:read", "shell:connect", "a:0123456789abcdef0123456789abcdef"] {
            assert_eq!(good.parse::<Carried>().unwrap().as_str(), good);
        }
        for bad in ["", ":", "files:", ":read", "files:read:more", "*", "Files", long.as_str()] {
            assert_eq!(bad.parse::<Carried>(), Err(BadCarried), "{bad}");
        }
    }
}
