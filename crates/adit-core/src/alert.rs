//! Alerts: what is out of the ordinary in the audit log, and the webhook that carries it.
//!
//! 1. An event is committed; `watch.rs` reads it in its chain, from where it left off.
//! 2. `act.rs` says what it is to the detector of the domain.
//! 3. What is found becomes a row and an event in the step that moves the place; nothing is found twice, nothing is missed.
//! 4. `deliver.rs` posts rows that wait, until the receiver has them or a day is over.

use std::sync::atomic::{AtomicBool, Ordering};

use adit_domain::anomaly::Thresholds;
use adit_domain::{AlertId, Capability, Code, Secret};
use adit_store::{Alert, Page, Paging};

use crate::Gateway;
use crate::access::{Caller, Refusal};

mod act;
mod deliver;
mod watch;

pub use deliver::Answer;

use deliver::Hook;

/// What the operator set about alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertSettings {
    /// When something counts as out of the ordinary.
    pub thresholds: Thresholds,
    /// Where alerts are posted.
    pub webhook: Option<WebhookSettings>,
}

/// Where alerts are posted.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The address; it may hold a secret of the receiver's.
    pub url: Secret<String>,
    /// What deliveries are signed with.
    pub secret: Secret<String>,
    /// Whether the address may be one that is not public.
    pub allow_private: bool,
}

/// What a gateway keeps of alerts.
#[derive(Debug)]
pub struct Alerts {
    hook: Option<Hook>,
    watches: AtomicBool,
}

impl Alerts {
    /// Makes what the settings say.
    ///
    /// # Errors
    /// When there can be no client.
    pub(crate) fn new(settings: &AlertSettings) -> Result<Self, reqwest::Error> {
        let hook = settings.webhook.as_ref().map(Hook::new).transpose()?;
        Ok(Self { hook, watches: AtomicBool::new(false) })
    }

    fn watches(&self) -> bool {
        self.watches.load(Ordering::Relaxed)
    }

    fn note_watching(&self, watches: bool) {
        self.watches.store(watches, Ordering::Relaxed);
    }
}

impl Gateway {
    /// Lists the alerts of the caller's tenant, the newest first.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not read the audit log.
    pub async fn list_alerts(
        &self,
        caller: &Caller,
        paging: &Paging,
    ) -> Result<Page<Alert>, Refusal> {
        self.permit_tenant(caller, Capability::AuditRead).await?;
        Ok(self.store.tenant(caller.principal.tenant).list_alerts(paging).await?)
    }

    /// Finds an alert of the caller's tenant.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not read the audit log, [`Code::AlertUnknown`].
    pub async fn find_alert(&self, caller: &Caller, id: AlertId) -> Result<Alert, Refusal> {
        self.permit_tenant(caller, Capability::AuditRead).await?;
        let found = self.store.tenant(caller.principal.tenant).find_alert(id).await?;
        found.ok_or(Refusal::Code(Code::AlertUnknown))
    }

    /// Posts a test to the webhook, and gives what the receiver answered.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not manage access in the first tenant, [`Code::AlertNoWebhook`].
    pub async fn test_alerts(&self, caller: &Caller) -> Result<Answer, Refusal> {
        self.permit_gateway_to(caller, Capability::AccessManage).await?;
        let hook = self.alerts.hook.as_ref().ok_or(Refusal::Code(Code::AlertNoWebhook))?;
        let sentence = format!("{} tries the webhook of alerts", caller.principal.name.name());
        self.record(self.event("alert.test", &caller.actor(), sentence)).await?;
        Ok(hook.test(AlertId::new(&*self.ids), self.clock.now()).await)
    }
}
