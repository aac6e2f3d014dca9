//! Reads a recording, in pieces of any size, of any age and from anybody.
//!
//! Every chunk is checked before it is opened. Where the bytes are broken, the reader says from where to where and goes on with the next chunk that
//! is whole and belongs to this recording.

use bytes::{Buf, Bytes, BytesMut};

use super::chunk::{self, BadHead, Entry, HASH_BYTES, HEAD_BYTES, Head, Kind};
use super::item::{self, Item};
use super::packer::Unpacker;
use super::seal::{SEAL_BYTES, Seal};
use super::{Ending, Header, Tombstone};
use crate::digest::Digest;

/// What a reader finds.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A whole chunk.
    Chunk(Entry, Content),
    /// The seal after the end.
    Seal {
        /// Where it starts in the file.
        offset: u64,
        /// The signature.
        seal: Seal,
    },
    /// Bytes that are not what they should be.
    Broken(Broken),
}

/// What a chunk holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The header.
    Header(Header),
    /// Items.
    Items(Vec<Item>),
    /// The end.
    End(Ending),
    /// What stays of a deleted recording.
    Tombstone(Tombstone),
}

/// A stretch of the file that can't be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The number of the chunk that should be here.
    pub sequence: u64,
    /// The first byte that is not proved.
    pub first: u64,
    /// The first byte after it that is proved by its own hash again, or the end of the file.
    pub until: u64,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong with bytes of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The file ends inside a chunk.
    #[error("the file ends inside a chunk")]
    Torn,
    /// The head of a chunk is wrong.
    #[error("{0}")]
    Head(#[from] BadHead),
    /// The bytes do not give the hash.
    #[error("the chunk's bytes do not give its hash")]
    Hash,
    /// The chunk is whole but of another recording.
    #[error("the chunk belongs to another recording")]
    Foreign,
    /// The chunk is whole but not the one that follows.
    #[error("the chunk does not follow the one before it")]
    Order,
    /// The chunk is whole but its content is none.
    #[error("the chunk's content can't be read")]
    Content,
    /// Something follows the end.
    #[error("something follows the end of the recording")]
    Trailing,
    /// The end tells of more or less than is there.
    #[error("what the end tells is not what is there")]
    Totals,
    /// The seal is not a trusted key's.
    #[error("no trusted key sealed this recording")]
    Signature,
    /// The audit log holds another hash.
    #[error("the audit log holds another hash")]
    Audit,
}

/// Reads one recording.
pub struct Reader {
    buffer: BytesMut,
    offset: u64,
    closed: bool,
    chain: Chain,
    broken: Option<(u64, Why)>,
    ready: Option<Step>,
    wasted_bytes: u64,
    unpacker: Unpacker,
}

/// How many bytes beyond twice the file may be hashed in vain before the rest counts as broken. Chosen: honest damage wastes each byte
/// once, so only a file made for it comes here.
const WASTE_BYTES: u64 = 8 << 20;

/// Where the chain stands.
#[derive(Default)]
struct Chain {
    sequence: u64,
    hash: Digest,
    tag: Option<[u8; 8]>,
    position: u64,
    at_ms: u64,
    stage: Stage,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Start,
    Items,
    Ended,
    Sealed,
}

