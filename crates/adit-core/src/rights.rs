//! Rights that change: every live right is looked at again, at once for a change here and within seconds for another gateway's.
//!
//! The bus says when another gateway changed something (within a second); without it, and beside it, the database is asked every five
//! seconds. When neither can say, live sessions end.

use std::time::Duration;

use adit_domain::{Code, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Gateway;

/// How often rights are compared with the database, for changes that another process made.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// After how long without the database live sessions are closed: nobody could say that a right was taken away.
const BLIND_FOR: Duration = Duration::from_secs(15);

/// How far back revoked keys and certificates are looked for: the clocks of gateways differ, and a commit takes its time.
const REVOKED_OVERLAP: Duration = Duration::from_secs(120);

/// What the last look saw.
struct Last {
    version: Option<i64>,
    looked: Timestamp,
    /// By the time that passes, whatever the clock is set to.
    answered: Instant,
}

impl Gateway {
    /// Gives a counter that moves whenever live rights are looked at again.
    pub fn rights_looked_at(&self) -> watch::Receiver<u64> {
        self.looked.subscribe()
    }

    /// Looks at every live right when something about rights changed.
    pub(crate) async fn watch_rights(&self) {
        let mut here = self.store.access_version();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let looked = self.clock.now() - REVOKED_OVERLAP;
        let mut last = Last { version: None, looked, answered: Instant::now() };
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                changed = here.changed() => match changed {
                    Ok(()) => {
                        self.sessions.recheck_all();
                        self.recheck_admissions(last.looked).await;
                        self.recheck_reaches().await;
                        self.looked.send_modify(|count| *count += 1);
                    }
                    Err(_) => return,
                },
                () = self.cluster.rights.notified() => self.look_at_rights(&mut last).await,
                _ = tick.tick() => self.look_at_rights(&mut last).await,
            }
        }
    }

    async fn look_at_rights(&self, last: &mut Last) {
        let version = match self.store.load_access_version().await {
            Ok(version) => version,
            Err(error) => return self.end_if_blind(last, &error),
        };
        last.answered = Instant::now();
        if last.version.replace(version).is_some_and(|before| before != version) {
            self.read_changed_keys().await;
            self.sessions.recheck_all();
            self.looked.send_modify(|count| *count += 1);
        }
        // Time alone may end one, and so may another gateway.
        if self.streams.count() > 0 {
            self.recheck_reaches().await;
        }
        self.recheck_admissions(last.looked).await;
        last.looked = self.clock.now() - REVOKED_OVERLAP;
    }

    fn end_if_blind(&self, last: &Last, error: &adit_store::StoreError) {
        tracing::warn!(%error, "the database does not say whether rights changed");
        if last.answered.elapsed() >= BLIND_FOR {
            self.sessions.end_all(Code::StoreUnavailable);
            self.streams.end_all();
        }
    }
}
