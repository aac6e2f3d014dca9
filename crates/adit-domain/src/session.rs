//! A session's states and why it ends. Knows no bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Code;

/// How long a session may last.
pub const MAX_LENGTH: Duration = Duration::from_secs(12 * 3600);

/// How long a shell lives on without a link or a viewer that lost its network.
pub const GRACE: Duration = Duration::from_secs(60);

/// The longest grace that a setting may name.
pub const MAX_GRACE: Duration = Duration::from_secs(24 * 3600);

/// What is kept of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordingMode {
    /// Nothing.
    Off,
    /// What it showed.
    #[default]
    Output,
    /// What it showed and what was typed while the terminal echoed.
    Input,
}

impl RecordingMode {
    /// Gives the word of the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Output => "output",
            Self::Input => "input",
        }
    }
}

impl FromStr for RecordingMode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "off" => Ok(Self::Off),
            "output" => Ok(Self::Output),
            "input" => Ok(Self::Input),
            _ => Err(()),
        }
    }
}

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its id is reserved; a ticket waits to be redeemed.
    Reserved,
    /// The machine was asked to start the shell.
    Opening,
    /// The shell runs and the machine's link stands.
    Live,
    /// The shell runs as far as we know; the machine's link is away.
    Away,
    /// It is over.
    Ended,
}

impl State {
    /// Gives the word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Opening => "opening",
            Self::Live => "live",
            Self::Away => "away",
            Self::Ended => "ended",
        }
    }
}

impl FromStr for State {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Reserved, Self::Opening, Self::Live, Self::Away, Self::Ended]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or(())
    }
}

/// Something that moves a session along.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A ticket was redeemed.
    Redeemed,
    /// The machine's link stands.
    Linked,
    /// The machine's link broke.
    Unlinked,
    /// It is to end.
    End(EndReason),
}

/// A session's state machine; an end is final, and the first one counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Life {
    /// Not over yet.
    Going(State),
    /// Over, for this reason.
    Over(EndReason),
}

impl Life {
    /// Moves on by one event. What does not fit the state changes nothing.
    #[must_use]
    pub fn on(self, event: Event) -> Self {
        match (self, event) {
            (over @ Self::Over(_), _) => over,
            (Self::Going(_), Event::End(reason)) => Self::Over(reason),
            (Self::Going(State::Reserved), Event::Redeemed) => Self::Going(State::Opening),
            (Self::Going(State::Opening | State::Away), Event::Linked) => Self::Going(State::Live),
            (Self::Going(State::Live), Event::Unlinked) => Self::Going(State::Away),
            (going @ Self::Going(_), _) => going,
        }
    }
}

/// Why a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The shell or command ended by itself, with this status.
    Exited(i32),
    /// A signal ended it; the name without SIG.
    Signalled(String),
    /// For one of the reasons that have a code of their own.
    Because(Code),
}

impl EndReason {
    /// Gives the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Exited(_) => Code::SessionExited,
            Self::Signalled(_) => Code::SessionSignalled,
            Self::Because(code) => *code,
        }
    }

    /// Gives the exit status, where there is one.
    pub fn exit_status(&self) -> Option<i32> {
        match self {
            Self::Exited(status) => Some(*status),
            Self::Signalled(_) | Self::Because(_) => None,
        }
    }

    /// Gives the signal's name, where there is one.
    pub fn signal(&self) -> Option<&str> {
        match self {
            Self::Signalled(name) => Some(name),
            Self::Exited(_) | Self::Because(_) => None,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(0) => f.write_str("The shell ended."),
            Self::Exited(status) => write!(f, "The shell ended with status {status}."),
            Self::Signalled(name) => write!(f, "The shell was ended by SIG{name}."),
            Self::Because(code) => f.write_str(code.sentence()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts() {
        // R68
        let revoked = EndReason::Because(Code::AccessRevoked);
        let life = Life::Going(State::Live).on(Event::End(revoked.clone()));
        let after = life.on(Event::Linked).on(Event::End(EndReason::Exited(0)));
        assert_eq!(after, Life::Over(revoked));
    }

    #[test]
    fn a_lost_link_comes_back() {
        let life = Life::Going(State::Reserved).on(Event::Redeemed).on(Event::Linked);
        assert_eq!(life, Life::Going(State::Live));
        assert_eq!(life.on(Event::Unlinked).on(Event::Linked), Life::Going(State::Live));
    }

    #[test]
    fn nothing_links_before_it_is_redeemed() {
        assert_eq!(Life::Going(State::Reserved).on(Event::Linked), Life::Going(State::Reserved));
    }
}
