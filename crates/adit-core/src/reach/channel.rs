//! Who is told at once: the machines that keep a channel open.
//!
//! A channel says what changed; whoever hears it looks again or acts. One that falls behind is closed, and reads the state anew when it
//! is back, so nothing is lost with it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_domain::certificate::Carried;
use adit_domain::reach::{Lapse, peer_label};
use adit_domain::{CertificateName, InstanceId, SessionId, StreamId, TenantId};
use adit_store::{Instance, MachineSession};
use tokio::sync::mpsc;

/// What a machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Push {
    /// Its inbox changed.
    Inbox,
    /// A target that is assigned to one of its instances waits for a ticket.
    Wanted {
        /// The instance.
        instance: InstanceId,
        /// For what.
        capability: Carried,
        /// Who waits.
        target: String,
    },
    /// A target opened a session on one of its instances.
    Session {
        /// The session.
        session: SessionId,
        /// The instance.
        instance: InstanceId,
        /// For what.
        capability: Carried,
        /// Who was let in.
        target: String,
    },
    /// A target opened a stream; the source is to dial it.
    Stream {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// For what.
        capability: Carried,
        /// Who was let in.
        target: String,
        /// The gateway at which the target waits; none for this one.
        dial: Option<String>,
    },
    /// A session is over.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        reason: Lapse,
    },
}

impl Push {
    /// Says that a target waits for a ticket of an instance.
    pub fn wanted(instance: &Instance, target: &CertificateName) -> Self {
        Self::Wanted {
            instance: instance.id,
            capability: instance.capability.clone(),
            target: peer_label(target),
        }
    }

    /// Says that a session is there.
    pub fn of_session(session: &MachineSession) -> Self {
        Self::Session {
            session: session.id,
            instance: session.instance,
            capability: session.capability.clone(),
            target: peer_label(&session.target),
        }
    }
}

/// How many words may wait for a machine that is slow to read; one more and its channel is closed.
const WAITING: usize = 64;

/// How soon after it was said the same wish is no news.
const SAID_AGAIN: Duration = Duration::from_secs(3);

/// How many capabilities one channel may wait for, and offer.
const PER_CHANNEL: usize = 50;

/// How many channels one machine may have at once.
const PER_PEER: usize = 16;

type Key = (TenantId, String);

struct Open {
    id: u64,
    sender: mpsc::Sender<Push>,
    wants: HashMap<Carried, Want>,
    offers: HashSet<Carried>,
}

/// For what a machine waits.
#[derive(Clone, Debug)]
struct Want {
    /// The one source that it means; none for any.
    from: Option<CertificateName>,
    /// When it said so.
    at: Instant,
}

impl Want {
    fn means(&self, source: &CertificateName) -> bool {
        self.from.as_ref().is_none_or(|from| from == source)
    }
}

/// The channels that are open.
#[derive(Clone, Default)]
pub struct Channels {
    open: Arc<Mutex<HashMap<Key, Vec<Open>>>>,
    last: Arc<AtomicU64>,
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channels")
    }
}

/// One machine's channel; it is closed when this is dropped.
pub struct Channel {
    channels: Channels,
    key: Key,
    id: u64,
    receiver: mpsc::Receiver<Push>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a channel to a machine; `None` when it has as many as it may.
    pub fn open(&self, tenant: TenantId, name: &CertificateName) -> Option<Channel> {
        let key = (tenant, name.to_string());
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut map = self.lock();
        let list = map.entry(key.clone()).or_default();
        if list.len() >= PER_PEER {
            return None;
        }
        list.push(Open { id, sender, wants: HashMap::new(), offers: HashSet::new() });
        Some(Channel { channels: self.clone(), key, id, receiver })
    }

    fn tell(&self, tenant: TenantId, name: &CertificateName, push: &Push) {
        self.tell_those(tenant, name, push, |_| true);
    }

    fn tell_those(
        &self,
        tenant: TenantId,
        name: &CertificateName,
        push: &Push,
        which: impl Fn(&Open) -> bool,
    ) {
        if let Some(list) = self.lock().get_mut(&(tenant, name.to_string())) {
            // A full queue means a reader that is behind: its channel ends, and it comes back.
            list.retain(|open| !which(open) || open.sender.try_send(push.clone()).is_ok());
        }
    }

