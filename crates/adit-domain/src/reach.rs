//! One machine reaching another: scopes that say for what, instances that are offered, and what a stream's right may end by.
//!
//! The source offers: it owns an instance and asks for the ticket. The target is admitted by it and opens the stream.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::certificate::{BadCertificateName, Carried};
use crate::{CertificateName, PrincipalId, TenantId, Timestamp};

pub mod address;
pub mod scope;

pub use address::{DirectHost, Networks};
pub use scope::{Action, NewScope, ScopeName, Strategy, Transport};

/// How long a ticket lives (TIX-44).
pub const TICKET_LIFE: Duration = crate::ticket::LIFE;

/// How long after its validation a ticket opens a session (TIX-50).
pub const VALIDATED_FOR: Duration = Duration::from_secs(60);

/// How long an instance is heard of without a heartbeat before it is stale (TIX-23).
pub const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long before it is removed (TIX-23).
pub const DEAD_AFTER: Duration = Duration::from_secs(3600);

/// How long a session may be in its grace (TIX-50, TIX-52).
pub const GRACE: Duration = Duration::from_secs(60);

/// How long a session lives without a word from either end (TIX-53).
pub const INACTIVE_AFTER: Duration = Duration::from_secs(600);

/// How long a dead session is listed (TIX-53).
pub const KEEP_SESSIONS: Duration = Duration::from_secs(86_400);

/// The window in which a source's tickets are counted (TIX-40).
pub const WINDOW: Duration = Duration::from_secs(60);

/// The longest name of a machine or of somebody who speaks for one, in characters (TIX-30).
pub const MAX_PEER_CHARS: usize = 150;

/// Reads how tickets name a machine or whoever speaks for it: `web-1`, `agent:web-1` or `plugin-agent:web-1:backup`.
///
/// # Errors
/// [`BadCertificateName`], also for `admin`, who is no end of a stream.
pub fn read_peer(text: &str) -> Result<CertificateName, BadCertificateName> {
    if text.len() > MAX_PEER_CHARS {
        return Err(BadCertificateName);
    }
    match text.parse::<CertificateName>() {
        Ok(CertificateName::Admin) => Err(BadCertificateName),
        Ok(name) => Ok(name),
        Err(_) => text.parse().map(CertificateName::Agent).map_err(|_| BadCertificateName),
    }
}

/// Writes how tickets name somebody: a machine by its bare label.
pub fn peer_label(name: &CertificateName) -> String {
    match name {
        CertificateName::Agent(label) => label.as_str().to_owned(),
        other => other.to_string(),
    }
}

/// One end of a stream, as the database has it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Whom its certificates name.
    pub name: CertificateName,
    /// Whether one of its certificates counts, and for whoever speaks for a machine, one of that machine's.
    pub active: bool,
    /// Whether it holds the capability that the scope asks for.
    pub capable: bool,
}

/// What a source offers, as far as a decision asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Who offers it.
    pub owner: CertificateName,
    /// For what.
    pub scope: Carried,
    /// When its owner was last heard of.
    pub heard_at: Timestamp,
    /// Whether the target is assigned to it.
    pub assigned: bool,
}

/// Everything that a decision about one machine reaching another rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Whose data it is.
    pub tenant: TenantId,
    /// For what.
    pub scope: Carried,
    /// Who offers.
    pub source: End,
    /// Who is to be let in.
    pub target: End,
    /// What is offered; none where there is no such instance.
    pub offer: Option<Offer>,
}

/// Why one machine does not reach another, in the order in which it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum Unreachable {
    /// The source has no certificate that counts.
    #[error("the source has no certificate that counts")]
    SourceRevoked,
    /// The source does not hold the capability.
    #[error("the source does not hold the capability")]
    SourceIncapable,
    /// The target has no certificate that counts.
    #[error("the target has no certificate that counts")]
    TargetRevoked,
    /// The target does not hold the capability.
    #[error("the target does not hold the capability")]
    TargetIncapable,
    /// There is no such instance, or none for this scope.
    #[error("there is no such instance")]
    Gone,
    /// The instance is another's.
    #[error("the instance is another's")]
    NotOwner,
    /// A machine is not reached from itself.
    #[error("source and target are the same")]
    Itself,
    /// The target is not assigned to the instance.
    #[error("the target is not assigned to the instance")]
    Unassigned,
    /// The source was not heard of for five minutes.
    #[error("the instance was not heard of for five minutes")]
    Stale,
}

