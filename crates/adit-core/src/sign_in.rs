//! Sign-in links, cookies and API tokens: how a person's or a script's credential becomes a [`Caller`].
//!
//! Passwords are in `sign_in/password.rs`, second factors in `sign_in/second_factor.rs`, passkeys in `sign_in/passkey.rs`, invitations and
//! the setup token in `sign_in/invitation.rs`.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::{Code, Ids, Principal, Secret, Timestamp, TokenId};
use adit_store::{
    Credential, CredentialKind, NewCookie, NewCredential, Origin, Proof, SecretHash, SignedIn,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::keys::Keys;
use crate::sealing::Sealer;
use crate::settings::Settings;
use crate::token::{self, Plane};
use attempts::{Attempts, Limited, Subject};
use hasher::Hasher;

pub mod attempts;
mod hasher;
pub mod invitation;
pub mod passkey;
pub mod password;
pub mod second_factor;
mod sign_ins;

/// How long a sign-in link works.
pub const LINK_LIFE: Duration = Duration::from_secs(600);

/// How long a console's cookie works: a working day, so that nobody signs in twice in one.
pub const COOKIE_LIFE: Duration = Duration::from_secs(12 * 3600);

/// A secret that was just made for somebody, and how long it works.
#[derive(Debug)]
pub struct Issued {
    /// Its handle.
    pub id: TokenId,
    /// The secret, to be shown once.
    pub secret: Secret<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Who comes to sign in.
#[derive(Clone, Default, Debug)]
pub struct Visitor {
    /// From which address.
    pub address: Option<IpAddr>,
    /// With which browser or program, in a few words.
    pub agent: Option<String>,
}

/// What a sign-in is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The console's cookie.
    Console,
    /// An API token for the command line.
    Client,
}

/// Where a sign-in stands.
#[derive(Debug)]
pub enum Entry {
    /// Done.
    In(Entered),
    /// A second factor is missing.
    Next(Pending),
}

/// A sign-in that is done.
#[derive(Debug)]
pub struct Entered {
    /// Who.
    pub principal: Principal,
    /// The cookie or token.
    pub issued: Issued,
    /// Which of them.
    pub wanted: Wanted,
}

/// A sign-in that waits for its second factor.
#[derive(Debug)]
pub struct Pending {
    /// What goes on with it.
    pub secret: Secret<String>,
    /// Until when.
    pub expires_at: Timestamp,
    /// What may be shown: `authenticator`, `recovery_code`, `passkey`.
    pub methods: Vec<&'static str>,
}

/// What a sign-in has shown.
struct Arrival {
    principal: Principal,
    wanted: Wanted,
    method: &'static str,
    second_factor: bool,
    step: Option<SecretHash>,
    proof: Proof,
    password: Option<String>,
}

/// What signing in needs.
pub(crate) struct SignIns {
    pub(crate) hasher: Hasher,
    pub(crate) attempts: Attempts,
    pub(crate) sealer: Sealer,
    pub(crate) relying_party: Option<webauthn_rs::Webauthn>,
}

impl SignIns {
    pub(crate) fn new(settings: &Settings, keys: &Keys, ids: &dyn Ids) -> Result<Self, Refusal> {
        let key = crate::derive(keys.session_secret.expose(), b"adit second factors v1");
        let hasher = Hasher::new(settings, ids)?;
        Ok(Self {
            hasher,
            attempts: Attempts::default(),
            sealer: Sealer::new(&key),
            relying_party: passkey::relying_party(&settings.url),
        })
    }
}

impl Gateway {
    /// Makes a sign-in code for somebody: single use, ten minutes.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn issue_sign_in_code(&self, by: &Actor, to: &Principal) -> Result<Issued, Refusal> {
        let expires_at = Some(self.clock.now() + LINK_LIFE);
        let sentence = format!("{} got a sign-in link", to.name.name());
        let event = self.event("sign_in_link.issue", by, sentence);
        self.issue_credential(
            CredentialKind::SignInCode,
            Plane::SignIn,
            to,
            "sign-in link",
            expires_at,
            event,
        )
        .await
    }

    /// Makes an API token for somebody.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn issue_api_token(
        &self,
        by: &Actor,
        to: &Principal,
        name: &str,
        life: Option<Duration>,
    ) -> Result<Issued, Refusal> {
        let expires_at = life.map(|life| self.clock.now() + life);
        let sentence = format!("{} got an API token", to.name.name());
        let event = self.event("token.issue", by, sentence).with("name", json!(name));
        self.issue_credential(CredentialKind::ApiToken, Plane::Api, to, name, expires_at, event)
            .await
    }

    async fn issue_credential(
        &self,
        kind: CredentialKind,
        plane: Plane,
        to: &Principal,
        name: &str,
        expires_at: Option<Timestamp>,
        event: audit::Draft,
    ) -> Result<Issued, Refusal> {
        let minted = token::mint(plane, &*self.ids);
        let id = TokenId::new(&*self.ids);
        let credential = NewCredential {
            id,
            principal: to.id,
            kind,
            name: name.to_owned(),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            expires_at,
            at: self.clock.now(),
        };
        let event = event.on(audit::party_of(to)).with("token", json!(id.to_string())).only();
        self.store.tenant(to.tenant).issue_credential(credential, move |()| event).await?;
        self.bus.tell(to.tenant, Change::Access);
        Ok(Issued { id, secret: minted.secret, expires_at })
    }

    /// Trades a sign-in code for a cookie, once.
    ///
    /// # Errors
    /// [`Code::SignInRefused`] alike for a code that was used, has expired or never was.
    pub async fn sign_in(
        &self,
        code: &str,
        visitor: &Visitor,
    ) -> Result<(Principal, Issued), Refusal> {
        let address = visitor.address;
        let refused = || Refusal::Code(Code::SignInRefused);
        let Ok(hash) = token::read(Plane::SignIn, code) else {
            let event = self
                .event("sign_in.refused", &Actor::nobody(address), "A sign-in was refused")
                .denied(Code::SignInRefused);
            self.note(event).await;
            return Err(refused());
        };
        let cookie = token::mint(Plane::Cookie, &*self.ids);
        let now = self.clock.now();
        let expires_at = now + COOKIE_LIFE;
        let id = TokenId::new(&*self.ids);
        let new = NewCookie {
            id,
            name: "console".to_owned(),
            hash: SecretHash(cookie.hash.0),
            prefix: shown_prefix(cookie.secret.expose()),
            expires_at,
            origin: visitor.origin("link", None),
        };
        let refusal = self
            .event("sign_in.refused", &Actor::nobody(address), "A sign-in was refused")
            .denied(Code::SignInRefused);
        let success =
            self.event("sign_in", &Actor::nobody(address), "").with("method", json!("link"));
        let tell = move |found: &Option<Principal>| match found {
            None => refusal.only(),
            Some(principal) => {
                let sentence = format!("{} signed in to the console", principal.name.name());
                let party = audit::party_of(principal);
                success.on(party.clone()).by(party).saying(sentence).only()
            }
        };
        let found = self.store.consume_sign_in_code(SecretHash(hash.0), now, new, tell).await?;
        let principal = found.ok_or_else(refused)?;
        self.bus.tell(principal.tenant, Change::Audit);
        Ok((principal, Issued { id, secret: cookie.secret, expires_at: Some(expires_at) }))
    }

    /// Ends a sign-in that has shown all that it needs. `None`: what it showed was used before, or its user is gone.
    async fn enter(&self, arrival: Arrival, visitor: &Visitor) -> Result<Option<Entered>, Refusal> {
        let Arrival { principal, wanted, method, second_factor, step, proof, password } = arrival;
        let now = self.clock.now();
        let (kind, plane, name) = match wanted {
            Wanted::Console => (CredentialKind::Cookie, Plane::Cookie, "console"),
            Wanted::Client => (CredentialKind::ApiToken, Plane::Api, "adit login"),
        };
        let minted = token::mint(plane, &*self.ids);
        let (id, expires_at) = (TokenId::new(&*self.ids), Some(now + COOKIE_LIFE));
        let credential = NewCredential {
            id,
            principal: principal.id,
            kind,
            name: name.to_owned(),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            expires_at,
            at: now,
        };
        let origin = visitor.origin(method, second_factor.then_some(now));
        let (event, refusal) = self.sign_in_events(&principal, method, second_factor, visitor);
        let tell = move |done: &Option<Principal>| match done {
            Some(_) => event.only(),
            None => refusal.only(),
        };
        let new = SignedIn { step, proof, password, credential, origin };
        let done = self.store.tenant(principal.tenant).sign_in(new, tell).await?;
        self.bus.tell(principal.tenant, Change::Audit);
        let issued = Issued { id, secret: minted.secret, expires_at };
        Ok(done.map(|principal| Entered { principal, issued, wanted }))
    }

    fn sign_in_events(
        &self,
        principal: &Principal,
        method: &str,
        second_factor: bool,
        visitor: &Visitor,
    ) -> (audit::Draft, audit::Draft) {
        let (name, party) = (principal.name.name(), audit::party_of(principal));
        let event = |what: &str, sentence: String| {
            self.event(what, &Actor::nobody(visitor.address), sentence)
                .on(party.clone())
                .with("method", json!(method))
                .with("secondFactor", json!(second_factor))
        };
        let success = event("sign_in", format!("{name} signed in with a {method}"));
        let refusal = event("sign_in.refused", format!("A sign-in as {name} was refused"));
        (success.by(party.clone()), refusal.denied(Code::ProofRefused))
    }

    /// Counts a try against its subjects.
    ///
    /// # Errors
    /// [`Code::AuthLimited`] with how long to wait.
    // BRW-45
    async fn begin_try(&self, subjects: &[Subject], visitor: &Visitor) -> Result<(), Refusal> {
        let Err(limited) = self.sign_ins.attempts.begin(subjects, std::time::Instant::now()) else {
            return Ok(());
        };
        Err(self.limited(limited, visitor).await)
    }

    async fn limited(&self, limited: Limited, visitor: &Visitor) -> Refusal {
        metrics::counter!("adit_sign_ins_limited_total").increment(1);
        if limited.is_news {
            let sentence = "Sign-ins are refused for a while: too many were wrong";
            let event = self.event("sign_in.refused", &Actor::nobody(visitor.address), sentence);
            self.note(event.denied(Code::AuthLimited)).await;
        }
        Refusal::Later(Code::AuthLimited, limited.wait)
    }

    /// Finds who a cookie belongs to.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] for one that does not count.
    pub async fn caller_by_cookie(
        &self,
        cookie: &str,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        self.caller(CredentialKind::Cookie, Plane::Cookie, cookie, address).await
    }

    /// Finds who an API token, or an access token of the OAuth2 server, belongs to.
    ///
    /// # Errors
    /// [`Code::AuthRequired`], or [`Code::PlaneWrong`] for another plane's credential, which is audited.
    pub async fn caller_by_token(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        if presented.starts_with(token::ACCESS_TOKEN) {
            return self.caller_by_access_token(presented, address).await;
        }
        self.caller(CredentialKind::ApiToken, Plane::Api, presented, address).await
    }

    async fn caller(
        &self,
        kind: CredentialKind,
        plane: Plane,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let hash = match token::read(plane, presented) {
            Ok(hash) => hash,
            Err(code) => {
                self.note_wrong_plane(code, address).await;
                return Err(code.into());
            }
        };
        let now = self.clock.now();
        let found = self.store.find_credential(kind, SecretHash(hash.0), now).await?;
        let credential = found.ok_or(Refusal::Code(Code::AuthRequired))?;
        let stale =
            credential.last_used_at.is_none_or(|at| now.since(at) > Duration::from_secs(60));
        if stale {
            self.store.touch_credential(credential.id, now).await?;
        }
        Ok(Caller {
            principal: credential.principal,
            credential: credential.id,
            address,
            second_factor_at: credential.origin.second_factor_at,
            limit: None,
            client: None,
        })
    }

    /// Audits a credential that was shown on another plane's door.
    pub async fn note_wrong_plane(&self, code: Code, address: Option<IpAddr>) {
        if code == Code::PlaneWrong {
            let sentence = "A credential of another plane was refused";
            let event = self.event("credential.wrong_plane", &Actor::nobody(address), sentence);
            self.note(event.denied(code)).await;
        }
    }

    /// Ends a credential: its cookie or token opens nothing from now on.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is not there or ended before.
    pub async fn revoke_credential(&self, caller: &Caller, id: TokenId) -> Result<(), Refusal> {
        let event = self.event("token.revoke", &caller.actor(), "");
        let tell = move |ended: &Option<Credential>| match ended {
            None => vec![],
            Some(credential) => {
                let name = credential.principal.name.name();
                let sentence = match credential.kind {
                    CredentialKind::Cookie => format!("{name} signed out"),
                    _ => format!("A token of {name} was revoked"),
                };
                event.on(audit::party_of(&credential.principal)).saying(sentence).only()
            }
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        let ended = tenant.revoke_credential(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }
}

impl Visitor {
    fn origin(&self, method: &str, second_factor_at: Option<Timestamp>) -> Origin {
        Origin {
            method: Some(method.to_owned()),
            address: self.address.map(|address| address.to_string()),
            agent: self.agent.clone(),
            second_factor_at,
        }
    }
}

/// Gives the part of a secret that lists may show.
pub fn shown_prefix(secret: &str) -> String {
    secret.chars().take(8).collect()
}
