//! Access for a time: somebody asks with a reason, somebody else decides, it ends by itself.
//!
//! A request says nothing about what there is: labels are looked up when somebody who may decide about access decides.

use std::time::Duration;

use adit_domain::policy::Conditions;
use adit_domain::{Capabilities, Capability, Code, GrantId, MachineLabel, RequestId};
use adit_store::{
    AccessRequest, Conflict, Decision, Holder, NewGrant, NewRequest, RequestState, StoreError,
};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Draft};
use crate::bus::Change;
use crate::grant::On;

/// How long somebody may take to decide: a request of Friday evening is still there on Monday.
pub const REQUEST_LIFE: Duration = Duration::from_secs(3 * 86_400);

/// The longest that access may be asked for.
pub const MAX_ASKED: Duration = Duration::from_secs(30 * 86_400);

/// The most requests of one principal that wait: who has this many is not waiting for an answer but making noise.
const MAX_WAITING: u64 = 20;

/// The longest reason or note, in characters.
const MAX_REASON: usize = 500;

/// The most machines in one request.
const MAX_LABELS: usize = 100;

/// What lets somebody give access to others.
const GIVES_ACCESS: Capabilities = Capabilities::of(&[
    Capability::AccessManage,
    Capability::AccessApprove,
    Capability::TenantManage,
]);

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which role.
    pub role: String,
    /// On which machines; empty for all.
    pub labels: Vec<MachineLabel>,
    /// Why.
    pub reason: String,
    /// For how long.
    pub length: Duration,
}

/// What is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It becomes a grant.
    Approve,
    /// It does not.
    Deny,
}

