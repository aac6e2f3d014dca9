//! Access tokens are made here, and nowhere else.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::service::ClientKind;
use adit_domain::{
    Capabilities, FamilyId, Principal, PrincipalId, Secret, Timestamp, TokenId, scope,
};
use adit_store::{Flow, Issue, NewAccessToken, NewFamily, NewRefreshToken, SecretHash};
use serde_json::json;

use super::Issued;
use super::claims::Claims;
use super::client::Client;
use super::fault::{Fault, Reason};
use crate::Gateway;
use crate::audit::{self, Actor, Draft};
use crate::bus::Change;
use crate::token::{self, Plane};

/// An access token that was signed and is not stored yet.
pub(super) struct Signed {
    pub(super) row: NewAccessToken,
    pub(super) token: Secret<String>,
}

/// A refresh token that was made and is not stored yet.
pub(super) struct Refresh {
    pub(super) row: NewRefreshToken,
    pub(super) token: Secret<String>,
}

/// A user's yes, about to become tokens.
pub(super) struct Approved<'a> {
    pub(super) principal: &'a Principal,
    pub(super) client: &'a Client,
    pub(super) flow: Flow,
    pub(super) scopes: Capabilities,
    pub(super) address: Option<IpAddr>,
}

/// Tokens that were made, and what is stored of them.
pub(super) struct Made {
    pub(super) issue: Issue,
    pub(super) event: Draft,
    pub(super) answer: Issued,
}

impl Gateway {
    /// Gives a client an access token for itself (RFC 6749 §4.4).
    ///
    /// # Errors
    /// [`Reason::UnauthorizedClient`] for one that keeps no secret, [`Reason::InvalidScope`].
    pub async fn token_for_client(
        &self,
        client: &Client,
        scope: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let service = match client {
            Client::Service(service) if service.kind == ClientKind::Confidential => service,
            _ => {
                let sentence = "A client without a secret cannot act for itself.";
                return Err(Fault::new(Reason::UnauthorizedClient, sentence));
            }
        };
        let scopes = match client.wanted(scope) {
            Ok(scopes) => scopes,
            Err(fault) => {
                let actor = Actor::principal(&service.principal, address);
                return Err(self.refused_token(&actor, fault).await);
            }
        };
        self.issue_alone(client, &service.principal, scopes, (Flow::Client, None), address).await
    }

    /// Issues an access token that nothing renews, to a service for itself.
    pub(super) async fn issue_alone(
        &self,
        client: &Client,
        service: &Principal,
        scopes: Capabilities,
        (flow, subject): (Flow, Option<String>),
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let at = self.clock.now();
        let signed = self.sign_access(service.id, client, scopes, at)?;
        let family = NewFamily {
            id: FamilyId::new(&*self.ids),
            principal: service.id,
            client: client.service(),
            flow,
            scopes,
            subject: subject.clone(),
            expires_at: None,
            at,
        };
        let actor = Actor::principal(service, address);
        let mut event = self.issue_event(&actor, service, &signed.row, scopes);
        if let Some(subject) = subject {
            event = event.with("subject", json!(subject));
        }
        let issue = Issue { family, access: signed.row, refresh: None };
        let tenant = self.store.tenant(service.tenant);
        tenant.create_family(issue, move |()| event.only()).await?;
        self.bus.tell(service.tenant, Change::Audit);
        Ok(self.answer(signed, scopes, None))
    }

    /// Makes both tokens of an authorization by a user.
    pub(super) fn make_for_user(&self, approved: &Approved<'_>) -> Result<Made, Fault> {
        let at = self.clock.now();
        let Approved { principal, client, flow, scopes, address } = *approved;
        let signed = self.sign_access(principal.id, client, scopes, at)?;
        let refresh = self.make_refresh(at);
        let family = NewFamily {
            id: FamilyId::new(&*self.ids),
            principal: principal.id,
            client: client.service(),
            flow,
            scopes,
            subject: None,
            expires_at: Some(refresh.row.expires_at),
            at,
        };
        let actor = Actor {
            client: Some(client.name().to_owned()),
            ..Actor::principal(principal, address)
        };
        let event = self.issue_event(&actor, principal, &signed.row, scopes);
        let issue = Issue { family, access: signed.row, refresh: Some(refresh.row) };
        Ok(Made { issue, event, answer: self.answer(signed, scopes, Some(refresh.token)) })
    }

    pub(super) fn make_refresh(&self, at: Timestamp) -> Refresh {
        let minted = token::mint(Plane::Refresh, &*self.ids);
        let row = NewRefreshToken {
            id: TokenId::new(&*self.ids),
            hash: SecretHash(minted.hash.0),
            expires_at: at + self.settings.oauth.refresh_life,
        };
        Refresh { row, token: minted.secret }
    }

    pub(super) fn issue_event(
        &self,
        actor: &Actor,
        principal: &Principal,
        row: &NewAccessToken,
        scopes: Capabilities,
    ) -> Draft {
        let sentence = format!("{} got an access token", principal.name.name());
        self.event("access_token.issue", actor, sentence)
            .on(audit::party_of(principal))
            .with("token", json!(row.id.to_string()))
            .with("scopes", json!(scopes.names()))
    }

    /// Audits that no token was issued, and gives the reason on.
    pub(super) async fn refused_token(&self, actor: &Actor, fault: Fault) -> Fault {
        let event = self
            .event("access_token.refused", actor, "A request for an access token was refused")
            .with("error", json!(fault.reason.as_str()))
            .denied(adit_domain::Code::RequestInvalid);
        self.note(event).await;
        fault
    }

    /// Signs an access token.
    pub(super) fn sign_access(
        &self,
        subject: PrincipalId,
        client: &Client,
        scopes: Capabilities,
        at: Timestamp,
    ) -> Result<Signed, Fault> {
        let id = TokenId::new(&*self.ids);
        let exp = (at + self.settings.oauth.access_life).seconds();
        let claims = Claims {
            iss: self.settings.issuer().to_owned(),
            sub: subject.to_string(),
            aud: self.settings.audience(),
            exp,
            iat: at.seconds(),
            jti: id.to_string(),
            client_id: client.id(),
            scope: scope::write(scopes),
        };
        let token = self.oauth.keys.sign(&claims, at).map_err(|error| {
            tracing::error!(%error, "no access token could be made");
            let sentence = "The gateway has no key to sign with. The log has the reason.";
            Fault::new(Reason::ServerError, sentence)
        })?;
        let expires_at = Timestamp(exp.saturating_mul(1000));
        Ok(Signed { row: NewAccessToken { id, expires_at }, token: Secret::new(token) })
    }

    pub(super) fn answer(
        &self,
        signed: Signed,
        scopes: Capabilities,
        refresh: Option<Secret<String>>,
    ) -> Issued {
        let expires_in = signed.row.expires_at.since(self.clock.now()).max(Duration::from_secs(1));
        Issued {
            access: signed.token,
            // What was cut off to whole seconds belongs to it.
            expires_in: expires_in.as_millis().div_ceil(1000).try_into().unwrap_or(1),
            scope: scope::write(scopes),
            refresh,
        }
    }
}
