//! Scopes: what machines may reach each other for, as an operator registers them.

use std::fmt;
use std::str::FromStr;

use crate::certificate::Carried;
use crate::reach::address::DirectHost;

/// The longest name of a scope and of an action, in characters (TIX-10).
pub const MAX_NAME_CHARS: usize = crate::certificate::MAX_SCOPE_CHARS;

/// The most capabilities of one scope (TIX-10).
pub const MAX_ACTIONS: usize = 50;

/// The longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 500;

/// The longest version, in characters.
pub const MAX_VERSION_CHARS: usize = 50;

/// Names that mean something else already: planes, the scopes of people's capabilities, the words of certificates.
const RESERVED: &[&str] = &[
    "access",
    "adit",
    "admin",
    "agent",
    "all",
    "audit",
    "certs",
    "desktop",
    "gateway",
    "machine",
    "plugin",
    "plugin-agent",
    "recording",
    "session",
    "support",
    "system",
    "tenant",
    "terminal",
    "ticket",
    "tickets",
];

/// A scope's name: 1 to 50 of a-z 0-9 and `-`, and no word that means something else.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ScopeName(String);

/// A text that is no scope's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// Of another form.
    #[error("a scope's name is 1 to 50 of a-z 0-9 -")]
    Form,
    /// A word of the gateway's own.
    #[error("that name is reserved; choose another")]
    Reserved,
    /// A capability of another scope, or of another form.
    #[error(
        "a capability is the scope's name, a colon and 1 to 50 of a-z 0-9 -, such as files:read"
    )]
    Action,
    /// None or too many.
    #[error("a scope has 1 to 50 capabilities, each named once")]
    Actions,
    /// Too long.
    #[error(
        "a version is 1 to 50 characters and a description at most 500, without control characters"
    )]
    Text,
    /// Of another form.
    #[error("a transport names one or more of tunnel, relay and direct, each once")]
    Strategies,
    /// The preferred one is not among those that are named.
    #[error("the preferred transport is one of the strategies")]
    Preferred,
    /// Out of range.
    #[error("a port is 1024 to 65535, or 0 for a scope that has none of its own")]
    Port,
    /// Something else.
    #[error("a protocol is wss or tcp")]
    Protocol,
    /// Strategies that the scope does not have.
    #[error("none of these strategies is one that the scope allows")]
    NotAllowed,
    /// An address for machines to dial is missing.
    #[error("direct needs the host and the port that machines dial")]
    NoDirect,
}

impl ScopeName {
    /// Gives its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the capability of an action, from its bare name or its whole name.
    ///
    /// # Errors
    /// [`BadScope::Action`] for another scope's, or one of another form.
    pub fn action(&self, text: &str) -> Result<Carried, BadScope> {
        let action = match text.split_once(':') {
            Some((scope, action)) if scope == self.0 => action,
            Some(_) => return Err(BadScope::Action),
            None => text,
        };
        format!("{}:{action}", self.0).parse().map_err(|_| BadScope::Action)
    }
}

impl FromStr for ScopeName {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, BadScope> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !(1..=MAX_NAME_CHARS).contains(&text.len()) || !plain {
            return Err(BadScope::Form);
        }
        if RESERVED.contains(&text) { Err(BadScope::Reserved) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives the scope of a capability: what stands before its colon.
pub fn scope_of(carried: &Carried) -> &str {
    carried.as_str().split_once(':').map_or(carried.as_str(), |(scope, _)| scope)
}

/// One capability of a scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// Its whole name: `shell:connect`.
    pub name: Carried,
    /// What it is for.
    pub description: String,
    /// Whether it counts for one instance at a time.
    pub instance_scoped: bool,
}

/// How a stream goes from one machine to the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Strategy {
    /// Through the link that the source's agent keeps to the gateway.
    Tunnel,
    /// Through the gateway, which both ends dial.
    Relay,
    /// From machine to machine.
    Direct,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: &[Self] = &[Self::Tunnel, Self::Relay, Self::Direct];

    /// Gives the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Relay => "relay",
            Self::Direct => "direct",
        }
    }
}

impl FromStr for Strategy {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, BadScope> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or(BadScope::Strategies)
    }
}

/// What a stream of a scope carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// WebSocket over TLS.
    Wss,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// Gives the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wss => "wss",
            Self::Tcp => "tcp",
        }
    }
}

impl FromStr for Protocol {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text {
            "wss" => Ok(Self::Wss),
            "tcp" => Ok(Self::Tcp),
            _ => Err(BadScope::Protocol),
        }
    }
}

