//! Codes and refresh tokens become tokens, each once; who shows one a second time ends what came of it.

use std::net::IpAddr;

use adit_domain::{Code, FamilyId, Secret, TenantId};
use adit_store::{AuthCode, Flow, RefreshToken, SecretHash};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::Issued;
use super::client::Client;
use super::fault::{Fault, Reason};
use super::issue::Approved;
use crate::Gateway;
use crate::audit::Actor;
use crate::bus::Change;
use crate::token::{self, Plane};

/// What a client shows for a code (RFC 6749 §4.1.3, RFC 7636 §4.5).
#[derive(Debug)]
pub struct CodeShown {
    /// The code.
    pub code: Secret<String>,
    /// Where it was sent.
    pub redirect_uri: Option<String>,
    /// What its challenge is the hash of.
    pub verifier: Option<Secret<String>>,
}

impl Gateway {
    /// Gives tokens for a code, once. A code that is shown again ends what came of it (BRW-18).
    ///
    /// # Errors
    /// [`Reason::InvalidGrant`] alike for a code that was used, has expired, never was, or is another client's.
    pub async fn token_for_code(
        &self,
        client: &Client,
        shown: &CodeShown,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let actor = Actor::nobody(address);
        let Ok(hash) = token::read(Plane::AuthCode, shown.code.expose()) else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let hash = SecretHash(hash.0);
        let found = self.store.find_auth_code(hash).await?;
        let mine = found.filter(|code| Some(code.client) == client.service());
        let Some(code) = mine else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        if code.used_at.is_some() {
            return Err(self.code_again(&code, client, &actor).await);
        }
        let tenant = self.store.tenant(code.tenant);
        let at = self.clock.now();
        if !is_shown_rightly(&code, shown) {
            // Whoever has the code without its verifier gets no second try.
            tenant.use_auth_code(code.id, None, at, adit_store::silent).await?;
            return Err(self.refused_token(&actor, Fault::grant()).await);
        }
        let account = tenant.find_principal(code.principal).await?.filter(|a| a.active);
        let Some(account) = account else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let (scopes, flow) = (code.scopes, Flow::Code);
        let approved = Approved { principal: &account.principal, client, flow, scopes, address };
        let made = self.make_for_user(&approved)?;
        let event = made.event;
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        if tenant.use_auth_code(code.id, Some(made.issue), at, tell).await? {
            self.bus.tell(tenant.id(), Change::Access);
            return Ok(made.answer);
        }
        match self.store.find_auth_code(hash).await? {
            Some(code) if code.used_at.is_some() => {
                Err(self.code_again(&code, client, &actor).await)
            }
            _ => Err(self.refused_token(&actor, Fault::grant()).await),
        }
    }

    async fn code_again(&self, code: &AuthCode, client: &Client, actor: &Actor) -> Fault {
        let sentence = format!("A code of {} was shown again", client.name());
        match code.family {
            Some(family) => {
                self.end_family(code.tenant, family, "code.reuse", sentence, actor).await
            }
            None => Fault::grant(),
        }
    }

    /// Gives the next tokens for a refresh token, once. One that is shown again ends its whole family (BRW-20).
    ///
    /// # Errors
    /// [`Reason::InvalidGrant`] alike for one that was used, has expired, never was, or is another client's; [`Reason::InvalidScope`]
    /// for more than was approved.
    pub async fn token_for_refresh(
        &self,
        client: &Client,
        shown: &Secret<String>,
        scope: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let actor = Actor::nobody(address);
        let Ok(hash) = token::read(Plane::Refresh, shown.expose()) else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let found = self.store.find_refresh_token(SecretHash(hash.0)).await?;
        let mine = found.filter(|token| token.family.client == client.service());
        let Some(refresh) = mine else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let at = self.clock.now();
        if refresh.used_at.is_some() {
            return Err(self.refresh_again(&refresh, &actor).await);
        }
        if refresh.expires_at <= at {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        }
        let family = &refresh.family;
        let scopes = match scope.map(str::trim).filter(|scope| !scope.is_empty()) {
            None => family.scopes,
            Some(scope) => adit_domain::scope::read(scope)?,
        };
        if let Some(missing) = scopes.without(family.scopes).iter().next() {
            let sentence = format!("The scope {missing} was not approved.");
            return Err(Fault::new(Reason::InvalidScope, sentence));
        }
        let signed = self.sign_access(family.principal.id, client, scopes, at)?;
        let next = self.make_refresh(at);
        let by = Actor {
            client: Some(client.name().to_owned()),
            ..Actor::principal(&family.principal, address)
        };
        let event = self.issue_event(&by, &family.principal, &signed.row, scopes);
        let event = event.with("refreshed", json!(true));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(family.principal.tenant);
        let rows = (signed.row, next.row);
        if tenant.rotate_refresh_token(refresh.id, family.id, rows, at, tell).await? {
            self.bus.tell(tenant.id(), Change::Audit);
            return Ok(self.answer(signed, scopes, Some(next.token)));
        }
        Err(self.refresh_again(&refresh, &actor).await)
    }

    async fn refresh_again(&self, refresh: &RefreshToken, actor: &Actor) -> Fault {
        let family = &refresh.family;
        let name = family.principal.name.name();
        let sentence =
            format!("A refresh token of {name} was shown again; what it belongs to ended");
        self.end_family(family.principal.tenant, family.id, "refresh.reuse", sentence, actor).await
    }

    async fn end_family(
        &self,
        tenant: TenantId,
        family: FamilyId,
        name: &str,
        sentence: String,
        actor: &Actor,
    ) -> Fault {
        let event = self
            .event(name, actor, sentence)
            .with("authorization", json!(family.to_string()))
            .denied(Code::AuthEnded)
            .only();
        let ended =
            self.store.tenant(tenant).revoke_family(family, self.clock.now(), |_| event).await;
        self.bus.tell(tenant, Change::Access);
        ended.map_or_else(Fault::from, |_| Fault::grant())
    }
}

fn is_shown_rightly(code: &AuthCode, shown: &CodeShown) -> bool {
    let verified = match (&code.challenge, &shown.verifier) {
        (Some(challenge), Some(verifier)) => {
            is_verifier(verifier.expose()) && hash_of(verifier.expose()) == *challenge
        }
        // RFC 9700 §4.8.2: a verifier without a challenge is a sign of a code that was put there.
        (None, None) => true,
        _ => false,
    };
    verified && shown.redirect_uri.as_deref() == Some(&code.redirect_uri)
}

fn is_verifier(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&text.len()) && text.bytes().all(plain)
}

fn hash_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_checked_as_the_standard_computes_it() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(is_verifier(verifier));
        assert_eq!(hash_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        for bad in ["", "short", &"a".repeat(129), &format!("{verifier}+")] {
            assert!(!is_verifier(bad));
        }
    }
}
