//! The first administrator by a setup token, everybody else by an invitation: a secret for one use that leads to a password or a passkey.

use std::time::Duration;

use adit_domain::policy::{Conditions, Selection};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Code, GrantId, Password, Principal, PrincipalId, PrincipalKind, PrincipalName, Secret,
    TenantId, TokenId,
};
use adit_store::{
    Holder, NewCredential, NewGrant, NewPrincipal, NewStep, Proof, SecretHash, SignedIn, StepKind,
};
use serde_json::json;

use super::{Arrival, COOKIE_LIFE, Entered, Issued, Visitor, Wanted, shown_prefix};
use crate::Gateway;
use crate::access::Refusal;
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::token::{self, Plane};

/// How long an invitation works.
pub const INVITATION_LIFE: Duration = Duration::from_secs(3 * 86_400);

/// How long a setup token works; the next start of a gateway without users makes another.
pub const SETUP_LIFE: Duration = Duration::from_secs(86_400);

/// Passwords that may be refused on the way before an invitation is over.
const TRIES: u32 = 50;

impl Gateway {
    /// Makes the token with which the first administrator is made.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn issue_setup_token(&self) -> Result<Secret<String>, Refusal> {
        let minted = token::mint(Plane::Setup, &*self.ids);
        let at = self.clock.now();
        let step = NewStep {
            hash: SecretHash(minted.hash.0),
            kind: StepKind::Setup,
            principal: None,
            state: String::new(),
            expires_at: at + SETUP_LIFE,
            at,
        };
        let sentence = "A token for the first administrator was printed";
        let event = self.event("setup_token.issue", &Actor::gateway(self), sentence).only();
        self.store.tenant(TenantId::SEED).add_step(step, move |()| event).await?;
        Ok(minted.secret)
    }

    /// Makes the first administrator of whoever shows the setup token, and signs them in.
    ///
    /// # Errors
    /// [`Code::SetupRefused`] alike for a wrong token, a used one, and when somebody is there already.
    // BRW-40
    pub async fn set_up(
        &self,
        presented: &str,
        name: &str,
        password: Option<Secret<String>>,
        visitor: &Visitor,
    ) -> Result<Entered, Refusal> {
        let Some(step) = self.setup_step(presented).await? else {
            let nobody = Actor::nobody(visitor.address);
            let event = self.event("setup.refused", &nobody, "A setup token was refused");
            self.note(event.denied(Code::SetupRefused)).await;
            return Err(Code::SetupRefused.into());
        };
        let name = PrincipalName::new(PrincipalKind::User, name)
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        let hash = self.chosen(password, &name, visitor).await?;
        let id = PrincipalId::new(&*self.ids);
        let principal = Principal { id, tenant: TenantId::SEED, name };
        let (entered, credential) = self.first_cookie(principal.clone());
        let at = credential.at;
        let new = NewPrincipal { id, name: principal.name.clone(), email: None, at };
        let grant = NewGrant {
            id: GrantId::new(&*self.ids),
            holder: Holder::Principal(id),
            role: BuiltInRole::Admin.as_str().to_owned(),
            on: Selection::All,
            conditions: Conditions::default(),
            expires_at: None,
            at,
        };
        let signed_in = SignedIn {
            step: Some(step),
            proof: Proof::None,
            password: hash,
            credential,
            origin: visitor.origin("invitation", None),
        };
        let party = audit::party_of(&principal);
        let sentence = format!("{} became the first administrator", principal.name.name());
        let made = self.event("user.add", &Actor::nobody(visitor.address), sentence);
        let made = made.on(party.clone()).by(party);
        let late = self
            .event("setup.refused", &Actor::nobody(visitor.address), "A setup came too late")
            .denied(Code::SetupRefused);
        let tell = move |done: &bool| if *done { made.only() } else { late.only() };
        let tenant = self.store.tenant(TenantId::SEED);
        let done = tenant.set_up(new, grant, signed_in, tell).await?;
        self.bus.tell(TenantId::SEED, Change::Access);
        if done { Ok(entered) } else { Err(Code::SetupRefused.into()) }
    }

    async fn setup_step(&self, presented: &str) -> Result<Option<SecretHash>, Refusal> {
        let Ok(hash) = token::read(Plane::Setup, presented) else { return Ok(None) };
        let hash = SecretHash(hash.0);
        let found = self.store.try_step(StepKind::Setup, hash, self.clock.now(), TRIES).await?;
        Ok(found.map(|_| hash))
    }

    fn first_cookie(&self, principal: Principal) -> (Entered, NewCredential) {
        let minted = token::mint(Plane::Cookie, &*self.ids);
        let (id, at) = (TokenId::new(&*self.ids), self.clock.now());
        let expires_at = Some(at + COOKIE_LIFE);
        let credential = NewCredential {
            id,
            principal: principal.id,
            kind: adit_store::CredentialKind::Cookie,
            name: "console".to_owned(),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            expires_at,
            at,
        };
        let issued = Issued { id, secret: minted.secret, expires_at };
        (Entered { principal, issued, wanted: Wanted::Console }, credential)
    }

    async fn chosen(
        &self,
        password: Option<Secret<String>>,
        name: &PrincipalName,
        visitor: &Visitor,
    ) -> Result<Option<String>, Refusal> {
        let Some(text) = password else { return Ok(None) };
        let password = Password::chosen(text, name.name())
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        self.sign_ins.hasher.hash(password, visitor.address).await.map(Some)
    }

    /// Invites a user: a secret for one use, three days.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn issue_invitation(&self, by: &Actor, to: &Principal) -> Result<Issued, Refusal> {
        let minted = token::mint(Plane::Invitation, &*self.ids);
        let at = self.clock.now();
        let expires_at = at + INVITATION_LIFE;
        let step = NewStep {
            hash: SecretHash(minted.hash.0),
            kind: StepKind::Invitation,
            principal: Some(to.id),
            state: String::new(),
            expires_at,
            at,
        };
        let sentence = format!("{} was invited", to.name.name());
        let event = self.event("invitation.issue", by, sentence).on(audit::party_of(to)).only();
        self.store.tenant(to.tenant).add_step(step, move |()| event).await?;
        self.bus.tell(to.tenant, Change::Audit);
        let id = TokenId::new(&*self.ids);
        Ok(Issued { id, secret: minted.secret, expires_at: Some(expires_at) })
    }

    /// Takes an invitation up, once: sets the password, where one is given, and signs in. Who gives none has a quarter of an hour to add
    /// a passkey or a password.
    ///
    /// # Errors
    /// [`Code::SignInRefused`] alike for an invitation that was used, has expired or never was.
    pub async fn accept_invitation(
        &self,
        presented: &str,
        password: Option<Secret<String>>,
        visitor: &Visitor,
    ) -> Result<Entered, Refusal> {
        let Some((step, principal)) = self.invited(presented).await? else {
            let nobody = Actor::nobody(visitor.address);
            let event = self.event("sign_in.refused", &nobody, "An invitation was refused");
            let event = event.with("method", json!("invitation")).denied(Code::SignInRefused);
            self.note(event).await;
            return Err(Code::SignInRefused.into());
        };
        let hash = self.chosen(password, &principal.name, visitor).await?;
        let arrival = Arrival {
            principal,
            wanted: Wanted::Console,
            method: "invitation",
            second_factor: false,
            step: Some(step),
            proof: Proof::None,
            password: hash,
        };
        let entered = self.enter(arrival, visitor).await?;
        entered.ok_or(Refusal::Code(Code::SignInRefused))
    }

    async fn invited(&self, presented: &str) -> Result<Option<(SecretHash, Principal)>, Refusal> {
        let Ok(hash) = token::read(Plane::Invitation, presented) else { return Ok(None) };
        let hash = SecretHash(hash.0);
        let now = self.clock.now();
        let Some(step) = self.store.try_step(StepKind::Invitation, hash, now, TRIES).await? else {
            return Ok(None);
        };
        let Some(id) = step.principal else { return Ok(None) };
        let account = self.store.tenant(step.tenant).find_principal(id).await?;
        Ok(account.filter(|account| account.active).map(|account| (hash, account.principal)))
    }
}
