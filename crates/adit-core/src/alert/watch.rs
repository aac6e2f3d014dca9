//! Reads the chains of all gateways from where they were left off, and raises what is found.
//!
//! What the detector knows is not stored: whoever takes the watch reads the newest part of the log again and learns from it. The log
//! holds it all already, and a second copy could say something else.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_domain::anomaly::{Detector, Finding, Kind, Thresholds};
use adit_domain::{AlertId, GatewayId, Timestamp};
use adit_store::{Advance, AlertDelivery, LogPlace, NewAlert, Party, StoreError, Watching};
use metrics::counter;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::act::act_of;
use crate::Gateway;
use crate::audit::{Actor, length, party};
use crate::bus::Change;

/// The watch, while this gateway has it.
struct Watch {
    detector: Detector,
    step: i64,
    places: BTreeMap<GatewayId, u64>,
    claimed_at: Timestamp,
}

impl Gateway {
    /// Watches the log while no other gateway does, until the gateway ends.
    pub(crate) async fn watch_alerts(&self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = None;
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            // What was seen and not written down is seen again: the detector begins anew after a fault.
            watch = match self.look(watch.take()).await {
                Ok(watch) => watch,
                Err(error) => {
                    tracing::warn!(%error, "the audit log waits to be looked at for alerts");
                    None
                }
            };
            self.alerts.note_watching(watch.is_some());
        }
    }

    async fn look(&self, watch: Option<Watch>) -> Result<Option<Watch>, StoreError> {
        let Some(mut watch) = self.claim(watch).await? else { return Ok(None) };
        for head in self.store.list_chains().await? {
            while watch.place(head.gateway) < head.chain.seq {
                if self.tasks.is_ending() || !self.read_on(&mut watch, head.gateway).await? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(watch))
    }

    async fn claim(&self, watch: Option<Watch>) -> Result<Option<Watch>, StoreError> {
        let now = self.clock.now();
        let shared = self.store.is_shared();
        // Nobody else is at a file's database, so one claim does.
        let fresh = |watch: &Watch| !shared || now.since(watch.claimed_at) < CLAIM_EVERY;
        if watch.as_ref().is_some_and(fresh) {
            return Ok(watch);
        }
        let until = if shared { now + CLAIM } else { now };
        let Some(claimed) = self.store.claim_watch(now, until).await? else { return Ok(None) };
        Ok(Some(match watch {
            Some(watch) if watch.step + 1 == claimed.step => {
                Watch { step: claimed.step, claimed_at: now, ..watch }
            }
            _ => self.learn(claimed, now).await?,
        }))
    }

    /// Learns from the newest part of what was looked at before, and raises nothing.
    async fn learn(&self, claimed: Watching, now: Timestamp) -> Result<Watch, StoreError> {
        let mut acts = Vec::new();
        for LogPlace { gateway, seq } in &claimed.places {
            let mut after = seq.saturating_sub(LEARN_EVENTS);
            loop {
                let part = (*gateway, after, *seq);
                let events = self.store.read_chain_since(part, now - LEARN, BATCH).await?;
                let Some(last) = events.last() else { break };
                after = last.record.seq;
                let known = events.iter().filter_map(|stored| act_of(stored.event.as_ref()?));
                acts.extend(known.map(|(act, _)| act));
            }
        }
        acts.sort_by_key(|act| act.at);
        let mut detector = Detector::new(self.settings.alerts.thresholds);
        for act in &acts {
            detector.observe(act);
        }
        let places = claimed.places.iter().map(|place| (place.gateway, place.seq)).collect();
        Ok(Watch { detector, step: claimed.step, places, claimed_at: now })
    }

    /// Looks at the next events of a chain; false when the claim is lost.
    async fn read_on(&self, watch: &mut Watch, gateway: GatewayId) -> Result<bool, StoreError> {
        let events = self.store.read_chain(gateway, watch.place(gateway), BATCH).await?;
        let Some(last) = events.last().map(|last| last.record.seq) else {
            return Err(StoreError::Corrupt("chain"));
        };
        for stored in &events {
            let Some((act, party)) = stored.event.as_ref().and_then(act_of) else { continue };
            for finding in watch.detector.observe(&act) {
                // The place stays before the event until all that it made is written.
                let place = LogPlace { gateway, seq: stored.record.seq - 1 };
                if !self.raise(watch, place, finding, party.clone()).await? {
                    return Ok(false);
                }
            }
        }
        let place = LogPlace { gateway, seq: last };
        let advance = Advance { step: watch.step, place, alert: None };
        let done = self.store.advance_watch(advance, adit_store::silent).await?;
        Ok(watch.moved(place, done))
    }

    async fn raise(
        &self,
        watch: &mut Watch,
        place: LogPlace,
        finding: Finding,
        actor: Party,
    ) -> Result<bool, StoreError> {
        let alert = self.alert_of(finding, actor);
        let (kind, tenant) = (alert.kind, alert.tenant);
        let event = self.raised(&alert);
        let tell = move |done: &Option<(i64, bool)>| match done {
            Some((_, true)) => event.only(),
            _ => vec![],
        };
        let advance = Advance { step: watch.step, place, alert: Some(alert) };
        let done = self.store.advance_watch(advance, tell).await?;
        if let Some((_, true)) = done {
            counter!("adit_alerts_raised_total", "kind" => kind.as_str()).increment(1);
            self.bus.tell(tenant, Change::Audit);
        }
        Ok(watch.moved(place, done))
    }

    fn alert_of(&self, finding: Finding, actor: Party) -> NewAlert {
        let limits = &self.settings.alerts.thresholds;
        let has_hook = self.settings.alerts.webhook.is_some();
        NewAlert {
            id: AlertId::new(&*self.ids),
            tenant: finding.tenant,
            kind: finding.kind,
            sentence: sentence(&finding, &actor, limits),
            actor,
            subject: finding.subject,
            events: finding.events,
            at: finding.at,
            raised_at: self.clock.now(),
            unless_since: finding.at - limits.cool_down,
            delivery: if has_hook { AlertDelivery::Waiting } else { AlertDelivery::None },
        }
    }

    fn raised(&self, alert: &NewAlert) -> crate::audit::Draft {
        let events: Vec<String> = alert.events.iter().map(ToString::to_string).collect();
        self.event("alert.raised", &Actor::gateway(self), alert.sentence.clone())
            .on(party("alert", alert.id.0, alert.kind.as_str()))
            .with("kind", json!(alert.kind.as_str()))
            .with(
                "who",
                json!({"kind": alert.actor.kind, "id": alert.actor.id, "name": alert.actor.name}),
            )
            .with("template", json!(alert.subject))
            .with("events", json!(events))
    }
}

