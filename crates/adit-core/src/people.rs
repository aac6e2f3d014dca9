//! People and their roles.

use std::time::Duration;

use adit_domain::policy::{self, Selection, Target};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capabilities, Capability, Code, GrantId, MachineLabel, Principal, PrincipalId, PrincipalKind,
    PrincipalName, TenantId,
};
use adit_store::{Account, FirstAdmin, Grant, NewGrant, NewPrincipal, Paging};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, target_of};
use crate::audit::{self, Actor};
use crate::bus::Change;

/// The name of the administrator that `adit up` makes.
pub const FIRST_ADMIN: &str = "admin";

/// An answer to "why".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Whether it is allowed.
    pub allowed: bool,
    /// In words.
    pub sentence: String,
    /// The grants that allow it.
    pub by: Vec<GrantId>,
    /// The code of the refusal.
    pub code: Option<Code>,
}

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
            principal: principal.id,
            role: BuiltInRole::Admin.as_str().to_owned(),
            on: Selection::All,
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
        self.bus.tell(Change::Access);
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
        self.bus.tell(Change::Access);
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

    /// Gives a role to somebody.
    ///
    /// # Errors
    /// [`Refusal`] for an unknown principal, role or machine.
    pub async fn add_grant(
        &self,
        caller: &Caller,
        principal: &str,
        role: &str,
        machines: Option<Vec<MachineLabel>>,
        life: Option<Duration>,
    ) -> Result<Grant, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let account = self.find_named(caller, principal).await?;
        let known = BuiltInRole::find(role).ok_or_else(|| {
            Refusal::Said(
                Code::RequestInvalid,
                "There is no such role. `adit role ls` lists them.".into(),
            )
        })?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let (on, labels) = self.selection(caller, machines).await?;
        let at = self.clock.now();
        let new = NewGrant {
            id: GrantId::new(&*self.ids),
            principal: account.principal.id,
            role: known.as_str().to_owned(),
            on: on.clone(),
            expires_at: life.map(|life| at + life),
            at,
        };
        let sentence = format!(
            "{} got the role {role} on {}",
            account.principal.name.name(),
            if labels.is_empty() { "everything".to_owned() } else { labels.join(", ") }
        );
        let event = self
            .event("grant.add", &caller.actor(), sentence)
            .on(audit::party_of(&account.principal))
            .with("role", json!(role))
            .with("machines", json!(labels))
            .only();
        let id = new.id;
        tenant.add_grant(new, move |()| event).await?;
        self.bus.tell(Change::Access);
        tenant.find_grant(id).await?.ok_or(Refusal::Code(Code::NotFound))
    }

    async fn selection(
        &self,
        caller: &Caller,
        machines: Option<Vec<MachineLabel>>,
    ) -> Result<(Selection, Vec<String>), Refusal> {
        let Some(labels) = machines else { return Ok((Selection::All, vec![])) };
        let tenant = self.store.tenant(caller.principal.tenant);
        let mut ids = Vec::new();
        for label in &labels {
            let machine = tenant.find_machine_labelled(label).await?;
            let machine = machine.ok_or_else(|| {
                Refusal::Said(
                    Code::TargetUnknown,
                    format!("There is no machine {label}. `adit ls` lists them."),
                )
            })?;
            ids.push(machine.id);
        }
        if ids.is_empty() {
            let sentence = "Name at least one machine, or none at all for every machine.";
            return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
        }
        Ok((Selection::Machines(ids), labels.iter().map(ToString::to_string).collect()))
    }

    /// Takes a role away; what it allowed ends.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is no such grant.
    pub async fn remove_grant(&self, caller: &Caller, id: GrantId) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let event = self.event("grant.remove", &caller.actor(), "");
        let tell = move |ended: &Option<Grant>| match ended {
            None => vec![],
            Some(grant) => removed(event, grant).only(),
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        let ended = tenant.remove_grant(id, self.clock.now(), tell).await?;
        self.bus.tell(Change::Access);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Says whether a principal may do something on a target, and by what.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not ask or a name is unknown.
    pub async fn why(
        &self,
        caller: &Caller,
        principal: &str,
        capability: &str,
        target: &str,
    ) -> Result<Why, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let account = self.find_named(caller, principal).await?;
        let capability: Capability =
            capability.parse().map_err(|error: adit_domain::capability::UnknownCapability| {
                Refusal::Said(Code::RequestInvalid, error.to_string())
            })?;
        let target = match target {
            "tenant" => Target::Tenant(caller.principal.tenant),
            label => target_of(&self.find_machine(caller, label).await?),
        };
        let facts = self.facts(&account.principal).await?;
        let wanted = Capabilities::of(&[capability]);
        Ok(match policy::authorize(&facts, wanted, target, self.clock.now()) {
            Ok(permit) => {
                let roles: Vec<&str> = facts
                    .grants
                    .iter()
                    .filter(|g| permit.grants().contains(&g.id))
                    .map(|g| g.role.as_str())
                    .collect();
                let sentence = format!("Allowed, by the role {}.", roles.join(" and the role "));
                Why { allowed: true, sentence, by: permit.grants().to_vec(), code: None }
            }
            Err(denial) => {
                let sentence = format!("Denied: {denial}.");
                Why { allowed: false, sentence, by: vec![], code: Some(denial.code()) }
            }
        })
    }
}

fn removed(event: audit::Draft, grant: &Grant) -> audit::Draft {
    let who = &grant.principal;
    let on = match &grant.on {
        Selection::All => "everything".to_owned(),
        Selection::Machines(_) => grant.machine_labels.join(", "),
    };
    let sentence = format!("{} lost the role {} on {on}", who.name.name(), grant.role);
    event.on(audit::party_of(who)).with("role", json!(grant.role)).saying(sentence)
}
