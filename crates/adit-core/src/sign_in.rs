//! Sign-in links, cookies and API tokens: how a person's or a script's credential becomes a [`Caller`].

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::{Code, Principal, Secret, Timestamp, TokenId};
use adit_store::{Credential, CredentialKind, NewCookie, NewCredential, SecretHash};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::token::{self, Plane};

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
        self.bus.tell(Change::Access);
        Ok(Issued { id, secret: minted.secret, expires_at })
    }

    /// Trades a sign-in code for a cookie, once.
    ///
    /// # Errors
    /// [`Code::SignInRefused`] alike for a code that was used, has expired or never was.
    pub async fn sign_in(
        &self,
        code: &str,
        address: Option<IpAddr>,
    ) -> Result<(Principal, Issued), Refusal> {
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
        };
        let refusal = self
            .event("sign_in.refused", &Actor::nobody(address), "A sign-in was refused")
            .denied(Code::SignInRefused);
        let success = self.event("sign_in", &Actor::nobody(address), "");
        let tell = move |found: &Option<Principal>| match found {
            None => refusal.only(),
            Some(principal) => {
                let sentence = format!("{} signed in to the console", principal.name.name());
                let party = audit::party_of(principal);
                success.on(party.clone()).by(party).saying(sentence).only()
            }
        };
        let found = self.store.consume_sign_in_code(SecretHash(hash.0), now, new, tell).await?;
        self.bus.tell(Change::Audit);
        let principal = found.ok_or_else(refused)?;
        Ok((principal, Issued { id, secret: cookie.secret, expires_at: Some(expires_at) }))
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
            second_factor_at: None,
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
        self.bus.tell(Change::Access);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }
}

/// Gives the part of a secret that lists may show.
pub fn shown_prefix(secret: &str) -> String {
    secret.chars().take(8).collect()
}
