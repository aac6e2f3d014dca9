//! Streams that the gateway carries between two machines: the bytes of one end go to the other as they are, sealed between the ends.
//!
//! Each stream belongs to a session and is cut the moment the session is over. A stream holds two buffers of a fixed size, so a slow
//! reader slows its writer and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_domain::reach::{Lapse, Strategy};
use adit_domain::{CertificateName, Code, SessionId, StreamId, TenantId};
use adit_store::MachineSession;
use adit_wire::agent::v1::to_agent::Message as ToAgent;
use metrics::{counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};

use super::{Guest, session::Heartbeat};
use crate::Gateway;
use crate::access::Refusal;
use crate::cluster::stream_message;

/// One end of a stream.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// One end of a stream, whatever it is made of.
pub type BoxPipe = Box<dyn Pipe>;

/// How long the source may take to dial a stream that its target opened.
const DIAL_WAIT: Duration = Duration::from_secs(10);

/// The buffer of each direction, in bytes: four records of TLS, so that one read fills one write.
const BUFFER: usize = 64 * 1024;

/// How many streams one session may have at once.
const PER_SESSION: usize = 256;

struct Waiting {
    session: SessionId,
    tenant: TenantId,
    source: CertificateName,
    reply: oneshot::Sender<oneshot::Receiver<BoxPipe>>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<StreamId, Waiting>,
    live: HashMap<SessionId, Live>,
}

struct Live {
    streams: usize,
    over: watch::Sender<Option<Lapse>>,
}

/// The streams that live or are being opened.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<Inner>>);

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the streams of sessions that are over.
    pub fn end(&self, sessions: &[SessionId], reason: Lapse) {
        let inner = self.lock();
        for live in sessions.iter().filter_map(|id| inner.live.get(id)) {
            live.over.send_replace(Some(reason));
        }
    }

    /// Cuts every stream: nobody can say whether they may go on.
    pub fn end_all(&self) {
        for live in self.lock().live.values() {
            live.over.send_replace(Some(Lapse::Restored));
        }
    }

    /// Gives the sessions with streams that are not among these.
    pub fn others(&self, these: impl Iterator<Item = SessionId>) -> Vec<SessionId> {
        let these: std::collections::HashSet<SessionId> = these.collect();
        self.lock().live.keys().filter(|id| !these.contains(id)).copied().collect()
    }

    /// Tells how many streams live.
    pub fn count(&self) -> usize {
        self.lock().live.values().map(|live| live.streams).sum()
    }

    fn begin(&self, session: SessionId) -> Option<Place> {
        let mut inner = self.lock();
        let live = inner
            .live
            .entry(session)
            .or_insert_with(|| Live { streams: 0, over: watch::channel(None).0 });
        if live.streams >= PER_SESSION {
            return None;
        }
        live.streams += 1;
        gauge!("adit_streams_live").increment(1.0);
        counter!("adit_streams_total").increment(1);
        Some(Place { streams: self.clone(), session, over: live.over.subscribe() })
    }
}

/// A stream that waits for its source; it waits no more when this is dropped.
struct Asked {
    streams: Streams,
    stream: StreamId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.streams.lock().waiting.remove(&self.stream);
    }
}

/// A stream's place among those of its session.
struct Place {
    streams: Streams,
    session: SessionId,
    over: watch::Receiver<Option<Lapse>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!("adit_streams_live").decrement(1.0);
        let mut inner = self.streams.lock();
        if let Some(live) = inner.live.get_mut(&self.session) {
            live.streams -= 1;
            if live.streams == 0 {
                inner.live.remove(&self.session);
            }
        }
    }
}

/// The target's end of a stream whose source is on its way.
pub struct Opening {
    place: Place,
    source: oneshot::Receiver<BoxPipe>,
}

