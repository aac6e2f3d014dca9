//! Passwords: signing in with one, and setting one.

use std::time::{Duration, Instant};

use adit_domain::{
    Code, Password, Principal, PrincipalId, PrincipalKind, PrincipalName, Secret, TenantId,
};
use adit_store::{Factors, NewStep, Proof, SecretHash, StepKind, StoredPassword};
use serde_json::json;

use super::attempts::Subject;
use super::hasher::Checked;
use super::{Arrival, Entry, Pending, Visitor, Wanted};
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::token::{self, Plane};

/// How long the second factor may take after the password.
pub const STEP_LIFE: Duration = Duration::from_secs(300);

/// How long after a sign-in with a link a forgotten password may be replaced.
pub const LINK_FRESH: Duration = Duration::from_secs(900);

/// The tenant of whoever does not name one.
pub const DEFAULT_TENANT: &str = "default";

/// The longest name that is counted; no account has a longer one.
const MAX_NAME: usize = 64;

/// Who somebody says that they are.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The tenant's name.
    pub tenant: Option<String>,
    /// The user's name.
    pub name: String,
    /// What is to show it.
    pub password: Password,
}

impl Claim {
    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or(DEFAULT_TENANT)
    }

    /// Names the account that is counted, whether there is one or not.
    fn account(&self) -> String {
        let cut = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
        format!("{}/{}", cut(self.tenant()), cut(&self.name))
    }
}

impl Gateway {
    /// Signs in with a name and a password.
    ///
    /// # Errors
    /// [`Code::PasswordRefused`] alike for an unknown user, a wrong password, a removed user and one without a password;
    /// [`Code::AuthLimited`] after too many; [`Code::Busy`] when too many wait.
    // BRW-44
    pub async fn sign_in_with_password(
        &self,
        claim: Claim,
        wanted: Wanted,
        visitor: &Visitor,
    ) -> Result<Entry, Refusal> {
        let account = claim.account();
        let near = [Subject::pair(&account, visitor.address), Subject::address(visitor.address)];
        let far = [Subject::Account(account), Subject::Overall];
        self.begin_try(&near, visitor).await?;
        let name = PrincipalName::new(PrincipalKind::User, &claim.name);
        let name = name.as_ref().map_or("", PrincipalName::name);
        let found = self.store.find_password(claim.tenant(), name).await?;
        let counted = self.begin_far(&far, found.as_ref(), visitor).await?;
        let hash = found.as_ref().map(|found| found.hash.clone());
        let checked =
            self.sign_ins.hasher.check(claim.password.clone(), hash, visitor.address).await;
        let (attempts, now) = (&self.sign_ins.attempts, Instant::now());
        let counted: &[Subject] = if counted { &far } else { &[] };
        match checked {
            Ok(Checked::Wrong) => {}
            Ok(_) => [&near[..], counted].iter().for_each(|s| attempts.succeeded(s, now)),
            Err(_) => [&near[..], counted].iter().for_each(|s| attempts.take_back(s, now)),
        }
        match (checked?, found) {
            (Checked::Wrong, found) => {
                Err(self.refuse_password(found.map(|f| f.principal), visitor).await)
            }
            (_, None) => Err(Code::PasswordRefused.into()),
            (checked, Some(found)) => {
                if checked == Checked::Outdated {
                    self.rehash(&found, claim.password, visitor).await?;
                }
                self.after_password(found.principal, wanted, visitor).await
            }
        }
    }

    /// Counts a try against the account and the gateway; addresses from which the user came before are let through. Tells whether it was counted.
    // BRW-45
    async fn begin_far(
        &self,
        far: &[Subject],
        found: Option<&StoredPassword>,
        visitor: &Visitor,
    ) -> Result<bool, Refusal> {
        let Err(limited) = self.sign_ins.attempts.begin(far, Instant::now()) else {
            return Ok(true);
        };
        // Looked up for nobody too, so that it takes as long.
        let nobody = || (TenantId::SEED, PrincipalId::new(&*self.ids));
        let (tenant, who) =
            found.map_or_else(nobody, |found| (found.principal.tenant, found.principal.id));
        let address = visitor.address.map(|a| a.to_string()).unwrap_or_default();
        if self.store.tenant(tenant).knows_address(who, address).await? {
            return Ok(false);
        }
        Err(self.limited(limited, visitor).await)
    }

    async fn refuse_password(&self, who: Option<Principal>, visitor: &Visitor) -> Refusal {
        let mut event = self
            .event(
                "sign_in.refused",
                &Actor::nobody(visitor.address),
                "A sign-in with a password was refused",
            )
            .with("method", json!("password"))
            .denied(Code::PasswordRefused);
        if let Some(who) = who {
            event = event.on(audit::party_of(&who));
        }
        self.note(event).await;
        Code::PasswordRefused.into()
    }

