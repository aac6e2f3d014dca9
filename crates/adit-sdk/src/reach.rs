//! A target that reaches another machine: it waits for a ticket, keeps its session, and opens streams in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_link::dial::Backoff;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::channel::{Channel, Told};
use crate::client::Ticket;
use crate::offer::Renewed;
use crate::seal::Seal;
use crate::session::{SessionInfo, freshest};
use crate::stream::{self, Reached};
use crate::{TicketClient, TicketError};

/// How often a session's heartbeat is sent.
const BEAT_EVERY: Duration = Duration::from_secs(60);

/// How long a stream waits for a session.
const WAIT_FOR_SESSION: Duration = Duration::from_secs(30);

/// Tickets with less time left are let be.
const LEAST_LEFT: Duration = Duration::from_secs(5);

/// How often a target says again that it waits: a source may have been asked too often.
const ASK_AGAIN: Duration = Duration::from_secs(7);

/// What is reached.
#[derive(Clone, Debug)]
pub struct ReachOptions {
    /// Who reaches, and by which gateway.
    pub ticket_client: TicketClient,
    /// For what: `shell:connect`.
    pub scope: String,
    /// The one source that counts; none for any.
    pub from: Option<String>,
    /// Gives the identity as it is kept now, so that a renewed certificate is shown without a break; none to keep the first.
    pub renewed: Option<Renewed>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReachEvent {
    /// A ticket is waited for.
    Waiting,
    /// This source lets the machine in.
    LetIn(String),
    /// The session is over, and why.
    Ended(String),
    /// A ticket was there and did not open anything.
    Refused(String),
    /// The gateway does not answer; it is dialled again.
    Lost(String),
    /// It answers again.
    Back,
}

type Tell = Box<dyn Fn(ReachEvent) + Send + Sync>;

/// A session that lives.
#[derive(Clone, Debug)]
struct Live {
    info: SessionInfo,
    over: CancellationToken,
}

/// A target.
pub struct Reaching {
    options: ReachOptions,
    tell: Tell,
    waits: AtomicBool,
    live: watch::Sender<Option<Live>>,
    doubt: Notify,
}

impl std::fmt::Debug for Reaching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reaching({})", self.options.scope)
    }
}

/// A stream, and what tells that its session is over.
#[derive(Debug)]
pub struct Opened {
    /// The stream.
    pub reached: Reached,
    /// Ends with the session.
    pub over: CancellationToken,
}

