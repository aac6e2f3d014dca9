//! Enrolment: tokens, and what a machine or another identity gets for one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use adit_domain::certificate::Carried;
use adit_domain::machine::LabelRule;
use adit_domain::reach::scope::scope_of;
use adit_domain::{Capability, CertificateName, Code, MachineId, MachineLabel, Secret, TokenId};
use adit_store::{
    Certificate, EnrolmentToken, Machine, MachineFacts, NewEnrolmentToken, NewMachine,
    NewMachineKey, Page, Paging, SecretHash,
};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party};
use crate::audit::{Actor, Draft};
use crate::bus::Change;
use crate::certificate::Holder;
use crate::machine::plain_facts;
use crate::pki::Request;
use crate::sign_in::{Issued, shown_prefix};
use crate::token::{self, Plane};

/// How long an enrolment token works unless its maker says otherwise.
pub const ENROL_LIFE: Duration = Duration::from_secs(3600);

/// The longest that one may say: a week.
pub const MAX_ENROL_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// The most machines that one token lets in: a rack, not everything.
pub const MAX_USES: u32 = 1_000;

/// The most tags of a machine, and the longest key and value, in characters.
pub const MAX_TAGS: usize = 32;
const MAX_TAG_CHARS: usize = 64;

/// How long a token works that a machine asked for, for somebody who speaks for it.
const DELEGATED_LIFE: Duration = Duration::from_secs(600);

/// What an enrolment token is to be like.
#[derive(Debug, Default)]
pub struct TokenWish {
    /// The label that the machine will have, or how labels are made.
    pub label: Option<LabelRule>,
    /// How long it works.
    pub life: Option<Duration>,
    /// How often; once unless said.
    pub uses: Option<u32>,
    /// What operators say of the machines that come in with it.
    pub tags: BTreeMap<String, String>,
    /// Whether it takes the place of the machine that has its label.
    pub replaces: bool,
}

/// What a machine sends to be enrolled.
#[derive(Debug)]
pub struct Enrolment {
    /// The token that an operator made.
    pub token: Secret<String>,
    /// The machine's Noise key, 32 bytes.
    pub link_key: [u8; 32],
    /// A PKCS #10 request in PEM, for a certificate.
    pub csr: Option<String>,
    /// The label that it would like; the token's own wins.
    pub label: Option<MachineLabel>,
    /// What it says of itself.
    pub facts: MachineFacts,
}

/// What an enrolled machine gets.
#[derive(Debug)]
pub struct Enrolled {
    /// Its row.
    pub machine: Machine,
    /// Its key for the machine plane.
    pub key: Secret<String>,
    /// Its certificate, if it asked for one.
    pub certificate: Option<Certificate>,
}

impl Gateway {
    /// Makes an enrolment token.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or the wish is not well formed.
    pub async fn issue_enrolment_token(
        &self,
        caller: &Caller,
        wish: TokenWish,
    ) -> Result<Issued, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        check_wish(&wish)?;
        let event = self
            .event("enrolment_token.issue", &caller.actor(), "An enrolment token was made")
            .with("label", json!(wish.label.as_ref().map(ToString::to_string)))
            .with("uses", json!(wish.uses.unwrap_or(1)))
            .with("replaces", json!(wish.replaces));
        let life = wish.life.unwrap_or(ENROL_LIFE).min(MAX_ENROL_LIFE);
        let new = self.new_token(life);
        let token = NewEnrolmentToken {
            label: wish.label,
            tags: wish.tags,
            uses: wish.uses.unwrap_or(1),
            replaces: wish.replaces,
            by: Some(caller.principal.id),
            ..new.token
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        self.keep_token(&tenant, token, new.secret, event).await
    }

    /// Makes a token for somebody who speaks for a machine, at that machine's wish: its certificate carries one scope and nothing more.
    ///
    /// # Errors
    /// [`Code::AccessCapabilityMissing`] for any holder but a machine, [`Refusal`] when the database does not take it.
    pub async fn issue_delegated_token(
        &self,
        holder: &Holder,
        name: MachineLabel,
        scope: Carried,
        address: Option<IpAddr>,
    ) -> Result<Issued, Refusal> {
        let certificate = &holder.certificate;
        let event = self.event("enrolment_token.delegate", &holder.actor(address), "");
        let CertificateName::Agent(delegator) = &certificate.name else {
            let sentence = format!("{} may not let others speak for it", certificate.name);
            let code = Code::AccessCapabilityMissing;
            self.note(event.saying(sentence).denied(code)).await;
            return Err(code.into());
        };
        if !self.may_pass_on(certificate, &scope).await? {
            let sentence =
                format!("{} may not pass on {scope}, which it does not hold", certificate.name);
            let code = Code::AccessCapabilityMissing;
            self.note(event.saying(sentence).denied(code)).await;
            let sentence = format!(
                "A machine passes on what it holds itself. Ask an operator to give it {scope}."
            );
            return Err(Refusal::Said(code, sentence));
        }
        let name = CertificateName::Delegated { delegator: delegator.clone(), name };
        let sentence = format!("{} lets {name} enrol with {scope}", certificate.name);
        let event = event.saying(sentence).with("scope", json!(scope.as_str()));
        let new = self.new_token(DELEGATED_LIFE);
        let token = NewEnrolmentToken { name: Some(name), capabilities: vec![scope], ..new.token };
        self.keep_token(&self.store.tenant(certificate.tenant), token, new.secret, event).await
    }

