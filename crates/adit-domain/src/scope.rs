//! OAuth2 scopes: the names of capabilities, between spaces (RFC 6749 §3.3). There is no wildcard.

use crate::{Capabilities, Capability};

/// The longest scope that is read, in bytes: every capability that there will be, named twice.
const MAX_BYTES: usize = 4096;

/// A text that is no scope, with the first name in it that means nothing here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no scope `{0}`; a scope is the name of a capability, and `adit role ls` lists them"
)]
pub struct BadScope(pub String);

/// The longest part of an unknown name that an error repeats, in characters.
const SHOWN_CHARS: usize = 40;

/// Reads a scope.
///
/// # Errors
/// [`BadScope`] for a name that is no capability's, and for a text that is far too long.
pub fn read(text: &str) -> Result<Capabilities, BadScope> {
    let shown = |name: &str| {
        BadScope(name.chars().filter(char::is_ascii_graphic).take(SHOWN_CHARS).collect())
    };
    if text.len() > MAX_BYTES {
        return Err(shown(text));
    }
    let names = text.split(' ').filter(|name| !name.is_empty());
    names.map(|name| name.parse::<Capability>().map_err(|_| shown(name))).collect()
}

/// Writes a scope.
pub fn write(scopes: Capabilities) -> String {
    scopes.names().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back() {
        let some = Capabilities::of(&[Capability::TerminalSpawn, Capability::AuditRead]);
        assert_eq!(read(&write(some)), Ok(some));
        assert_eq!(read(""), Ok(Capabilities::NONE));
    }

    #[test]
    fn a_name_that_is_no_capability_is_refused() {
        // BRW-27
        for bad in
            ["*", "terminal:*", "terminal:spawn *", "terminal:fly", "terminal:spawn\taudit:read"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&"audit:read ".repeat(1000)).is_err());
    }
}
