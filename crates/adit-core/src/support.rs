//! Support: a technician's code brings one machine in, its person agrees or not, and one session comes of it.
//!
//! The machine has no connection to the gateway before its person said yes, and policy allows nothing on it without that yes
//! (`adit_domain::policy::attended`). After it, the session is opened like every other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_domain::policy::{self, Consent, Target};
use adit_domain::support::{ANSWER_WITHIN, Access, Answer, CODE_LIFE, LENGTH, MAX_LENGTH};
use adit_domain::{
    Capability, Code, EndReason, MachineId, MachineLabel, Permit, Secret, SupportCode, TenantId,
    TokenId,
};
use adit_store::{
    Agreed, Machine, MachineFacts, NewMachine, NewMachineKey, NewSupportCode, Page, Paging,
    SecretHash, Session, Support,
};
use aws_lc_rs::hmac;
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party};
use crate::audit::{self, Actor, Draft};
use crate::bus::Change;
use crate::machine::{machine_actor, plain_facts};
use crate::sign_in::shown_prefix;
use crate::token::{self, Plane};

/// Codes of one technician that count at once: more than one person reads out in ten minutes.
const MOST_CODES: u32 = 20;

/// How much longer than its person an answer may take on its way.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How often support that should have ended is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a machine may be away before its support is over. Its last time is written every half minute.
const AWAY_FOR: Duration = Duration::from_secs(150);

/// How long a code that let nothing in is kept for lists.
const KEEP_CODES: Duration = Duration::from_secs(86_400);

/// What a technician wants.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// To see and type, or to see.
    pub access: Access,
    /// For how long at most.
    pub length: Option<Duration>,
}

/// A support code that was just made.
#[derive(Debug)]
pub struct IssuedCode {
    /// Its row.
    pub support: Support,
    /// The code, to be read out once.
    pub code: SupportCode,
}

/// A machine that comes with a code.
#[derive(Debug)]
pub struct Arrival {
    /// What was typed.
    pub code: Secret<String>,
    /// The machine's Noise key, 32 bytes.
    pub link_key: [u8; 32],
    /// What it says of itself.
    pub facts: MachineFacts,
}

/// A machine that came in with a code; its person is to be asked.
#[derive(Debug)]
pub struct Asked {
    /// Who asks, and for what.
    pub support: Support,
    /// The machine's row.
    pub machine: Machine,
    /// Its key, which opens nothing before the answer.
    pub key: Secret<String>,
}

/// The key of codes' hashes. A code is short enough to be tried out against a plain hash; without this key, which no database holds, its
/// hash says nothing.
#[derive(Debug)]
pub struct CodeKey(hmac::Key);

impl CodeKey {
    /// Makes it of 32 bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    fn hash(&self, code: &SupportCode) -> SecretHash {
        let tag = hmac::sign(&self.0, code.as_bytes());
        SecretHash(tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes"))
    }
}

