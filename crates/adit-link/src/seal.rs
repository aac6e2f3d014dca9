//! The sealed channel between a machine and the session service: Noise IK, the agent first.
//!
//! First message: `[u16 BE length][Preamble][Noise message 1]`; reply: `[Noise message 2]`, whose payload is the version chosen, u16 BE.
//! Prologue: `"adit-link-v1"`, the length and the preamble as they were sent, then the TLS exporter's value or `"none"`. Every
//! message after that is one frame. Counters, keys for each direction and the prologue make a frame that was dropped,
//! repeated, reordered, reflected or carried to another session impossible to open.

use std::fmt;

use adit_wire::agent::v1 as pb;
use adit_wire::frame::{Frame, FrameError, HEADER, Kind, MAX_FRAME};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use snow::{HandshakeState, TransportState};

use crate::keys::{KEY_LEN, Keypair, PublicKey};
use crate::noise::{self, TAG};

/// The version of the link that this build speaks.
pub const VERSION: u32 = 1;

/// The label of the TLS exporter (RFC 5705, RFC 9266).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-adit-link-v1";

/// The longest preamble, in bytes: a warrant with all capabilities is under 1 KiB.
pub const MAX_PREAMBLE: usize = 8 * 1024;

/// The longest plaintext of one message, in bytes: what Noise's 65,535 leave beside the tag.
pub const MAX_PLAINTEXT: usize = 65_535 - TAG;

const PROLOGUE: &[u8] = b"adit-link-v1";

/// IK's first message with an empty payload: ephemeral key, sealed static key, tag.
const FIRST_LEN: usize = KEY_LEN + KEY_LEN + TAG + TAG;

/// IK's second message with the version as payload: ephemeral key, version, tag.
const REPLY_LEN: usize = KEY_LEN + 2 + TAG;

/// What ties the channel to the TLS connection below it.
#[derive(Clone, PartialEq, Eq)]
pub enum Binding {
    /// The value that both ends of the TLS connection export.
    Exporter([u8; 32]),
    /// Nothing: no TLS, or a terminator in between.
    None,
}

/// Why the channel cannot be opened or used; for the local log, never for the peer.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The peer's first message has another form.
    #[error("the first message is malformed: {0}")]
    First(&'static str),
    /// The agent and the gateway have no version in common.
    #[error("no version of the link is spoken on both ends")]
    Version,
    /// The agent binds to TLS and the gateway does not, or the other way round.
    #[error("the machine binds the channel to {machine:?}, this connection has {here:?}")]
    Binding {
        /// What the machine's preamble says.
        machine: String,
        /// What this end of the connection has.
        here: &'static str,
    },
    /// The keys, the preamble or the binding differ between the ends.
    #[error("the handshake failed: {0}")]
    Handshake(snow::Error),
    /// TLS has no exporter yet.
    #[error("the TLS connection cannot export a value: {0}")]
    Exporter(rustls::Error),
    /// A message was forged, damaged, repeated, left out or reordered.
    #[error("message {number} cannot be opened: {cause}")]
    Open {
        /// How many were opened before it.
        number: u64,
        /// What snow says.
        cause: snow::Error,
    },
    /// A message that was opened is no frame.
    #[error("message {number} holds no frame: {cause}")]
    Frame {
        /// How many were opened before it.
        number: u64,
        /// What is wrong with it.
        cause: FrameError,
    },
    /// An earlier message was bad.
    #[error("an earlier message was bad, so the channel is closed")]
    Poisoned,
    /// A frame over what one message holds.
    #[error("a frame of {0} bytes does not fit one message")]
    Large(usize),
    /// The channel's counter is used up.
    #[error("the message cannot be sealed: {0}")]
    Seal(snow::Error),
}

/// The agent's end, waiting for the reply.
pub struct Initiator {
    noise: HandshakeState,
}

/// The gateway's end, knowing who knocks.
pub struct Responder {
    noise: HandshakeState,
    preamble: pb::Preamble,
    machine: PublicKey,
}

/// An open channel.
pub struct Sealed {
    noise: TransportState,
    opened: u64,
    poisoned: bool,
}

