//! What time clears away between machines.

use adit_domain::reach::{DEAD_AFTER, GRACE, INACTIVE_AFTER, KEEP_SESSIONS, Lapse};
use adit_store::{ReachCutoffs, Removed};
use serde_json::json;

use crate::Gateway;
use crate::audit::Actor;
use crate::bus::Change;

/// How long a ticket is kept (TIX-44).
const KEEP_TICKETS: std::time::Duration = std::time::Duration::from_secs(3600);

impl Gateway {
    /// Removes what is dead, ends what has lapsed, forgets what is old.
    ///
    /// # Errors
    /// [`adit_store::StoreError`] when the database does not do it.
    pub async fn tidy_reach(&self) -> Result<(), adit_store::StoreError> {
        let now = self.clock.now();
        let cutoffs = ReachCutoffs {
            now,
            instances: now - DEAD_AFTER,
            tickets: now - KEEP_TICKETS,
            silent: now - INACTIVE_AFTER,
            grace: now - GRACE,
            ended: now - KEEP_SESSIONS,
        };
        let tidied = self.store.tidy_reach(cutoffs).await?;
        for (tenant, removed) in &tidied.instances {
            self.cut_removed(removed);
            let Removed { instance, sessions } = removed;
            let owner = adit_domain::reach::peer_label(&instance.owner);
            let sentence = format!(
                "{owner} was not heard of for an hour and offers {} no more",
                instance.capability
            );
            let actor = Actor { tenant: *tenant, ..Actor::gateway(self) };
            let event = self
                .event("instance.dead", &actor, sentence)
                .on(super::instance_party(instance.id, &instance.capability))
                .with("sessions", json!(sessions.len()));
            self.note(event).await;
            self.bus.tell(*tenant, Change::Tickets);
        }
        for session in &tidied.lapsed {
            let reason = session.reason.unwrap_or(Lapse::Inactive);
            self.cut_reach(session, reason);
            let actor = Actor { tenant: session.tenant, ..Actor::gateway(self) };
            let event = self.reach_end_event(session, reason, &actor);
            self.note(event).await;
        }
        Ok(())
    }
}
