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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::channel::{Channel, Told};
use crate::client::Transport;
use crate::seal::{self, BoxPipe, Seal};
use crate::stream::{self, Came};
use crate::{
    Identity, TicketClient, TicketError, TicketInstanceManager, TicketInstanceManagerOptions,
};

/// How long after a ticket for a target the next is asked for: two programs of a machine may want one each.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// How many streams may be carried at once.
const STREAMS: usize = 1024;

/// How many streams of one session.
const PER_SESSION: usize = 256;

/// How many that dialled may be proving who they are at once; they have no place among the streams before.
const STRANGERS: usize = 64;

/// How long after the gateway was lost what it let in is shut: nobody could say that a right was taken away.
const BLIND_FOR: Duration = Duration::from_secs(15);

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
    /// Gives the identity as it is kept now, so that a renewed certificate is shown without a break; none to keep the first.
    pub renewed: Option<Renewed>,
}

/// Gives an identity as it is kept now; `None` when it cannot be read.
#[derive(Clone)]
pub struct Renewed(pub Arc<dyn Fn() -> Option<Identity> + Send + Sync>);

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewed")
    }
}

impl Renewed {
    /// Has a client show the identity of now. Tells whether that is another than before.
    pub(crate) fn refresh(&self, client: &TicketClient) -> bool {
        let Some(now) = (self.0)().filter(|now| !now.is_same_as(&client.identity())) else {
            return false;
        };
        client
            .renew(now)
            .inspect_err(|error| warn!(%error, "a new certificate is not used"))
            .is_ok()
    }
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
    streams: Arc<Semaphore>,
}

/// By what a carrier came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The gateway carries it, and has decided about it.
    Gateway,
    /// Its target dialled; the gateway is asked before it is let in.
    Direct,
}

