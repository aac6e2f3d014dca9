//! Keys and channels for this crate's tests.

use adit_domain::Ids;
use adit_wire::agent::v1 as pb;
use adit_wire::frame::{Data, Frame, Kind};
use bytes::Bytes;
use uuid::Uuid;

use crate::keys::Keypair;
use crate::seal::{Binding, Initiator, Responder, SealError, Sealed};

/// Randomness that repeats one byte.
pub struct Repeat(pub u8);

impl Ids for Repeat {
    fn uuid(&self) -> Uuid {
        Uuid::from_bytes([self.0; 16])
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

/// Makes a key pair that is the same for the same seed.
pub fn keypair(seed: u8) -> Keypair {
    Keypair::generate(&Repeat(seed))
}

/// The key of the machine in [`channel`].
pub const MACHINE: u8 = 1;

/// The key of the session service in [`channel`].
pub const SERVICE: u8 = 2;

/// Makes the preamble of a session.
pub fn preamble(session: u8) -> pb::Preamble {
    pb::Preamble {
        purpose: pb::preamble::Purpose::Session.into(),
        session_id: Bytes::copy_from_slice(&[session; 16]),
        ..pb::Preamble::default()
    }
}

/// Shakes hands, with each end's own view of the preamble's session and of the binding.
pub fn shake(
    session: u8,
    agent: &Binding,
    gateway: &Binding,
) -> Result<(Sealed, Sealed), SealError> {
    let service = keypair(SERVICE);
    let (initiator, first) =
        Initiator::start(preamble(session), &keypair(MACHINE), service.public(), agent)?;
    let (gateway, reply) = Responder::read(&first, &service, gateway)?.answer()?;
    Ok((initiator.finish(&reply)?, gateway))
}

/// Opens a channel: the agent's end and the gateway's.
pub fn channel(session: u8) -> (Sealed, Sealed) {
    shake(session, &Binding::None, &Binding::None).expect("both ends agree")
}

/// Makes a frame of output.
pub fn output(position: u64, bytes: &[u8]) -> Frame {
    data(Kind::Output, position, bytes)
}

/// Makes a data frame.
pub fn data(kind: Kind, position: u64, bytes: &[u8]) -> Frame {
    Frame::Data(Data { kind, position, bytes: Bytes::copy_from_slice(bytes) })
}
