//! Principals: who acts.

use std::fmt;
use std::str::FromStr;

use crate::{PrincipalId, TenantId};

/// What kind of actor a principal is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// An OAuth client.
    Service,
    /// A host that runs the agent.
    Machine,
}

impl PrincipalKind {
    /// Gives the word before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Machine => "machine",
        }
    }
}

impl FromStr for PrincipalKind {
    type Err = BadPrincipalName;
    fn from_str(text: &str) -> Result<Self, BadPrincipalName> {
        match text {
            "user" => Ok(Self::User),
            "service" => Ok(Self::Service),
            "machine" => Ok(Self::Machine),
            _ => Err(BadPrincipalName),
        }
    }
}

/// A principal's name as people write it: `user:ann`, `service:ci`, `machine:db-1`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PrincipalName {
    kind: PrincipalKind,
    name: String,
}

/// The longest name, in characters: fits a table column and an e-mail address's local part.
pub const MAX_NAME_CHARS: usize = 64;

/// A text that is no principal's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a principal is written user:NAME, service:NAME or machine:LABEL, where a name is 1 to 64 of a-z 0-9 . _ @ + - and begins with a letter or digit"
)]
pub struct BadPrincipalName;

impl PrincipalName {
    /// Makes a name of its parts.
    ///
    /// # Errors
    /// [`BadPrincipalName`] for a name with other characters or of another length.
    pub fn new(kind: PrincipalKind, name: &str) -> Result<Self, BadPrincipalName> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let plain =
            name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '@' | '+' | '-'));
        if !starts_well || !plain || name.len() > MAX_NAME_CHARS {
            return Err(BadPrincipalName);
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// Gives the kind.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Gives the part after the colon.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for PrincipalName {
    type Err = BadPrincipalName;
    fn from_str(text: &str) -> Result<Self, BadPrincipalName> {
        let (kind, name) = text.split_once(':').ok_or(BadPrincipalName)?;
        Self::new(kind.parse()?, name)
    }
}

/// Who acts, as a proof on this very connection showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The principal's id.
    pub id: PrincipalId,
    /// Whose data it belongs to.
    pub tenant: TenantId,
    /// Its name.
    pub name: PrincipalName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        let name: PrincipalName = "user:ann@example.org".parse().unwrap();
        assert_eq!(name.to_string(), "user:ann@example.org");
    }

    #[test]
    fn a_name_that_could_mean_something_else_is_refused() {
        for bad in [
            "ann",
            "user:",
            "user:-x",
            "user:A",
            "user:a b",
            "root:a",
            "user:a:b",
            "user:\u{202e}a",
        ] {
            assert_eq!(bad.parse::<PrincipalName>(), Err(BadPrincipalName), "{bad}");
        }
    }
}
