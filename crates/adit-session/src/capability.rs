//! What a session may do.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that a session may do, such as `input`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(Cow<'static, str>);

impl Capability {
    /// Start a shell.
    pub const SPAWN: Self = Self(Cow::Borrowed("spawn"));
    /// Type.
    pub const INPUT: Self = Self(Cow::Borrowed("input"));
    /// Change the size of the screen.
    pub const RESIZE: Self = Self(Cow::Borrowed("resize"));
    /// Run a command without a shell.
    pub const EXEC: Self = Self(Cow::Borrowed("exec"));
    /// Watch.
    pub const VIEW: Self = Self(Cow::Borrowed("view"));

    /// Reads a name of lower-case letters, digits, `_`, `-` and `:`, at most 64 bytes; the prefix `terminal:` is dropped.
    ///
    /// # Errors
    /// The name is empty, too long or has other characters.
    pub fn new(name: &str) -> Result<Self, BadCapability> {
        let name = name.strip_prefix("terminal:").unwrap_or(name);
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.starts_with(|sign: char| sign.is_ascii_lowercase());
        let signs =
            name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b':'));
        if !(fits && signs) {
            return Err(BadCapability);
        }
        let known = [Self::SPAWN, Self::INPUT, Self::RESIZE, Self::EXEC, Self::VIEW];
        Ok(known
            .into_iter()
            .find(|one| one.as_str() == name)
            .unwrap_or_else(|| Self(Cow::Owned(name.to_owned()))))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Capability {
    type Error = BadCapability;

    fn try_from(name: String) -> Result<Self, BadCapability> {
        Self::new(&name)
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.0.into_owned()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The capabilities of one session, each once, in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Capability>", into = "Vec<Capability>")]
pub struct Capabilities(Vec<Capability>);

impl Capabilities {
    /// Takes at least one and at most 32 different capabilities.
    ///
    /// # Errors
    /// There is none, one is there twice, or there are too many.
    pub fn new(list: impl IntoIterator<Item = Capability>) -> Result<Self, BadCapability> {
        let list: Vec<_> = list.into_iter().take(LIST_MAX + 1).collect();
        let repeated = list.iter().enumerate().any(|(at, one)| list[..at].contains(one));
        if list.is_empty() || list.len() > LIST_MAX || repeated {
            return Err(BadCapability);
        }
        Ok(Self(list))
    }

    /// Tells whether the session may do this.
    pub fn contains(&self, capability: &Capability) -> bool {
        self.0.contains(capability)
    }

    /// The capabilities in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Capability> {
        self.0.iter()
    }

    /// How many there are; never none.
    #[expect(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// `spawn`, `input` and `resize`.
impl Default for Capabilities {
    fn default() -> Self {
        Self(vec![Capability::SPAWN, Capability::INPUT, Capability::RESIZE])
    }
}

impl TryFrom<Vec<Capability>> for Capabilities {
    type Error = BadCapability;

    fn try_from(list: Vec<Capability>) -> Result<Self, BadCapability> {
        Self::new(list)
    }
}

impl From<Capabilities> for Vec<Capability> {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.0
    }
}

impl<'a> IntoIterator for &'a Capabilities {
    type Item = &'a Capability;
    type IntoIter = std::slice::Iter<'a, Capability>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A name is no capability, or a list of them is empty, too long or repeats one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session has 1 to 32 different capabilities, each of a-z, 0-9, `_`, `-` and `:`, at most 64 bytes"
)]
pub struct BadCapability;

/// Chosen: a label of ours has at most 64 bytes everywhere.
const NAME_BYTES_MAX: usize = 64;
/// Chosen: twice the capabilities that there are.
const LIST_MAX: usize = 32;