    /// Tells a machine that its inbox changed.
    pub fn inbox(&self, tenant: TenantId, target: &CertificateName) {
        self.tell(tenant, target, &Push::Inbox);
    }

    /// Tells the source of an instance that a target waits.
    pub fn tell_source(&self, tenant: TenantId, target: &CertificateName, instance: &Instance) {
        let push = Push::wanted(instance, target);
        self.tell_those(tenant, &instance.owner, &push, |open| {
            open.offers.contains(&instance.capability)
        });
    }

    /// Tells whether a target waits for a ticket of an instance.
    pub fn waits(&self, tenant: TenantId, target: &CertificateName, instance: &Instance) -> bool {
        let key = (tenant, target.to_string());
        let means = |open: &Open| {
            open.wants.get(&instance.capability).is_some_and(|want| want.means(&instance.owner))
        };
        self.lock().get(&key).is_some_and(|list| list.iter().any(means))
    }

    /// Tells one channel of a source that serves a capability to dial a stream, at another gateway where an address is given. Tells whether
    /// there is one.
    pub fn stream(&self, session: &MachineSession, stream: StreamId, dial: Option<&str>) -> bool {
        let key = (session.tenant, session.source.to_string());
        let push = Push::Stream {
            session: session.id,
            stream,
            capability: session.capability.clone(),
            target: peer_label(&session.target),
            dial: dial.map(str::to_owned),
        };
        let mut map = self.lock();
        let Some(list) = map.get_mut(&key) else { return false };
        let serving = list.iter().rev().filter(|open| open.offers.contains(&session.capability));
        serving.map(|open| open.sender.try_send(push.clone())).any(|sent| sent.is_ok())
    }

    /// Tells the source of a session that it is there.
    pub fn session(&self, session: &MachineSession) {
        self.tell(session.tenant, &session.source, &Push::of_session(session));
    }

    /// Tells both ends of a session that it is over.
    pub fn ended(&self, session: &MachineSession, reason: Lapse) {
        for end in [&session.source, &session.target] {
            self.end(session.tenant, end, session.id, reason);
        }
    }

    /// Tells one end of a session that it is over.
    pub fn end(&self, tenant: TenantId, end: &CertificateName, session: SessionId, reason: Lapse) {
        self.tell(tenant, end, &Push::Ended { session, reason });
    }
}

impl Channel {
    /// Waits for the next word; `None` once the channel was closed because its machine fell behind.
    pub async fn next(&mut self) -> Option<Push> {
        self.receiver.recv().await
    }

    /// Notes that the machine waits for a ticket, of one source or of any. Tells whether that is news: it is not, within a few seconds.
    pub fn want(&self, capability: Carried, from: Option<CertificateName>) -> bool {
        self.change(|open| {
            let now = Instant::now();
            let known = open.wants.get(&capability);
            let fresh = known.is_some_and(|want| now.duration_since(want.at) < SAID_AGAIN);
            if fresh || known.is_none() && open.wants.len() >= PER_CHANNEL {
                return false;
            }
            open.wants.insert(capability, Want { from, at: now });
            true
        })
    }

    /// Notes that the machine waits no more.
    pub fn want_no_more(&self, capability: &Carried) {
        self.change(|open| open.wants.remove(capability).is_some());
    }

    /// Notes that the machine dials streams of a capability when it is told to. Tells whether it may.
    pub fn offer(&self, capability: Carried) -> bool {
        self.change(|open| {
            let room = open.offers.len() < PER_CHANNEL || open.offers.contains(&capability);
            if room {
                open.offers.insert(capability);
            }
            room
        })
    }

    fn change(&self, change: impl FnOnce(&mut Open) -> bool) -> bool {
        let mut map = self.channels.lock();
        let own =
            map.get_mut(&self.key).and_then(|list| list.iter_mut().find(|open| open.id == self.id));
        own.is_some_and(change)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut map = self.channels.lock();
        let Some(list) = map.get_mut(&self.key) else { return };
        list.retain(|open| open.id != self.id);
        if list.is_empty() {
            map.remove(&self.key);
        }
    }
}
