//! The chain of one gateway's events.

use adit_domain::id::GatewayId;

use super::{AuditEvent, NotCanonical};
use crate::digest::Digest;

/// The domain of event hashes.
const DOMAIN: &[u8] = b"adit-audit-v1\n";

/// The end of a chain: what the next event is linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The number of the last event, 0 before the first.
    pub seq: u64,
    /// Its hash, zero before the first.
    pub hash: Digest,
}

/// One stored event with its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// The hash of the event before.
    pub prev: Digest,
    /// Its canonical form.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: Digest,
}

/// The first record that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {seq}: {flaw}")]
pub struct BadRecord {
    /// The number of the first event that is not as it was; where one is missing, its number.
    pub seq: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What can be wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The next event has a higher number.
    #[error("the event is missing")]
    Missing,
    /// The next event has a number that was there already.
    #[error("the event is there twice, or out of order")]
    Repeated,
    /// The event names another hash before it.
    #[error("the event does not follow the one before it")]
    Link,
    /// The bytes do not give the hash.
    #[error("the event's bytes do not give its hash")]
    Hash,
    /// The bytes are no event.
    #[error("{0}")]
    Form(NotCanonical),
    /// The event was written by another gateway.
    #[error("the event belongs to another gateway's chain")]
    Foreign,
    /// A signed checkpoint holds another hash for it.
    #[error("a signed checkpoint holds another hash for this event")]
    Anchor,
    /// A signed checkpoint tells of events after the last one.
    #[error("a signed checkpoint tells of events from here on, and they are gone")]
    Cut,
}

impl Chain {
    /// An empty chain.
    pub const EMPTY: Self = Self { seq: 0, hash: Digest::ZERO };

    /// Links an event's canonical form to the chain and moves on to it.
    pub fn append(&mut self, canonical: Vec<u8>) -> Record {
        let (seq, prev) = (self.seq + 1, self.hash);
        let hash = hash(seq, prev, &canonical);
        *self = Self { seq, hash };
        Record { seq, prev, bytes: canonical, hash }
    }
}

/// Gives the hash of an event.
pub fn hash(seq: u64, prev: Digest, canonical: &[u8]) -> Digest {
    Digest::of(DOMAIN, &[&prev.0, &seq.to_be_bytes(), canonical])
}

/// Checks one gateway's records, first to last.
#[derive(Debug, Clone)]
pub struct ChainVerifier {
    gateway: GatewayId,
    chain: Chain,
}

impl ChainVerifier {
    /// Starts before the first event.
    pub fn new(gateway: GatewayId) -> Self {
        Self::after(gateway, Chain::EMPTY)
    }

    /// Starts after an event that is known to be good, as a checkpoint says.
    pub fn after(gateway: GatewayId, chain: Chain) -> Self {
        Self { gateway, chain }
    }

    /// Gives the last good event.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Checks the next record and gives the event that it holds.
    ///
    /// # Errors
    /// [`BadRecord`] names the first event that does not hold; the verifier stays before it.
    pub fn check(&mut self, record: &Record) -> Result<AuditEvent, BadRecord> {
        let seq = self.chain.seq + 1;
        let bad = |flaw| Err(BadRecord { seq, flaw });
        if record.seq != seq {
            return bad(if record.seq > seq { Flaw::Missing } else { Flaw::Repeated });
        }
        if record.prev != self.chain.hash {
            return bad(Flaw::Link);
        }
        if record.hash != hash(seq, record.prev, &record.bytes) {
            return bad(Flaw::Hash);
        }
        match AuditEvent::decode(&record.bytes) {
            Ok(event) if event.gateway == self.gateway => {
                self.chain = Chain { seq, hash: record.hash };
                Ok(event)
            }
            Ok(_) => bad(Flaw::Foreign),
            Err(why) => bad(Flaw::Form(why)),
        }
    }
}
