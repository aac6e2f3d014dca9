//! What is remembered of one actor.

use std::collections::{BTreeMap, VecDeque};

use super::{Act, Burst, Deed, Kind, Thresholds, Who};
use crate::{EventId, Timestamp};

/// What is remembered of one actor.
#[derive(Clone, Debug, Default)]
pub(super) struct Actor {
    pub(super) seen: Timestamp,
    refusals: Recent,
    failures: Recent,
    machines: Recent,
    commands: Commands,
    hours: Hours,
    raised: BTreeMap<(Kind, Option<String>), Timestamp>,
}

/// A kind of finding, what it is about and the events that made it.
pub(super) type Found = (Kind, Option<String>, Vec<EventId>);

impl Actor {
    /// Takes an act in and gives what stands out, save what an alert stands for already.
    pub(super) fn observe(&mut self, act: &Act, limits: &Thresholds) -> Vec<Found> {
        self.seen = self.seen.max(act.at);
        let mut found = self.look(act, limits);
        self.raised.retain(|_, at| act.at.since(*at) < limits.cool_down);
        found.retain(|(kind, subject, _)| {
            let cause = (*kind, subject.clone());
            let new = self.raised.len() < MAX_RAISED && !self.raised.contains_key(&cause);
            if new {
                self.raised.insert(cause, act.at);
            }
            new
        });
        found
    }

    fn look(&mut self, act: &Act, limits: &Thresholds) -> Vec<Found> {
        let mut found = Vec::new();
        match &act.deed {
            Deed::Refused => {
                let many = self.refusals.reach(act, None, limits.refusals);
                found.extend(many.map(|events| (Kind::Refusals, None, events)));
            }
            Deed::Failed => {
                let many = self.failures.reach(act, None, limits.failures);
                found.extend(many.map(|events| (Kind::Failures, None, events)));
                // The end of a job comes without its user being there.
                return found;
            }
            Deed::Ran { template, machine } => {
                if self.commands.is_new(template, act.at, limits) {
                    found.push((Kind::NewCommand, Some(template.clone()), vec![act.event]));
                }
                found.extend(self.spread(act, machine, limits));
            }
            Deed::Opened { machine } => found.extend(self.spread(act, machine, limits)),
            Deed::Present => {}
        }
        let there = act.deed != Deed::Refused && matches!(act.who, Who::Known(_));
        if there && self.hours.is_new(act.at, limits) {
            found.push((Kind::UnusualHours, None, vec![act.event]));
        }
        found
    }

    fn spread(&mut self, act: &Act, machine: &str, limits: &Thresholds) -> Option<Found> {
        let Burst { count, window } = limits.machines;
        let more = Burst { count: count.saturating_add(1), window };
        let events = self.machines.reach(act, Some(machine), more)?;
        Some((Kind::FanOut, None, events))
    }
}

/// The newest acts of one kind.
#[derive(Clone, Debug, Default)]
struct Recent(VecDeque<(Timestamp, EventId, Option<String>)>);

impl Recent {
    /// Takes an act in; gives the events once there are as many as the burst says. Of one thing only the newest counts.
    fn reach(&mut self, act: &Act, thing: Option<&str>, burst: Burst) -> Option<Vec<EventId>> {
        self.0.retain(|(at, _, other)| {
            act.at.since(*at) < burst.window && (thing.is_none() || other.as_deref() != thing)
        });
        self.0.push_back((act.at, act.event, thing.map(str::to_owned)));
        while self.0.len() > burst.count {
            self.0.pop_front();
        }
        (self.0.len() == burst.count).then(|| self.0.iter().map(|(_, id, _)| *id).collect())
    }
}

/// The templates that a user runs.
#[derive(Clone, Debug, Default)]
struct Commands {
    since: Option<Timestamp>,
    known: BTreeMap<String, Timestamp>,
}

impl Commands {
    fn is_new(&mut self, template: &str, at: Timestamp, limits: &Thresholds) -> bool {
        let since = *self.since.get_or_insert(at);
        let before = self.known.insert(template.to_owned(), at);
        if self.known.len() > MAX_COMMANDS {
            let oldest = self.known.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        before.is_none() && at.since(since) >= limits.learn_commands
    }
}

/// The hours of the week, in UTC, at which a user is there.
#[derive(Clone, Debug, Default)]
struct Hours {
    days: u32,
    last_day: Option<i64>,
    seen: u128,
    seen_late: u64,
}

impl Hours {
    /// Tells whether neither this hour nor one beside it was seen before, in a history of enough days.
    fn is_new(&mut self, at: Timestamp, limits: &Thresholds) -> bool {
        let (day, hour) =
            (at.0.div_euclid(DAY_MS), at.0.div_euclid(HOUR_MS).rem_euclid(WEEK_HOURS));
        let near = [hour - 1, hour, hour + 1].map(|hour| hour.rem_euclid(WEEK_HOURS));
        let known = near.iter().any(|hour| self.has(*hour));
        let learned = self.days >= limits.learn_days;
        if self.last_day.is_none_or(|last| day > last) {
            (self.days, self.last_day) = (self.days.saturating_add(1), Some(day));
        }
        self.add(hour);
        learned && !known
    }

    fn has(&self, hour: i64) -> bool {
        match hour {
            0..128 => self.seen >> hour & 1 == 1,
            _ => self.seen_late >> (hour - 128) & 1 == 1,
        }
    }

    fn add(&mut self, hour: i64) {
        match hour {
            0..128 => self.seen |= 1 << hour,
            _ => self.seen_late |= 1 << (hour - 128),
        }
    }
}

/// Alerts of one actor within a cool-down: who runs a hundred new templates makes no more than this.
const MAX_RAISED: usize = 16;

/// Templates remembered of a user: more than anybody runs; the one run longest ago is forgotten first.
const MAX_COMMANDS: usize = 256;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_HOURS: i64 = 168;
