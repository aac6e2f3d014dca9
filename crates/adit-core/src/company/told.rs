//! What the audit log hears of sign-ins with company accounts and of the teams that follow.

use std::net::IpAddr;
use std::sync::Arc;

use adit_domain::{Code, Ids, Principal};
use adit_store::{CompanyOutcome, NewEvent, TeamsChanged};
use serde_json::json;

use super::Provider;
use super::person::Person;
use crate::Gateway;
use crate::audit::{self, Actor, Draft};

/// The events of a sign-in, of which the outcome picks.
pub(super) struct Told {
    signed_in: Draft,
    made: Draft,
    refused: Draft,
    teams: TeamsTold,
    provider: String,
    subject: String,
    second_factor: bool,
}

/// The events of memberships that follow groups.
pub(super) struct TeamsTold {
    ids: Arc<dyn Ids>,
    added: Draft,
    joined: Draft,
    left: Draft,
    provider: String,
}

impl Told {
    pub(super) fn new(
        gateway: &Gateway,
        found: &Provider,
        person: &Person,
        address: Option<IpAddr>,
    ) -> Self {
        let nobody = Actor::nobody(address);
        let (provider, subject) = (found.settings.name.to_string(), person.subject.clone());
        Self {
            signed_in: gateway.event("sign_in", &nobody, ""),
            made: gateway.event("user.add", &Actor::gateway(gateway), ""),
            refused: gateway.company_refusal(found, address, ""),
            teams: TeamsTold::new(gateway, found),
            provider,
            subject,
            second_factor: found.second_factor_of(person).is_some(),
        }
    }

    pub(super) fn of(self, outcome: &CompanyOutcome) -> Vec<NewEvent> {
        match outcome {
            CompanyOutcome::Known(who, teams) => {
                let mut events = vec![self.signed_in(who)];
                events.extend(self.teams.of(who, teams));
                events
            }
            CompanyOutcome::Made(who, teams) => {
                let sentence = format!("{} was added by {}", who.name.name(), self.provider);
                let made = self.made.clone().on(audit::party_of(who)).saying(sentence);
                let made = made
                    .with("provider", json!(self.provider))
                    .with("subject", json!(self.subject));
                let mut events = vec![made.done(), self.signed_in(who)];
                events.extend(self.teams.of(who, teams));
                events
            }
            CompanyOutcome::Inactive(who) => {
                let why = format!("{} is switched off", who.name.name());
                self.refused(&why, Some(who))
            }
            CompanyOutcome::Unknown => {
                self.refused("nobody here has that account, and the settings make no users", None)
            }
            CompanyOutcome::NamesTaken => {
                self.refused("every name for the new user is taken", None)
            }
        }
    }

    fn signed_in(&self, who: &Principal) -> NewEvent {
        let party = audit::party_of(who);
        let sentence = format!("{} signed in to the console by {}", who.name.name(), self.provider);
        self.signed_in
            .clone()
            .on(party.clone())
            .by(party)
            .with("method", json!("company"))
            .with("provider", json!(self.provider))
            .with("subject", json!(self.subject))
            .with("secondFactor", json!(self.second_factor))
            .saying(sentence)
            .done()
    }

    fn refused(self, why: &str, who: Option<&Principal>) -> Vec<NewEvent> {
        let sentence = format!("A sign-in by {} was refused: {why}", self.provider);
        let event = self
            .refused
            .with("subject", json!(self.subject))
            .with("reason", json!(why))
            .saying(sentence)
            .denied(Code::CompanyRefused);
        match who {
            Some(who) => event.on(audit::party_of(who)).only(),
            None => event.only(),
        }
    }
}

impl TeamsTold {
    pub(super) fn new(gateway: &Gateway, found: &Provider) -> Self {
        let me = Actor::gateway(gateway);
        Self {
            ids: Arc::clone(&gateway.ids),
            added: gateway.event("team.add", &me, ""),
            joined: gateway.event("team.join", &me, ""),
            left: gateway.event("team.leave", &me, ""),
            provider: found.settings.name.to_string(),
        }
    }

    pub(super) fn of(&self, who: &Principal, changed: &TeamsChanged) -> Vec<NewEvent> {
        let name = who.name.name();
        let by = |draft: &Draft| draft.another(&*self.ids).with("provider", json!(self.provider));
        let added = changed.made.iter().map(|(team, id)| {
            by(&self.added)
                .on(audit::party("team", id.0, team))
                .saying(format!("The team {team} was made by {}", self.provider))
        });
        let moved = |draft: &Draft, team: &String, what: &str| {
            by(draft)
                .on(audit::party_of(who))
                .with("team", json!(team))
                .saying(format!("{name} {what} the team {team} by {}", self.provider))
        };
        let joined = changed.joined.iter().map(|team| moved(&self.joined, team, "joined"));
        let left = changed.left.iter().map(|team| moved(&self.left, team, "left"));
        added.chain(joined).chain(left).map(Draft::done).collect()
    }
}
