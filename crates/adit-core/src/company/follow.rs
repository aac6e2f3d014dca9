//! Follows what issuers say later: asks again about everybody it can, and takes their logout tokens.

use std::sync::Arc;
use std::time::Duration;

use adit_domain::{Code, Principal, TenantId};
use adit_store::{
    AskedIdentity, EndedIdentity, LogoutOutcome, LogoutWord, SecretHash, TeamsChanged,
};
use futures_util::StreamExt as _;
use serde_json::json;

use super::logout::{Logout, REMEMBERED};
use super::person::Person;
use super::seal::Purpose;
use super::told::TeamsTold;
use super::{Failure, Provider, Speaks};
use crate::Gateway;
use crate::access::Refusal;
use crate::audit::{self, Actor};
use crate::bus::Change;

/// How often it is looked whether somebody is to be asked about.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many are asked about at once: an issuer must not take us for an attack.
const AT_ONCE: usize = 4;

/// How many are taken on at a look.
const MOST: i64 = 32;

impl Gateway {
    /// Asks each issuer again about its people, as often as the settings say.
    pub(crate) async fn follow_issuers(&self) {
        if self.company.providers.is_empty() {
            return;
        }
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            let asking = self.company.providers.iter().map(|found| self.ask_about_many(found));
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = futures_util::future::join_all(asking) => {}
            }
        }
    }

    async fn ask_about_many(&self, found: &Arc<Provider>) {
        let (name, now) = (found.settings.name.as_str(), self.clock.now());
        let before = now - found.settings.refresh_every;
        let store = self.store.tenant(TenantId::SEED);
        match store.take_identities_to_ask(name, before, now, MOST).await {
            Ok(due) => {
                let ask = |one| self.ask_about(found, one);
                futures_util::stream::iter(due).for_each_concurrent(AT_ONCE, ask).await;
            }
            Err(error) => tracing::warn!(%error, "the database does not say whom to ask about"),
        }
    }

    async fn ask_about(&self, found: &Provider, one: AskedIdentity) {
        let asked = self.ask(found, &one).await;
        let asked = match asked {
            Ok(person) => match person.check(&found.settings) {
                Ok(()) => self.still_vouched(found, &one, person).await,
                Err(why) => self.no_longer_vouched(found, &one, why).await,
            },
            Err(Failure::Refused(why)) => self.no_longer_vouched(found, &one, &why).await,
            Err(Failure::Unavailable(why) | Failure::Untrue(why)) => {
                // Nobody is sent away for an issuer's bad day; the sign-in ends by itself in the evening.
                tracing::warn!(provider = %found.settings.name, why, "an issuer could not be asked");
                metrics::counter!("adit_company_unasked_total").increment(1);
                Ok(())
            }
        };
        if let Err(error) = asked {
            tracing::warn!(%error, "what an issuer says could not be kept");
        }
    }

    async fn ask(&self, found: &Provider, one: &AskedIdentity) -> Result<Person, Failure> {
        let kept = self.company.sealer.open(Purpose::Refresh, &one.refresh);
        // Sealed with the session secret of another time: the issuer cannot be asked any more.
        let kept =
            kept.ok_or_else(|| Failure::Refused("the refresh token does not open".into()))?;
        match &found.speaks {
            Speaks::Oidc(oidc) => {
                oidc.refresh(&found.settings, &one.subject, &kept, self.clock.now()).await
            }
            Speaks::GitHub(github) => {
                let person = github.person(kept).await?;
                if person.subject == one.subject {
                    return Ok(person);
                }
                Err(Failure::Refused("the token is somebody else's".into()))
            }
        }
    }

    async fn still_vouched(
        &self,
        found: &Provider,
        one: &AskedIdentity,
        person: Person,
    ) -> Result<(), Refusal> {
        let account = self.account_of(found, &person);
        let teams = self.teams_of(found, &person);
        let told = TeamsTold::new(self, found);
        let tell = move |kept: &Option<(Principal, TeamsChanged)>| match kept {
            Some((who, changed)) => told.of(who, changed),
            None => vec![],
        };
        let store = self.store.tenant(TenantId::SEED);
        let now = self.clock.now();
        let kept = store.keep_identity(one.id, account.refresh, teams, now, tell).await?;
        if kept.is_some_and(|(_, changed)| changed != TeamsChanged::default()) {
            self.bus.tell(TenantId::SEED, Change::Access);
        }
        Ok(())
    }

    /// Ends what came by an account that its issuer no longer vouches for.
    async fn no_longer_vouched(
        &self,
        found: &Provider,
        one: &AskedIdentity,
        why: &str,
    ) -> Result<(), Refusal> {
        let event = self
            .event("identity.end", &Actor::gateway(self), "")
            .with("provider", json!(found.settings.name.as_str()))
            .with("subject", json!(one.subject))
            .with("reason", json!(why));
        let provider = found.settings.name.to_string();
        let told = TeamsTold::new(self, found);
        let tell = move |ended: &Option<EndedIdentity>| match ended {
            None => vec![],
            Some(ended) => {
                let who = ended.principal.name.name();
                let sentence = format!("{provider} no longer vouches for {who}");
                let event = event.with("signIns", json!(ended.sign_ins));
                let mut events =
                    event.on(audit::party_of(&ended.principal)).saying(sentence).only();
                events.extend(told.of(&ended.principal, &ended.teams));
                events
            }
        };
        let store = self.store.tenant(TenantId::SEED);
        store.end_identity(one.id, self.clock.now(), tell).await?;
        self.bus.tell(TenantId::SEED, Change::Access);
        Ok(())
    }

    /// Takes an issuer's word that sign-ins are over, once.
    ///
    /// # Errors
    /// [`Code::NotFound`] for no such issuer, [`Code::LogoutRefused`] for a token that does not hold, [`Code::CompanyUnavailable`].
    pub async fn end_by_issuer(
        &self,
        provider: &str,
        token: &str,
        address: Option<std::net::IpAddr>,
    ) -> Result<(), Refusal> {
        let found = self.company.find(provider).ok_or(Code::NotFound)?;
        let Speaks::Oidc(oidc) = &found.speaks else { return Err(Code::NotFound.into()) };
        match oidc.check_logout(&found.settings, token, self.clock.now()).await {
            Ok(logout) => self.end_sign_ins_of(&found, logout, address).await,
            Err(failure) => {
                let code = match failure {
                    Failure::Unavailable(_) => Code::CompanyUnavailable,
                    _ => Code::LogoutRefused,
                };
                self.note(self.logout_event(&found, address, failure.sentence()).denied(code))
                    .await;
                Err(code.into())
            }
        }
    }

    async fn end_sign_ins_of(
        &self,
        found: &Provider,
        logout: Logout,
        address: Option<std::net::IpAddr>,
    ) -> Result<(), Refusal> {
        let event = self.logout_event(found, address, "its people's sign-ins are over");
        let event = event.with("subject", json!(logout.subject)).with("sid", json!(logout.sid));
        let tell = move |outcome: &LogoutOutcome| match outcome {
            LogoutOutcome::Ended(sign_ins) => event.with("signIns", json!(sign_ins)).only(),
            LogoutOutcome::Repeated => event.denied(Code::LogoutRefused).only(),
        };
        let now = self.clock.now();
        let word = LogoutWord {
            provider: found.settings.name.to_string(),
            subject: logout.subject,
            sid: logout.sid,
            hash: SecretHash(logout.once.0),
            remembered_until: now + REMEMBERED,
        };
        let store = self.store.tenant(TenantId::SEED);
        let ended = store.end_company_sign_ins(word, now, tell).await?;
        self.bus.tell(TenantId::SEED, Change::Access);
        match ended {
            LogoutOutcome::Ended(_) => Ok(()),
            LogoutOutcome::Repeated => Err(Code::LogoutRefused.into()),
        }
    }

    fn logout_event(
        &self,
        found: &Provider,
        address: Option<std::net::IpAddr>,
        what: &str,
    ) -> audit::Draft {
        let name = found.settings.name.as_str();
        self.event("identity.logout", &Actor::nobody(address), format!("{name} says: {what}"))
            .with("provider", json!(name))
    }
}
