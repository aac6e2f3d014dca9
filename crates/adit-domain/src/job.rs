//! Jobs: a template that somebody runs on a machine. They wait in a queue, run once, and end once.

use std::fmt;
use std::str::FromStr;

use crate::{Code, EndReason};

pub mod queue;

pub use queue::Queue;

/// Where a job is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JobState {
    /// It waits until others agree to it.
    Awaiting,
    /// It waits for its machine, or for its turn.
    Queued,
    /// It was given to its machine, once.
    Running,
    /// Its program ended with status 0.
    Succeeded,
    /// Its program ended otherwise, was refused by its machine, or used more than it may.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// Somebody ended it, or the right to it went.
    Cancelled,
    /// Nobody knows how it ended, or it never began; the reason says which.
    Lost,
}

impl JobState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Awaiting,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Lost,
    ];

    /// Gives the word of the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awaiting => "awaiting_consent",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Tells whether nothing comes after it.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Awaiting | Self::Queued | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no state of a job.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a job is awaiting_consent, queued, running, succeeded, failed, timed_out, cancelled or lost"
)]
pub struct UnknownState;

impl FromStr for JobState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobEnd {
    /// The state that it ended in.
    pub state: JobState,
    /// The exit status of its program, if that ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended its program, without SIG.
    pub signal: Option<String>,
    /// Why, where it was not its program's own doing.
    pub code: Option<Code>,
}

impl JobEnd {
    /// Says how a job ended whose session ended for a reason.
    pub fn of(reason: &EndReason) -> Self {
        match reason {
            EndReason::Exited(0) => Self { exit: Some(0), ..Self::plain(JobState::Succeeded) },
            EndReason::Exited(status) => {
                Self { exit: Some(*status), ..Self::plain(JobState::Failed) }
            }
            EndReason::Signalled(signal) => {
                Self { signal: Some(signal.clone()), ..Self::plain(JobState::Failed) }
            }
            EndReason::Because(code) => Self::because(*code),
        }
    }

    /// Says how a job ended for a reason that has a code.
    pub fn because(code: Code) -> Self {
        let (state, code) = match code {
            Code::JobTimedOut | Code::SessionExpired => (JobState::TimedOut, Code::JobTimedOut),
            Code::JobCancelled | Code::SessionClosed | Code::SessionKilled => {
                (JobState::Cancelled, Code::JobCancelled)
            }
            Code::AccessRevoked | Code::PrincipalInactive | Code::AuthEnded | Code::JobDenied => {
                (JobState::Cancelled, code)
            }
            Code::JobResource
            | Code::SandboxUnavailable
            | Code::JobPathRefused
            | Code::JobProgram
            | Code::TargetFailed
            | Code::RunAsRefused
            | Code::WarrantInvalid
            | Code::AccessCapabilityMissing
            | Code::SessionRecordingFailed => (JobState::Failed, code),
            Code::SessionLostAgent | Code::SessionLostLink | Code::SessionUnknown => {
                (JobState::Lost, Code::JobInterrupted)
            }
            other => (JobState::Lost, other),
        };
        Self { code: Some(code), ..Self::plain(state) }
    }

    const fn plain(state: JobState) -> Self {
        Self { state, exit: None, signal: None, code: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_session_ends_its_job_in_one_state() {
        // CMD-13, CMD-21
        for code in Code::ALL {
            let end = JobEnd::of(&EndReason::Because(*code));
            assert!(end.state.is_end() && end.state != JobState::Succeeded, "{code}");
            assert!(end.code.is_some(), "{code}");
        }
        assert_eq!(JobEnd::of(&EndReason::Exited(0)).state, JobState::Succeeded);
        assert_eq!(JobEnd::of(&EndReason::Exited(3)).exit, Some(3));
        let killed = JobEnd::of(&EndReason::Signalled("KILL".to_owned()));
        assert_eq!((killed.state, killed.signal.as_deref()), (JobState::Failed, Some("KILL")));
    }

    #[test]
    fn a_job_whose_agent_died_is_interrupted_and_never_a_success() {
        // R56
        let end = JobEnd::because(Code::SessionLostAgent);
        assert_eq!((end.state, end.code), (JobState::Lost, Some(Code::JobInterrupted)));
    }

    #[test]
    fn the_words_of_states_read_back() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
