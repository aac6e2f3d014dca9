//! Scopes and who holds their capabilities.

use adit_domain::certificate::{Carried, MAX_CARRIED};
use adit_domain::reach::scope::{NewScope, ScopeName};
use adit_domain::reach::{Lapse, peer_label};
use adit_domain::{CertificateName, Code};
use adit_store::{
    Assignment, Conflict, Holding, Instance, MachineSession, Party, StoreError, StoredScope,
};
use serde_json::json;

use super::Guest;
use super::session::to_the_end;
use crate::Gateway;
use crate::access::Refusal;
use crate::bus::Change;

/// Names a scope in an event.
fn scope_party(name: &str) -> Party {
    Party { kind: "scope".to_owned(), id: name.to_owned(), name: name.to_owned() }
}

/// Names whoever holds capabilities in an event.
pub(super) fn peer_party(name: &CertificateName) -> Party {
    Party { kind: "machine".to_owned(), id: String::new(), name: peer_label(name) }
}

impl Gateway {
    /// Registers a scope: from now on its capabilities can be given.
    ///
    /// # Errors
    /// [`Code::Conflict`] when the name is taken.
    pub async fn register_scope(
        &self,
        guest: &Guest,
        scope: NewScope,
    ) -> Result<Vec<Carried>, Refusal> {
        let caller = self.permit_reach(guest).await?;
        let names: Vec<Carried> = scope.actions.iter().map(|action| action.name.clone()).collect();
        let words: Vec<&str> = names.iter().map(Carried::as_str).collect();
        let sentence = format!("The scope {} was registered with {}", scope.name, words.join(", "));
        let event = self
            .event("scope.register", &caller.actor(), sentence)
            .on(scope_party(scope.name.as_str()))
            .with("capabilities", json!(words))
            .only();
        let by = caller.principal.name.name().to_owned();
        let tenant = self.store.tenant(guest.tenant());
        match tenant.register_scope(scope, self.clock.now(), by, move |()| event).await {
            Ok(()) => {}
            Err(StoreError::Conflict(Conflict::NameTaken)) => {
                let sentence = "A scope of that name is registered already. Remove it first.";
                return Err(Refusal::Said(Code::Conflict, sentence.to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(names)
    }

    /// Removes a scope, its capabilities from whoever holds them, and what rests on them.
    ///
    /// # Errors
    /// [`Code::ScopeUnknown`].
    pub async fn remove_scope(&self, guest: &Guest, name: &str) -> Result<(), Refusal> {
        let caller = self.permit_reach(guest).await?;
        let unknown = || Refusal::Code(Code::ScopeUnknown);
        let name: ScopeName = name.parse().map_err(|_| unknown())?;
        let sentence = format!("The scope {name} was removed, and with it all that rested on it");
        let event =
            self.event("scope.remove", &caller.actor(), sentence).on(scope_party(name.as_str()));
        let tell = move |gone: &Option<Vec<MachineSession>>| match gone {
            None => vec![],
            Some(cut) => event.with("sessions", json!(cut.len())).only(),
        };
        let tenant = self.store.tenant(guest.tenant());
        let gateway = self.me.upgrade().ok_or(Refusal::Code(Code::GatewayRestarting))?;
        to_the_end(async move {
            let cut = tenant.remove_scope(&name, tell).await?;
            for session in &cut.ok_or(Refusal::Code(Code::ScopeUnknown))? {
                gateway.cut_reach(session, Lapse::CapabilityRemoved);
            }
            gateway.bus.tell(tenant.id(), Change::Tickets);
            Ok(())
        })
        .await
    }

    /// Lists scopes, instances and assignments.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_scopes(
        &self,
        guest: &Guest,
    ) -> Result<(Vec<StoredScope>, Vec<Instance>, Vec<Assignment>), Refusal> {
        self.permit_reach_view(guest).await?;
        let tenant = self.store.tenant(guest.tenant());
        let scopes = tenant.list_scopes().await?;
        Ok((scopes, tenant.list_instances().await?, tenant.list_assignments(None, None).await?))
    }

    /// Lists who holds what.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_holdings(&self, guest: &Guest) -> Result<Vec<Holding>, Refusal> {
        self.permit_reach_view(guest).await?;
        Ok(self.store.tenant(guest.tenant()).list_holdings().await?)
    }

    /// Sets what a machine, or whoever speaks for one, holds.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for a capability that is not registered, [`Code::TargetUnknown`] for nobody.
    pub async fn set_holdings(
        &self,
        guest: &Guest,
        holder: &CertificateName,
        capabilities: Vec<Carried>,
    ) -> Result<Vec<Holding>, Refusal> {
        let caller = self.permit_reach(guest).await?;
        let tenant = self.store.tenant(guest.tenant());
        self.check_registered(guest.tenant(), &capabilities).await?;
        let adds =
            !capabilities.is_empty() && !self.holds_all(&tenant, holder, &capabilities).await?;
        if adds && !tenant.has_certificate(holder, self.clock.now()).await? {
            return Err(Refusal::Said(
                Code::TargetUnknown,
                format!(
                    "{} has no certificate that counts, so it can hold nothing.",
                    peer_label(holder)
                ),
            ));
        }
        let event = self.event("capability.set", &caller.actor(), "").on(peer_party(holder));
        let label = peer_label(holder);
        let tell = move |held: &Vec<Holding>| {
            let words: Vec<&str> = held.iter().map(|one| one.capability.as_str()).collect();
            let what = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
            let sentence = format!("{label} holds {what} from now on");
            event.clone().saying(sentence).with("capabilities", json!(words)).only()
        };
        let by = caller.principal.name.name().to_owned();
        let held = tenant.set_holdings(holder, capabilities, self.clock.now(), by, tell).await?;
        self.bus.tell(tenant.id(), Change::Tickets);
        Ok(held)
    }

    /// Tells whether somebody holds all of these already.
    async fn holds_all(
        &self,
        tenant: &adit_store::TenantStore,
        holder: &CertificateName,
        capabilities: &[Carried],
    ) -> Result<bool, Refusal> {
        for one in capabilities {
            if !tenant.holds(holder, one).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that capabilities can be given: their scope is registered.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] with the first that is not.
    pub(crate) async fn check_registered(
        &self,
        tenant: adit_domain::TenantId,
        capabilities: &[Carried],
    ) -> Result<(), Refusal> {
        if capabilities.len() > MAX_CARRIED {
            let sentence = format!("At most {MAX_CARRIED} capabilities are given at once.");
            return Err(Refusal::Said(Code::RequestInvalid, sentence));
        }
        for one in capabilities {
            if !self.store.tenant(tenant).knows_capability(one).await? {
                let sentence = format!("{one} is not registered. Register its scope first.");
                return Err(Refusal::Said(Code::RequestInvalid, sentence));
            }
        }
        Ok(())
    }
}
