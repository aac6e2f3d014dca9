//! A viewer's place in a session, as the relay keeps it and as its plane holds it.

use std::sync::Arc;

use adit_domain::policy::Circumstances;
use adit_domain::{Capabilities, Capability, Ids, PrincipalId, SessionId, TokenId};
use adit_link::resume::InputRelay;
use aws_lc_rs::hmac;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::outbox::{Inbox, Outbox};
use crate::places::Place;

/// A viewer's number within its session.
pub type ViewerId = u32;

/// What a plane hands to the relay.
#[derive(Debug)]
pub enum FromViewer {
    /// Typed bytes at a position of this viewer's writer.
    Input {
        /// The position of the first byte.
        position: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Nothing follows on standard input.
    Eof {
        /// Where it ends.
        position: u64,
    },
    /// Its window changed.
    Resize {
        /// Its width.
        cols: u32,
        /// Its height.
        rows: u32,
    },
    /// Everything before the position is shown.
    Ack {
        /// The position of the next byte that it wants.
        position: u64,
    },
    /// A signal by name.
    Signal {
        /// Without SIG.
        name: String,
    },
    /// It leaves on purpose.
    Detach,
    /// It wants the session to end.
    End,
    /// Its connection is gone.
    Gone,
}

/// Who comes, and from where on.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who it is.
    pub principal: PrincipalId,
    /// The sign-in or token that it came with; it goes when that ends.
    pub credential: Option<TokenId>,
    /// The name that others see: `user:ann`.
    pub name: Arc<str>,
    /// How it comes, for each time that its right is looked at again.
    pub circumstances: Circumstances,
    /// What it may do here: the session's capabilities and its own.
    pub capabilities: Capabilities,
    /// Its window.
    pub size: Option<(u32, u32)>,
    /// The next byte that it wants; none for a snapshot.
    pub from: Option<u64>,
    /// The writer that it had before.
    pub writer: Option<WriterId>,
    /// Where its unacknowledged input begins.
    pub input_position: u64,
    /// Whether the session is made for it: then everything comes from the first byte on.
    pub opens: bool,
}

/// A viewer's place, as its plane holds it.
#[derive(Debug)]
pub struct Seat {
    /// Its number.
    pub viewer: ViewerId,
    /// What is for it.
    pub inbox: Inbox,
    /// Where it types; none without `terminal:input`.
    pub input: Option<InputHandle>,
    /// Where everything else goes.
    pub control: ControlHandle,
    /// Its place among its user's viewers.
    pub(super) place: Option<Place<PrincipalId>>,
}

/// The right to type, as a value: whoever lacks it has nothing to call.
#[derive(Clone, Debug)]
pub struct InputHandle(ControlHandle);

/// Sends to the relay; a full queue makes the sender wait, which its own socket then feels.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    pub(super) viewer: ViewerId,
    pub(super) relay: mpsc::Sender<(ViewerId, FromViewer)>,
}

impl ControlHandle {
    /// Sends one thing; false when the session is over.
    pub async fn send(&self, what: FromViewer) -> bool {
        self.relay.send((self.viewer, what)).await.is_ok()
    }
}

impl InputHandle {
    /// Types; false when the session is over.
    pub async fn type_bytes(&self, position: u64, bytes: Bytes) -> bool {
        self.0.send(FromViewer::Input { position, bytes }).await
    }

    /// Ends standard input; false when the session is over.
    pub async fn eof(&self, position: u64) -> bool {
        self.0.send(FromViewer::Eof { position }).await
    }
}

impl Seat {
    pub(super) fn new(control: ControlHandle, inbox: Inbox, capabilities: Capabilities) -> Self {
        let input =
            capabilities.has(Capability::TerminalInput).then(|| InputHandle(control.clone()));
        Self { viewer: control.viewer, inbox, input, control, place: None }
    }
}

/// A viewer as the relay keeps it.
#[derive(Debug)]
pub(super) struct Viewer {
    pub arrival: Arrival,
    pub writer: WriterId,
    pub outbox: Outbox,
    pub input: InputRelay,
    pub phase: Phase,
    /// Everything before it was put into the outbox.
    pub sent: u64,
    /// Everything before it was shown.
    pub acked: u64,
}

/// How a viewer gets its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the machine's answer to an attach.
    Joining,
    /// Gets every byte as it comes.
    Streaming,
    /// Fell too far behind; gets a snapshot once it took what it has.
    Lagging,
}

impl Viewer {
    pub fn can_type(&self) -> bool {
        self.arrival.capabilities.has(Capability::TerminalInput)
    }

    pub fn unacked(&self) -> u64 {
        self.sent.saturating_sub(self.acked)
    }
}

/// Names a viewer's stream of input across its reconnections: 8 random bytes and 8 of a MAC over them, the session and the principal, so
/// that nobody goes on with another's stream, even after the gateway forgot it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WriterId(pub [u8; 16]);

/// Makes and checks writer ids.
#[derive(Clone, Debug)]
pub struct WriterKey(hmac::Key);

impl WriterKey {
    /// Makes the key of 32 derived bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Makes a new id for a principal in a session.
    pub fn mint(&self, session: SessionId, principal: PrincipalId, ids: &dyn Ids) -> WriterId {
        let mut random = [0; 8];
        ids.fill(&mut random);
        self.of(session, principal, random)
    }

    /// Reads an id that a viewer presents; none unless it was made for this principal in this session.
    pub fn check(
        &self,
        session: SessionId,
        principal: PrincipalId,
        presented: &[u8],
    ) -> Option<WriterId> {
        let presented = <[u8; 16]>::try_from(presented).ok()?;
        let random = presented[..8].try_into().expect("half of 16 bytes");
        let made = self.of(session, principal, random);
        aws_lc_rs::constant_time::verify_slices_are_equal(&made.0, &presented).ok()?;
        Some(made)
    }

    fn of(&self, session: SessionId, principal: PrincipalId, random: [u8; 8]) -> WriterId {
        let mut text = Vec::with_capacity(40);
        text.extend_from_slice(session.as_bytes());
        text.extend_from_slice(principal.as_bytes());
        text.extend_from_slice(&random);
        let tag = hmac::sign(&self.0, &text);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random);
        id[8..].copy_from_slice(&tag.as_ref()[..8]);
        WriterId(id)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::random::SystemIds;

    #[test]
    fn a_writer_goes_on_only_as_itself() {
        // R04
        let key = WriterKey::new(&[1; 32]);
        let (session, other) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let (ann, bob) = (PrincipalId(Uuid::from_u128(3)), PrincipalId(Uuid::from_u128(4)));
        let id = key.mint(session, ann, &SystemIds);
        assert_eq!(key.check(session, ann, &id.0), Some(id));
        assert_eq!(key.check(session, bob, &id.0), None);
        assert_eq!(key.check(other, ann, &id.0), None);
        assert_eq!(key.check(session, ann, &id.0[..15]), None);
    }
}