/// What the front of the buffer is.
enum Front {
    Short,
    Chunk(Head, Digest, Content),
    Seal(Seal),
    Bad(Why),
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Starts at the first byte of a file.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            offset: 0,
            closed: false,
            chain: Chain::default(),
            broken: None,
            ready: None,
            wasted_bytes: 0,
            unpacker: Unpacker::new(),
        }
    }

    /// Takes the next bytes of the file. Call [`Reader::next`] until it gives nothing before the next push: then at most one chunk is held here.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that the file has no more bytes.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Gives the next step, or nothing until there are more bytes.
    #[expect(clippy::should_implement_trait, reason = "nothing means more bytes, not the end")]
    pub fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.ready.take() {
            return Some(step);
        }
        while !self.buffer.is_empty() {
            match self.front() {
                Front::Short if !self.closed => return None,
                Front::Short => self.skip(Why::Torn),
                // It may still be a whole chunk that comes too early, so look again as after broken bytes.
                Front::Bad(Why::Order) if self.broken.is_none() => {
                    self.broken = Some((self.offset, Why::Order));
                }
                Front::Bad(why) => self.skip(why),
                Front::Seal(seal) => return Some(self.tell(|reader| reader.take_seal(seal))),
                Front::Chunk(head, hash, content) => {
                    return Some(self.tell(|reader| reader.take_chunk(head, hash, content)));
                }
            }
        }
        let (first, why) = self.broken.take_if(|_| self.closed)?;
        Some(self.gap(first, why))
    }

    /// Takes what is whole; what is broken before it is told first.
    fn tell(&mut self, take: impl FnOnce(&mut Self) -> Step) -> Step {
        let gap = self.broken.take().map(|(first, why)| self.gap(first, why));
        let step = take(self);
        match gap {
            Some(gap) => {
                self.ready = Some(step);
                gap
            }
            None => step,
        }
    }

    fn front(&mut self) -> Front {
        match self.chain.stage {
            Stage::Sealed => Front::Bad(Why::Trailing),
            Stage::Ended => self.front_seal(),
            Stage::Start | Stage::Items => self.front_chunk(),
        }
    }

    fn front_seal(&self) -> Front {
        let Some(bytes) = self.buffer.first_chunk::<SEAL_BYTES>() else {
            return Front::Short;
        };
        Seal::decode(bytes).map_or(Front::Bad(Why::Trailing), Front::Seal)
    }

    fn front_chunk(&mut self) -> Front {
        let Some(bytes) = self.buffer.first_chunk::<HEAD_BYTES>() else {
            return Front::Short;
        };
        let head = match Head::decode(bytes) {
            Ok(head) => head,
            Err(why) => return Front::Bad(why.into()),
        };
        // Checked before the hash: a forger who can't know the tag can't make the reader hash its bytes over and over.
        if let Some(why) = self.chain.refuse(&head, self.broken.is_some()) {
            return Front::Bad(why);
        }
        let until = HEAD_BYTES + head.stored_bytes as usize;
        let Some(whole) = self.buffer.get(..until + HASH_BYTES) else {
            return Front::Short;
        };
        if self.wasted_bytes > 2 * self.offset + WASTE_BYTES {
            return Front::Bad(Why::Hash);
        }
        let hash = chunk::hash(&whole[..until]);
        if hash.0 != whole[until..] {
            self.wasted_bytes += until as u64;
            return Front::Bad(Why::Hash);
        }
        if self.broken.is_none() && head.previous != self.chain.hash {
            return Front::Bad(Why::Order);
        }
        match open(&head, &whole[HEAD_BYTES..until], &mut self.unpacker) {
            Some(content) => Front::Chunk(head, hash, content),
            None => Front::Bad(Why::Content),
        }
    }

    /// Leaves the broken front and moves to where the next chunk may start.
    fn skip(&mut self, why: Why) {
        self.broken.get_or_insert((self.offset, why));
        let next = match self.chain.stage {
            Stage::Sealed | Stage::Ended => None,
            Stage::Start | Stage::Items => find(&self.buffer[1..], &chunk::MAGIC).map(|at| at + 1),
        };
        // A magic may be cut by the end of what is here.
        let keep = if self.closed { 0 } else { chunk::MAGIC.len() - 1 };
        let gone = next.unwrap_or_else(|| self.buffer.len().saturating_sub(keep).max(1));
        self.advance(gone);
    }

    fn gap(&self, first: u64, why: Why) -> Step {
        Step::Broken(Broken { sequence: self.chain.sequence, first, until: self.offset, why })
    }

    fn take_seal(&mut self, seal: Seal) -> Step {
        let offset = self.offset;
        self.advance(SEAL_BYTES);
        self.chain.stage = Stage::Sealed;
        Step::Seal { offset, seal }
    }

    fn take_chunk(&mut self, head: Head, hash: Digest, content: Content) -> Step {
        let entry = Entry {
            kind: head.kind,
            sequence: head.sequence,
            offset: self.offset,
            bytes: head.chunk_bytes() as u64,
            at_ms: head.at_ms,
            position: head.position,
            hash,
        };
        self.advance(head.chunk_bytes());
        self.chain.take(&head, hash, &content);
        Step::Chunk(entry, content)
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }
}

impl Chain {
    /// Says why a chunk with this head can't come next; after broken bytes, one that comes later will do.
    fn refuse(&self, head: &Head, after_broken: bool) -> Option<Why> {
        let first = matches!(head.kind, Kind::Header | Kind::Tombstone);
        match (self.stage, first) {
            (Stage::Start, true) => {
                return (head.sequence != 0 || head.previous != Digest::ZERO).then_some(Why::Order);
            }
            // The header is broken: whatever chunk comes first says which recording this is.
            (Stage::Start, false) if after_broken => return None,
            (Stage::Start, false) | (_, true) => return Some(Why::Order),
            (_, false) => {}
        }
        if self.tag != Some(head.tag) {
            return Some(Why::Foreign);
        }
        let follows = match after_broken {
            true => {
                head.sequence >= self.sequence
                    && head.position >= self.position
                    && head.at_ms >= self.at_ms
            }
            false => {
                head.sequence == self.sequence
                    && head.position == self.position
                    && head.at_ms >= self.at_ms
            }
        };
        (!follows).then_some(Why::Order)
    }

    fn take(&mut self, head: &Head, hash: Digest, content: &Content) {
        let (position, at_ms) = match content {
            Content::Items(items) => items.last().map_or((head.position, head.at_ms), |item| {
                (item.position.saturating_add(item.what.output_bytes()), item.at_ms)
            }),
            _ => (head.position, head.at_ms),
        };
        self.sequence = head.sequence.saturating_add(1);
        self.hash = hash;
        self.position = position;
        self.at_ms = at_ms;
        self.tag = Some(match head.kind {
            Kind::Header => chunk::tag(hash),
            _ => head.tag,
        });
        self.stage = match head.kind {
            Kind::Header | Kind::Items => Stage::Items,
            Kind::End | Kind::Tombstone => Stage::Ended,
        };
    }
}

fn open(head: &Head, stored: &[u8], unpacker: &mut Unpacker) -> Option<Content> {
    let raw: Bytes = unpacker.unpack(head.codec, stored, head.raw_bytes as usize)?;
    Some(match head.kind {
        Kind::Header => Content::Header(serde_json::from_slice(&raw).ok()?),
        Kind::Items => Content::Items(item::decode(raw, head.at_ms, head.position).ok()?),
        Kind::End => Content::End(serde_json::from_slice(&raw).ok()?),
        Kind::Tombstone => Content::Tombstone(serde_json::from_slice(&raw).ok()?),
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
