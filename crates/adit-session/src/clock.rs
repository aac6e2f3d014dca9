//! Both clocks: the wall's for expiry and message times, the steady one for rates.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// The wall clock, which may be set.
    fn wall(&self) -> SystemTime;
    /// The steady clock, which never goes back.
    fn steady(&self) -> Instant;
}

/// The system's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn steady(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct MemoryClock(Mutex<(SystemTime, Instant)>);

impl MemoryClock {
    /// Starts at this many Unix seconds.
    pub fn at(unix_seconds: u64) -> Self {
        Self(Mutex::new((UNIX_EPOCH + Duration::from_secs(unix_seconds), Instant::now())))
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += by;
        now.1 += by;
    }

    /// Sets the wall clock alone, also back.
    pub fn set_wall(&self, to: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = to;
    }
}

impl Clock for MemoryClock {
    fn wall(&self) -> SystemTime {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn steady(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl<C: Clock> Clock for std::sync::Arc<C> {
    fn wall(&self) -> SystemTime {
        (**self).wall()
    }

    fn steady(&self) -> Instant {
        (**self).steady()
    }
}