impl Watch {
    fn place(&self, gateway: GatewayId) -> u64 {
        self.places.get(&gateway).copied().unwrap_or(0)
    }

    /// Notes a step that was taken; false when it was not.
    fn moved(&mut self, place: LogPlace, done: Option<(i64, bool)>) -> bool {
        let Some((step, _)) = done else { return false };
        self.step = step;
        self.places.insert(place.gateway, place.seq);
        true
    }
}

fn sentence(finding: &Finding, actor: &Party, limits: &Thresholds) -> String {
    let name = match actor.kind.as_str() {
        "anonymous" => format!("Somebody at {}", actor.id),
        _ => actor.name.clone(),
    };
    let n = finding.events.len();
    let within = |window: Duration| length(window.as_secs());
    match finding.kind {
        Kind::Refusals => {
            format!("{name} was refused {n} times within {}", within(limits.refusals.window))
        }
        Kind::Failures => {
            format!("{n} jobs or acts of {name} failed within {}", within(limits.failures.window))
        }
        Kind::FanOut => {
            format!("{name} went to {n} machines within {}", within(limits.machines.window))
        }
        Kind::NewCommand => {
            let template = finding.subject.as_deref().unwrap_or_default();
            format!("{name} ran {template}, for the first time")
        }
        Kind::UnusualHours => format!("{name} was there at an hour at which they were not before"),
    }
}

/// How often it looks: by the clock and not at each event, whose own way to the disk its steps would lengthen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many events are read at once.
const BATCH: u32 = 500;

/// How long a claim lasts: how long nobody watches after the gateway that did is gone. Nothing is missed in it.
const CLAIM: Duration = Duration::from_secs(30);

/// How often the claim is made again.
const CLAIM_EVERY: Duration = Duration::from_secs(10);

/// How far back is learned from: who did not do a thing for so long does it for the first time.
const LEARN: Duration = Duration::from_secs(60 * 86_400);

/// The most events of a chain that are learned from: some seconds of reading, some tens of megabytes.
const LEARN_EVENTS: u64 = 100_000;
