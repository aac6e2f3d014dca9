//! Notices when the system's clock jumps, because it was set or the machine slept: what was given an end by it ends sooner or later than
//! was meant, and who reads the audit log must be able to tell.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::Gateway;
use crate::audit::Actor;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(5);

/// What counts as set; less is an adjustment, as NTP makes it.
const JUMP: Duration = Duration::from_secs(30);

impl Gateway {
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
