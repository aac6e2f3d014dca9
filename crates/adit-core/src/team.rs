//! Teams: who is in them, and which machines belong to them.

use std::collections::BTreeMap;

use adit_domain::{Capabilities, Capability, Code, TeamId};
use adit_store::{Conflict, Machine, StoreError, Team};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party};
use crate::audit;
use crate::bus::Change;
use crate::name;

/// The most tags of a machine: what a table can show.
const MAX_TAGS: usize = 32;

/// The longest key or value of a tag, in characters.
const MAX_TAG_CHARS: usize = 64;

impl Gateway {
    /// Finds a team by its name.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn find_team(&self, caller: &Caller, name: &str) -> Result<Team, Refusal> {
        let found = self.store.tenant(caller.principal.tenant).find_team_named(name).await?;
        let sentence = || format!("There is no team {name}. `adit team ls` lists them.");
        found.ok_or_else(|| Refusal::Said(Code::NotFound, sentence()))
    }

    /// Makes a team.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken.
    pub async fn add_team(&self, caller: &Caller, name: &str) -> Result<Team, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        name::check("team", name)?;
        let (id, at) = (TeamId::new(&*self.ids), self.clock.now());
        let event = self
            .event("team.add", &caller.actor(), format!("The team {name} was made"))
            .on(audit::party("team", id.0, name))
            .only();
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.add_team(id, name, at, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(Team { id, name: name.to_owned(), members: 0, created_at: at })
    }

    /// Removes a team: what its roles allowed ends.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn remove_team(&self, caller: &Caller, name: &str) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let team = self.find_team(caller, name).await?;
        let event = self
            .event("team.remove", &caller.actor(), format!("The team {name} was removed"))
            .on(audit::party("team", team.id.0, name));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.remove_team(team.id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Takes somebody into a team.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown team or principal.
    pub async fn add_member(
        &self,
        caller: &Caller,
        team: &str,
        principal: &str,
    ) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let team = self.find_team(caller, team).await?;
        let account = self.find_named(caller, principal).await?;
        let name = account.principal.name.name();
        let event = self
            .event("team.join", &caller.actor(), format!("{name} joined the team {}", team.name))
            .on(audit::party_of(&account.principal))
            .with("team", json!(team.name));
        let tell = move |new: &bool| if *new { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.add_member(team.id, account.principal.id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(())
    }

    /// Takes somebody out of a team: what it could do through the team's roles ends.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown team or principal, or one that is not in it.
    pub async fn remove_member(
        &self,
        caller: &Caller,
        team: &str,
        principal: &str,
    ) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let team = self.find_team(caller, team).await?;
        let account = self.find_named(caller, principal).await?;
        let name = account.principal.name.name();
        let event = self
            .event("team.leave", &caller.actor(), format!("{name} left the team {}", team.name))
            .on(audit::party_of(&account.principal))
            .with("team", json!(team.name));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let done = tenant.remove_member(team.id, account.principal.id, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        if done { Ok(()) } else { Err(Code::NotFound.into()) }
    }

    /// Replaces what operators say of a machine: its tags, and the team that it belongs to. Roles that rest on either follow at once.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not manage the machine's access, or a tag is not well formed.
    pub async fn describe_machine(
        &self,
        caller: &Caller,
        machine: &Machine,
        tags: BTreeMap<String, String>,
        team: Option<&str>,
    ) -> Result<(), Refusal> {
        // Tags and teams decide who may come here, so they are for whoever may decide that.
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let manage = Capabilities::of(&[Capability::MachineManage]);
        self.permit_machine(caller, manage, machine).await?;
        check_tags(&tags)?;
        let team = match team {
            Some(name) => Some(self.find_team(caller, name).await?),
            None => None,
        };
        let sentence = format!("The machine {} was described anew", machine.label);
        let event = self
            .event("machine.describe", &caller.actor(), sentence)
            .on(machine_party(machine))
            .with("tags", json!(tags))
            .with("team", json!(team.as_ref().map(|team| &team.name)));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(caller.principal.tenant);
        let team = team.map(|team| team.id);
        let done = match tenant.describe_machine(machine.id, &tags, team, tell).await {
            Err(StoreError::Conflict(Conflict::Refers)) => return Err(Code::NotFound.into()),
            other => other?,
        };
        self.bus.tell(caller.principal.tenant, Change::Access);
        self.bus.tell(caller.principal.tenant, Change::Machines);
        if done { Ok(()) } else { Err(Code::TargetUnknown.into()) }
    }
}

/// Checks the tags of a machine.
///
/// # Errors
/// [`Code::RequestInvalid`] for too many, or one of other characters.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let plain = |text: &String| {
        !text.is_empty()
            && text.chars().count() <= MAX_TAG_CHARS
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/'))
    };
    if tags.len() <= MAX_TAGS && tags.iter().all(|(key, value)| plain(key) && plain(value)) {
        return Ok(());
    }
    let sentence = "A machine has at most 32 tags, each KEY=VALUE of 1 to 64 letters, digits and . _ - / on both sides.";
    Err(Refusal::Said(Code::RequestInvalid, sentence.into()))
}
