//! Tenants: whose data is whose. With one, nobody sees that there are any.

use adit_domain::policy::{Conditions, Selection, Target};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capabilities, Capability, Code, GrantId, Principal, PrincipalId, PrincipalKind, PrincipalName,
    TenantId, TokenId,
};
use adit_store::{
    CredentialKind, Holder, NewCredential, NewGrant, NewPrincipal, SecretHash, Tenant, TenantAdmin,
};

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::name;
use crate::sign_in::{Issued, LINK_LIFE, shown_prefix};
use crate::token::{self, Plane};

impl Gateway {
    /// Makes a tenant with its first administrator, who comes in by the code that is given back once.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken, policy's reason otherwise.
    pub async fn add_tenant(
        &self,
        caller: &Caller,
        name: &str,
        admin: &str,
    ) -> Result<(Tenant, Principal, Issued), Refusal> {
        self.permit_gateway(caller).await?;
        name::check("tenant", name)?;
        let admin = PrincipalName::new(PrincipalKind::User, admin)
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        let at = self.clock.now();
        let tenant =
            Tenant { id: TenantId::new(&*self.ids), name: name.to_owned(), created_at: at };
        let principal =
            Principal { id: PrincipalId::new(&*self.ids), tenant: tenant.id, name: admin };
        let minted = token::mint(Plane::SignIn, &*self.ids);
        let code = NewCredential {
            id: TokenId::new(&*self.ids),
            principal: principal.id,
            kind: CredentialKind::SignInCode,
            name: "sign-in link".to_owned(),
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            expires_at: Some(at + LINK_LIFE),
            at,
        };
        let issued = Issued { id: code.id, secret: minted.secret, expires_at: code.expires_at };
        let role = NewGrant {
            id: GrantId::new(&*self.ids),
            holder: Holder::Principal(principal.id),
            role: BuiltInRole::Admin.as_str().to_owned(),
            on: Selection::All,
            conditions: Conditions::default(),
            expires_at: None,
            at,
        };
        let new = NewPrincipal { id: principal.id, name: principal.name.clone(), email: None, at };
        let event = self
            .event("tenant.add", &caller.actor(), format!("The tenant {name} was made"))
            .on(audit::party("tenant", tenant.id.0, name))
            .only();
        let first = TenantAdmin { principal: new, role, code };
        self.store.add_tenant(tenant.clone(), first, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok((tenant, principal, issued))
    }

    /// Removes a tenant: whatever its people and machines hold opens nothing any more, and their sessions end.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none, [`Code::Conflict`] for the first one.
    pub async fn remove_tenant(&self, caller: &Caller, id: TenantId) -> Result<(), Refusal> {
        self.permit_gateway(caller).await?;
        if id == TenantId::SEED {
            let sentence = "The first tenant is the gateway's own and stays.";
            return Err(Refusal::Said(Code::Conflict, sentence.into()));
        }
        let event = self
            .event("tenant.remove", &caller.actor(), "A tenant was removed")
            .on(audit::party("tenant", id.0, ""));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let done = self.store.remove_tenant(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Lists the tenants.
    ///
    /// # Errors
    /// Policy's reason.
    pub async fn list_tenants(&self, caller: &Caller) -> Result<Vec<Tenant>, Refusal> {
        self.permit_gateway(caller).await?;
        Ok(self.store.list_named_tenants().await?)
    }

    async fn permit_gateway(&self, caller: &Caller) -> Result<(), Refusal> {
        self.permit_gateway_to(caller, Capability::TenantManage).await
    }

    /// Decides who reads what the gateway counts of all tenants together.
    ///
    /// # Errors
    /// As [`Self::permit_gateway_to`].
    pub async fn permit_metrics(&self, caller: &Caller) -> Result<(), Refusal> {
        self.permit_gateway_to(caller, Capability::AuditRead).await
    }

    /// Decides about what is the gateway's own and no tenant's: its tenants, the keys that sign for all of them.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] for people of other tenants than the first, policy's reason otherwise.
    pub(crate) async fn permit_gateway_to(
        &self,
        caller: &Caller,
        one: Capability,
    ) -> Result<(), Refusal> {
        self.permit(caller, Capabilities::of(&[one]), Target::Gateway, None).await.map(drop)
    }
}