    /// Tells whether somebody holds a capability, or all of a whole scope.
    async fn may_pass_on(
        &self,
        certificate: &adit_store::Certificate,
        scope: &Carried,
    ) -> Result<bool, Refusal> {
        let tenant = self.store.tenant(certificate.tenant);
        let all = tenant.list_scopes().await?;
        let meant = |name: &Carried| name == scope || scope_of(name) == scope.as_str();
        let names = all.iter().flat_map(|one| &one.scope.actions).map(|action| &action.name);
        let mut any = false;
        for name in names.filter(|name| meant(name)) {
            any = true;
            if !tenant.holds(&certificate.name, name).await? {
                return Ok(false);
            }
        }
        Ok(any)
    }

    fn new_token(&self, life: Duration) -> NewToken {
        let minted = token::mint(Plane::Enrol, &*self.ids);
        let now = self.clock.now();
        let token = NewEnrolmentToken {
            id: TokenId::new(&*self.ids),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            label: None,
            tags: BTreeMap::new(),
            uses: 1,
            replaces: false,
            name: None,
            capabilities: Vec::new(),
            by: None,
            expires_at: now + life,
            at: now,
        };
        NewToken { token, secret: minted.secret }
    }

    async fn keep_token(
        &self,
        tenant: &adit_store::TenantStore,
        token: NewEnrolmentToken,
        secret: Secret<String>,
        event: Draft,
    ) -> Result<Issued, Refusal> {
        let (id, expires_at) = (token.id, token.expires_at);
        let event = event
            .with("token", json!(id.to_string()))
            .with("expiresAt", json!(expires_at.to_string()))
            .only();
        tenant.issue_enrolment_token(token, move |()| event).await?;
        self.bus.tell(tenant.id(), Change::Machines);
        self.bus.tell(tenant.id(), Change::Audit);
        Ok(Issued { id, secret, expires_at: Some(expires_at) })
    }

