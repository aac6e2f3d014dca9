//! A source that offers a port of this machine: it keeps its instance registered, gives tickets to who waits and is assigned, and carries
//! their streams to the port until the gateway says that it is over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_domain::CertificateName;
use adit_domain::reach::{peer_label, read_peer};
use adit_link::dial::Backoff;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::channel::{Channel, Told};
use crate::client::Transport;
use crate::seal::{BoxPipe, Seal};
use crate::stream::{self, Came};
use crate::{TicketClient, TicketError, TicketInstanceManager, TicketInstanceManagerOptions};

/// How long after a ticket for a target the next is asked for: two programs of a machine may want one each.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How many streams may be carried at once.
const STREAMS: usize = 1024;

/// What is offered.
#[derive(Clone, Debug)]
pub struct OfferOptions {
    /// Who offers, and where.
    pub ticket_client: TicketClient,
    /// For what: `shell:connect`.
    pub scope: String,
    /// The port that is offered: `127.0.0.1:22`.
    pub to: String,
    /// How it is reached.
    pub transport: Transport,
    /// Where targets dial this machine, for `direct`.
    pub listen: Option<SocketAddr>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OfferEvent {
    /// The gateway knows the instance, by this name.
    Registered(String),
    /// This machine listens for targets that dial it.
    Listening(SocketAddr),
    /// The gateway does not answer; it is dialled again.
    Lost(String),
    /// It answers again.
    Back,
    /// A target was let in.
    LetIn(String),
    /// A ticket was not given.
    Refused(String, String),
    /// A stream of a target began.
    Stream(String),
    /// A session of a target is over, and why.
    Ended(String, String),
}

type Tell = Arc<dyn Fn(OfferEvent) + Send + Sync>;

struct Known {
    target: CertificateName,
    over: CancellationToken,
}

/// A source.
pub struct Offering {
    options: OfferOptions,
    seal: Seal,
    tell: Tell,
    sessions: Mutex<HashMap<String, Known>>,
    places: Arc<tokio::sync::Semaphore>,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Offering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offering({})", self.options.scope)
    }
}