/// A source.
pub struct Offering {
    options: OfferOptions,
    tell: Tell,
    sessions: Mutex<HashMap<String, Known>>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
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
        Seal::new(&options.ticket_client.identity())?;
        Ok(Arc::new(Self {
            options,
            tell: Arc::new(tell),
            sessions: Mutex::default(),
            places: Arc::new(Semaphore::new(STREAMS)),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
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
        let listener = match listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|error| stream::stream(format!("{address}: {error}")))?)
            }
        };
        let registered = manager.start().await?;
        (self.tell)(OfferEvent::Registered(registered.instance_scope));
        if let Some(listener) = listener {
            if let Ok(own) = listener.local_addr() {
                (self.tell)(OfferEvent::Listening(own));
            }
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

    /// Ends what was let in, because the gateway is out of reach for too long.
    fn shut(&self) {
        let known: Vec<String> = self.lock().keys().cloned().collect();
        known.iter().for_each(|id| self.end(id, "the gateway is out of reach"));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a channel to the gateway and does what it says.
    async fn serve(self: &Arc<Self>, manager: &TicketInstanceManager) -> Result<(), TicketError> {
        let mut backoff = Backoff::new();
        let mut lost: Option<Instant> = None;
        let client = &self.options.ticket_client;
        loop {
            let renewed =
                self.options.renewed.as_ref().is_some_and(|renewed| renewed.refresh(client));
            let error = match client.open_channel().await {
                Ok(mut channel) => {
                    backoff.connected(Instant::now());
                    if lost.take().is_some() {
                        (self.tell)(OfferEvent::Back);
                    }
                    self.listen(&mut channel, manager).await
                }
                Err(error) if matches!(error.status_code(), Some(401 | 403)) && !renewed => {
                    return Err(error);
                }
                Err(error) => error,
            };
            backoff.lost(Instant::now());
            match lost {
                None => {
                    lost = Some(Instant::now());
                    (self.tell)(OfferEvent::Lost(error.to_string()));
                }
                Some(since) if since.elapsed() > BLIND_FOR => self.shut(),
                Some(_) => {}
            }
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
                if let Err(error) = manager.request_ticket_for_agent(&target, false).await {
                    (self.tell)(OfferEvent::Refused(target, error.to_string()));
                }
            }
            Told::Session { session_id, scope, target, .. } if scope == self.options.scope => {
                self.know(&session_id, &target);
            }
            Told::Stream { session_id, stream_id, scope, target, gateway }
                if scope == self.options.scope =>
            {
                self.answer(session_id, stream_id, &target, gateway);
            }
            Told::Ended { session_id, reason } => self.end(&session_id, &reason),
            _ => {}
        }
    }

    /// Answers a stream of which the gateway told elsewhere: over a link of its own to this machine's agent.
    /// The gateway is the one at which the target waits; none for the one that this source knows.
    pub fn answer(
        self: &Arc<Self>,
        session: String,
        stream: String,
        target: &str,
        gateway: Option<String>,
    ) {
        let Ok(target) = read_peer(target) else { return };
        let own = Arc::clone(self);
        self.tasks.spawn(async move {
            let client = match gateway {
                Some(gateway) => own.options.ticket_client.at(&gateway),
                None => Ok(own.options.ticket_client.clone()),
            };
            let answered = match client {
                Ok(client) => client.answer_stream(&session, &stream).await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(pipe) => own.take(pipe, Way::Gateway, Some((session, target))).await,
                Err(error) => debug!(%error, "a stream was given up before it was answered"),
            }
        });
    }

    fn know(&self, session: &str, target: &str) {
        let Ok(name) = read_peer(target) else { return };
        let mut sessions = self.lock();
        if !sessions.contains_key(session) {
            sessions.insert(session.to_owned(), Known::of(name));
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
                    let Ok(stranger) = Arc::clone(&self.strangers).try_acquire_owned() else {
                        debug!("more dial at once than can prove who they are");
                        continue;
                    };
                    self.tasks.spawn(async move {
                        let pipe: BoxPipe = Box::new(stream::tuned(tcp));
                        own.take_stranger(pipe, stranger).await;
                    });
                }
                Err(error) => {
                    warn!(%error, "a target could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Has whoever dialled prove who it is, in one of a few places that are no stream's.
    async fn take_stranger(&self, pipe: BoxPipe, stranger: OwnedSemaphorePermit) {
        let came = self.receive(pipe).await;
        drop(stranger);
        if let Some(came) = came {
            self.let_in(came, Way::Direct, None).await;
        }
    }

    /// Lets a carrier in whose target proves to be that of a session which the gateway told of.
    async fn take(&self, pipe: BoxPipe, way: Way, told: Option<(String, CertificateName)>) {
        if let Some(came) = self.receive(pipe).await {
            self.let_in(came, way, told).await;
        }
    }

    async fn receive(&self, pipe: BoxPipe) -> Option<Came> {
        let seal = Seal::new(&self.options.ticket_client.identity());
        let received = match seal {
            Ok(seal) => stream::receive(&seal, pipe).await,
            Err(error) => Err(error),
        };
        received.inspect_err(|error| debug!(%error, "nobody was let in")).ok()
    }

    async fn let_in(&self, came: Came, way: Way, told: Option<(String, CertificateName)>) {
        let Some((over, streams)) = self.admits(&came, told) else {
            warn!(target = %came.target, "a machine without a session was refused");
            return stream::refuse(came).await;
        };
        let shown = seal::fingerprint(&came.stream);
        let session = came.session.clone();
        if way == Way::Direct && !self.still_counts(&session, shown).await {
            warn!(target = %came.target, "a machine whose certificate or session does not count was refused");
            return stream::refuse(came).await;
        }
        let places = (Arc::clone(&self.places).try_acquire_owned(), streams.try_acquire_owned());
        let (Ok(_place), Ok(_own)) = places else {
            return warn!("there are as many streams as may be; one more was refused");
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

    /// Finds the session of a target: one that is known, or the one that came with the gateway's word about this very stream.
    fn admits(
        &self,
        came: &Came,
        told: Option<(String, CertificateName)>,
    ) -> Option<(CancellationToken, Arc<Semaphore>)> {
        let sessions = self.lock();
        if let Some(known) = sessions.get(&came.session) {
            let fits = known.target == came.target;
            return fits.then(|| (known.over.clone(), Arc::clone(&known.streams)));
        }
        let (session, target) = told?;
        let fits = session == came.session && target == came.target;
        let known = Known::of(target);
        fits.then_some((known.over, known.streams))
    }

    /// Asks the gateway whether a session lives, and whether the certificate that the target showed counts.
    async fn still_counts(&self, session: &str, shown: Option<String>) -> bool {
        let asked = self.options.ticket_client.ask_about_peer(session).await;
        asked.is_ok_and(|heartbeat| {
            heartbeat.authorized
                && shown.is_some_and(|shown| heartbeat.peer_certificates.contains(&shown))
        })
    }
}

impl Known {
    fn of(target: CertificateName) -> Self {
        let streams = Arc::new(Semaphore::new(PER_SESSION));
        Self { target, over: CancellationToken::new(), streams }
    }
}
