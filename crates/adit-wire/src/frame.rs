//! Data frames: `[kind u8][position u64 BE][bytes]`, and protobuf messages of kind 0: `[0][message]`.
//!
//! The same frames travel on `/ws/terminal` and, sealed, on a machine's session connection. See the two `.proto` files.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The longest input of one frame, in bytes: small enough that a rate limit of messages is one of bytes too.
pub const MAX_INPUT: usize = 16 * 1024;

/// The longest output of one frame, in bytes: large enough for bulk, small enough for a sealed message of 64 KiB.
pub const MAX_OUTPUT: usize = 32 * 1024;

/// The largest frame of any kind, in bytes: the WebSocket cap of the terminal plane.
pub const MAX_FRAME: usize = 64 * 1024;

/// The bytes before a data frame's payload.
pub const HEADER: usize = 9;

/// What a data frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Output of the terminal, or stdout without one.
    Output = 1,
    /// Input of one writer.
    Input = 2,
    /// Stderr of a command without a terminal.
    Stderr = 3,
    /// Earlier output for one viewer; its payload begins with the viewer's number, u32 BE.
    Backlog = 4,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        [Self::Output, Self::Input, Self::Stderr, Self::Backlog]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }

    /// The longest payload of this kind, in bytes.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Input => MAX_INPUT,
            Self::Output | Self::Stderr => MAX_OUTPUT,
            Self::Backlog => MAX_OUTPUT + 4 + 1,
        }
    }
}

/// One frame, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The bytes of one protobuf message.
    Control(Bytes),
    /// Bytes of a stream.
    Data(Data),
}

/// Bytes of a stream at a position.
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    /// Which stream.
    pub kind: Kind,
    /// The position of the first byte.
    pub position: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}@{}+{}", self.kind, self.position, self.bytes.len())
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header.
    #[error("the frame is shorter than its header")]
    Short,
    /// A kind that does not exist.
    #[error("no frame has the kind {0}")]
    Kind(u8),
    /// A payload over the kind's cap.
    #[error("a frame of {0} bytes is over the cap")]
    Large(usize),
    /// A payload that would end past the last position.
    #[error("the frame's position is out of range")]
    Position,
}

impl Frame {
    /// Reads one frame of a whole message.
    ///
    /// # Errors
    /// [`FrameError`] for anything that is not exactly one frame within the caps.
    pub fn read(message: Bytes) -> Result<Self, FrameError> {
        let kind = *message.first().ok_or(FrameError::Short)?;
        if message.len() > MAX_FRAME {
            return Err(FrameError::Large(message.len()));
        }
        if kind == 0 {
            return Ok(Self::Control(message.slice(1..)));
        }
        let kind = Kind::read(kind).ok_or(FrameError::Kind(kind))?;
        let position = message.get(1..HEADER).ok_or(FrameError::Short)?;
        let position = u64::from_be_bytes(position.try_into().expect("the slice is eight bytes"));
        let bytes = message.slice(HEADER..);
        if bytes.len() > kind.max_payload() {
            return Err(FrameError::Large(bytes.len()));
        }
        if position.checked_add(bytes.len() as u64).is_none() {
            return Err(FrameError::Position);
        }
        Ok(Self::Data(Data { kind, position, bytes }))
    }

    /// Writes the frame.
    pub fn write(&self) -> Bytes {
        match self {
            Self::Control(message) => {
                let mut out = BytesMut::with_capacity(1 + message.len());
                out.put_u8(0);
                out.extend_from_slice(message);
                out.freeze()
            }
            Self::Data(data) => write_data(data.kind, data.position, &data.bytes),
        }
    }
}

/// Writes a data frame around a payload.
pub fn write_data(kind: Kind, position: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + payload.len());
    out.put_u8(kind as u8);
    out.put_u64(position);
    out.extend_from_slice(payload);
    out.freeze()
}

/// Writes a frame of kind 0 around one protobuf message.
pub fn write_control(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + message.encoded_len());
    out.put_u8(0);
    message.encode(&mut out).expect("a BytesMut grows as needed");
    out.freeze()
}

#[cfg(test)]
#[path = "frame/tests.rs"]
mod tests;
