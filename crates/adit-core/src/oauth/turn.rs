//! When signing keys are made and removed.

use std::time::Duration;

use adit_domain::{Capability, Code, KeyId};
use serde_json::json;

use super::key::PublicKey;
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};

/// How often keys are looked at: other gateways' new ones are known within this time, which is far less than the lead of a key.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long what has ended is kept: longer than a session may last that rests on it.
const KEEP: Duration = Duration::from_secs(2 * 86_400);

/// When a new key is to sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Once everybody who reads the published keys has had the time to read it.
    InTime,
    /// At once.
    Now,
}

impl Gateway {
    /// Loads the keys, making the first one.
    pub(crate) async fn begin_signing_keys(&self) -> Result<(), Refusal> {
        self.load_signing_keys().await?;
        if self.oauth.keys.newest().is_none() {
            self.add_signing_key(Turn::Now, &Actor::gateway(self)).await?;
        }
        Ok(())
    }

    pub(crate) async fn load_signing_keys(&self) -> Result<(), Refusal> {
        let rows = self.store.list_signing_keys().await?;
        self.oauth.keys.take(rows);
        Ok(())
    }

    /// Reads the keys again because another process changed something, and asks again about each token.
    pub(crate) async fn read_changed_keys(&self) {
        if let Err(error) = self.load_signing_keys().await {
            tracing::warn!(%error, "the keys that sign access tokens could not be read again");
        }
        self.oauth.checked.change_elsewhere();
    }

    /// Makes a new key; the one before it is accepted until its last token has expired.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or the database does not take it.
    pub async fn rotate_signing_key(&self, caller: &Caller, turn: Turn) -> Result<KeyId, Refusal> {
        self.permit_gateway_to(caller, Capability::AccessManage).await?;
        self.add_signing_key(turn, &caller.actor()).await
    }

    /// Removes a key: nothing that it signed is accepted from now on, and another signs.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is no such key.
    pub async fn revoke_signing_key(&self, caller: &Caller, id: KeyId) -> Result<(), Refusal> {
        self.permit_gateway_to(caller, Capability::AccessManage).await?;
        let now = self.clock.now();
        let keys = self.oauth.keys.published(now);
        if !keys.iter().any(|key| key.id == id) {
            return Err(Code::NotFound.into());
        }
        if !keys.iter().any(|key| key.id != id && key.signs_from <= now) {
            self.add_signing_key(Turn::Now, &caller.actor()).await?;
        }
        let sentence = "A key that signs access tokens was revoked, and every token that it signed";
        self.remove_signing_keys(vec![id], sentence, &caller.actor()).await?;
        self.oauth.checked.change_elsewhere();
        Ok(())
    }

    /// Lists the keys that count.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn signing_keys(&self, caller: &Caller) -> Result<Vec<PublicKey>, Refusal> {
        self.permit_gateway_to(caller, Capability::AccessManage).await?;
        Ok(self.oauth.keys.published(self.clock.now()))
    }

    async fn add_signing_key(&self, turn: Turn, by: &Actor) -> Result<KeyId, Refusal> {
        let now = self.clock.now();
        let signs_from = match turn {
            Turn::Now => now,
            Turn::InTime => now + self.settings.oauth.key_lead,
        };
        let new = self.oauth.keys.make(KeyId::new(&*self.ids), signs_from, now);
        let id = new.id;
        let event = self
            .event("signing_key.add", by, "A new key signs access tokens")
            .on(audit::party("signing_key", id.0, id.to_string()))
            .with("signsFrom", json!(signs_from.to_string()))
            .only();
        self.store.add_signing_key(new, move |()| event).await?;
        self.load_signing_keys().await?;
        Ok(id)
    }

    async fn remove_signing_keys(
        &self,
        ids: Vec<KeyId>,
        sentence: &str,
        by: &Actor,
    ) -> Result<(), Refusal> {
        let events: Vec<_> = ids
            .iter()
            .map(|id| {
                let party = audit::party("signing_key", id.0, id.to_string());
                self.event("signing_key.remove", by, sentence).on(party).done()
            })
            .collect();
        self.store.remove_signing_keys(ids, self.clock.now(), move |()| events).await?;
        self.load_signing_keys().await
    }

    /// Makes keys when it is time, and removes those that are over.
    pub(crate) async fn turn_signing_keys(&self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look_at_signing_keys().await {
                tracing::warn!(%error, "the keys that sign access tokens could not be looked at");
            }
        }
    }

    async fn look_at_signing_keys(&self) -> Result<(), Refusal> {
        self.load_signing_keys().await?;
        let (now, me) = (self.clock.now(), Actor::gateway(self));
        let is_old =
            |made| now.since(made) + self.settings.oauth.key_lead >= self.settings.oauth.key_life;
        if self.oauth.keys.newest().is_none_or(is_old) {
            self.add_signing_key(Turn::InTime, &me).await?;
        }
        let over = self.oauth.keys.over(now);
        self.store.forget_oauth(now - KEEP).await?;
        if !over.is_empty() {
            let sentence = "An old key is removed, because every token that it signed has expired";
            self.remove_signing_keys(over, sentence, &me).await?;
        }
        Ok(())
    }
}