impl Gateway {
    /// Makes a support code.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or has too many that still count.
    pub async fn issue_support_code(
        &self,
        caller: &Caller,
        offer: Offer,
    ) -> Result<IssuedCode, Refusal> {
        self.permit_tenant(caller, Capability::SupportOffer).await?;
        let now = self.clock.now();
        let code = SupportCode::draw(&*self.ids);
        let length = offer.length.unwrap_or(LENGTH).min(MAX_LENGTH).min(self.settings.max_length);
        let new = NewSupportCode {
            id: TokenId::new(&*self.ids),
            hash: self.support_key.hash(&code),
            by: caller.principal.id,
            access: offer.access,
            length,
            client: caller.address.map(|address| address.to_string()),
            expires_at: now + CODE_LIFE,
            at: now,
        };
        let id = new.id;
        let sentence = format!("{} made a support code", caller.principal.name.name());
        let event = self
            .event("support.code", &caller.actor(), sentence)
            .with("support", json!(id.to_string()))
            .with("access", json!(offer.access.as_str()))
            .with("lengthSeconds", json!(length.as_secs()))
            .with("expiresAt", json!(new.expires_at.to_string()));
        let tell = move |made: &bool| match made {
            true => event.only(),
            false => event.denied(Code::TooMany).only(),
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        if !tenant.issue_support_code(new, MOST_CODES, tell).await? {
            let sentence = format!(
                "You have {MOST_CODES} support codes that nobody used yet. Revoke some, or wait until they run out."
            );
            return Err(Refusal::Said(Code::TooMany, sentence));
        }
        self.bus.tell(caller.principal.tenant, Change::Support);
        let support = tenant.find_support(id).await?.ok_or(Refusal::Code(Code::Internal))?;
        Ok(IssuedCode { support, code })
    }

    /// Lists the caller's support codes, and everybody's for whoever may list others' sessions.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer, or for a cursor of another list.
    pub async fn list_support(
        &self,
        caller: &Caller,
        paging: &Paging,
    ) -> Result<Page<Support>, Refusal> {
        let all = self.may_on_support(caller, Capability::SessionList).await?;
        let of = (!all).then_some(caller.principal.id);
        Ok(self.store.tenant(caller.principal.tenant).list_support(of, paging).await?)
    }

    /// Finds support that the caller may see.
    ///
    /// # Errors
    /// [`Code::NotFound`] alike for what is not there and what the caller may not see.
    pub async fn find_support(&self, caller: &Caller, id: TokenId) -> Result<Support, Refusal> {
        let found = self.store.tenant(caller.principal.tenant).find_support(id).await?;
        let support = found.ok_or(Refusal::Code(Code::NotFound))?;
        let own = support.technician.id == caller.principal.id;
        if own || self.may_on_support(caller, Capability::SessionList).await? {
            Ok(support)
        } else {
            Err(Code::NotFound.into())
        }
    }

    async fn may_on_support(&self, caller: &Caller, one: Capability) -> Result<bool, Refusal> {
        let facts = self.facts_of(caller).await?;
        let target = Target::Tenant(caller.principal.tenant);
        Ok(policy::allowed(&facts, &target, self.clock.now()).has(one))
    }

    /// Takes a code back, or ends what came of it: its technician may, and whoever ends others' sessions.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or there is none. One that is over already is no error.
    pub async fn withdraw_support(&self, caller: &Caller, id: TokenId) -> Result<(), Refusal> {
        let support = self.find_support(caller, id).await?;
        if support.technician.id != caller.principal.id {
            self.permit_tenant(caller, Capability::SessionEnd).await?;
        }
        let name = caller.principal.name.name();
        let sentence = match support.used_at {
            None => format!("{name} took a support code back"),
            Some(_) => format!("{name} ended support"),
        };
        let event = self.event("support.end", &caller.actor(), sentence);
        self.end_support(support.id, caller.principal.tenant, Code::SupportWithdrawn, event).await
    }

    /// Lets a machine in with a code, once. Nothing can be done on it before its person has agreed.
    ///
    /// # Errors
    /// [`Code::SupportCodeRefused`] alike for a code that was used, has expired, was revoked or never was; [`Refusal::Later`] for an
    /// attempt that comes too early after others.
    pub async fn redeem_support_code(
        &self,
        arrival: Arrival,
        address: IpAddr,
    ) -> Result<Asked, Refusal> {
        let refused = || Refusal::Code(Code::SupportCodeRefused);
        if let Err(wait) = self.guesses.take(address, Instant::now()) {
            return Err(Refusal::Later(Code::AuthLimited, wait.0));
        }
        let refusal = self
            .event("support.refused", &Actor::nobody(Some(address)), "A support code was refused")
            .denied(Code::SupportCodeRefused);
        let Ok(code) = arrival.code.expose().parse::<SupportCode>() else {
            self.note(refusal).await;
            return Err(refused());
        };
        let facts = plain_facts(arrival.facts);
        let key = token::mint(Plane::Machine, &*self.ids);
        let machine = NewMachine {
            id: MachineId::new(&*self.ids),
            label: support_label(&facts.hostname),
            facts,
            link_key: arrival.link_key,
            key: NewMachineKey {
                id: TokenId::new(&*self.ids),
                hash: SecretHash(key.hash.0),
                prefix: shown_prefix(key.secret.expose()),
            },
            at: self.clock.now(),
        };
        let asked = self.event("support.asked", &Actor::nobody(Some(address)), "");
        let tell = move |found: &Option<(Support, Machine)>| match found {
            None => refusal.only(),
            Some((support, machine)) => {
                let name = support.technician.name.name();
                let sentence = format!("A machine came with a support code of {name}");
                let by = machine_party(machine);
                about(asked.on(by.clone()).by(by).saying(sentence), support).only()
            }
        };
        let hash = self.support_key.hash(&code);
        let from = Some(address.to_string());
        let found = self.store.redeem_support_code(hash, from, machine, tell).await?;
        let (support, machine) = found.ok_or_else(refused)?;
        self.guesses.right(address, Instant::now());
        self.bus.tell(machine.tenant, Change::Support);
        self.bus.tell(machine.tenant, Change::Machines);
        if let Err(refusal) = self.still_offers(&support).await {
            tracing::warn!(%refusal, "a support code's technician may not offer support any more");
            return Err(refused());
        }
        Ok(Asked { support, machine, key: key.secret })
    }

    /// Decides anew whether the technician of a code may offer support; where not, it is over.
    async fn still_offers(&self, support: &Support) -> Result<Permit, Refusal> {
        let facts = self.facts(&support.technician).await?;
        let tenant = support.technician.tenant;
        let wanted = adit_domain::Capabilities::of(&[Capability::SupportOffer]);
        match policy::authorize(&facts, wanted, &Target::Tenant(tenant), self.clock.now()) {
            Ok(permit) => Ok(permit),
            Err(denial) => {
                let sentence = format!("{} may not offer support any more", facts.principal.name);
                let event = self.event("support.end", &Actor::gateway(self), sentence);
                let event = event.denied(denial.code());
                self.end_support(support.id, tenant, denial.code(), event).await?;
                Err(denial.code().into())
            }
        }
    }

    /// Takes the answer of the person at a machine.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] for a key that is no support machine's, [`Code::SupportSilence`] for a yes that comes too late.
    pub async fn answer_support(
        &self,
        key: &str,
        answer: Answer,
        address: IpAddr,
    ) -> Result<Support, Refusal> {
        let machine = self.find_machine_by_key(key, Some(address)).await?;
        let tenant = self.store.tenant(machine.tenant);
        let found = match machine.attended {
            Some(_) => tenant.find_support_of(machine.id).await?,
            None => None,
        };
        let support = found.ok_or(Refusal::Code(Code::AuthRequired))?;
        let name = support.technician.name.name();
        let by = machine_actor(&machine, Some(address));
        let event = |verb: &str, sentence: String| {
            about(self.event(verb, &by, sentence), &support).with("answer", json!(answer.as_str()))
        };
        let (code, event) = match answer {
            Answer::Yes => {
                let sentence =
                    format!("The person at {} agreed to support by {name}", machine.label);
                return self.agree(&machine, &support, event("support.consent", sentence)).await;
            }
            Answer::No => {
                let sentence = format!("The person at {} refused support by {name}", machine.label);
                let event = event("support.refused", sentence).denied(Code::SupportDeclined);
                (Code::SupportDeclined, event)
            }
            Answer::Silence => {
                let sentence = format!("Nobody at {} answered {name}", machine.label);
                let event = event("support.refused", sentence).denied(Code::SupportSilence);
                (Code::SupportSilence, event)
            }
            Answer::Stop => {
                let sentence = format!("The person at {} ended support by {name}", machine.label);
                (Code::SupportStopped, event("support.end", sentence))
            }
        };
        self.end_support(support.id, machine.tenant, code, event).await?;
        Ok(support)
    }

    async fn agree(
        &self,
        machine: &Machine,
        support: &Support,
        event: Draft,
    ) -> Result<Support, Refusal> {
        self.still_offers(support).await?;
        let now = self.clock.now();
        let consent =
            Consent { allows: support.access.capabilities(), until: now + support.length };
        let asked_after = now - (ANSWER_WITHIN + ANSWER_GRACE);
        let event = event.with("until", json!(consent.until.to_string()));
        let late = event.clone().denied(Code::SupportSilence);
        let tell = move |agreed: &Option<Support>| match agreed {
            Some(_) => event.only(),
            None => late.only(),
        };
        let tenant = self.store.tenant(machine.tenant);
        let agreed = tenant
            .agree_to_support(machine.id, Agreed { consent, at: now, asked_after }, tell)
            .await?;
        self.bus.tell(machine.tenant, Change::Support);
        self.bus.tell(machine.tenant, Change::Machines);
        agreed.ok_or(Refusal::Code(Code::SupportSilence))
    }

    /// Ends support after its session: one consent is good for one session.
    pub(crate) async fn end_support_after(&self, session: &Session, reason: &EndReason) {
        let tenant = self.store.tenant(session.tenant);
        let support = match tenant.find_support_of(session.machine).await {
            Ok(Some(support)) if support.ended_at.is_none() => support,
            Ok(_) => return,
            Err(error) => return tracing::warn!(%error, "support could not be looked for"),
        };
        let code = reason.code();
        let actor = match code {
            Code::SupportStopped => Actor {
                party: audit::party("machine", session.machine.0, session.machine_label.as_str()),
                address: None,
                client: None,
                tenant: session.tenant,
            },
            _ => Actor::gateway(self),
        };
        let name = support.technician.name.name();
        let sentence = format!("Support by {name} on {} ended: {reason}", session.machine_label);
        let event = self.event("support.end", &actor, sentence);
        if let Err(error) = self.end_support(support.id, session.tenant, code, event).await {
            tracing::warn!(%error, "support could not be ended; it ends by its time");
        }
    }

    /// Ends support: code, machine and session.
    async fn end_support(
        &self,
        id: TokenId,
        tenant: TenantId,
        code: Code,
        event: Draft,
    ) -> Result<(), Refusal> {
        let tell = move |ended: &Option<Support>| match ended {
            None => vec![],
            Some(support) => about(event, support).with("code", json!(code.as_str())).only(),
        };
        let now = self.clock.now();
        let ended = self.store.tenant(tenant).end_support(id, code, now, tell).await?;
        let Some(support) = ended else { return Ok(()) };
        if let Some(session) = support.session {
            self.sessions.end(session, EndReason::Because(code));
        }
        if let Some((machine, _)) = support.machine {
            self.hub.drop_machine(machine);
        }
        for change in [Change::Support, Change::Machines, Change::Audit] {
            self.bus.tell(tenant, change);
        }
        Ok(())
    }

    /// Says why a machine that was here for support is gone.
    pub(crate) async fn why_support_ended(&self, machine: &Machine) -> Option<Code> {
        machine.attended?;
        let tenant = self.store.tenant(machine.tenant);
        tenant.find_support_of(machine.id).await.ok().flatten()?.end
    }

    /// Ends support that nobody answered, whose time is over, or whose machine went away.
    pub(crate) async fn watch_support(&self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.end_overdue_support().await {
                tracing::warn!(%error, "support that should have ended could not be looked for");
            }
        }
    }