    async fn rehash(
        &self,
        found: &StoredPassword,
        password: Password,
        visitor: &Visitor,
    ) -> Result<(), Refusal> {
        let new = self.sign_ins.hasher.hash(password, visitor.address).await?;
        let tenant = self.store.tenant(found.principal.tenant);
        tenant.rehash_password(found.principal.id, found.hash.clone(), new).await?;
        Ok(())
    }

    async fn after_password(
        &self,
        principal: Principal,
        wanted: Wanted,
        visitor: &Visitor,
    ) -> Result<Entry, Refusal> {
        let factors = self.store.tenant(principal.tenant).load_factors(principal.id).await?;
        if factors.second() {
            return self.ask_second_factor(&principal, wanted, factors).await.map(Entry::Next);
        }
        let arrival = Arrival {
            principal,
            wanted,
            method: "password",
            second_factor: false,
            step: None,
            proof: Proof::None,
            password: None,
        };
        let entered = self.enter(arrival, visitor).await?;
        entered.map(Entry::In).ok_or(Refusal::Code(Code::PasswordRefused))
    }

    async fn ask_second_factor(
        &self,
        principal: &Principal,
        wanted: Wanted,
        factors: Factors,
    ) -> Result<Pending, Refusal> {
        let minted = token::mint(Plane::Step, &*self.ids);
        let at = self.clock.now();
        let expires_at = at + STEP_LIFE;
        let step = NewStep {
            hash: SecretHash(minted.hash.0),
            kind: StepKind::SecondFactor,
            principal: Some(principal.id),
            state: json!({ "wanted": wanted }).to_string(),
            expires_at,
            at,
        };
        self.store.tenant(principal.tenant).add_step(step, |()| vec![]).await?;
        let methods = [
            ("authenticator", factors.authenticator),
            ("recovery_code", factors.authenticator && factors.recovery_codes > 0),
            ("passkey", factors.passkeys > 0),
        ];
        let methods = methods.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        Ok(Pending { secret: minted.secret, expires_at, methods })
    }

    /// Sets the caller's password; every other sign-in of theirs ends, and what is open under it.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for one that guessers try first, [`Code::ProofRefused`] for a wrong one that is to be replaced.
    // BRW-57
    pub async fn set_password(
        &self,
        caller: &Caller,
        new: Secret<String>,
        current: Option<Password>,
    ) -> Result<(), Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let new = Password::chosen(new, who.name.name())
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        let tenant = self.store.tenant(who.tenant);
        let factors = tenant.load_factors(who.id).await?;
        if !self.came_by_link(caller).await? {
            self.proven(caller, factors)?;
            self.check_current(caller, current).await?;
        }
        let hash = self.sign_ins.hasher.hash(new, caller.address).await?;
        let sentence = format!("{} set a password", who.name.name());
        let event = self.event("password.change", &caller.actor(), sentence);
        let event = event.on(audit::party_of(who));
        let tell = move |ended: &u64| event.with("signInsEnded", json!(ended)).only();
        let at = self.clock.now();
        tenant.set_password(who.id, hash, at, Some(caller.credential), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(())
    }

    /// Tells whether the caller signed in with a link just now: who forgot a password got it from an administrator.
    async fn came_by_link(&self, caller: &Caller) -> Result<bool, Refusal> {
        let tenant = self.store.tenant(caller.principal.tenant);
        let credential = tenant.find_credential_by_id(caller.credential).await?;
        let now = self.clock.now();
        Ok(credential.is_some_and(|credential| {
            matches!(credential.origin.method.as_deref(), Some("link" | "invitation"))
                && now.since(credential.created_at) < LINK_FRESH
        }))
    }

    async fn check_current(
        &self,
        caller: &Caller,
        current: Option<Password>,
    ) -> Result<(), Refusal> {
        let who = &caller.principal;
        let Some(hash) = self.store.tenant(who.tenant).find_password_of(who.id).await? else {
            return Ok(());
        };
        let wrong = || {
            let sentence = "Your password until now is wrong. Give it, or ask for a sign-in link.";
            Refusal::Said(Code::ProofRefused, sentence.into())
        };
        let visitor = Visitor { address: caller.address, agent: None };
        let subjects = [Subject::pair(&format!("password/{}", who.id), caller.address)];
        self.begin_try(&subjects, &visitor).await?;
        let current = current.ok_or_else(wrong)?;
        let checked = self.sign_ins.hasher.check(current, Some(hash), caller.address).await?;
        if checked != Checked::Wrong {
            self.sign_ins.attempts.succeeded(&subjects, Instant::now());
            return Ok(());
        }
        let sentence = format!("{} gave a wrong password", who.name.name());
        let event = self.event("password.refused", &caller.actor(), sentence);
        self.note(event.on(audit::party_of(who)).denied(Code::ProofRefused)).await;
        Err(wrong())
    }
}
