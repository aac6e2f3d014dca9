//! Which targets a grant covers.

use std::fmt;
use std::str::FromStr;

use super::{MachineTarget, Target};
use crate::{MachineId, TeamId};

/// Which targets a grant covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Every target of the tenant, and the tenant itself.
    All,
    /// The listed machines.
    Machines(Vec<MachineId>),
    /// Whatever fits, also machines that come later. It never covers the tenant itself.
    Matching(Matcher),
}

impl Selection {
    /// Tells whether a target is covered.
    pub fn covers(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::All, _) => true,
            (_, Target::Tenant(_) | Target::Gateway | Target::Reach(_)) => false,
            (Self::Machines(list), Target::Machine(machine)) => list.contains(&machine.id),
            (Self::Machines(list), Target::Job(job)) => list.contains(&job.machine.id),
            (Self::Matching(matcher), Target::Machine(machine)) => matcher.fits(machine),
            (Self::Matching(matcher), Target::Job(job)) => matcher.fits(&job.machine),
        }
    }
}

/// What a target must be like: everything that is said must hold.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Matcher {
    /// Its kind.
    pub kind: Option<TargetKind>,
    /// Its label.
    pub label: Option<Pattern>,
    /// Tags that it has, with these values.
    pub tags: Vec<(String, String)>,
    /// The team that it belongs to, with its name for people.
    pub team: Option<(TeamId, String)>,
}

impl Matcher {
    /// Tells whether nothing is asked of a target.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn fits(&self, machine: &MachineTarget) -> bool {
        self.kind.is_none_or(|kind| kind == TargetKind::Machine)
            && self.label.as_ref().is_none_or(|pattern| pattern.fits(machine.label.as_str()))
            && self.tags.iter().all(|(key, value)| machine.tags.get(key) == Some(value))
            && self.team.as_ref().is_none_or(|(team, _)| machine.team == Some(*team))
    }
}

/// What kind of target it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetKind {
    /// A host that runs the agent.
    Machine,
}

impl TargetKind {
    /// Gives the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
        }
    }
}

/// A label with `*` for any run of characters, such as `web-*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(String);

/// A text that is no pattern of labels.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of labels is 1 to 64 of a-z 0-9 . _ - and *")]
pub struct BadPattern;

/// The longest pattern, in characters: as long as a label.
const MAX_PATTERN_CHARS: usize = 64;

impl FromStr for Pattern {
    type Err = BadPattern;
    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let plain =
            |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '*' | 'A'..='Z');
        let fits = !text.is_empty() && text.len() <= MAX_PATTERN_CHARS && text.chars().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(BadPattern) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Tells whether a label fits, in time linear in its length for each star.
    pub fn fits(&self, label: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = label.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut middle: Vec<&str> = parts.collect();
        let Some(last) = middle.pop() else { return rest.is_empty() };
        let mut rest = rest;
        for part in middle {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, fits, differs) in [
            ("web-*", "web-1", "db-web-1"),
            ("*", "anything", ""),
            ("*-db", "eu-db", "eu-db-1"),
            ("web-*-eu", "web-1-eu", "web-eu"),
            ("a*b*c", "a-b-b-c", "a-c-b"),
            ("web", "web", "web-1"),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert!(pattern.fits(fits), "{pattern} and {fits}");
            assert!(!pattern.fits(differs) || differs.is_empty(), "{pattern} and {differs}");
        }
    }

    #[test]
    fn a_pattern_of_other_characters_is_refused() {
        for bad in ["", "web 1", "web/..", "w\u{e9}b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<Pattern>(), Err(BadPattern), "{bad}");
        }
    }
}
