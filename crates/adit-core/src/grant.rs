//! Grants: who gets which role, on what, when it counts; and why something is allowed or not.

use std::time::Duration;

use adit_domain::policy::explain::Line;
use adit_domain::policy::{self, Conditions, Matcher, Selection, Target, explain};
use adit_domain::role::BuiltInRole;
use adit_domain::{
    Capabilities, Capability, Code, Facts, GrantId, MachineLabel, Principal, PrincipalId,
    PrincipalKind, PrincipalName, Timestamp,
};
use adit_store::{Grant, Holder, HolderName, NewGrant, Party};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, target_of};
use crate::audit;
use crate::bus::Change;

/// A grant that somebody wants to make.
#[derive(Clone, Debug)]
pub struct GrantWish {
    /// To whom: `user:NAME`, `team:NAME`, `service:NAME`.
    pub holder: String,
    /// Which role.
    pub role: String,
    /// On what.
    pub on: On,
    /// When it counts.
    pub conditions: Conditions,
    /// For how long.
    pub life: Option<Duration>,
}

/// On what a grant is to be.
#[derive(Clone, Debug)]
pub enum On {
    /// Everything.
    Everything,
    /// Machines by their labels.
    Machines(Vec<MachineLabel>),
    /// Whatever fits; the team by its name.
    Matching {
        /// What is asked of the target, without the team.
        matcher: Matcher,
        /// The name of the team that it belongs to.
        team: Option<String>,
    },
}

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
    /// What each grant does about it.
    pub lines: Vec<Line>,
}

/// The longest life of a grant that ends: ten years, so that a time always fits.
const MAX_LIFE: Duration = Duration::from_secs(10 * 366 * 86_400);

impl Gateway {
    /// Gives a role to somebody.
    ///
    /// # Errors
    /// [`Refusal`] for an unknown principal, team, role or machine.
    pub async fn add_grant(&self, caller: &Caller, wish: GrantWish) -> Result<Grant, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let (holder, party) = self.find_holder(caller, &wish.holder).await?;
        self.check_role(caller, &wish.role).await?;
        let (on, words) = self.selection(caller, wish.on).await?;
        let at = self.clock.now();
        let new = NewGrant {
            id: GrantId::new(&*self.ids),
            holder,
            role: wish.role.clone(),
            on,
            conditions: wish.conditions,
            expires_at: wish.life.map(|life| at + life.min(MAX_LIFE)),
            at,
        };
        let sentence = format!("{} got the role {} on {words}", party.name, wish.role);
        let event = self
            .event("grant.add", &caller.actor(), sentence)
            .on(party)
            .with("role", json!(wish.role))
            .with("machines", json!(words))
            .only();
        let id = new.id;
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.add_grant(new, move |()| event).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        tenant.find_grant(id).await?.ok_or(Refusal::Code(Code::NotFound))
    }

    /// Finds who is to hold something by its written name: a principal or a team.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn find_holder(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(Holder, Party), Refusal> {
        if let Some(team) = name.strip_prefix("team:") {
            let team = self.find_team(caller, team).await?;
            let party = audit::party("team", team.id.0, team.name);
            return Ok((Holder::Team(team.id), party));
        }
        let account = self.find_named(caller, name).await?;
        Ok((Holder::Principal(account.principal.id), audit::party_of(&account.principal)))
    }

    /// Checks that there is such a role.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] when there is none.
    pub async fn check_role(&self, caller: &Caller, role: &str) -> Result<Capabilities, Refusal> {
        if let Some(known) = BuiltInRole::find(role) {
            return Ok(known.capabilities());
        }
        let roles = self.store.tenant(caller.principal.tenant).list_roles().await?;
        if let Some(known) = roles.iter().find(|known| known.name == role) {
            return Ok(known.capabilities);
        }
        let sentence = "There is no such role. `adit role ls` lists them.";
        Err(Refusal::Said(Code::RequestInvalid, sentence.into()))
    }

    /// Turns what was written into a selection, and says it in words.
    pub(crate) async fn selection(
        &self,
        caller: &Caller,
        on: On,
    ) -> Result<(Selection, String), Refusal> {
        match on {
            On::Everything => Ok((Selection::All, "everything".to_owned())),
            On::Machines(labels) => {
                let ids = self.machine_ids(caller, &labels).await?;
                let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
                Ok((Selection::Machines(ids), labels.join(", ")))
            }
            On::Matching { mut matcher, team } => {
                if let Some(name) = &team {
                    matcher.team = Some((self.find_team(caller, name).await?.id, name.clone()));
                }
                if matcher.is_empty() {
                    let sentence =
                        "Say what a machine must be like, or leave it out for everything.";
                    return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
                }
                let words = matcher_words(&matcher);
                Ok((Selection::Matching(matcher), words))
            }
        }
    }

    /// Finds machines by their labels.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] for one that is not there.
    pub async fn machine_ids(
        &self,
        caller: &Caller,
        labels: &[MachineLabel],
    ) -> Result<Vec<adit_domain::MachineId>, Refusal> {
        if labels.is_empty() {
            let sentence = "Name at least one machine, or none at all for every machine.";
            return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
        }
        let tenant = self.store.tenant(caller.principal.tenant);
        let mut ids = Vec::new();
        for label in labels {
            let machine = tenant.find_machine_labelled(label).await?;
            let sentence = || format!("There is no machine {label}. `adit ls` lists them.");
            let machine = machine.ok_or_else(|| Refusal::Said(Code::TargetUnknown, sentence()))?;
            ids.push(machine.id);
        }
        Ok(ids)
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
        self.bus.tell(caller.principal.tenant, Change::Access);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Says whether a principal or a team may do something on a target, and by what.
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
        let facts = self.facts_named(caller, principal).await?;
        let capability: Capability =
            capability.parse().map_err(|error: adit_domain::capability::UnknownCapability| {
                Refusal::Said(Code::RequestInvalid, error.to_string())
            })?;
        let target = match target {
            "tenant" => Target::Tenant(caller.principal.tenant),
            label => target_of(&self.find_machine(caller, label).await?),
        };
        Ok(answer(&facts, Capabilities::of(&[capability]), &target, self.clock.now()))
    }

    /// Loads the facts about a principal, or about a team as if it were one.
    async fn facts_named(&self, caller: &Caller, name: &str) -> Result<Facts, Refusal> {
        let Some(team) = name.strip_prefix("team:") else {
            let account = self.find_named(caller, name).await?;
            return self.facts(&account.principal).await;
        };
        let team = self.find_team(caller, team).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let grants = tenant.load_team_grants(team.id).await?;
        let name = PrincipalName::new(PrincipalKind::User, &team.name)
            .map_err(|error| Refusal::Said(Code::RequestInvalid, error.to_string()))?;
        let id = PrincipalId(team.id.0);
        let principal = Principal { id, tenant: caller.principal.tenant, name };
        let circumstances = policy::Circumstances::default();
        Ok(Facts { principal, active: true, grants, circumstances })
    }
}