impl Binding {
    /// Takes the value of a TLS connection whose handshake is over.
    ///
    /// # Errors
    /// [`SealError::Exporter`] before the TLS handshake is complete.
    pub fn of<D>(tls: &rustls::ConnectionCommon<D>) -> Result<Self, SealError> {
        tls.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))
            .map(Self::Exporter)
            .map_err(SealError::Exporter)
    }

    /// Gives the word that the preamble carries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exporter(_) => "exporter",
            Self::None => "none",
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Exporter(value) => value,
            Self::None => b"none",
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Initiator {
    /// Makes the first message; `preamble` gets this build's versions and the binding's word.
    ///
    /// # Errors
    /// [`SealError::Large`] for a preamble over the cap, [`SealError::Handshake`] for a weak `service` key.
    pub fn start(
        mut preamble: pb::Preamble,
        keys: &Keypair,
        service: PublicKey,
        binding: &Binding,
    ) -> Result<(Self, Bytes), SealError> {
        preamble.versions = vec![VERSION];
        preamble.binding = binding.name().to_owned();
        let mut first = lengthened(&preamble)?;
        let mut noise = noise::builder()
            .prologue(&prologue(&first, binding))
            .and_then(|noise| noise.local_private_key(keys.private().expose()))
            .and_then(|noise| noise.remote_public_key(&service.0))
            .and_then(snow::Builder::build_initiator)
            .map_err(SealError::Handshake)?;
        let begin = first.len();
        first.resize(begin + FIRST_LEN, 0);
        noise.write_message(&[], &mut first[begin..]).map_err(SealError::Handshake)?;
        Ok((Self { noise }, first.freeze()))
    }

    /// Opens the channel with the gateway's reply.
    ///
    /// # Errors
    /// [`SealError::Handshake`] when the gateway lacks the service's key or saw another preamble or binding.
    pub fn finish(mut self, reply: &[u8]) -> Result<Sealed, SealError> {
        let mut version = [0; REPLY_LEN];
        let len = self.noise.read_message(reply, &mut version).map_err(SealError::Handshake)?;
        let chosen = u16::try_from(VERSION).expect("the version is small").to_be_bytes();
        if version.get(..len) != Some(&chosen) {
            return Err(SealError::Version);
        }
        Sealed::new(self.noise)
    }
}

impl Responder {
    /// Reads the first message; nothing is answered yet.
    ///
    /// # Errors
    /// [`SealError::First`], [`SealError::Version`], [`SealError::Binding`] or [`SealError::Handshake`], by what is wrong.
    pub fn read(first: &Bytes, keys: &Keypair, binding: &Binding) -> Result<Self, SealError> {
        let (lengthened, message) = cut(first)?;
        let preamble = pb::Preamble::decode(first.slice(2..lengthened.len()))
            .map_err(|_| SealError::First("the preamble cannot be read"))?;
        if !preamble.versions.contains(&VERSION) {
            return Err(SealError::Version);
        }
        if preamble.binding != binding.name() {
            let machine = preamble.binding.chars().take(16).collect();
            return Err(SealError::Binding { machine, here: binding.name() });
        }
        let mut noise = noise::builder()
            .prologue(&prologue(lengthened, binding))
            .and_then(|noise| noise.local_private_key(keys.private().expose()))
            .and_then(snow::Builder::build_responder)
            .map_err(SealError::Handshake)?;
        noise.read_message(message, &mut []).map_err(SealError::Handshake)?;
        let machine = noise.get_remote_static().and_then(|key| PublicKey::try_from(key).ok());
        let machine = machine.ok_or(SealError::First("it has no static key"))?;
        Ok(Self { noise, preamble, machine })
    }

    /// Gives what the machine wants; it is authenticated, but only as the word of whoever owns [`Self::machine`].
    pub fn preamble(&self) -> &pb::Preamble {
        &self.preamble
    }

    /// Gives the static key that was proved; the caller compares it with the one of enrolment before it answers.
    pub fn machine(&self) -> PublicKey {
        self.machine
    }

    /// Answers, which opens the channel.
    ///
    /// # Errors
    /// [`SealError::Handshake`] when no reply can be made.
    pub fn answer(mut self) -> Result<(Sealed, Bytes), SealError> {
        let chosen = u16::try_from(VERSION).expect("the version is small").to_be_bytes();
        let mut reply = BytesMut::zeroed(REPLY_LEN);
        let len = self.noise.write_message(&chosen, &mut reply).map_err(SealError::Handshake)?;
        reply.truncate(len);
        Ok((Sealed::new(self.noise)?, reply.freeze()))
    }
}

impl Sealed {
    fn new(noise: HandshakeState) -> Result<Self, SealError> {
        let noise = noise.into_transport_mode().map_err(SealError::Handshake)?;
        Ok(Self { noise, opened: 0, poisoned: false })
    }

