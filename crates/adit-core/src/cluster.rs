//! Several gateways on one database: how they hear of each other's changes, and ask each other for what only one of them can do.
//!
//! Each looks at the database every few seconds by itself, so everything here only makes things sooner, or is refused while the bus is away.
//!
//! 1. What changed here waits in `bus.rs`, and `cluster/tell.rs` says it to the others, at most twenty times a second.
//! 2. `cluster/hear.rs` takes what others say; it looks at the database, never at more of a message than which row it is about.
//! 3. A machine's link is at one gateway and its session's viewer may be at another: [`Cluster::ask`] has the first pass the session on, and
//!    the machine then dials the second. Bytes never go from gateway to gateway.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use adit_bus::State as BusState;
use adit_bus::To;
use adit_domain::{Code, Ids, Secret, SessionId, TenantId};
use adit_wire::bus::v1 as pb;
use adit_wire::bus::v1::ask::What;
use adit_wire::bus::v1::word::Word;
use prost::Message as _;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

mod hear;
mod reach;
mod standing;
mod tell;

pub(crate) use reach::stream_message;
pub(crate) use tell::OfMachine;

/// Where the bus between gateways is.
#[derive(Clone, Debug)]
pub struct BusSettings {
    /// `redis://` or `rediss://`.
    pub url: Secret<String>,
    /// The authorities whose certificates alone count, PEM; none: the system's.
    pub authorities: Option<Vec<u8>>,
}

/// How long another gateway may take to answer; a machine that nobody has is offline after that.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How many questions may wait for their answers.
const MOST_ASKED: usize = 4096;

/// This gateway among the others.
#[derive(Debug, Default)]
pub struct Cluster {
    bus: Option<adit_bus::Bus>,
    asked: Mutex<HashMap<Uuid, oneshot::Sender<Option<Code>>>>,
    /// Another gateway said that rights changed, or may have while nobody could say it.
    pub(crate) rights: Notify,
}

/// A question that waits for its answer, and no more once this is dropped.
struct Asked<'a> {
    cluster: &'a Cluster,
    id: Uuid,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.cluster.lock().remove(&self.id);
    }
}

impl Cluster {
    pub(crate) fn new(bus: Option<adit_bus::Bus>) -> Self {
        Self { bus, ..Self::default() }
    }

    /// Gives the bus, where there is one.
    pub fn bus(&self) -> Option<&adit_bus::Bus> {
        self.bus.as_ref()
    }

    /// Tells whether other gateways can be asked now.
    pub fn is_up(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.state().is_up())
    }

    /// Says something; a bus that is away or full loses it, and the database has it all the same.
    fn say(&self, to: To, word: Word) {
        let Some(bus) = &self.bus else { return };
        let body = pb::Word { word: Some(word) }.encode_to_vec();
        if let Err(error) = bus.send(to, body.into()) {
            tracing::debug!(%error, "other gateways are not told");
        }
    }

    /// Asks one gateway or all to do something with a session, and waits until one has.
    ///
    /// # Errors
    /// The code of whoever tried; [`Code::TargetOffline`] when nobody can, or the bus is away.
    pub(crate) async fn ask(
        &self,
        ids: &dyn Ids,
        to: To,
        (tenant, session): (TenantId, SessionId),
        what: What,
    ) -> Result<(), Code> {
        if !self.is_up() {
            return Err(Code::TargetOffline);
        }
        let (asked, answer) = self.begin(ids).ok_or(Code::TooMany)?;
        self.say(
            to,
            Word::Ask(pb::Ask {
                id: asked.id.as_bytes().to_vec().into(),
                tenant_id: tenant.as_bytes().to_vec().into(),
                session_id: session.as_bytes().to_vec().into(),
                what: Some(what),
            }),
        );
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(code))) => Err(code),
            Ok(Err(_)) | Err(_) => Err(Code::TargetOffline),
        }
    }

    fn begin(&self, ids: &dyn Ids) -> Option<(Asked<'_>, oneshot::Receiver<Option<Code>>)> {
        let mut random = [0; 16];
        ids.fill(&mut random);
        let id = Uuid::from_bytes(random);
        let (reply, answer) = oneshot::channel();
        let mut asked = self.lock();
        if asked.len() >= MOST_ASKED {
            return None;
        }
        asked.insert(id, reply);
        Some((Asked { cluster: self, id }, answer))
    }

    /// Hands an answer to whoever asked; the first counts.
    fn answered(&self, answer: &pb::Answer) {
        let waiting = Uuid::from_slice(&answer.id).ok().and_then(|id| self.lock().remove(&id));
        let Some(waiting) = waiting else { return };
        let code = (!answer.code.is_empty()).then(|| answer.code.parse().unwrap_or(Code::Internal));
        // Whoever asked may have given up.
        let _ = waiting.send(code);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Option<Code>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