impl Reaching {
    /// Makes a target that has not begun.
    ///
    /// # Errors
    /// [`TicketError::Identity`].
    pub fn new(
        options: ReachOptions,
        tell: impl Fn(ReachEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TicketError> {
        Seal::new(&options.ticket_client.identity())?;
        let live = watch::channel(None).0;
        let waits = AtomicBool::new(false);
        Ok(Arc::new(Self { options, tell: Box::new(tell), waits, live, doubt: Notify::new() }))
    }

    /// Opens a stream, and waits for a session where there is none.
    ///
    /// # Errors
    /// [`TicketError`] when no way to the source works, or there is no session within 30 s.
    pub async fn open(&self) -> Result<Opened, TicketError> {
        let mut seen = self.live.subscribe();
        let waited = tokio::time::timeout(WAIT_FOR_SESSION, seen.wait_for(Option::is_some)).await;
        let live = waited.ok().and_then(Result::ok).and_then(|live| live.clone());
        let live = live.ok_or_else(|| stream::stream("no machine lets this one in yet"))?;
        let (session, ticket) = (&live.info.session, &live.info.ticket);
        let ways = (session.source.as_str(), &ticket.transport);
        let client = &self.options.ticket_client;
        let seal = Seal::new(&client.identity())?;
        let reached = tokio::select! {
            () = live.over.cancelled() => return Err(stream::stream("the session is over")),
            reached = stream::reach(client, &seal, &session.session_id, ways) => reached,
        };
        match reached {
            Ok(reached) => Ok(Opened { reached, over: live.over }),
            Err(error) => {
                self.doubt.notify_one();
                Err(error)
            }
        }
    }

    /// Keeps a session until it is to end; then says so, and the session has its grace.
    ///
    /// # Errors
    /// [`TicketError`] when the gateway does not take this machine's certificate.
    pub async fn run(&self, ending: CancellationToken) -> Result<(), TicketError> {
        let kept = tokio::select! {
            () = ending.cancelled() => Ok(()),
            kept = self.keep() => kept,
        };
        let last = self.live.send_replace(None);
        if let Some(live) = last {
            live.over.cancel();
            let id = &live.info.session.session_id;
            // A gateway that is gone ends it by itself.
            let _ = self.options.ticket_client.update_session_status(id, "grace").await;
        }
        kept
    }

    async fn keep(&self) -> Result<(), TicketError> {
        let mut backoff = Backoff::new();
        let mut lost = false;
        let client = &self.options.ticket_client;
        loop {
            let renewed =
                self.options.renewed.as_ref().is_some_and(|renewed| renewed.refresh(client));
            let error = match client.open_channel().await {
                Ok(mut channel) => {
                    backoff.connected(Instant::now());
                    if std::mem::take(&mut lost) {
                        (self.tell)(ReachEvent::Back);
                    }
                    self.listen(&mut channel).await
                }
                Err(error) if matches!(error.status_code(), Some(401 | 403)) && !renewed => {
                    return Err(error);
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut lost, true) {
                (self.tell)(ReachEvent::Lost(error.to_string()));
            }
            backoff.lost(Instant::now());
            tokio::time::sleep(backoff.delay(rand::random())).await;
        }
    }

    async fn listen(&self, channel: &mut Channel) -> TicketError {
        match self.listen_until(channel).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn listen_until(
        &self,
        channel: &mut Channel,
    ) -> Result<std::convert::Infallible, TicketError> {
        self.beat().await?;
        self.ask(channel).await?;
        let mut beat =
            tokio::time::interval_at(tokio::time::Instant::now() + BEAT_EVERY, BEAT_EVERY);
        let mut again =
            tokio::time::interval_at(tokio::time::Instant::now() + ASK_AGAIN, ASK_AGAIN);
        loop {
            tokio::select! {
                told = channel.next() => self.hear(told?, channel).await?,
                _ = beat.tick() => {
                    self.beat().await?;
                    self.ask(channel).await?;
                }
                () = self.doubt.notified() => {
                    self.beat().await?;
                    self.ask(channel).await?;
                }
                _ = again.tick() => self.ask(channel).await?,
            }
        }
    }

    fn current(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    fn is_current(&self, session: &str) -> bool {
        self.current().is_some_and(|live| live.info.session.session_id == session)
    }

    /// Says that a ticket is waited for, where there is no session.
    async fn ask(&self, channel: &mut Channel) -> Result<(), TicketError> {
        if self.current().is_none() {
            if !self.waits.swap(true, Ordering::Relaxed) {
                (self.tell)(ReachEvent::Waiting);
            }
            channel.want(&self.options.scope, self.options.from.as_deref()).await?;
        }
        Ok(())
    }

    async fn hear(&self, told: Told, channel: &mut Channel) -> Result<(), TicketError> {
        match told {
            Told::Inbox { tickets } if self.current().is_none() => {
                if let Some(ticket) = self.choose(tickets) {
                    match self.open_session(&ticket).await {
                        Ok(live) => {
                            (self.tell)(ReachEvent::LetIn(live.info.session.source.clone()));
                            self.live.send_replace(Some(live));
                            self.waits.store(false, Ordering::Relaxed);
                            channel.enough(&self.options.scope).await?;
                        }
                        Err(error @ TicketError::Unreachable(_)) => return Err(error),
                        Err(error) => (self.tell)(ReachEvent::Refused(error.to_string())),
                    }
                }
            }
            Told::Ended { session_id, reason } if self.is_current(&session_id) => {
                self.end(&reason);
                self.ask(channel).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn choose(&self, mut tickets: Vec<Ticket>) -> Option<Ticket> {
        if let Some(from) = &self.options.from {
            tickets.retain(|ticket| ticket.source == *from);
        }
        freshest(tickets, &self.options.scope, LEAST_LEFT)
    }

    async fn open_session(&self, ticket: &Ticket) -> Result<Live, TicketError> {
        let client = &self.options.ticket_client;
        let valid = client.validate_ticket(&ticket.id).await?;
        let session = client.report_session_creation(&ticket.id).await?;
        Ok(Live { info: SessionInfo { session, ticket: valid }, over: CancellationToken::new() })
    }

    /// Says that this end of the session is there, where there is one.
    async fn beat(&self) -> Result<(), TicketError> {
        let Some(live) = self.current() else { return Ok(()) };
        let id = &live.info.session.session_id;
        match self.options.ticket_client.send_session_heartbeat(id).await {
            Ok(heartbeat) if heartbeat.authorized => {}
            Ok(heartbeat) => self.end(&heartbeat.reason.unwrap_or_default()),
            Err(error) if error.is_not_found() => self.end("the gateway knows it no more"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn end(&self, reason: &str) {
        if let Some(live) = self.live.send_replace(None) {
            live.over.cancel();
            (self.tell)(ReachEvent::Ended(reason.to_owned()));
        }
    }
}
