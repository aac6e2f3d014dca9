//! What a checked warrant allows in a session, and until when.

use adit_domain::{Capabilities, Capability, Timestamp};
use adit_wire::agent::v1::{ToShell, to_shell};
use adit_wire::warrant::Checked;
use std::time::Duration;
use tokio::time::Instant;

/// The rights of a session, from its newest warrant.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    pub(super) capabilities: Capabilities,
    /// Frames stop.
    pub(super) expires: Instant,
    /// The shell stops.
    pub(super) ends: Instant,
    /// How long the shell lives without a link or a valid warrant.
    pub(super) grace: Duration,
}

impl Rights {
    /// Reads the rights off a warrant that was checked at `now`.
    #[must_use]
    pub fn of(checked: &Checked, now: Timestamp) -> Self {
        let moment = Instant::now();
        let at = |ms: u64| moment + Timestamp::from_wire(ms).since(now).min(LONGEST);
        Self {
            capabilities: checked.capabilities,
            expires: at(checked.warrant.expires_at_ms.min(checked.warrant.ends_at_ms)),
            ends: at(checked.warrant.ends_at_ms),
            grace: Duration::from_millis(checked.warrant.grace_ms).min(LONGEST),
        }
    }

    /// Tells whether frames may pass.
    pub(super) fn are_valid(&self) -> bool {
        Instant::now() < self.expires
    }

    /// Tells whether the one who types may; a command's standard input belongs to the right to run it.
    pub(super) fn cover_input(&self) -> bool {
        self.has_any(&[Capability::TerminalInput, Capability::TerminalExec])
    }

    /// Tells whether the warrant covers a message.
    pub(super) fn cover(&self, message: &ToShell) -> bool {
        use to_shell::Message as M;
        match &message.message {
            Some(M::Resize(_)) => self.has_any(&[Capability::TerminalResize]),
            Some(M::Signal(_) | M::InputEof(_) | M::Writer(_)) => self.cover_input(),
            Some(M::Attach(_)) => self.has_any(&[
                Capability::TerminalView,
                Capability::TerminalSpawn,
                Capability::TerminalExec,
                Capability::JobRun,
            ]),
            Some(M::Welcome(_) | M::OutputAck(_) | M::Refresh(_) | M::Close(_)) => true,
            None => false,
        }
    }

    fn has_any(&self, any: &[Capability]) -> bool {
        any.iter().any(|one| self.capabilities.has(*one))
    }
}

/// A cap on what a warrant says, so that times can be added: no session is longer (decision 8).
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