impl Offering {
    /// Makes a source that has not begun.
    ///
    /// # Errors
    /// [`TicketError::Identity`].
    pub fn new(
        options: OfferOptions,
        tell: impl Fn(OfferEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TicketError> {
        let seal = Seal::new(options.ticket_client.identity())?;
        Ok(Arc::new(Self {
            options,
            seal,
            tell: Arc::new(tell),
            sessions: Mutex::default(),
            places: Arc::new(tokio::sync::Semaphore::new(STREAMS)),
            tasks: TaskTracker::new(),
        }))
    }

    /// Offers until it is to end. The instance stays registered, so that its assignments are there the next time.
    ///
    /// # Errors
    /// [`TicketError`] when the gateway refuses the instance, or the address to listen on cannot be used.
    pub async fn run(self: Arc<Self>, ending: CancellationToken) -> Result<(), TicketError> {
        let OfferOptions { ticket_client, scope, transport, listen, .. } = &self.options;
        let manager = TicketInstanceManager::new(TicketInstanceManagerOptions {
            ticket_cooldown: AGAIN_AFTER,
            ..TicketInstanceManagerOptions::new(ticket_client.clone(), scope, transport.clone())
        });
        let registered = manager.start().await?;
        (self.tell)(OfferEvent::Registered(registered.instance_scope));
        if let Some(address) = listen {
            let listener = TcpListener::bind(address).await;
            let listener =
                listener.map_err(|error| stream::stream(format!("{address}: {error}")))?;
            let own = listener.local_addr().unwrap_or(*address);
            (self.tell)(OfferEvent::Listening(own));
            let (own, ending) = (Arc::clone(&self), ending.clone());
            self.tasks.spawn(async move { own.accept(listener, ending).await });
        }
        let served = tokio::select! {
            () = ending.cancelled() => Ok(()),
            served = self.serve(&manager) => served,
        };
        ending.cancel();
        self.lock().drain().for_each(|(_, known)| known.over.cancel());
        manager.pause().await;
        self.tasks.close();
        self.tasks.wait().await;
        served
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a channel to the gateway and does what it says.
    async fn serve(self: &Arc<Self>, manager: &TicketInstanceManager) -> Result<(), TicketError> {
        let mut backoff = Backoff::new();
        let mut lost = false;
        loop {
            let error = match self.options.ticket_client.open_channel().await {
                Ok(mut channel) => {
                    backoff.connected(Instant::now());
                    if std::mem::take(&mut lost) {
                        (self.tell)(OfferEvent::Back);
                    }
                    self.listen(&mut channel, manager).await
                }
                Err(error) => error,
            };
            if matches!(error.status_code(), Some(401 | 403)) {
                return Err(error);
            }
            if !std::mem::replace(&mut lost, true) {
                (self.tell)(OfferEvent::Lost(error.to_string()));
            }
            backoff.lost(Instant::now());
            tokio::time::sleep(backoff.delay(rand::random())).await;
        }
    }

    async fn listen(
        self: &Arc<Self>,
        channel: &mut Channel,
        manager: &TicketInstanceManager,
    ) -> TicketError {
        if let Err(error) = self.look_at_sessions().await {
            return error;
        }
        if let Err(error) = channel.offer(&self.options.scope).await {
            return error;
        }
        loop {
            match channel.next().await {
                Ok(told) => self.hear(told, manager).await,
                Err(error) => return error,
            }
        }
    }

    /// Asks about the sessions that are known from before: one may have ended while the channel was away.
    async fn look_at_sessions(&self) -> Result<(), TicketError> {
        let known: Vec<String> = self.lock().keys().cloned().collect();
        for id in known {
            match self.options.ticket_client.send_session_heartbeat(&id).await {
                Ok(heartbeat) if heartbeat.authorized => {}
                Ok(heartbeat) => self.end(&id, &heartbeat.reason.unwrap_or_default()),
                Err(error) if error.is_not_found() => self.end(&id, "the gateway knows it no more"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn hear(self: &Arc<Self>, told: Told, manager: &TicketInstanceManager) {
        match told {
            Told::Wanted { scope, target, .. } if scope == self.options.scope => {
                match manager.request_ticket_for_agent(&target, false).await {
                    Ok(_) => {}
                    Err(error) => (self.tell)(OfferEvent::Refused(target, error.to_string())),
                }
            }
            Told::Session { session_id, scope, target, .. } if scope == self.options.scope => {
                self.know(&session_id, &target);
            }
            Told::Stream { session_id, stream_id, scope, target }
                if scope == self.options.scope =>
            {
                self.answer(session_id, stream_id, &target);
            }
            Told::Ended { session_id, reason } => self.end(&session_id, &reason),
            _ => {}
        }
    }

    /// Answers a stream of which the gateway told elsewhere: over a link of its own to this machine's agent.
    pub fn answer(self: &Arc<Self>, session: String, stream: String, target: &str) {
        self.know(&session, target);
        let own = Arc::clone(self);
        self.tasks.spawn(async move {
            match own.options.ticket_client.answer_stream(&session, &stream).await {
                Ok(pipe) => own.take(pipe).await,
                Err(error) => debug!(%error, "a stream was given up before it was answered"),
            }
        });
    }

    fn know(&self, session: &str, target: &str) {
        let Ok(name) = read_peer(target) else { return };
        let mut sessions = self.lock();
        if !sessions.contains_key(session) {
            let known = Known { target: name, over: CancellationToken::new() };
            sessions.insert(session.to_owned(), known);
            drop(sessions);
            (self.tell)(OfferEvent::LetIn(target.to_owned()));
        }
    }

    fn end(&self, session: &str, reason: &str) {
        let known = self.lock().remove(session);
        if let Some(known) = known {
            known.over.cancel();
            (self.tell)(OfferEvent::Ended(peer_label(&known.target), reason.to_owned()));
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, ending: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = ending.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, _)) => {
                    let own = Arc::clone(&self);
                    self.tasks.spawn(async move { own.take(Box::new(stream::tuned(tcp))).await });
                }
                Err(error) => {
                    warn!(%error, "a target could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Lets a carrier in whose target proves to be that of a session which the gateway told of.
    async fn take(&self, pipe: BoxPipe) {
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            return warn!("there are as many streams as may be; one more was refused");
        };
        let came = match stream::receive(&self.seal, pipe).await {
            Ok(came) => came,
            Err(error) => return debug!(%error, "nobody was let in"),
        };
        let Some(over) = self.admits(&came) else {
            warn!(target = %came.target, "a machine without a session was refused");
            return stream::refuse(came).await;
        };
        (self.tell)(OfferEvent::Stream(peer_label(&came.target)));
        tokio::select! {
            () = over.cancelled() => {}
            carried = stream::carry(came, &self.options.to) => {
                if let Err(error) = carried {
                    debug!(%error, "a stream ended");
                }
            }
        }
    }

    fn admits(&self, came: &Came) -> Option<CancellationToken> {
        let sessions = self.lock();
        let known = sessions.get(&came.session).filter(|known| known.target == came.target)?;
        Some(known.over.clone())
    }
}
