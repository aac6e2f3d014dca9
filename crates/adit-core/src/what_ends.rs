//! What a change of rights would end, before it is made.
//!
//! Each live session is decided twice with the one policy function: with today's facts, and with the facts as the change would leave
//! them. Nothing is written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use adit_domain::policy::{self, Circumstances};
use adit_domain::{Capabilities, Capability, Facts, GrantId, MachineId, PrincipalId};
use adit_store::{Paging, Session, SessionFilter};

use crate::Gateway;
use crate::access::{Caller, Refusal};

/// A change that somebody thinks about.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// A grant is taken away.
    RemoveGrant(GrantId),
    /// A principal is removed.
    RemovePrincipal(PrincipalId),
    /// Somebody leaves a team.
    LeaveTeam(PrincipalId, String),
    /// A team is removed.
    RemoveTeam(String),
    /// A role allows something else; nothing when it is removed.
    ChangeRole(String, Capabilities),
    /// A machine is removed.
    RemoveMachine(MachineId),
}

/// The most sessions that are looked at: a gateway's cap of live ones.
const MAX_LOOKED_AT: usize = 10_000;

impl Gateway {
    /// Lists the live sessions that a change would end.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not manage access.
    pub async fn what_ends(
        &self,
        caller: &Caller,
        proposal: &Proposal,
    ) -> Result<Vec<Session>, Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        let now = self.clock.now();
        let mut paging = Paging { cursor: None, limit: adit_store::MAX_PAGE };
        let filter = SessionFilter { live: Some(true), machine: None, principal: None };
        let mut known: BTreeMap<PrincipalId, Option<Facts>> = BTreeMap::new();
        let mut ending = Vec::new();
        for _ in 0..MAX_LOOKED_AT / adit_store::MAX_PAGE as usize {
            let page = tenant.list_sessions(&filter, &paging).await?;
            for session in page.items {
                let who = session.principal.id;
                let facts = match known.entry(who) {
                    Entry::Occupied(there) => there.into_mut(),
                    Entry::Vacant(place) => place.insert(tenant.load_facts(who).await?),
                };
                let Some(facts) = facts else { continue };
                let Some(machine) = tenant.find_machine(session.machine).await? else { continue };
                let facts = Facts { circumstances: circumstances(&session), ..facts.clone() };
                let named = (session.id, session.job);
                let target = self.target_of_session(session.tenant, named, &machine).await?;
                let stands = |facts: &Facts| {
                    policy::authorize(facts, session.capabilities, &target, now).is_ok()
                };
                if stands(&facts) && !stands_after(proposal, facts, &session, stands) {
                    ending.push(session);
                }
            }
            match page.next {
                Some(next) => paging.cursor = Some(next),
                None => break,
            }
        }
        Ok(ending)
    }
}

/// Tells how a session's owner came to it.
pub fn circumstances(session: &Session) -> Circumstances {
    Circumstances {
        address: session.client.as_deref().and_then(|text| text.parse().ok()),
        second_factor_at: session.second_factor_at,
        limit: None,
        since: session.started_at,
    }
}

fn stands_after(
    proposal: &Proposal,
    facts: Facts,
    session: &Session,
    stands: impl Fn(&Facts) -> bool,
) -> bool {
    match proposal {
        Proposal::RemoveMachine(machine) => session.machine != *machine,
        Proposal::RemovePrincipal(principal) => session.principal.id != *principal,
        other => stands(&after(other, facts)),
    }
}

fn after(proposal: &Proposal, mut facts: Facts) -> Facts {
    let who = facts.principal.id;
    let through = |team: &str, held: &Option<(adit_domain::TeamId, String)>| {
        held.as_ref().is_some_and(|(_, name)| name == team)
    };
    match proposal {
        Proposal::RemoveGrant(id) => facts.grants.retain(|grant| grant.id != *id),
        Proposal::LeaveTeam(principal, team) if *principal == who => {
            facts.grants.retain(|grant| !through(team, &grant.team));
        }
        Proposal::RemoveTeam(team) => facts.grants.retain(|grant| !through(team, &grant.team)),
        Proposal::ChangeRole(role, capabilities) => {
            for grant in facts.grants.iter_mut().filter(|grant| grant.role == *role) {
                grant.capabilities = *capabilities;
            }
        }
        Proposal::LeaveTeam(..) | Proposal::RemovePrincipal(_) | Proposal::RemoveMachine(_) => {}
    }
    facts
}