    async fn end_overdue_support(&self) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.store.forget_support_codes(now - KEEP_CODES).await?;
        let asked_before = now - (ANSWER_WITHIN + ANSWER_GRACE);
        let overdue = self.store.list_overdue_support(asked_before, now - AWAY_FOR, now).await?;
        for (tenant, id) in overdue {
            let Some(support) = self.store.tenant(tenant).find_support(id).await? else { continue };
            let name = support.technician.name.name();
            let by = Actor::gateway(self);
            let (code, event) = if support.consented_at.is_none() {
                let event = self.event("support.refused", &by, format!("Nobody answered {name}"));
                (Code::SupportSilence, event.with("answer", json!(Answer::Silence.as_str())))
            } else if support.ends_at.is_some_and(|at| at <= now) {
                let event =
                    self.event("support.end", &by, format!("Support by {name} reached its length"));
                (Code::SupportExpired, event)
            } else {
                let event = self.event(
                    "support.end",
                    &by,
                    format!("The machine that {name} helped went away"),
                );
                (Code::SessionLostAgent, event)
            };
            self.end_support(id, tenant, code, event).await?;
        }
        Ok(())
    }
}

/// Adds what support is about: whose, to see or to type, on which machine.
fn about(event: Draft, support: &Support) -> Draft {
    let event = event
        .with("support", json!(support.id.to_string()))
        .with("technician", json!(support.technician.name.to_string()))
        .with("technicianAddress", json!(support.client))
        .with("access", json!(support.access.as_str()))
        .with("lengthSeconds", json!(support.length.as_secs()));
    match &support.machine {
        Some((id, label)) => event
            .on(audit::party("machine", id.0, label.as_str()))
            .with("machineAddress", json!(support.used_from)),
        None => event,
    }
}

/// Names a machine that is here for support.
fn support_label(hostname: &str) -> MachineLabel {
    MachineLabel::of_hostname(&format!("support-{hostname}"))
}
