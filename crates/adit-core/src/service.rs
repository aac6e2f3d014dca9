//! Services: the clients of the OAuth2 server, each a principal with grants of its own.

use adit_domain::service::ClientKind;
use adit_domain::{
    Capabilities, Capability, Code, Principal, PrincipalId, PrincipalKind, PrincipalName, Secret,
    Timestamp, TokenId,
};
use adit_store::{
    ClientSecret, Cursor, NewClientSecret, NewService, Page, Paging, SecretHash, Service,
};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::oauth::redirect;
use crate::sign_in::shown_prefix;
use crate::token::{self, Plane};

/// What a service is to be like.
#[derive(Clone, Debug)]
pub struct ServiceWish {
    /// Its name.
    pub name: String,
    /// Whether it keeps a secret.
    pub kind: ClientKind,
    /// The most that its tokens open.
    pub scopes: Capabilities,
    /// Where users may be sent back to.
    pub redirect_uris: Vec<String>,
}

/// A service that was just added, and its secret, to be shown once.
#[derive(Debug)]
pub struct AddedService {
    /// The service.
    pub service: Service,
    /// What it shows; none for one that keeps no secret.
    pub secret: Option<Secret<String>>,
}

/// A new secret of a service.
#[derive(Debug)]
pub struct RotatedSecret {
    /// What it shows from now on.
    pub secret: Secret<String>,
    /// Until when those that it had count.
    pub old_until: Timestamp,
}

impl Gateway {
    /// Adds a service. It may do nothing until a grant gives it a role.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken, [`Code::RequestInvalid`] for a wish that cannot be.
    pub async fn add_service(
        &self,
        caller: &Caller,
        wish: ServiceWish,
    ) -> Result<AddedService, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let name = checked(&wish)?;
        let at = self.clock.now();
        let id = PrincipalId::new(&*self.ids);
        let principal = Principal { id, tenant: caller.principal.tenant, name: name.clone() };
        let minted = match wish.kind {
            ClientKind::Confidential => Some(token::mint(Plane::ClientSecret, &*self.ids)),
            ClientKind::Public => None,
        };
        let new = NewService {
            id,
            name,
            kind: wish.kind,
            scopes: wish.scopes,
            redirect_uris: wish.redirect_uris.clone(),
            secret: minted.as_ref().map(|minted| self.kept(minted)),
            at,
        };
        let event = self
            .event("service.add", &caller.actor(), format!("{} was added", principal.name.name()))
            .on(audit::party_of(&principal))
            .with("kind", json!(wish.kind.as_str()))
            .with("scopes", json!(wish.scopes.names()))
            .with("redirectUris", json!(wish.redirect_uris))
            .only();
        let tenant = self.store.tenant(principal.tenant);
        tenant.create_service(new, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        let ServiceWish { kind, scopes, redirect_uris, .. } = wish;
        let service = Service { principal, kind, scopes, redirect_uris, created_at: at };
        Ok(AddedService { service, secret: minted.map(|minted| minted.secret) })
    }

    /// Lists the services.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_services(
        &self,
        caller: &Caller,
        paging: &Paging,
    ) -> Result<(Vec<Service>, Option<Cursor>), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let Page { items, next } = tenant.list_services(paging).await?;
        Ok((items, next))
    }

    /// Shows a service and its secrets that count.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn show_service(
        &self,
        caller: &Caller,
        id: PrincipalId,
    ) -> Result<(Service, Vec<ClientSecret>), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let service = self.find_service(caller, id).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let secrets = tenant.list_client_secrets(id, self.clock.now()).await?;
        Ok((service, secrets))
    }

    /// Gives a service a new secret; those that it had count for a while.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none that keeps a secret.
    pub async fn rotate_service(
        &self,
        caller: &Caller,
        id: PrincipalId,
    ) -> Result<RotatedSecret, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let service = self.find_service(caller, id).await?;
        let minted = token::mint(Plane::ClientSecret, &*self.ids);
        let at = self.clock.now();
        let old_until = at + self.settings.oauth.secret_grace;
        let sentence = format!("{} got a new secret", service.principal.name.name());
        let event = self
            .event("service.rotate", &caller.actor(), sentence)
            .on(audit::party_of(&service.principal))
            .with("oldUntil", json!(old_until.to_string()));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.rotate_client_secret(id, self.kept(&minted), old_until, at, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(RotatedSecret { secret: minted.secret, old_until }) } else { Err(no_secret()) }
    }

    /// Removes a service: its secrets, grants, tokens and live sessions end.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn remove_service(&self, caller: &Caller, id: PrincipalId) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let service = self.find_service(caller, id).await?;
        let sentence = format!("{} was removed", service.principal.name.name());
        let event = self
            .event("service.remove", &caller.actor(), sentence)
            .on(audit::party_of(&service.principal));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.remove_service(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    async fn find_service(&self, caller: &Caller, id: PrincipalId) -> Result<Service, Refusal> {
        let found = self.store.tenant(caller.principal.tenant).find_service(id).await?;
        found.ok_or(Refusal::Code(Code::NotFound))
    }

    fn kept(&self, minted: &token::Minted) -> NewClientSecret {
        NewClientSecret {
            id: TokenId::new(&*self.ids),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
        }
    }
}

fn no_secret() -> Refusal {
    Refusal::Said(Code::RequestInvalid, "This service is public; it has no secret.".into())
}

/// The most addresses of one service that users may be sent back to.
const MAX_REDIRECTS: usize = 20;

fn checked(wish: &ServiceWish) -> Result<PrincipalName, Refusal> {
    let bad = |sentence: String| Refusal::Said(Code::RequestInvalid, sentence);
    let name = PrincipalName::new(PrincipalKind::Service, &wish.name);
    let name = name.map_err(|error| bad(error.to_string()))?;
    if wish.scopes.is_empty() {
        let sentence =
            "Name at least one scope, such as terminal:spawn. `adit role ls` lists them.";
        return Err(bad(sentence.to_owned()));
    }
    if wish.redirect_uris.len() > MAX_REDIRECTS {
        return Err(bad(format!("A service has at most {MAX_REDIRECTS} redirect addresses.")));
    }
    for uri in &wish.redirect_uris {
        redirect::check(uri, wish.kind).map_err(|why| bad(format!("{uri}: {why}")))?;
    }
    Ok(name)
}