/// The source's end of a stream whose target waits.
pub struct Answer(oneshot::Sender<BoxPipe>);

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opening")
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Gateway {
    /// Opens a stream for the target of a session: decides about it again, has the source dial, and waits until it does.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`], [`Code::ReachOver`], [`Code::TargetOffline`] when the source does not come, [`Code::TooMany`].
    pub async fn open_stream(
        &self,
        guest: &Guest,
        id: &str,
        via: Strategy,
    ) -> Result<Opening, Refusal> {
        let (session, heartbeat) = self.look_at_reach(guest, id).await?;
        if let Heartbeat::Ended(reason) = heartbeat {
            return Err(Refusal::Said(Code::ReachOver, reason.sentence().to_owned()));
        }
        if guest.peer()?.name != session.target {
            return Err(Code::SessionUnknown.into());
        }
        let place = self.streams.begin(session.id).ok_or(Refusal::Code(Code::TooMany))?;
        let stream = StreamId::new(&*self.ids);
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            session: session.id,
            tenant: session.tenant,
            source: session.source.clone(),
            reply,
        };
        self.streams.lock().waiting.insert(stream, waiting);
        let _asked = Asked { streams: self.streams.clone(), stream };
        let asked = self.ask_source(&session, stream, via).await;
        let came = match asked {
            Ok(true) => tokio::time::timeout(DIAL_WAIT, answer).await.ok().and_then(Result::ok),
            Ok(false) | Err(_) => None,
        };
        asked?;
        let source = came.ok_or_else(|| {
            let sentence = "The machine that offers this does not answer. Start `adit ticket offer` there, then try again.";
            Refusal::Said(Code::TargetOffline, sentence.to_owned())
        })?;
        Ok(Opening { place, source })
    }

    /// Tells the source of a session to dial a stream: on its channel, or for a tunnel over its agent's standing link.
    async fn ask_source(
        &self,
        session: &MachineSession,
        stream: StreamId,
        via: Strategy,
    ) -> Result<bool, Refusal> {
        let label = match (via, &session.source) {
            (Strategy::Direct, _) => return Ok(false),
            (Strategy::Relay, _) => {
                let told = self.channels.stream(session, stream, self.shown_address());
                return Ok(told || self.ask_source_elsewhere(session, stream, via).await);
            }
            (Strategy::Tunnel, CertificateName::Agent(label)) => label,
            // Whoever speaks for a machine has no agent.
            (Strategy::Tunnel, _) => return Ok(false),
        };
        let tenant = self.store.tenant(session.tenant);
        let Some(machine) = tenant.find_machine_labelled(label).await? else { return Ok(false) };
        let told =
            ToAgent::TicketStream(stream_message(session, stream, self.own_address(machine.id)));
        let told = self.hub.send(machine.id, told).is_ok();
        Ok(told || self.ask_source_elsewhere(session, stream, via).await)
    }

    /// Answers a stream as its source.
    ///
    /// # Errors
    /// [`Code::SessionUnknown`] when nobody waits for it, or it is another's.
    pub fn answer_stream(&self, guest: &Guest, id: &str, stream: &str) -> Result<Answer, Refusal> {
        let unknown = || Refusal::Code(Code::SessionUnknown);
        let peer = guest.peer()?;
        let stream: StreamId = super::instance::read_id(stream).ok_or_else(unknown)?;
        let session: SessionId = super::instance::read_id(id).ok_or_else(unknown)?;
        let mut inner = self.streams.lock();
        let mine = inner.waiting.get(&stream).is_some_and(|waiting| {
            waiting.session == session
                && waiting.tenant == peer.tenant
                && waiting.source == peer.name
        });
        let waiting = mine.then(|| inner.waiting.remove(&stream)).flatten().ok_or_else(unknown)?;
        drop(inner);
        let (give, take) = oneshot::channel();
        waiting.reply.send(take).map_err(|_| unknown())?;
        Ok(Answer(give))
    }
}

impl Answer {
    /// Gives the source's end.
    pub fn give(self, pipe: BoxPipe) {
        // A target that went away in between closes this end by dropping it.
        let _ = self.0.send(pipe);
    }
}

impl Opening {
    /// Carries bytes both ways until both ends have said their last, or the session is over.
    pub async fn carry(self, mut target: BoxPipe) -> Option<Lapse> {
        let Self { mut place, source } = self;
        let Ok(mut source) = source.await else { return None };
        let both =
            tokio::io::copy_bidirectional_with_sizes(&mut target, &mut source, BUFFER, BUFFER);
        tokio::select! {
            // An end that broke off is how streams end as well; its other end sees its own close.
            _ = both => None,
            reason = place.over.wait_for(Option::is_some) => reason.ok().and_then(|reason| *reason),
        }
    }
}
