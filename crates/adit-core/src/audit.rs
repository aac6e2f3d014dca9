//! The audit log: what is written with every change, how it is asked, verified and anchored.

use std::fmt::Write as _;
use std::net::IpAddr;

use adit_domain::{Code, EventId, Ids, Principal, TenantId};
use adit_store::{NewEvent, Outcome, Party, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Gateway;

pub mod anchor;
pub mod lines;
pub mod verify;

/// The detail of an event that a person reads.
pub const SENTENCE: &str = "sentence";

/// Who did something, and from where.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The one who acted.
    pub party: Party,
    /// The address of the other end, where there is one.
    pub address: Option<IpAddr>,
    /// The OAuth2 client that acted for it, where one did.
    pub client: Option<String>,
    /// Whose log its refusals go to.
    pub tenant: TenantId,
}

impl Actor {
    /// The gateway itself.
    pub fn gateway(gateway: &Gateway) -> Self {
        let id = gateway.store.gateway().to_string();
        Self {
            party: Party { kind: "gateway".into(), id, name: "gateway".into() },
            address: None,
            client: None,
            tenant: TenantId::SEED,
        }
    }

    /// Somebody who showed no valid credential.
    pub fn nobody(address: Option<IpAddr>) -> Self {
        let party = Party { kind: "anonymous".into(), id: String::new(), name: "anonymous".into() };
        Self { party, address, client: None, tenant: TenantId::SEED }
    }

    /// A principal.
    pub fn principal(principal: &Principal, address: Option<IpAddr>) -> Self {
        Self { party: party_of(principal), address, client: None, tenant: principal.tenant }
    }
}

/// Names a principal in an event.
pub fn party_of(principal: &Principal) -> Party {
    Party {
        kind: principal.name.kind().as_str().to_owned(),
        id: principal.id.to_string(),
        name: principal.name.name().to_owned(),
    }
}

/// Names anything else in an event.
pub fn party(kind: &str, id: Uuid, name: impl Into<String>) -> Party {
    Party { kind: kind.to_owned(), id: id.to_string(), name: name.into() }
}

/// An event that is being put together.
#[derive(Clone, Debug)]
pub struct Draft {
    event: NewEvent,
    tenant: TenantId,
}

impl Gateway {
    /// Begins an event: `name` is `noun.verb`, `sentence` what a person reads.
    pub fn event(&self, name: &str, actor: &Actor, sentence: impl Into<String>) -> Draft {
        let event = NewEvent {
            id: EventId::new(&*self.ids),
            at: self.clock.now(),
            event: name.to_owned(),
            actor: actor.party.clone(),
            target: None,
            outcome: Outcome::Ok,
            details: [].into(),
            correlation: None,
            client: actor.address.map(|address| address.to_string()),
        };
        let draft = Draft { event, tenant: actor.tenant }.saying(sentence);
        match &actor.client {
            Some(client) => draft.with("oauthClient", json!(client)),
            None => draft,
        }
    }

    /// Writes an event that comes with no change: a refusal.
    ///
    /// A refusal that cannot be written is still a refusal; the log says that its event is missing.
    pub async fn note(&self, draft: Draft) {
        if let Err(error) = self.record(draft).await {
            tracing::error!(%error, "an audit event could not be written");
        }
    }

    /// Writes an event before what it tells is done.
    ///
    /// # Errors
    /// When it cannot be written; then it must not be done.
    pub(crate) async fn record(&self, draft: Draft) -> Result<(), StoreError> {
        let tenant = self.store.tenant(draft.tenant);
        tenant.append_events(vec![draft.done()]).await?;
        self.bus.tell(tenant.id(), crate::bus::Change::Audit);
        Ok(())
    }
}

impl Draft {
    /// Begins another event like this one.
    #[must_use]
    pub fn another(&self, ids: &dyn Ids) -> Self {
        let event = NewEvent { id: EventId::new(ids), ..self.event.clone() };
        Self { event, tenant: self.tenant }
    }

    /// Names what it was done to.
    #[must_use]
    pub fn on(mut self, target: Party) -> Self {
        self.event.target = Some(target);
        self
    }

    /// Names who did it, where that shows only with the outcome.
    #[must_use]
    pub fn by(mut self, actor: Party) -> Self {
        self.event.actor = actor;
        self
    }

    /// Says it in a sentence, where that shows only with the outcome.
    #[must_use]
    pub fn saying(self, sentence: impl Into<String>) -> Self {
        self.with(SENTENCE, json!(sentence.into()))
    }

    /// Says that it was refused, and why.
    #[must_use]
    pub fn denied(mut self, code: Code) -> Self {
        self.event.outcome = Outcome::Denied;
        self.with("code", json!(code.as_str()))
    }

    /// Says that it failed, and why.
    #[must_use]
    pub fn failed(mut self, code: Code) -> Self {
        self.event.outcome = Outcome::Failed;
        self.with("code", json!(code.as_str()))
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.event.details.insert(key.to_owned(), value);
        self
    }

    /// Finishes it.
    pub fn done(self) -> NewEvent {
        self.event
    }

    /// Finishes it as a list of one.
    pub fn only(self) -> Vec<NewEvent> {
        vec![self.done()]
    }
}

/// Writes how long something lasted: `2 h 3 min`, `12 s`.
pub fn length(seconds: u64) -> String {
    let mut text = String::new();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    for (n, unit) in parts.into_iter().filter(|(n, _)| *n > 0).take(2) {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{n} {unit}").expect("a String takes all text");
    }
    if text.is_empty() { "0 s".to_owned() } else { text }
}
