//! Tokens are taken back here, by their clients and by their users, and clients ask whether one counts.

use std::net::IpAddr;

use adit_domain::service::ClientKind;
use adit_domain::{
    Capabilities, Capability, Code, FamilyId, Principal, PrincipalId, Secret, TenantId, Timestamp,
};
use adit_store::{AccessToken, Cursor, Family, Page, Paging, SecretHash};
use serde_json::json;

use super::CLI;
use super::claims::{Claims, Statement};
use super::client::Client;
use super::fault::{Fault, Reason};
use super::key::Verified;
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::token::{self, Plane};

/// What is known of a token that counts.
#[derive(Debug)]
pub struct Told {
    /// What it opens.
    pub scopes: Capabilities,
    /// Who holds it.
    pub client: String,
    /// For whom it speaks.
    pub principal: Principal,
    /// Until when.
    pub expires_at: Timestamp,
    /// What it is: `Bearer`, or `refresh_token`.
    pub kind: &'static str,
}

impl Gateway {
    /// Revokes a token of a client's own; anything else changes nothing.
    ///
    /// # Errors
    /// [`Fault`] when the database does not answer.
    pub async fn revoke_oauth_token(
        &self,
        client: &Client,
        shown: &Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        if let Ok(hash) = token::read(Plane::Refresh, shown.expose()) {
            let found = self.store.find_refresh_token(SecretHash(hash.0)).await?;
            if let Some(refresh) = found.filter(|r| r.family.client == client.service()) {
                let by = Actor::principal(&refresh.family.principal, address);
                self.revoke_family(&refresh.family, &by).await?;
            }
            return Ok(());
        }
        let Some((statement, row)) = self.standing_access(shown.expose(), now).await? else {
            return Ok(());
        };
        if row.client_id != client.service() {
            return Ok(());
        }
        let by = Actor { client: row.client.clone(), ..Actor::principal(&row.principal, address) };
        let sentence = format!("An access token of {} was revoked", row.principal.name.name());
        let event = self
            .event("access_token.revoke", &by, sentence)
            .on(audit::party_of(&row.principal))
            .with("token", json!(statement.id.to_string()));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(row.principal.tenant);
        tenant.revoke_access_token(statement.id, now, tell).await?;
        self.bus.tell(tenant.id(), Change::Access);
        Ok(())
    }

    /// Says whether a token counts; `None` for one that does not, or is none of the client's business.
    ///
    /// # Errors
    /// [`Reason::UnauthorizedClient`] for a client that keeps no secret: anybody could ask in its name.
    pub async fn introspect(
        &self,
        client: &Client,
        shown: &Secret<String>,
    ) -> Result<Option<Told>, Fault> {
        let tenant = match client {
            Client::Service(service) if service.kind == ClientKind::Confidential => {
                service.principal.tenant
            }
            _ => {
                let sentence = "A client without a secret cannot ask about tokens.";
                return Err(Fault::new(Reason::UnauthorizedClient, sentence));
            }
        };
        let now = self.clock.now();
        if let Ok(hash) = token::read(Plane::Refresh, shown.expose()) {
            let found = self.store.find_refresh_token(SecretHash(hash.0)).await?;
            let counts = found.filter(|refresh| {
                let mine = refresh.family.client == client.service();
                mine && refresh.used_at.is_none() && refresh.expires_at > now
            });
            return Ok(counts.map(|refresh| Told {
                scopes: refresh.family.scopes,
                client: client.id(),
                principal: refresh.family.principal,
                expires_at: refresh.expires_at,
                kind: "refresh_token",
            }));
        }
        let found = self.standing_access(shown.expose(), now).await?;
        let ours = found.filter(|(_, row)| row.principal.tenant == tenant);
        Ok(ours.map(|(statement, row)| Told {
            scopes: statement.scopes,
            client: row.client_id.map_or_else(|| CLI.to_owned(), |id| id.to_string()),
            principal: row.principal,
            expires_at: statement.expires_at,
            kind: "Bearer",
        }))
    }

    async fn standing_access(
        &self,
        shown: &str,
        now: Timestamp,
    ) -> Result<Option<(Statement, AccessToken)>, Fault> {
        let Verified::Signed(payload) = self.oauth.keys.verify(shown, now) else { return Ok(None) };
        let (iss, aud) = (self.settings.issuer(), self.settings.audience());
        let Some(statement) = Claims::read(&payload, iss, &aud, now) else { return Ok(None) };
        let row = self.store.find_access_token(statement.id, now).await?;
        Ok(row.filter(|row| row.principal.id == statement.subject).map(|row| (statement, row)))
    }

    /// Lists what a user let act for them: command lines and clients.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not: everybody sees their own.
    pub async fn list_authorizations(
        &self,
        caller: &Caller,
        of: PrincipalId,
        paging: &Paging,
    ) -> Result<(Vec<Family>, Option<Cursor>), Refusal> {
        if !caller.owns(of, Capabilities::NONE) {
            self.permit_tenant(caller, Capability::AccessManage).await?;
        }
        let tenant = self.store.tenant(caller.principal.tenant);
        let Page { items, next } = tenant.list_families(of, self.clock.now(), paging).await?;
        Ok((items, next))
    }

    /// Ends what a user let act for them: its tokens count no more, and its live sessions end.
    ///
    /// # Errors
    /// [`Code::NotFound`] alike for one that is not there and one that is none of the caller's business.
    pub async fn end_authorization(&self, caller: &Caller, id: FamilyId) -> Result<(), Refusal> {
        let tenant = self.store.tenant(caller.principal.tenant);
        let family = tenant.find_family(id).await?.ok_or(Refusal::Code(Code::NotFound))?;
        if !caller.owns(family.principal.id, Capabilities::NONE) {
            self.permit_tenant(caller, Capability::AccessManage).await?;
        }
        if self.revoke_family(&family, &caller.actor()).await? {
            Ok(())
        } else {
            Err(Code::NotFound.into())
        }
    }

    async fn revoke_family(&self, family: &Family, by: &Actor) -> Result<bool, Refusal> {
        let tenant: TenantId = family.principal.tenant;
        let client = family.client_name.as_deref().unwrap_or(CLI);
        let name = family.principal.name.name();
        let event = self
            .event("authorization.revoke", by, format!("{client} acts no more for {name}"))
            .on(audit::party_of(&family.principal))
            .with("authorization", json!(family.id.to_string()))
            .with("client", json!(client));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let done =
            self.store.tenant(tenant).revoke_family(family.id, self.clock.now(), tell).await?;
        self.bus.tell(tenant, Change::Access);
        Ok(done)
    }
}
