//! What is out of the ordinary among the acts that the audit log tells of.
//!
//! [`Detector`] takes acts in the order of the log and yields findings. It keeps what it must know of each actor within fixed bounds,
//! and reads no clock: an act's own time is the time.

use std::time::Duration;

use crate::{EventId, TenantId, Timestamp};

mod actor;
mod detector;

pub use detector::Detector;

/// When something counts as out of the ordinary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// So many refusals of one actor within the window.
    pub refusals: Burst,
    /// So many failed jobs and other failures of one actor within the window.
    pub failures: Burst,
    /// More different machines than this of one actor within the window.
    pub machines: Burst,
    /// How long a user must have run commands before a new one stands out.
    pub learn_commands: Duration,
    /// On how many different days a user must have acted before an hour stands out.
    pub learn_days: u32,
    /// How long an alert stands for further acts of the same cause.
    pub cool_down: Duration,
}

/// A number within a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// How many, at most [`MAX_BURST`].
    pub count: usize,
    /// Within which time.
    pub window: Duration,
}

/// What kind of thing is out of the ordinary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Many refusals.
    Refusals,
    /// A template that this user did not run before.
    NewCommand,
    /// An hour of the week at which this user was not seen before.
    UnusualHours,
    /// Many machines.
    FanOut,
    /// Many failures.
    Failures,
}

/// Who acts, as far as habits are concerned.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Who {
    /// A user, by its id.
    Known(String),
    /// A service or a machine, by its id; it keeps no hours.
    Program(String),
    /// Somebody who showed nothing valid, by the address.
    Anonymous(String),
}

/// One event of the log, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// The event.
    pub event: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// Whose log it is in.
    pub tenant: TenantId,
    /// Who acted.
    pub who: Who,
    /// What it was.
    pub deed: Deed,
}

/// What an act was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// It was refused.
    Refused,
    /// It failed, or a job of the actor's did.
    Failed,
    /// A template was run on a machine.
    Ran {
        /// The template's name.
        template: String,
        /// The machine's id.
        machine: String,
    },
    /// A session was opened on a machine.
    Opened {
        /// The machine's id.
        machine: String,
    },
    /// Anything else that the actor did by themselves.
    Present,
}

/// Something out of the ordinary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// Whose log it is about.
    pub tenant: TenantId,
    /// Who.
    pub who: Who,
    /// The template, where one stands out.
    pub subject: Option<String>,
    /// The events that made it, the oldest first.
    pub events: Vec<EventId>,
    /// When the last of them happened.
    pub at: Timestamp,
}

/// The largest number of a burst: bounds what is remembered of an actor to a few kilobytes.
pub const MAX_BURST: usize = 200;

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Refusals, Self::NewCommand, Self::UnusualHours, Self::FanOut, Self::Failures];

    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refusals => "refusals",
            Self::NewCommand => "new_command",
            Self::UnusualHours => "unusual_hours",
            Self::FanOut => "fan_out",
            Self::Failures => "failures",
        }
    }

    /// Reads a stable name.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        let burst = |count, seconds| Burst { count, window: Duration::from_secs(seconds) };
        Self {
            refusals: burst(10, 300),
            failures: burst(5, 600),
            machines: burst(10, 600),
            learn_commands: Duration::from_secs(7 * 86_400),
            learn_days: 14,
            cool_down: Duration::from_secs(3_600),
        }
    }
}
