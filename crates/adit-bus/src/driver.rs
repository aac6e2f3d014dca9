//! Keeps the connection: it comes back by itself, and everybody can see whether it stands.
//!
//! A gateway publishes a beat to itself every second. While these come back the bus is up: they went the whole way that other messages go.

use std::sync::Arc;
use std::time::Duration;

use adit_domain::{Clock, GatewayId, Ids, Secret, Timestamp};
use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};
use uuid::Uuid;

use crate::envelope::{Key, MAX_BODY, Message, To};
use crate::heard::{Heard, Stale};
use crate::server::{Address, AddressError, Ear, Mouth, ServerError};

/// Where the bus is, and who speaks on it.
#[derive(Debug)]
pub struct Settings {
    /// `redis://` or `rediss://`.
    pub url: Secret<String>,
    /// The authorities whose certificates alone count, PEM; none: the system's.
    pub authorities: Option<Vec<u8>>,
    /// The key that every gateway of this installation has.
    pub key: Key,
    /// Who speaks.
    pub gateway: GatewayId,
}

/// Whether the bus carries messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It does.
    Up {
        /// Since when.
        since: Timestamp,
    },
    /// It does not.
    Down {
        /// Since when.
        since: Timestamp,
    },
}

impl State {
    /// Tells whether it carries messages.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// Why a message is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSent {
    /// The bus is away.
    #[error("the bus is away")]
    Down,
    /// More is said than the bus carries.
    #[error("too much is said at once")]
    Full,
    /// Its body is too long.
    #[error("the message is too long")]
    TooLong,
}

/// The way to the bus; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bus {
    out: mpsc::Sender<(To, Bytes)>,
    state: watch::Receiver<State>,
}

impl Bus {
    /// Sends a message, which may be lost all the same.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn send(&self, to: To, body: Bytes) -> Result<(), NotSent> {
        if body.len() > MAX_BODY {
            return Err(NotSent::TooLong);
        }
        if !self.state().is_up() {
            return Err(NotSent::Down);
        }
        self.out.try_send((to, body)).map_err(|_| {
            counter!("adit_bus_dropped_total").increment(1);
            NotSent::Full
        })
    }

    /// Tells how the bus stands.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Begins to watch how it stands.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

/// What keeps the connection; it does nothing unless it runs.
pub struct Driver {
    address: Address,
    key: Key,
    gateway: GatewayId,
    boot: Uuid,
    channels: [String; 2],
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    from_here: mpsc::Receiver<(To, Bytes)>,
    state: watch::Sender<State>,
    number: u64,
    heard: Heard,
    /// When its own words came back last.
    answered: Instant,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

impl Driver {
    /// Makes a bus that is down until its driver runs.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<(Bus, Self), AddressError> {
        let Settings { url, authorities, key, gateway } = settings;
        let address = Address::read(&url, authorities.as_deref())?;
        let (out, from_here) = mpsc::channel(WAITING);
        let (state, seen) = watch::channel(State::Down { since: clock.now() });
        let (prefix, boot) = (key.prefix(), ids.uuid());
        let channels = [format!("{prefix}:all"), format!("{prefix}:{gateway}")];
        let driver = Self {
            address,
            key,
            gateway,
            boot,
            channels,
            clock,
            ids,
            from_here,
            state,
            number: 0,
            heard: Heard::default(),
            answered: Instant::now(),
        };
        Ok((Bus { out, state: seen }, driver))
    }

    /// Keeps the connection for ever, and hands on what other gateways say. What its receiver does not take in time is dropped.
    pub async fn run(mut self, to_here: mpsc::Sender<Message>) -> std::convert::Infallible {
        gauge!("adit_bus_up").set(0.0);
        let mut attempts = 0;
        loop {
            let began = Instant::now();
            let error = self.serve(&to_here).await;
            let was_up = self.state.borrow().is_up();
            if was_up || attempts == 0 {
                warn!(%error, "the bus between gateways is away; changes of others are found in the database within seconds");
            }
            self.turn(State::Down { since: self.clock.now() });
            attempts = if was_up && began.elapsed() >= STABLE { 0 } else { attempts + 1 };
            tokio::time::sleep(self.delay(attempts)).await;
        }
    }

    async fn serve(&mut self, to_here: &mpsc::Sender<Message>) -> ServerError {
        let [all, own] = &self.channels;
        let (mut ear, mut mouth) = match self.address.connect(&[all, own]).await {
            Ok(both) => both,
            Err(error) => return error,
        };
        // Hints of before the bus was away are none any more.
        while self.from_here.try_recv().is_ok() {}
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.answered = Instant::now();
        let mut waiting = Vec::with_capacity(AT_ONCE);
        loop {
            let said = tokio::select! {
                text = ear.next() => match text {
                    None => return ServerError::Closed,
                    Some(text) => {
                        self.hear(&text, to_here);
                        Ok(())
                    }
                },
                _ = beat.tick() => {
                    waiting.push((To::Gateway(self.gateway), Bytes::new()));
                    self.say(&mut ear, &mut mouth, &mut waiting, to_here).await
                }
                _ = self.from_here.recv_many(&mut waiting, AT_ONCE) => {
                    self.say(&mut ear, &mut mouth, &mut waiting, to_here).await
                }
            };
            if let Err(error) = said {
                return error;
            }
            if self.answered.elapsed() > SILENT_FOR {
                return ServerError::Late;
            }
        }
    }

