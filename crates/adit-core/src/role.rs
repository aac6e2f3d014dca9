//! Roles that people made; the built-in ones are in the domain and do not change.

use adit_domain::role::BuiltInRole;
use adit_domain::{Capabilities, Capability, Code, RoleId};
use adit_store::Role;
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Draft};
use crate::bus::Change;
use crate::name;

impl Gateway {
    /// Makes a role.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken.
    pub async fn add_role(&self, caller: &Caller, role: Role) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        check(&role)?;
        let id = RoleId::new(&*self.ids);
        let sentence = format!("The role {} was made", role.name);
        let event = self.event("role.add", &caller.actor(), sentence);
        let event = about(event, &role.name, role.capabilities).only();
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.add_role(id, role, self.clock.now(), move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(())
    }

    /// Replaces what a role allows; what it no longer does ends.
    ///
    /// # Errors
    /// [`Code::Conflict`] for a built-in role, [`Code::NotFound`] when there is none.
    pub async fn change_role(&self, caller: &Caller, role: Role) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        own(&role.name)?;
        check(&role)?;
        let sentence = format!("The role {} was changed", role.name);
        let event = self.event("role.change", &caller.actor(), sentence);
        let event = about(event, &role.name, role.capabilities);
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let done = self.store.tenant(caller.principal.tenant).change_role(role, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Removes a role, and takes it away from whoever has it.
    ///
    /// # Errors
    /// [`Code::Conflict`] for a built-in role, [`Code::NotFound`] when there is none.
    pub async fn remove_role(&self, caller: &Caller, name: &str) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        own(name)?;
        let event =
            self.event("role.remove", &caller.actor(), format!("The role {name} was removed"));
        let event = event.on(party(name));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.remove_role(name, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }
}

fn party(name: &str) -> adit_store::Party {
    adit_store::Party { kind: "role".into(), id: String::new(), name: name.to_owned() }
}

fn about(event: Draft, name: &str, capabilities: Capabilities) -> audit::Draft {
    event.on(party(name)).with("capabilities", json!(capabilities.names()))
}

fn own(name: &str) -> Result<(), Refusal> {
    if BuiltInRole::find(name).is_none() {
        return Ok(());
    }
    let sentence = "A built-in role stays as it is. Make one of your own with `adit role add`.";
    Err(Refusal::Said(Code::Conflict, sentence.into()))
}

fn check(role: &Role) -> Result<(), Refusal> {
    name::check("role", &role.name)?;
    if role.capabilities.is_empty() {
        let sentence = "A role allows at least one capability. `adit role ls` shows their names.";
        return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
    }
    Ok(())
}
