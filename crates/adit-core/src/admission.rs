//! Connections of machines by the credential that admitted them, so that they end with it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use adit_domain::{CertificateId, Code, Timestamp, TokenId};
use adit_link::socket::{Message, SocketError};
use adit_store::Machine;
use futures_util::task::AtomicWaker;
use futures_util::{Sink, Stream};
use uuid::Uuid;

use crate::BoxSocket;

/// What showed that a machine may connect.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The machine.
    pub machine: Machine,
    /// The key or certificate.
    pub credential: Credential,
    /// Whether the connection serves the renewal of an expired certificate and nothing else.
    pub renewal_only: bool,
}

/// A machine's key or certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A key, `cak_…`.
    Key(TokenId),
    /// A certificate, and when it was issued and ends.
    Certificate {
        /// Which.
        id: CertificateId,
        /// When it was issued.
        issued_at: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
}

impl Credential {
    /// Gives the id of its row.
    pub fn id(self) -> Uuid {
        match self {
            Self::Key(id) => id.0,
            Self::Certificate { id, .. } => id.0,
        }
    }

    fn until(self) -> Option<Timestamp> {
        match self {
            Self::Key(_) => None,
            Self::Certificate { not_after, .. } => Some(not_after),
        }
    }
}

/// One connection that can be cut off.
#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_cut.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Held {
    until: Option<Timestamp>,
    cuts: Vec<Arc<Cut>>,
}

/// The connections that live, by credential.
#[derive(Clone, Debug, Default)]
pub struct Admissions(Arc<Mutex<HashMap<Uuid, Held>>>);

impl Admissions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ties a connection to the credential that admitted it.
    pub fn tie(&self, socket: BoxSocket, admission: &Admission) -> BoxSocket {
        let (credential, cut) = (admission.credential, Arc::new(Cut::default()));
        // A renewal outlives the end of its certificate, and its revocation ends it all the same.
        let until = credential.until().filter(|_| !admission.renewal_only);
        let mut map = self.lock();
        let held = map.entry(credential.id());
        let held = held.or_insert_with(|| Held { until, cuts: Vec::new() });
        held.cuts.push(Arc::clone(&cut));
        drop(map);
        let tie = Tie { admissions: self.clone(), credential: credential.id(), cut };
        Box::new(Tied { socket, tie, told: false })
    }

    /// Cuts the connections of credentials that were revoked.
    pub fn cut(&self, revoked: &[Uuid]) {
        let map = self.lock();
        let held = revoked.iter().filter_map(|id| map.get(id));
        held.flat_map(|held| &held.cuts).for_each(|cut| cut.cut());
    }

    /// Cuts the connections of certificates that have ended.
    pub fn cut_expired(&self, now: Timestamp) {
        let map = self.lock();
        let over = map.values().filter(|held| held.until.is_some_and(|until| until <= now));
        over.flat_map(|held| &held.cuts).for_each(|cut| cut.cut());
    }
}

/// A connection's place among those of its credential.
struct Tie {
    admissions: Admissions,
    credential: Uuid,
    cut: Arc<Cut>,
}

impl Drop for Tie {
    fn drop(&mut self) {
        let mut map = self.admissions.lock();
        let Some(held) = map.get_mut(&self.credential) else { return };
        held.cuts.retain(|cut| !Arc::ptr_eq(cut, &self.cut));
        if held.cuts.is_empty() {
            map.remove(&self.credential);
        }
    }
}

/// A WebSocket that ends with its credential.
struct Tied {
    socket: BoxSocket,
    tie: Tie,
    told: bool,
}

impl Tied {
    fn check(&self, cx: &Context<'_>) -> Result<(), SocketError> {
        if self.tie.cut.poll(cx) {
            return Err(SocketError::Failed(Code::AuthEnded.as_str().into()));
        }
        Ok(())
    }
}

impl Stream for Tied {
    type Item = Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.tie.cut.poll(cx) {
            if std::mem::replace(&mut self.told, true) {
                return Poll::Ready(None);
            }
            return Poll::Ready(Some(Ok(Message::Close(Some(Code::AuthEnded.close_code())))));
        }
        Pin::new(&mut self.socket).poll_next(cx)
    }
}

impl Sink<Message> for Tied {
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        Pin::new(&mut self.socket).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