impl Gateway {
    /// Asks for a role for a time.
    ///
    /// # Errors
    /// [`Refusal`] for an unknown role, no reason, or too many requests that wait.
    pub async fn ask_access(
        &self,
        caller: &Caller,
        asked: Asked,
    ) -> Result<AccessRequest, Refusal> {
        // Whoever is switched off may not ask.
        self.facts_of(caller).await?;
        self.check_role(caller, &asked.role).await?;
        let bad = |sentence: &str| Err(Refusal::Said(Code::RequestInvalid, sentence.to_owned()));
        let reason = adit_domain::machine::plain_text(asked.reason.trim());
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return bad("Say why, in at most 500 characters.");
        }
        if asked.length.is_zero() || asked.length > MAX_ASKED {
            return bad("Access is asked for at least a second and at most 30 days.");
        }
        if asked.labels.len() > MAX_LABELS {
            return bad("A request names at most 100 machines.");
        }
        let at = self.clock.now();
        let labels: Vec<String> = asked.labels.iter().map(ToString::to_string).collect();
        let new = NewRequest {
            id: RequestId::new(&*self.ids),
            principal: caller.principal.id,
            role: asked.role.clone(),
            labels: labels.clone(),
            reason: reason.clone(),
            seconds: asked.length.as_secs(),
            expires_at: at + REQUEST_LIFE,
            at,
        };
        let id = new.id;
        let on = if labels.is_empty() { "everything".to_owned() } else { labels.join(", ") };
        let name = caller.principal.name.name();
        let sentence = format!("{name} asked for the role {} on {on}", asked.role);
        let event = self.event("access_request.add", &caller.actor(), sentence);
        let event = about(event, id, name, &asked.role).with("reason", json!(reason));
        let full = self
            .event("access.denied", &caller.actor(), format!("{name} has too many requests"))
            .denied(Code::TooMany);
        let tell = move |room: &bool| if *room { event.only() } else { full.only() };
        let tenant = self.store.tenant(caller.principal.tenant);
        if !tenant.add_request(new, MAX_WAITING, tell).await? {
            let sentence = "You have 20 requests that wait. Withdraw one, or wait for an answer.";
            return Err(Refusal::Said(Code::TooMany, sentence.into()));
        }
        self.bus.tell(caller.principal.tenant, Change::Requests);
        let made = tenant.find_request(id).await?.ok_or(Refusal::Code(Code::NotFound))?;
        // Nobody listening is fine: the list has it.
        let _ = self.asked.send(made.clone());
        Ok(made)
    }

    /// Decides about a request. Nobody decides about their own.
    ///
    /// # Errors
    /// [`Code::Conflict`] for one's own, or one that does not wait any more; [`Code::TargetUnknown`] for a machine that is not there.
    pub async fn decide_access(
        &self,
        caller: &Caller,
        id: RequestId,
        verdict: Verdict,
        note: Option<String>,
    ) -> Result<AccessRequest, Refusal> {
        self.permit_tenant(caller, Capability::AccessApprove).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let request = tenant.find_request(id).await?.ok_or(Refusal::Code(Code::NotFound))?;
        if request.principal.id == caller.principal.id {
            return Err(self.refuse_own(caller, &request).await);
        }
        let note = note.map(|text| adit_domain::machine::plain_text(text.trim()));
        if note.as_ref().is_some_and(|text| text.chars().count() > MAX_REASON) {
            let sentence = "A note is at most 500 characters.";
            return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
        }
        let grant = match verdict {
            Verdict::Approve => {
                self.permit_role(caller, &request.role).await?;
                Some(self.grant_of(caller, &request).await?)
            }
            Verdict::Deny => None,
        };
        let decision = Decision { by: caller.principal.id, note, grant, at: self.clock.now() };
        let event = self.decision_event(caller, &request, verdict);
        let tell = move |done: &Option<AccessRequest>| match done {
            Some(_) => event.only(),
            None => vec![],
        };
        let decided = match tenant.decide_request(id, decision, tell).await {
            Err(StoreError::Conflict(Conflict::Refers)) => {
                let sentence = "Who asked, the role or a machine is not there any more.";
                return Err(Refusal::Said(Code::Conflict, sentence.into()));
            }
            other => other?,
        };
        self.bus.tell(caller.principal.tenant, Change::Access);
        self.bus.tell(caller.principal.tenant, Change::Requests);
        decided.ok_or_else(|| {
            let sentence = "This request does not wait any more: somebody decided, it was withdrawn, or it is too old.";
            Refusal::Said(Code::Conflict, sentence.into())
        })
    }

    /// Decides whether a caller may give a role: one that gives access itself is for those who manage access, or two who help each other
    /// would have everything.
    async fn permit_role(&self, caller: &Caller, role: &str) -> Result<(), Refusal> {
        let role = self.check_role(caller, role).await?;
        if role.and(GIVES_ACCESS).is_empty() {
            return Ok(());
        }
        self.permit_tenant(caller, Capability::AccessManage).await.map(drop)
    }

    fn decision_event(&self, caller: &Caller, request: &AccessRequest, verdict: Verdict) -> Draft {
        let (name, verb) = match verdict {
            Verdict::Approve => ("access_request.approve", "gave"),
            Verdict::Deny => ("access_request.deny", "denied"),
        };
        let who = request.principal.name.name();
        let sentence =
            format!("{} {verb} {who} the role {}", caller.principal.name.name(), request.role);
        let event = self.event(name, &caller.actor(), sentence);
        about(event, request.id, who, &request.role)
    }

    async fn refuse_own(&self, caller: &Caller, request: &AccessRequest) -> Refusal {
        let name = caller.principal.name.name();
        let sentence = format!("{name} wanted to decide about a request of their own");
        let event = self.event("access.denied", &caller.actor(), sentence);
        let event = about(event, request.id, name, &request.role);
        self.note(event.denied(Code::AccessApproval)).await;
        let sentence = "Nobody decides about a request of their own. Ask somebody else.";
        Refusal::Said(Code::Conflict, sentence.into())
    }

    async fn grant_of(
        &self,
        caller: &Caller,
        request: &AccessRequest,
    ) -> Result<NewGrant, Refusal> {
        let labels: Result<Vec<MachineLabel>, _> =
            request.labels.iter().map(|label| label.parse()).collect();
        let labels = labels.map_err(|_| Refusal::Code(Code::Internal))?;
        let on = if labels.is_empty() { On::Everything } else { On::Machines(labels) };
        let (on, _) = self.selection(caller, on).await?;
        let at = self.clock.now();
        Ok(NewGrant {
            id: GrantId::new(&*self.ids),
            holder: Holder::Principal(request.principal.id),
            role: request.role.clone(),
            on,
            conditions: Conditions::default(),
            expires_at: Some(at + Duration::from_secs(request.seconds)),
            at,
        })
    }

    /// Takes one's own request back.
    ///
    /// # Errors
    /// [`Code::NotFound`] for one that is not there, not one's own, or does not wait.
    pub async fn withdraw_access(&self, caller: &Caller, id: RequestId) -> Result<(), Refusal> {
        let tenant = self.store.tenant(caller.principal.tenant);
        let name = caller.principal.name.name();
        let sentence = format!("{name} took a request for access back");
        let event = self.event("access_request.withdraw", &caller.actor(), sentence);
        let event = event.on(audit::party("access_request", id.0, name));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let at = self.clock.now();
        let done = tenant.withdraw_request(id, caller.principal.id, at, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Requests);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Tells whether a caller sees everybody's requests, or its own only.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is gone or the database does not answer.
    pub async fn sees_all_requests(&self, caller: &Caller) -> Result<bool, Refusal> {
        let facts = self.facts_of(caller).await?;
        let tenant = adit_domain::policy::Target::Tenant(caller.principal.tenant);
        let may = adit_domain::policy::allowed(&facts, &tenant, self.clock.now());
        Ok(may.has(Capability::AccessApprove))
    }
}

/// Tells whether a request still waits at a time.
pub fn waits(request: &AccessRequest, now: adit_domain::Timestamp) -> bool {
    request.state == RequestState::Pending && now < request.expires_at
}

fn about(event: Draft, id: RequestId, name: &str, role: &str) -> Draft {
    event.on(audit::party("access_request", id.0, name)).with("role", json!(role))
}