    /// Seals one frame.
    ///
    /// # Errors
    /// [`SealError::Large`] for a frame over [`MAX_PLAINTEXT`], [`SealError::Poisoned`] after a bad message.
    pub fn seal(&mut self, frame: &Frame) -> Result<Bytes, SealError> {
        match frame {
            Frame::Control(message) => self.seal_parts(&[0], message),
            Frame::Data(data) => self.seal_data(data.kind, data.position, &data.bytes),
        }
    }

    /// Seals a data frame around a payload.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_data(
        &mut self,
        kind: Kind,
        position: u64,
        payload: &[u8],
    ) -> Result<Bytes, SealError> {
        let mut header = [0; HEADER];
        header[0] = kind as u8;
        header[1..].copy_from_slice(&position.to_be_bytes());
        self.seal_parts(&header, payload)
    }

    /// Seals one protobuf message.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_control(&mut self, message: &impl Message) -> Result<Bytes, SealError> {
        self.seal_parts(&[0], &message.encode_to_vec())
    }

    /// Opens one message; a bad one closes the channel for good.
    ///
    /// # Errors
    /// [`SealError::Open`], [`SealError::Frame`] or [`SealError::Poisoned`].
    pub fn open(&mut self, message: &[u8]) -> Result<Frame, SealError> {
        if self.poisoned {
            return Err(SealError::Poisoned);
        }
        let number = self.opened;
        self.poisoned = true;
        let plaintext_len = message.len().saturating_sub(TAG).min(MAX_FRAME);
        let mut plaintext = BytesMut::zeroed(plaintext_len);
        self.noise
            .read_message(message, &mut plaintext)
            .map_err(|cause| SealError::Open { number, cause })?;
        let frame =
            Frame::read(plaintext.freeze()).map_err(|cause| SealError::Frame { number, cause })?;
        self.poisoned = false;
        self.opened += 1;
        Ok(frame)
    }

    fn seal_parts(&mut self, header: &[u8], payload: &[u8]) -> Result<Bytes, SealError> {
        let plaintext_len = header.len() + payload.len();
        if self.poisoned {
            return Err(SealError::Poisoned);
        }
        if plaintext_len > MAX_PLAINTEXT {
            return Err(SealError::Large(plaintext_len));
        }
        let mut sealed = BytesMut::zeroed(plaintext_len + TAG);
        let mut key = [0; SMALL];
        if let Some(small) = key.get_mut(..plaintext_len) {
            join(header, payload, small);
            self.noise.write_message(small, &mut sealed).map_err(SealError::Seal)?;
        } else {
            let plaintext = [header, payload].concat();
            self.noise.write_message(&plaintext, &mut sealed).map_err(SealError::Seal)?;
        }
        Ok(sealed.freeze())
    }
}

/// A frame up to this many bytes is put together on the stack: keys, acknowledgements and most lines of output.
const SMALL: usize = 512;

fn join(header: &[u8], payload: &[u8], out: &mut [u8]) {
    let (head, tail) = out.split_at_mut(header.len());
    head.copy_from_slice(header);
    tail.copy_from_slice(payload);
}

fn lengthened(preamble: &pb::Preamble) -> Result<BytesMut, SealError> {
    let len = preamble.encoded_len();
    let prefix = u16::try_from(len).ok().filter(|_| len <= MAX_PREAMBLE);
    let mut out = BytesMut::with_capacity(2 + len + FIRST_LEN);
    out.put_u16(prefix.ok_or(SealError::Large(len))?);
    preamble.encode(&mut out).expect("a BytesMut grows as needed");
    Ok(out)
}

/// Cuts a first message into the preamble with its length and the Noise message.
fn cut(first: &[u8]) -> Result<(&[u8], &[u8]), SealError> {
    let (prefix, rest) =
        first.split_first_chunk::<2>().ok_or(SealError::First("it has no length"))?;
    let len = usize::from(u16::from_be_bytes(*prefix));
    if len > MAX_PREAMBLE {
        return Err(SealError::First("the preamble is over the cap"));
    }
    if rest.len() != len + FIRST_LEN {
        return Err(SealError::First("its length is wrong"));
    }
    Ok(first.split_at(2 + len))
}

fn prologue(lengthened: &[u8], binding: &Binding) -> Vec<u8> {
    [PROLOGUE, lengthened, binding.bytes()].concat()
}

#[cfg(test)]
#[path = "seal/tests.rs"]
mod tests;
