//! People.

use adit_domain::policy::{Conditions, Selection};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capability, Code, GrantId, Principal, PrincipalId, PrincipalKind, PrincipalName, TenantId,
};
use adit_store::{Account, FirstAdmin, Holder, NewGrant, NewPrincipal, Paging};

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;

/// The name of the administrator that `adit up` makes.
pub const FIRST_ADMIN: &str = "admin";

impl Gateway {
    /// Finds the first administrator, making it if there is nobody yet.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not take it.
    pub async fn first_admin(&self) -> Result<Principal, Refusal> {
        let name =
            PrincipalName::new(PrincipalKind::User, FIRST_ADMIN).expect("the name is well formed");
        let principal =
            Principal { id: PrincipalId::new(&*self.ids), tenant: TenantId::SEED, name };
        let at = self.clock.now();
        let new = NewPrincipal { id: principal.id, name: principal.name.clone(), email: None, at };
        let grant = NewGrant {
            id: GrantId::new(&*self.ids),
            holder: Holder::Principal(principal.id),
            role: BuiltInRole::Admin.as_str().to_owned(),
            on: Selection::All,
            conditions: Conditions::default(),
            expires_at: None,
            at,
        };
        let event = self
            .event("user.add", &Actor::gateway(self), "The first administrator was made")
            .on(audit::party_of(&principal));
        let tell = move |made: &FirstAdmin| match made {
            FirstAdmin::Created => event.only(),
            FirstAdmin::Exists(_) => vec![],
        };
        let tenant = self.store.tenant(TenantId::SEED);
        match tenant.create_first_admin(new, grant, tell).await? {
            FirstAdmin::Created => Ok(principal),
            FirstAdmin::Exists(_) => {
                let found = tenant.find_principal_named(&principal.name).await?;
                found.map(|a| a.principal).ok_or(Refusal::Said(
                    Code::PrincipalInactive,
                    "The user `admin` was removed. Ask another administrator for a sign-in link."
                        .into(),
                ))
            }
        }
    }

    /// Tells whether nobody has been added yet.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn is_new(&self) -> Result<bool, Refusal> {
        let page = self.store.tenant(TenantId::SEED).list_principals(&Paging::first(1)).await?;
        Ok(page.items.is_empty())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken.
    pub async fn add_user(
        &self,
        caller: &Caller,
        name: &str,
        email: Option<String>,
    ) -> Result<Account, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let name = PrincipalName::new(PrincipalKind::User, name)
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        let principal =
            Principal { id: PrincipalId::new(&*self.ids), tenant: caller.principal.tenant, name };
        let at = self.clock.now();
        let new = NewPrincipal {
            id: principal.id,
            name: principal.name.clone(),
            email: email.clone(),
            at,
        };
        let event = self
            .event("user.add", &caller.actor(), format!("{} was added", principal.name.name()))
            .on(audit::party_of(&principal))
            .only();
        self.store.tenant(principal.tenant).create_principal(new, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(Account { principal, email, active: true, created_at: at })
    }

    /// Removes a user: its tokens, grants and live sessions end.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn remove_user(&self, caller: &Caller, id: PrincipalId) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let account = self.find_user(caller, id).await?;
        let event = self
            .event(
                "user.remove",
                &caller.actor(),
                format!("{} was removed", account.principal.name.name()),
            )
            .on(audit::party_of(&account.principal));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.deactivate_principal(id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Finds a user of the caller's tenant.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn find_user(&self, caller: &Caller, id: PrincipalId) -> Result<Account, Refusal> {
        let found = self.store.tenant(caller.principal.tenant).find_principal(id).await?;
        let is_user = |a: &Account| a.active && a.principal.name.kind() == PrincipalKind::User;
        found.filter(is_user).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Finds a principal by its written name.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn find_named(&self, caller: &Caller, name: &str) -> Result<Account, Refusal> {
        let name: PrincipalName =
            name.parse().map_err(|error: adit_domain::principal::BadPrincipalName| {
                Refusal::Said(Code::RequestInvalid, error.to_string())
            })?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let found = tenant.find_principal_named(&name).await?;
        found.filter(|a| a.active).ok_or_else(|| {
            Refusal::Said(
                Code::NotFound,
                format!("There is no {name}. `adit user ls` lists people."),
            )
        })
    }
}
