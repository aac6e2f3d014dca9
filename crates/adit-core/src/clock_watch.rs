//! Notices when the system's clock jumps, because it was set or the machine slept: what was given an end by it ends sooner or later than
//! was meant, and who reads the audit log must be able to tell. Notices too when a machine's clock is not the gateway's.

use std::time::Duration;

use adit_domain::Timestamp;
use adit_store::Machine;
use serde_json::json;
use tokio::time::Instant;

use crate::Gateway;
use crate::access::machine_party;
use crate::audit::Actor;
use crate::hub::HEARTBEAT;
use crate::machine::machine_actor;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(5);

/// What counts as set; less is an adjustment, as NTP makes it.
const JUMP: Duration = Duration::from_secs(30);

/// By how much a machine's clock may differ from the gateway's before it is written down: what sealed messages tolerate too.
const SKEW: Duration = Duration::from_secs(60);

/// What a machine's connection tells of its clock.
#[derive(Debug, Default)]
pub(crate) struct MachineClock {
    /// When it was last heard, by the gateway's clock.
    heard: Option<Timestamp>,
    is_told: bool,
}

impl MachineClock {
    /// Compares what a machine says with the gateway's time; gives which way the machine's clock is off and by how much, once.
    ///
    /// A beat that does not come when it should may have waited on the way, or the gateway's own clock was set: it tells nothing.
    fn compare(&mut self, said: Timestamp, now: Timestamp) -> Option<(&'static str, Duration)> {
        let heard = self.heard.replace(now);
        let since = |heard: Timestamp| now.since(heard);
        let in_time = |heard| (HEARTBEAT / 2..HEARTBEAT * 2).contains(&since(heard));
        let (ahead, behind) = (said.since(now), now.since(said));
        // An agent that says nothing says zero.
        let is_off = said.0 > 0 && ahead.max(behind) > SKEW && heard.is_none_or(in_time);
        if self.is_told || !is_off {
            return None;
        }
        self.is_told = true;
        Some(if ahead > behind { ("ahead", ahead) } else { ("behind", behind) })
    }
}

impl Gateway {
    /// Hears the time of a machine's clock, and writes it down, once a connection, when it is off (`machine.clock_skew`).
    pub(crate) async fn hear_clock(&self, machine: &Machine, clock: &mut MachineClock, ms: u64) {
        let off = clock.compare(Timestamp::from_wire(ms), self.clock.now());
        let Some((way, by)) = off else { return };
        let seconds = by.as_secs();
        tracing::warn!(machine.label = %machine.label, seconds, way, "a machine's clock is off");
        let sentence = format!(
            "The clock of {} is {seconds} seconds {way}; its sessions go on by the gateway's time",
            machine.label
        );
        let event = self.event("machine.clock_skew", &machine_actor(machine, None), sentence);
        let event = event.on(machine_party(machine)).with("way", json!(way));
        self.note(event.with("seconds", json!(seconds))).await;
    }

    /// Compares the clock with the time that has passed, and writes each jump down (`clock.jump`).
    pub(crate) async fn watch_clock(&self) {
        let mut tick = tokio::time::interval(EVERY);
        let mut before = (self.clock.now(), Instant::now());
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            let now = (self.clock.now(), Instant::now());
            let expected = before.0 + (now.1 - before.1);
            let (forward, back) = (now.0.since(expected), expected.since(now.0));
            before = now;
            if forward.max(back) < JUMP {
                continue;
            }
            let (way, by) = if forward > back { ("forward", forward) } else { ("back", back) };
            let seconds = by.as_secs();
            tracing::warn!(seconds, way, "the clock jumped");
            let sentence = format!(
                "The gateway's clock jumped {way} by {seconds} seconds: it was set, or the machine slept"
            );
            let event = self.event("clock.jump", &Actor::gateway(self), sentence);
            self.note(event.with("way", json!(way)).with("seconds", json!(seconds))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    #[test]
    fn a_clock_that_is_off_is_told_once_with_the_way() {
        // R29
        for (off, way) in [(600, "ahead"), (-600, "behind")] {
            let mut clock = MachineClock::default();
            let told = clock.compare(at(off), NOW);
            assert_eq!(told, Some((way, Duration::from_secs(600))));
            assert_eq!(clock.compare(at(off + 10), at(10)), None);
        }
    }

    #[test]
    fn a_clock_that_is_set_later_is_told_at_the_next_beat() {
        // R29
        let mut clock = MachineClock::default();
        assert_eq!(clock.compare(at(60), NOW), None);
        let told = clock.compare(at(-590), at(10));
        assert_eq!(told, Some(("behind", Duration::from_secs(600))));
    }

    #[test]
    fn a_beat_that_waited_on_the_way_and_an_agent_that_says_no_time_tell_nothing() {
        let mut clock = MachineClock::default();
        assert_eq!(clock.compare(Timestamp(0), NOW), None);
        assert_eq!(clock.compare(at(10), at(130)), None, "the gateway was stopped");
        assert_eq!(clock.compare(at(20), at(131)), None, "and what waited comes at once");
    }
}