/// Strategies, each once.
///
/// # Errors
/// [`BadScope::Strategies`] for none, for an unknown one or for one twice.
pub fn read_strategies<'a>(
    words: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Strategy>, BadScope> {
    let mut found: Vec<Strategy> = Vec::new();
    for word in words {
        let one: Strategy = word.parse()?;
        if found.contains(&one) {
            return Err(BadScope::Strategies);
        }
        found.push(one);
    }
    if found.is_empty() { Err(BadScope::Strategies) } else { Ok(found) }
}

/// The transports that a scope allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScopeTransport {
    /// Those that are allowed.
    pub strategies: Vec<Strategy>,
    /// The one to try first.
    pub preferred: Strategy,
    /// The port that its services have, for whoever sets one up; 0 for none.
    pub port: u16,
    /// What they speak.
    pub protocol: Protocol,
}

impl ScopeTransport {
    /// Checks that it is whole.
    ///
    /// # Errors
    /// [`BadScope`] with what is wrong.
    pub fn check(self) -> Result<Self, BadScope> {
        if !self.strategies.contains(&self.preferred) {
            return Err(BadScope::Preferred);
        }
        match self.port {
            0 | 1024.. => Ok(self),
            _ => Err(BadScope::Port),
        }
    }
}

/// The transports that an instance offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transport {
    /// Those that it has.
    pub strategies: Vec<Strategy>,
    /// The one to try first, where it says.
    pub preferred: Option<Strategy>,
    /// Where machines dial it.
    pub direct: Option<Direct>,
}

/// Where an instance is dialled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Direct {
    /// The host.
    pub host: DirectHost,
    /// The port, 1024 to 65535.
    pub port: u16,
}

impl Transport {
    /// Checks that it is whole, and that the scope allows something of it.
    ///
    /// # Errors
    /// [`BadScope`] with what is wrong.
    pub fn check(self, allowed: &ScopeTransport) -> Result<Self, BadScope> {
        if self.preferred.is_some_and(|one| !self.strategies.contains(&one)) {
            return Err(BadScope::Preferred);
        }
        if self.strategies.contains(&Strategy::Direct) && self.direct.is_none() {
            return Err(BadScope::NoDirect);
        }
        if self.direct.as_ref().is_some_and(|direct| direct.port < 1024) {
            return Err(BadScope::Port);
        }
        if self.strategies.iter().any(|one| allowed.strategies.contains(one)) {
            Ok(self)
        } else {
            Err(BadScope::NotAllowed)
        }
    }

    /// Gives what a target is told: the strategies that the scope allows, the one to try first in front.
    #[must_use]
    pub fn within(&self, allowed: &ScopeTransport) -> Self {
        let mut strategies: Vec<Strategy> = self
            .strategies
            .iter()
            .copied()
            .filter(|one| allowed.strategies.contains(one))
            .collect();
        let preferred = self.preferred.unwrap_or(allowed.preferred);
        strategies.sort_by_key(|one| *one != preferred);
        let direct = self.direct.clone().filter(|_| strategies.contains(&Strategy::Direct));
        Self { preferred: strategies.first().copied(), strategies, direct }
    }
}

/// A scope that an operator registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewScope {
    /// Its name.
    pub name: ScopeName,
    /// The version of whoever wrote it.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Its capabilities.
    pub actions: Vec<Action>,
    /// The transports that it allows.
    pub transport: ScopeTransport,
}

impl NewScope {
    /// Checks that it is whole.
    ///
    /// # Errors
    /// [`BadScope`] with what is wrong.
    pub fn check(self) -> Result<Self, BadScope> {
        let mut names: Vec<&Carried> = self.actions.iter().map(|action| &action.name).collect();
        names.sort();
        names.dedup();
        if !(1..=MAX_ACTIONS).contains(&self.actions.len()) || names.len() != self.actions.len() {
            return Err(BadScope::Actions);
        }
        let plain = |text: &str, most: usize| {
            text.chars().count() <= most && !text.chars().any(char::is_control)
        };
        let described =
            self.actions.iter().all(|action| plain(&action.description, MAX_DESCRIPTION_CHARS));
        let version = plain(&self.version, MAX_VERSION_CHARS) && !self.version.is_empty();
        if !version || !described || !plain(&self.description, MAX_DESCRIPTION_CHARS) {
            return Err(BadScope::Text);
        }
        let transport = self.transport.check()?;
        Ok(Self { transport, ..self })
    }
}
