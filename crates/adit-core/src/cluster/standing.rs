//! Which gateways live and where they are reached, as the database says it; and what becomes of the sessions of one that does not.

use std::time::Duration;

use adit_bus::To;
use adit_domain::{Code, EndReason, GatewayId, MachineId};
use adit_store::Session;
use adit_wire::bus::v1 as pb;
use adit_wire::bus::v1::ask::What;
use tokio::time::MissedTickBehavior;

use crate::Gateway;
use crate::access::Refusal;

/// How often a gateway says in the database that it lives.
const SHOW_EVERY: Duration = Duration::from_secs(10);

/// How long after the grace of its sessions a gateway that does not say so counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(60);

impl Gateway {
    /// Says in the database that this gateway lives, and ends the sessions of one that does not come back.
    pub(crate) async fn stand(&self) {
        let mut tick = tokio::time::interval(SHOW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.stand_once().await {
                tracing::warn!(%error, "the database does not hear that this gateway lives");
            }
        }
    }

    async fn stand_once(&self) -> Result<(), Refusal> {
        let settings = &self.settings;
        let now = self.clock.now();
        if self.store.is_shared() {
            self.store.show_gateway(now, &settings.url, &settings.machines_url).await?;
        }
        let since = now - (settings.grace + GONE_AFTER);
        for session in self.store.list_forsaken_sessions(since).await? {
            self.end_row(&session, &EndReason::Because(Code::SessionLostLink)).await;
        }
        self.settle_jobs(self.store.list_forsaken_jobs(since).await?).await
    }

    /// Gives the address at which machines dial a gateway.
    pub(super) async fn address_of(&self, gateway: GatewayId) -> Result<Option<String>, Refusal> {
        let found = self.store.find_gateway(gateway).await?;
        Ok(found.map(|found| found.machines_url).filter(|url| url.starts_with("https://")))
    }

    /// Gives the address at which a machine dials this gateway for a session; empty for the one that it knows.
    pub(crate) fn own_address(&self, machine: MachineId) -> String {
        match self.cluster.bus() {
            Some(_) if self.hub.dials(machine) => self.settings.machines_url.clone(),
            _ => String::new(),
        }
    }

    /// Gives the address at which whoever knows one name for all gateways reaches this one; none where there is but one gateway.
    pub(crate) fn shown_address(&self) -> Option<&str> {
        self.cluster.bus().map(|_| self.settings.machines_url.as_str())
    }

    /// Tells which other gateway a session lives at.
    pub(crate) fn other_gateway(&self, session: &Session) -> Option<GatewayId> {
        session.gateway.filter(|other| *other != self.store.gateway())
    }

    /// Refuses to do something with a session that lives at another gateway, and says where it does.
    pub(crate) async fn elsewhere(&self, gateway: GatewayId) -> Refusal {
        let sentence = match self.store.find_gateway(gateway).await {
            Ok(Some(there)) if !there.url.is_empty() => {
                format!("This session lives at the gateway {}. Go to {}", there.name, there.url)
            }
            Ok(_) => Code::SessionElsewhere.sentence().to_owned(),
            Err(error) => return error.into(),
        };
        Refusal::Said(Code::SessionElsewhere, sentence)
    }

    /// Has the gateway at which a session lives end it.
    ///
    /// # Errors
    /// [`Code::SessionElsewhere`] when it cannot be asked.
    pub(crate) async fn end_elsewhere(
        &self,
        session: &Session,
        gateway: GatewayId,
        code: Code,
    ) -> Result<(), Refusal> {
        let end = What::End(pb::End { code: code.as_str().to_owned() });
        let which = (session.tenant, session.id);
        match self.cluster.ask(&*self.ids, To::Gateway(gateway), which, end).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.elsewhere(gateway).await),
        }
    }
}