    /// Lists the tokens that can still be used, the newest first.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_enrolment_tokens(
        &self,
        caller: &Caller,
        paging: &Paging,
    ) -> Result<Page<EnrolmentToken>, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        Ok(tenant.list_enrolment_tokens(self.clock.now(), paging).await?)
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is not there.
    pub async fn revoke_enrolment_token(
        &self,
        caller: &Caller,
        id: TokenId,
    ) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let sentence = "An enrolment token was taken back";
        let event = self.event("enrolment_token.revoke", &caller.actor(), sentence);
        let event = event.with("token", json!(id.to_string()));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.revoke_enrolment_token(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Machines);
        self.bus.tell(caller.principal.tenant, Change::Audit);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Enrols a machine with a token.
    ///
    /// # Errors
    /// [`Code::EnrolRefused`] alike for a token that is used up, has expired, was taken back or never was.
    pub async fn enrol(
        &self,
        request: Enrolment,
        address: Option<IpAddr>,
    ) -> Result<Enrolled, Refusal> {
        let (hash, refusal) = self.read_token(&request.token, address).await?;
        let csr = request.csr.map(|csr| Request::read(&csr)).transpose()?;
        let key = token::mint(Plane::Machine, &*self.ids);
        let facts = plain_facts(request.facts);
        let wished = request.label.clone();
        let label = request.label.unwrap_or_else(|| MachineLabel::of_hostname(&facts.hostname));
        let new = NewMachine {
            id: MachineId::new(&*self.ids),
            label,
            facts,
            link_key: request.link_key,
            key: NewMachineKey {
                id: TokenId::new(&*self.ids),
                hash: SecretHash(key.hash.0),
                prefix: shown_prefix(key.secret.expose()),
            },
            at: self.clock.now(),
        };
        let id = new.id;
        let success = self.event("machine.enrol", &Actor::nobody(address), "");
        let tell = move |made: &Option<Machine>| match made {
            None => refusal.only(),
            Some(machine) => enrolled(success, machine, machine.id != id, wished).only(),
        };
        let made = self.store.enrol_machine(hash, new, tell).await?;
        let machine = self.let_in(made, address).await?;
        if machine.id != id {
            self.end_before(&machine).await;
        }
        let certificate = match csr {
            Some(csr) => Some(self.certify_enrolled(&machine, csr, address).await?),
            None => None,
        };
        self.bus.tell(machine.tenant, Change::Machines);
        Ok(Enrolled { machine, key: key.secret, certificate })
    }

    /// Ends what a machine's earlier installation had open (R38).
    async fn end_before(&self, machine: &Machine) {
        self.hub.drop_machine(machine.id);
        self.recheck_admissions(self.clock.now()).await;
        self.sessions.end_on(machine.id, Code::SessionLostAgent);
        self.bus.tell(machine.tenant, Change::Access);
    }

    /// Gives an identity that has no link key its certificate, for a token (TIX-3).
    ///
    /// # Errors
    /// [`Code::EnrolRefused`] alike for a token that is used up, has expired, was taken back or never was.
    pub async fn enrol_identity(
        &self,
        token: Secret<String>,
        csr: &str,
        label: Option<MachineLabel>,
        address: Option<IpAddr>,
    ) -> Result<Certificate, Refusal> {
        let (hash, refusal) = self.read_token(&token, address).await?;
        let csr = Request::read(csr)?;
        let label = label.unwrap_or_else(|| MachineLabel::of_hostname(""));
        let success = self.event("identity.enrol", &Actor::nobody(address), "");
        let tell = move |made: &Option<adit_store::Enrolled>| match made {
            None => refusal.only(),
            Some(identity) => success.saying(format!("{} was enrolled", identity.name)).only(),
        };
        let made = self.store.enrol_identity(hash, label, self.clock.now(), tell).await?;
        let identity = self.let_in(made, address).await?;
        self.certify_identity(identity, csr, address).await
    }

    /// Reads a token as it was presented; gives its hash, and the event for the case that it does not count.
    async fn read_token(
        &self,
        token: &Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<(SecretHash, Draft), Refusal> {
        let refusal = self
            .event("machine.enrol_refused", &Actor::nobody(address), "An enrolment was refused")
            .denied(Code::EnrolRefused);
        if self.wrong_tokens.is_out(address) {
            return Err(Code::AuthLimited.into());
        }
        match token::read(Plane::Enrol, token.expose()) {
            Ok(hash) => Ok((SecretHash(hash.0), refusal)),
            Err(_) => {
                self.wrong_tokens.count(address);
                self.note(refusal).await;
                Err(Code::EnrolRefused.into())
            }
        }
    }

    /// Gives what a token opened; a token that opened nothing counts against the address that it came from (AGT-05).
    async fn let_in<T>(&self, made: Option<T>, address: Option<IpAddr>) -> Result<T, Refusal> {
        made.ok_or_else(|| {
            self.wrong_tokens.count(address);
            Refusal::Code(Code::EnrolRefused)
        })
    }
}

struct NewToken {
    token: NewEnrolmentToken,
    secret: Secret<String>,
}

/// Tells of a machine that came in. What it wished for and did not get stands in the event (AGT-13).
fn enrolled(event: Draft, machine: &Machine, again: bool, wished: Option<MachineLabel>) -> Draft {
    let sentence = match again {
        false => format!("The machine {} was enrolled", machine.label),
        true => {
            format!("The machine {} was enrolled anew; its keys before are dead", machine.label)
        }
    };
    let party = machine_party(machine);
    let event = event.on(party.clone()).by(party).saying(sentence).with("again", json!(again));
    match wished.filter(|wished| *wished != machine.label) {
        Some(wished) => event.with("wished", json!(wished.as_str())),
        None => event,
    }
}

fn check_wish(wish: &TokenWish) -> Result<(), Refusal> {
    let bad = |sentence: String| Err(Refusal::Said(Code::RequestInvalid, sentence));
    if !(1..=MAX_USES).contains(&wish.uses.unwrap_or(1)) {
        return bad(format!("A token lets 1 to {MAX_USES} machines in."));
    }
    let fixed = matches!(wish.label, Some(LabelRule::Is(_)));
    if wish.replaces && (!fixed || wish.uses.unwrap_or(1) != 1) {
        return bad("A token that replaces a machine names its label, and is for one use.".into());
    }
    let plain = |text: &String| {
        !text.is_empty()
            && text.chars().count() <= MAX_TAG_CHARS
            && *text == adit_domain::machine::plain_claim(text)
    };
    if wish.tags.len() > MAX_TAGS || !wish.tags.iter().all(|(k, v)| plain(k) && plain(v)) {
        return bad(format!(
            "A machine has at most {MAX_TAGS} tags; each key and value is 1 to {MAX_TAG_CHARS} plain characters."
        ));
    }
    Ok(())
}
