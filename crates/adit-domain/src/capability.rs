//! Capabilities: what may be done, written `scope:action`.

use std::fmt;
use std::str::FromStr;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// One thing that may be done.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Capability {
            $($(#[$doc])* $name,)*
        }

        impl Capability {
            /// Every capability, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Gives the name as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

capabilities! {
    /// Opens a terminal session.
    TerminalSpawn = "terminal:spawn";
    /// Types.
    TerminalInput = "terminal:input";
    /// Changes the size of the window.
    TerminalResize = "terminal:resize";
    /// Runs a command that the caller names.
    TerminalExec = "terminal:exec";
    /// Sees what a session shows.
    TerminalView = "terminal:view";
    /// Lists others' sessions.
    SessionList = "session:list";
    /// Ends others' sessions.
    SessionEnd = "session:end";
    /// Plays, searches, verifies and exports recordings.
    RecordingView = "recording:view";
    /// Deletes recordings before their time.
    RecordingDelete = "recording:delete";
    /// Sees a machine in lists.
    MachineView = "machine:view";
    /// Enrols and removes machines.
    MachineManage = "machine:manage";
    /// Reads the audit log.
    AuditRead = "audit:read";
    /// Adds people, tokens and grants, and asks why.
    AccessManage = "access:manage";
    /// Approves and denies others' requests for access.
    AccessApprove = "access:approve";
    /// Adds and removes tenants; it counts for people of the first tenant only.
    TenantManage = "tenant:manage";
    /// Makes support codes, and helps whoever agrees to it.
    SupportOffer = "support:offer";
    /// Sees scopes, instances, assignments, tickets and sessions between machines.
    TicketView = "ticket:view";
    /// Registers scopes, gives machines capabilities, assigns them to each other, ends what is between them.
    TicketManage = "ticket:manage";
    /// Runs templates.
    JobRun = "job:run";
    /// Sees others' jobs and their output.
    JobView = "job:view";
    /// Cancels others' jobs.
    JobCancel = "job:cancel";
}

impl Capability {
    /// Gives the action without its scope, as the session API shows it.
    pub fn action(self) -> &'static str {
        self.as_str().split_once(':').map_or(self.as_str(), |(_, action)| action)
    }

    /// Reads a terminal capability by its bare action or whole name.
    pub fn terminal(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().copied().find(|c| c.as_str() == text || c.action() == text)?;
        found.is_terminal().then_some(found)
    }

    /// Tells whether this is exercised inside a terminal session.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::TerminalSpawn
                | Self::TerminalInput
                | Self::TerminalResize
                | Self::TerminalExec
                | Self::TerminalView
        )
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no capability.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability of that name; `adit role ls` lists them")]
pub struct UnknownCapability;

impl FromStr for Capability {
    type Err = UnknownCapability;
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or(UnknownCapability)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Makes a set of the listed ones.
    pub const fn of(list: &[Capability]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < list.len() {
            bits |= 1 << list[at] as u64;
            at += 1;
        }
        Self(bits)
    }

    /// Every capability.
    pub const fn all() -> Self {
        Self::of(Capability::ALL)
    }

    /// Tells whether one is in the set.
    pub const fn has(self, one: Capability) -> bool {
        self.0 & (1 << one as u64) != 0
    }

    /// Tells whether every one of `others` is in the set.
    pub const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Gives those in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Gives those in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Gives those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Tells whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists the members in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |c| self.has(*c))
    }

    /// Gives the terminal capabilities of the set.
    #[must_use]
    pub fn terminal(self) -> Self {
        self.iter().filter(|c| c.is_terminal()).collect()
    }

    /// Writes the names.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|c| c.as_str().to_owned()).collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::NONE, |set, c| Self(set.0 | 1 << c as u64))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for one in Capability::ALL {
            assert_eq!(one.as_str().parse(), Ok(*one));
        }
        assert_eq!("terminal:fly".parse::<Capability>(), Err(UnknownCapability));
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = Capabilities::of(&[Capability::TerminalInput, Capability::AuditRead]);
        assert!(set.has(Capability::TerminalInput) && set.has(Capability::AuditRead));
        assert!(!set.has(Capability::TerminalSpawn));
        assert_eq!(set.terminal().names(), ["terminal:input"]);
    }
}
