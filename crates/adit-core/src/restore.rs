//! A gateway whose database comes from a backup.

use std::sync::atomic::Ordering;

use adit_domain::Code;
use serde_json::json;

use crate::Gateway;
use crate::access::Refusal;
use crate::audit::Actor;

impl Gateway {
    /// Ends whatever was handed out or opened before: a backup does not know what was revoked, used or ended since it was made. Passwords,
    /// passkeys, the secrets of services and the keys of machines count still.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn restored(&self) -> Result<(), Refusal> {
        let sentence =
            "The gateway was restored from a backup; what was handed out before counts no more";
        let event = self.event("gateway.restore", &Actor::gateway(self), sentence);
        let tell = move |epoch: &i64| event.with("epoch", json!(epoch)).only();
        let epoch = self.store.begin_epoch(self.clock.now(), tell).await?;
        self.epoch.store(u64::try_from(epoch).unwrap_or(0), Ordering::Relaxed);
        self.sessions.end_all(Code::SessionRestored);
        self.streams.end_all();
        Ok(())
    }
}
