//! When to ping, and when a silent peer is dead.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How often a ping is sent.
pub const PING_EVERY: Duration = Duration::from_secs(10);

/// How long a peer may be silent: two pings and a half, so that a fault is noticed within 30 s.
pub const SILENCE: Duration = Duration::from_secs(25);

/// The most pings taken between two of ours: ten times what a peer of ours sends.
pub const MAX_PINGS: u32 = 10;

/// The pings that a peer may send between two of ours while nothing is read: one, and one for the timers' drift.
const PINGS_HELD: u32 = 2;

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beat {
    /// Nothing yet.
    Rest,
    /// A ping.
    Ping,
    /// The end: the peer was silent for [`SILENCE`].
    Dead,
}

/// The life signs of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    heard_at: Instant,
    ping_at: Instant,
    pings_left: u32,
}

impl Pulse {
    pub fn new(now: Instant) -> Self {
        Self { heard_at: now, ping_at: now + PING_EVERY, pings_left: MAX_PINGS }
    }

    /// Gives the time at which [`Self::beat`] is due.
    pub fn deadline(&self) -> Instant {
        self.ping_at.min(self.heard_at + SILENCE)
    }

    /// Tells that something came.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Tells that nothing is read on purpose: the peer is not judged, and its pings wait to be read together.
    pub fn held(&mut self, now: Instant) {
        self.heard_at = now;
        self.pings_left = self.pings_left.saturating_add(PINGS_HELD);
    }

    /// Counts a ping of the peer, and tells whether there are too many.
    pub fn is_flooded(&mut self) -> bool {
        let left = self.pings_left.checked_sub(1);
        self.pings_left = left.unwrap_or(0);
        left.is_none()
    }

    /// Tells what is due.
    pub fn beat(&mut self, now: Instant) -> Beat {
        if now >= self.heard_at + SILENCE {
            return Beat::Dead;
        }
        if now < self.ping_at {
            return Beat::Rest;
        }
        self.pings_left = self.pings_left.max(MAX_PINGS);
        self.ping_at = now + PING_EVERY;
        Beat::Ping
    }
}

/// A timer that is moved only when it must fire earlier, or has fired: most deadlines move later, and moving costs.
pub(crate) struct Alarm {
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    pub fn new(at: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(at)) }
    }

    /// Waits for `deadline`, and gives the time then.
    pub fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<Instant> {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(now);
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
