//! Keeps an instance registered for a source, and asks for tickets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::client::{Registered, Ticket, Transport};
use crate::{TicketClient, TicketError};

/// What a source offers, and how often it says so.
#[derive(Clone, Debug)]
pub struct TicketInstanceManagerOptions {
    /// Who asks, and where.
    pub ticket_client: TicketClient,
    /// A capability that the machine holds: `shell:connect`.
    pub scope: String,
    /// How it is reached.
    pub transport: Transport,
    /// How often its heartbeat is sent; 60 s.
    pub instance_heartbeat_interval: Duration,
    /// How long after a ticket the next is asked for the same target; 120 s.
    pub ticket_cooldown: Duration,
}

impl TicketInstanceManagerOptions {
    /// Gives the defaults.
    pub fn new(
        ticket_client: TicketClient,
        scope: impl Into<String>,
        transport: Transport,
    ) -> Self {
        Self {
            ticket_client,
            scope: scope.into(),
            transport,
            instance_heartbeat_interval: Duration::from_secs(60),
            ticket_cooldown: Duration::from_secs(120),
        }
    }
}

/// Keeps an instance registered: registers it, sends its heartbeat, registers it again when the gateway knows it no more.
#[derive(Debug)]
pub struct TicketInstanceManager {
    shared: Arc<Shared>,
    ending: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    options: TicketInstanceManagerOptions,
    registered: Mutex<Option<Registered>>,
    asked: Mutex<HashMap<String, Instant>>,
}

impl TicketInstanceManager {
    /// Makes a manager that has not begun.
    pub fn new(options: TicketInstanceManagerOptions) -> Self {
        let shared = Shared { options, registered: Mutex::default(), asked: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Registers the instance and begins its heartbeat.
    ///
    /// # Errors
    /// [`TicketError`] when the gateway does not register it.
    pub async fn start(&self) -> Result<Registered, TicketError> {
        let registered = self.shared.register().await?;
        let (shared, ending) = (Arc::clone(&self.shared), self.ending.clone());
        self.tasks.spawn(async move {
            let every = shared.options.instance_heartbeat_interval;
            let mut tick = tokio::time::interval_at(Instant::now() + every, every);
            loop {
                tokio::select! {
                    () = ending.cancelled() => return,
                    _ = tick.tick() => shared.beat().await,
                }
            }
        });
        Ok(registered)
    }

    /// Gives the instance as it is registered.
    pub fn registered(&self) -> Option<Registered> {
        self.shared.current()
    }

    /// Asks for a ticket for a machine; `None` while the cooldown of the one before lasts, unless it is forced.
    ///
    /// # Errors
    /// [`TicketError`].
    pub async fn request_ticket_for_agent(
        &self,
        label: &str,
        force: bool,
    ) -> Result<Option<Ticket>, TicketError> {
        self.shared.request(label, force).await
    }

    /// Ends the heartbeat and leaves the instance where it is: it is stale after five minutes and gone after an hour.
    pub async fn pause(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends the heartbeat and removes the instance.
    ///
    /// # Errors
    /// [`TicketError`] when the gateway does not remove it; one that is not there is no error.
    pub async fn stop(&self) -> Result<(), TicketError> {
        self.pause().await;
        let gone = self.shared.registered.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(gone) = gone else { return Ok(()) };
        match self.shared.options.ticket_client.deregister_instance(&gone.instance_id).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

impl Drop for TicketInstanceManager {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

impl Shared {
    fn current(&self) -> Option<Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn register(&self) -> Result<Registered, TicketError> {
        let TicketInstanceManagerOptions { ticket_client, scope, transport, .. } = &self.options;
        let registered = ticket_client.register_instance(scope, transport).await?;
        info!(instance = %registered.instance_id, %scope, "an instance is registered");
        *self.registered.lock().unwrap_or_else(PoisonError::into_inner) = Some(registered.clone());
        Ok(registered)
    }

    async fn beat(&self) {
        let client = &self.options.ticket_client;
        let outcome = match self.current() {
            None => self.register().await.map(drop),
            Some(own) => match client.send_instance_heartbeat(&own.instance_id).await {
                Err(error) if error.is_not_found() => self.register().await.map(drop),
                other => other,
            },
        };
        if let Err(error) = outcome {
            warn!(%error, "an instance's heartbeat did not arrive");
        }
    }

    async fn request(&self, label: &str, force: bool) -> Result<Option<Ticket>, TicketError> {
        let now = Instant::now();
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|_, at| now.duration_since(*at) < self.options.ticket_cooldown);
            if !force && asked.contains_key(label) {
                return Ok(None);
            }
        }
        let own = match self.current() {
            Some(own) => own,
            None => self.register().await?,
        };
        let client = &self.options.ticket_client;
        let ticket = client.request_ticket(&self.options.scope, &own.instance_id, label).await?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(label.to_owned(), now);
        Ok(Some(ticket))
    }
}