impl Unreachable {
    /// Gives what a live session ends with.
    pub fn reason(self) -> Lapse {
        match self {
            Self::SourceRevoked | Self::Stale => Lapse::SourceRevoked,
            Self::SourceIncapable | Self::TargetIncapable => Lapse::CapabilityRemoved,
            Self::TargetRevoked => Lapse::TargetRevoked,
            Self::Gone | Self::NotOwner | Self::Itself | Self::Unassigned => {
                Lapse::AssignmentRemoved
            }
        }
    }
}

/// Why a session between machines is over. The first five are the words that a heartbeat answers (TIX-51).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lapse {
    /// An operator killed it.
    AdminKilled,
    /// The source's certificates do not count any more, or it is not heard of.
    SourceRevoked,
    /// One of both lost the capability.
    CapabilityRemoved,
    /// The target's certificates do not count any more.
    TargetRevoked,
    /// The target is not assigned any more, or the instance is gone.
    AssignmentRemoved,
    /// Its grace was over before anybody came back.
    GraceExpired,
    /// Neither end was heard of for ten minutes.
    Inactive,
    /// The database comes from a backup.
    Restored,
}

impl Lapse {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::AdminKilled,
        Self::SourceRevoked,
        Self::CapabilityRemoved,
        Self::TargetRevoked,
        Self::AssignmentRemoved,
        Self::GraceExpired,
        Self::Inactive,
        Self::Restored,
    ];

    /// Gives the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminKilled => "admin_killed",
            Self::SourceRevoked => "source_revoked",
            Self::CapabilityRemoved => "capability_removed",
            Self::TargetRevoked => "target_revoked",
            Self::AssignmentRemoved => "assignment_removed",
            Self::GraceExpired => "grace_expired",
            Self::Inactive => "inactive",
            Self::Restored => "restored",
        }
    }

    /// Says it to a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::AdminKilled => "An operator ended this session.",
            Self::SourceRevoked => {
                "The source's certificate was revoked, or the source is not heard of."
            }
            Self::CapabilityRemoved => "The capability of one end was taken away.",
            Self::TargetRevoked => "The target's certificate was revoked.",
            Self::AssignmentRemoved => "The target is not assigned to the instance any more.",
            Self::GraceExpired => "Nobody came back within the grace.",
            Self::Inactive => "Neither end was heard of for ten minutes.",
            Self::Restored => {
                "The gateway was restored from a backup; what was open before is over."
            }
        }
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason that a session between machines ends with")]
pub struct UnknownLapse;

impl FromStr for Lapse {
    type Err = UnknownLapse;
    fn from_str(text: &str) -> Result<Self, UnknownLapse> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or(UnknownLapse)
    }
}

/// How a session between machines stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It carries streams.
    Active,
    /// An end went away for a moment.
    Grace,
    /// It is over.
    Dead,
}

impl Status {
    /// Gives the word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownLapse;
    fn from_str(text: &str) -> Result<Self, UnknownLapse> {
        match text {
            "active" => Ok(Self::Active),
            "grace" => Ok(Self::Grace),
            "dead" => Ok(Self::Dead),
            _ => Err(UnknownLapse),
        }
    }
}

/// The times of a session between machines that its life depends on. All are the gateway's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// How it was left.
    pub status: Status,
    /// When an end was last heard of.
    pub heard_at: Timestamp,
    /// When its grace began.
    pub grace_at: Option<Timestamp>,
}

impl Life {
    /// Tells what time alone has ended it by.
    pub fn lapsed(&self, now: Timestamp) -> Option<Lapse> {
        let over = |at: Timestamp, after: Duration| now.since(at) > after;
        match (self.status, self.grace_at) {
            (Status::Dead, _) => None,
            (Status::Grace, Some(at)) if over(at, GRACE) => Some(Lapse::GraceExpired),
            _ if over(self.heard_at, INACTIVE_AFTER) => Some(Lapse::Inactive),
            _ => None,
        }
    }
}

/// How an instance stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Its owner was heard of lately.
    Active,
    /// Not for five minutes: no tickets until it is.
    Stale,
    /// Not for an hour: it is removed.
    Dead,
}

impl Health {
    /// Tells how an instance stands by when its owner was last heard of.
    pub fn of(heard_at: Timestamp, now: Timestamp) -> Self {
        match now.since(heard_at) {
            silent if silent > DEAD_AFTER => Self::Dead,
            silent if silent > STALE_AFTER => Self::Stale,
            _ => Self::Active,
        }
    }

    /// Gives the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stale => "stale",
            Self::Dead => "dead",
        }
    }
}

/// Names an end of a stream as a principal of the policy, for its permit.
pub fn principal_id(
    machine: Option<crate::MachineId>,
    certificate: crate::CertificateId,
) -> PrincipalId {
    PrincipalId(machine.map_or(certificate.0, |machine| machine.0))
}

#[cfg(test)]
#[path = "reach/tests.rs"]
mod tests;