    /// Publishes what waits, and hears meanwhile, so that two gateways that say much do not wait for each other.
    async fn say(
        &mut self,
        ear: &mut Ear,
        mouth: &mut Mouth,
        waiting: &mut Vec<(To, Bytes)>,
        to_here: &mpsc::Sender<Message>,
    ) -> Result<(), ServerError> {
        let texts: Vec<_> =
            waiting.drain(..).filter_map(|(to, body)| self.seal(to, body)).collect();
        counter!("adit_bus_sent_total").increment(texts.len() as u64);
        let saying = mouth.say(texts.into_iter());
        tokio::pin!(saying);
        loop {
            tokio::select! {
                said = &mut saying => return said,
                text = ear.next() => match text {
                    None => return Err(ServerError::Closed),
                    Some(text) => self.hear(&text, to_here),
                },
            }
        }
    }

    fn seal(&mut self, to: To, body: Bytes) -> Option<(String, Bytes)> {
        self.number += 1;
        let sent_at = self.clock.now();
        let (from, boot, number) = (self.gateway, self.boot, self.number);
        let text = self.key.seal(&Message { from, boot, to, number, sent_at, body })?;
        let [all, _] = &self.channels;
        let channel = match to {
            To::All => all.clone(),
            To::Gateway(id) => format!("{}:{id}", self.key.prefix()),
        };
        Some((channel, text))
    }

    /// Hears a text, and hands it on if it counts.
    fn hear(&mut self, text: &Bytes, to_here: &mpsc::Sender<Message>) {
        let message = match self.key.open(text) {
            Ok(message) => message,
            Err(refused) => return refuse(&refused, "forged"),
        };
        if message.from == self.gateway && message.boot == self.boot {
            return self.hear_own(&message);
        }
        if matches!(message.to, To::Gateway(id) if id != self.gateway) {
            return refuse(&"it is for another gateway", "forged");
        }
        match self.heard.note(&message, self.clock.now()) {
            Err(stale @ Stale::Late) => refuse(&stale, "late"),
            Err(stale @ Stale::Repeated) => refuse(&stale, "repeated"),
            Ok(()) if message.body.is_empty() => {}
            Ok(()) => {
                if to_here.try_send(message).is_err() {
                    counter!("adit_bus_dropped_total").increment(1);
                }
            }
        }
    }

    fn hear_own(&mut self, message: &Message) {
        // Only the newest beat shows that the way is open; an older one may have been kept by whoever runs the server.
        let now = self.clock.now();
        if message.body.is_empty() && now.since(message.sent_at) < SILENT_FOR {
            self.answered = Instant::now();
            self.turn(State::Up { since: now });
        }
    }

    fn turn(&self, next: State) {
        let changed = self.state.send_if_modified(|now| {
            let changes = now.is_up() != next.is_up();
            if changes {
                *now = next;
            }
            changes
        });
        if changed {
            gauge!("adit_bus_up").set(if next.is_up() { 1.0 } else { 0.0 });
        }
        if changed && next.is_up() {
            info!("the bus between gateways stands");
        }
    }

    /// Gives the wait before the next attempt: anywhere below a ceiling that doubles, so that gateways do not come back at once.
    fn delay(&self, attempts: u32) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << attempts.min(10)).min(LONGEST);
        let mut random = [0; 8];
        self.ids.fill(&mut random);
        let ceiling_us = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(u64::from_ne_bytes(random) % (ceiling_us + 1))
    }
}

fn refuse(why: &dyn std::fmt::Display, reason: &'static str) {
    warn!(%why, "a message on the bus was refused");
    counter!("adit_bus_refused_total", "reason" => reason).increment(1);
}

/// How many messages may wait for the server; one more is dropped, and the look at the database finds what it said.
const WAITING: usize = 1024;

/// How many are published in one go.
const AT_ONCE: usize = 64;

/// How often a gateway speaks to itself.
const BEAT: Duration = Duration::from_secs(1);

/// How long its own words may take to come back.
const SILENT_FOR: Duration = Duration::from_secs(4);

/// The ceiling of the first wait between attempts.
const FIRST: Duration = Duration::from_millis(100);

/// The ceiling of every later one.
const LONGEST: Duration = Duration::from_secs(5);

/// How long a connection must last for the next wait to be short again.
const STABLE: Duration = Duration::from_secs(10);