fn answer(facts: &Facts, wanted: Capabilities, target: &Target, now: Timestamp) -> Why {
    let lines = explain(facts, wanted, target, now).lines;
    match policy::authorize(facts, wanted, target, now) {
        Ok(permit) => {
            let giving = facts.grants.iter().filter(|grant| permit.grants().contains(&grant.id));
            let roles: Vec<String> = giving
                .map(|grant| match &grant.team {
                    Some((_, team)) => format!("the role {} of the team {team}", grant.role),
                    None => format!("the role {}", grant.role),
                })
                .collect();
            let sentence = format!("Allowed, by {}.", roles.join(" and "));
            Why { allowed: true, sentence, by: permit.grants().to_vec(), code: None, lines }
        }
        Err(denial) => {
            let sentence = format!("Denied: {denial}.");
            Why { allowed: false, sentence, by: vec![], code: Some(denial.code()), lines }
        }
    }
}

/// Says a selection in words.
pub fn selection_words(grant: &Grant) -> String {
    match &grant.on {
        Selection::All => "everything".to_owned(),
        Selection::Machines(_) => grant.machine_labels.join(", "),
        Selection::Matching(matcher) => matcher_words(matcher),
    }
}

/// Says in words what a matcher asks of a machine.
pub fn matcher_words(matcher: &Matcher) -> String {
    let mut words = Vec::new();
    words.extend(matcher.label.as_ref().map(|pattern| format!("machines called {pattern}")));
    if matcher.label.is_none() {
        words.push("machines".to_owned());
    }
    let tags: Vec<String> = matcher.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    words.extend((!tags.is_empty()).then(|| format!("with {}", tags.join(" and "))));
    words.extend(matcher.team.as_ref().map(|(_, name)| format!("of the team {name}")));
    words.join(" ")
}

fn removed(event: audit::Draft, grant: &Grant) -> audit::Draft {
    let (party, name) = match &grant.holder {
        HolderName::Principal(who) => (audit::party_of(who), who.name.name().to_owned()),
        HolderName::Team(id, name) => (audit::party("team", id.0, name.clone()), name.clone()),
    };
    let sentence = format!("{name} lost the role {} on {}", grant.role, selection_words(grant));
    event.on(party).with("role", json!(grant.role)).saying(sentence)
}
