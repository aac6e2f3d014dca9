//! One chunk: its head, its hash, and where it lies in the file.

use crate::digest::Digest;

/// What every chunk starts with.
pub const MAGIC: [u8; 4] = *b"ADRC";

/// The length of a head: magic, tag, kind, codec, sequence, position, time, two lengths, the hash before.
pub const HEAD_BYTES: usize = 4 + 8 + 1 + 1 + 8 + 8 + 8 + 4 + 4 + 32;

/// The length of the hash after the body.
pub const HASH_BYTES: usize = 32;

/// The largest body before compression. Chosen: what a reader holds in memory for a chunk is this twice.
pub const MAX_RAW_BYTES: usize = 256 * 1024;

/// The domain of chunk hashes.
const DOMAIN: &[u8] = b"adit-recording-v1\n";

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The header, once, first.
    Header,
    /// Items.
    Items,
    /// The end, once, last.
    End,
    /// What stays of a deleted recording, alone.
    Tombstone,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Items => 2,
            Self::End => 3,
            Self::Tombstone => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Header),
            2 => Some(Self::Items),
            3 => Some(Self::End),
            4 => Some(Self::Tombstone),
            _ => None,
        }
    }
}

/// How a chunk's body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is: it does not compress.
    Plain,
    /// One zstd frame.
    Zstd,
}

/// The head of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The first bytes of the header's hash; zero in the header and in a tombstone.
    pub tag: [u8; 8],
    /// What the chunk holds.
    pub kind: Kind,
    /// How its body is stored.
    pub codec: Codec,
    /// The chunk's number, the header's being 0.
    pub sequence: u64,
    /// The position of the first byte of output at or after this chunk.
    pub position: u64,
    /// The time base of its items, since the session's start.
    pub at_ms: u64,
    /// The body's length before compression.
    pub raw_bytes: u32,
    /// The body's length in the file.
    pub stored_bytes: u32,
    /// The hash of the chunk before.
    pub previous: Digest,
}

/// Says why bytes are no head of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The magic is missing.
    #[error("no chunk starts here")]
    Magic,
    /// A kind or codec that this version does not know.
    #[error("the chunk is of an unknown kind")]
    Kind,
    /// A length over the cap, or a stored length that does not fit the raw one.
    #[error("the chunk declares an impossible length")]
    Length,
}

impl Head {
    /// Writes the head.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        let codec = match self.codec {
            Codec::Plain => 0,
            Codec::Zstd => 1,
        };
        out[..4].copy_from_slice(&MAGIC);
        out[4..12].copy_from_slice(&self.tag);
        out[12] = self.kind.byte();
        out[13] = codec;
        out[14..22].copy_from_slice(&self.sequence.to_be_bytes());
        out[22..30].copy_from_slice(&self.position.to_be_bytes());
        out[30..38].copy_from_slice(&self.at_ms.to_be_bytes());
        out[38..42].copy_from_slice(&self.raw_bytes.to_be_bytes());
        out[42..46].copy_from_slice(&self.stored_bytes.to_be_bytes());
        out[46..].copy_from_slice(&self.previous.0);
        out
    }

    /// Reads a head; a caller may seek by it without reading the body.
    ///
    /// # Errors
    /// [`BadHead`] says what is wrong; nothing is allocated by a length that this accepts.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, BadHead> {
        if bytes[..4] != MAGIC {
            return Err(BadHead::Magic);
        }
        let kind = Kind::from_byte(bytes[12]).ok_or(BadHead::Kind)?;
        let codec = match bytes[13] {
            0 => Codec::Plain,
            1 => Codec::Zstd,
            _ => return Err(BadHead::Kind),
        };
        let raw_bytes = u32::from_be_bytes(array(&bytes[38..]));
        let stored_bytes = u32::from_be_bytes(array(&bytes[42..]));
        let fits = match codec {
            Codec::Plain => stored_bytes == raw_bytes,
            Codec::Zstd => stored_bytes < raw_bytes,
        };
        if !fits || raw_bytes as usize > MAX_RAW_BYTES {
            return Err(BadHead::Length);
        }
        Ok(Self {
            tag: array(&bytes[4..]),
            kind,
            codec,
            sequence: u64::from_be_bytes(array(&bytes[14..])),
            position: u64::from_be_bytes(array(&bytes[22..])),
            at_ms: u64::from_be_bytes(array(&bytes[30..])),
            raw_bytes,
            stored_bytes,
            previous: Digest(array(&bytes[46..])),
        })
    }

    /// Gives the length of the whole chunk in the file.
    pub fn chunk_bytes(&self) -> usize {
        HEAD_BYTES + self.stored_bytes as usize + HASH_BYTES
    }
}

/// Hashes a chunk's head and stored body.
pub(super) fn hash(head_and_body: &[u8]) -> Digest {
    Digest::of(DOMAIN, &[head_and_body])
}

/// Gives the tag that the chunks after a header with this hash carry.
pub(super) fn tag(header: Digest) -> [u8; 8] {
    array(&header.0)
}

/// Takes the first `N` bytes; callers give at least that many.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

/// Where a chunk lies and what it starts with: the index that seeking uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What the chunk holds.
    pub kind: Kind,
    /// The chunk's number.
    pub sequence: u64,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in the file.
    pub bytes: u64,
    /// The time base of its items, since the session's start.
    pub at_ms: u64,
    /// The position of the first byte of output at or after it.
    pub position: u64,
    /// Its hash.
    pub hash: Digest,
}
