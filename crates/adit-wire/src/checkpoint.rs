//! Checkpoints: one signed statement over the heads of all audit chains and the recordings that were finished.
//!
//! A checkpoint is one line of JSON without spaces:
//!
//! ```text
//! {"v":1,"number":…,"at":…,"previous":"…","heads":[{"gateway":"…","seq":…,"hash":"…"}],"recordings":[{"session":"…","hash":"…"}]}
//! ```
//!
//! Heads are sorted by gateway, recordings by session. `previous` is SHA-256 over `"adit-checkpoint-v1\n"` and the line before, zero for
//! number 1. The signature is Ed25519 over that same hash's input. The key is not in the database, so whoever can write there can't make one; copies that
//! are kept elsewhere hold what the newest of them names even against whoever has the key.

use std::collections::BTreeMap;

use adit_domain::id::{GatewayId, SessionId};
use adit_domain::time::Timestamp;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::audit::Chain;
pub use crate::audit::log::{FirstBad, LogReport, LogVerifier};
use crate::digest::Digest;
use crate::recording::PublicKey;

/// The domain of checkpoints' hashes and signatures.
const DOMAIN: &[u8] = b"adit-checkpoint-v1\n";

/// What a checkpoint states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number, the first being 1.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The hash of the checkpoint before.
    pub previous: Digest,
    /// Where each gateway's chain stood.
    pub heads: BTreeMap<GatewayId, Chain>,
    /// The recordings finished since the one before: the hash of each end chunk.
    pub recordings: BTreeMap<SessionId, Digest>,
}

/// A checkpoint as it is stored and exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// Its canonical line.
    pub line: String,
    /// The Ed25519 signature over the domain and the line.
    pub signature: [u8; 64],
}

/// Says why a checkpoint does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It can't be read, or is written otherwise than it must be.
    #[error("a checkpoint can't be read")]
    Form,
    /// No trusted key signed it.
    #[error("checkpoint {0} is not signed by a trusted key")]
    Signature(u64),
    /// It does not follow the one before.
    #[error("checkpoint {0} does not follow the one before it")]
    Order(u64),
    /// It tells otherwise of what another signed checkpoint told.
    #[error("checkpoint {0} contradicts another signed checkpoint")]
    Fork(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u8,
    number: u64,
    at: i64,
    previous: Digest,
    heads: Vec<HeadLine>,
    recordings: Vec<RecordingLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    gateway: String,
    seq: u64,
    hash: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingLine {
    session: String,
    hash: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export<'a> {
    log: &'a str,
    signature: &'a str,
    checkpoint: &'a serde_json::value::RawValue,
}

impl Checkpoint {
    /// Writes the canonical line.
    ///
    /// # Panics
    /// Never: numbers and hexadecimal digits are JSON.
    pub fn line(&self) -> String {
        let line = Line {
            v: 1,
            number: self.number,
            at: self.at.0,
            previous: self.previous,
            heads: self
                .heads
                .iter()
                .map(|(gateway, head)| HeadLine {
                    gateway: gateway.to_string(),
                    seq: head.seq,
                    hash: head.hash,
                })
                .collect(),
            recordings: self
                .recordings
                .iter()
                .map(|(session, hash)| RecordingLine { session: session.to_string(), hash: *hash })
                .collect(),
        };
        serde_json::to_string(&line).expect("numbers and texts are JSON")
    }

    /// Reads the canonical line and no other.
    ///
    /// # Errors
    /// [`BadCheckpoint::Form`].
    pub fn decode(line: &str) -> Result<Self, BadCheckpoint> {
        let read: Line = serde_json::from_str(line).map_err(|_| BadCheckpoint::Form)?;
        let checkpoint = read.checkpoint().ok_or(BadCheckpoint::Form)?;
        if checkpoint.line() != line {
            return Err(BadCheckpoint::Form);
        }
        Ok(checkpoint)
    }

    /// Signs it.
    ///
    /// # Panics
    /// Never: Ed25519 signatures have one length.
    pub fn sign(&self, key: &Ed25519KeyPair) -> SignedCheckpoint {
        let line = self.line();
        let signature = key
            .sign(&statement(&line))
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes");
        SignedCheckpoint { line, signature }
    }
}

impl Line {
    fn checkpoint(self) -> Option<Checkpoint> {
        let head = |head: HeadLine| {
            Some((head.gateway.parse().ok()?, Chain { seq: head.seq, hash: head.hash }))
        };
        let recording =
            |recording: RecordingLine| Some((recording.session.parse().ok()?, recording.hash));
        (self.v == 1).then_some(Checkpoint {
            number: self.number,
            at: Timestamp(self.at),
            previous: self.previous,
            heads: self.heads.into_iter().map(head).collect::<Option<_>>()?,
            recordings: self.recordings.into_iter().map(recording).collect::<Option<_>>()?,
        })
    }
}

impl SignedCheckpoint {
    /// Gives the hash that the next checkpoint names.
    pub fn hash(&self) -> Digest {
        Digest::of(DOMAIN, &[self.line.as_bytes()])
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`BadCheckpoint::Form`], or [`BadCheckpoint::Signature`] when none of the trusted keys signed it.
    pub fn open(&self, trusted: &[PublicKey]) -> Result<Checkpoint, BadCheckpoint> {
        let checkpoint = Checkpoint::decode(&self.line)?;
        let statement = statement(&self.line);
        let signed = |key: &PublicKey| {
            UnparsedPublicKey::new(&ED25519, key).verify(&statement, &self.signature).is_ok()
        };
        if trusted.iter().any(signed) {
            Ok(checkpoint)
        } else {
            Err(BadCheckpoint::Signature(checkpoint.number))
        }
    }

    /// Writes it as one line of an export, without the line's end.
    pub fn export(&self) -> String {
        format!(
            "{{\"log\":\"checkpoint\",\"signature\":\"{}\",\"checkpoint\":{}}}",
            hex::encode(self.signature),
            self.line
        )
    }

    /// Reads a line of an export.
    ///
    /// # Errors
    /// [`BadCheckpoint::Form`].
    pub fn parse(line: &str) -> Result<Self, BadCheckpoint> {
        let read: Export<'_> = serde_json::from_str(line).map_err(|_| BadCheckpoint::Form)?;
        let mut signature = [0; 64];
        hex::decode_to_slice(read.signature, &mut signature).map_err(|_| BadCheckpoint::Form)?;
        if read.log != "checkpoint" {
            return Err(BadCheckpoint::Form);
        }
        let signed = Self { line: read.checkpoint.get().to_owned(), signature };
        if signed.export() != line { Err(BadCheckpoint::Form) } else { Ok(signed) }
    }
}

fn statement(line: &str) -> Vec<u8> {
    [DOMAIN, line.as_bytes()].concat()
}

/// What trusted checkpoints hold: the hash of some events of each chain, and of recordings.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    trusted: Vec<PublicKey>,
    last: Option<(u64, Digest)>,
    last_heads: BTreeMap<GatewayId, u64>,
    by_number: BTreeMap<u64, Digest>,
    heads: BTreeMap<GatewayId, BTreeMap<u64, Digest>>,
    recordings: BTreeMap<SessionId, Digest>,
}

impl Anchors {
    /// Trusts checkpoints that one of these keys signed.
    pub fn new(trusted: &[PublicKey]) -> Self {
        Self { trusted: trusted.to_vec(), ..Self::default() }
    }

    /// Takes the next checkpoint of the log itself: first to last, without a hole.
    ///
    /// # Errors
    /// [`BadCheckpoint`] says why it does not hold; nothing of it is trusted then.
    pub fn add(&mut self, signed: &SignedCheckpoint) -> Result<Checkpoint, BadCheckpoint> {
        let checkpoint = signed.open(&self.trusted)?;
        let (number, hash) = self.last.unwrap_or_default();
        let back = |(gateway, head): (&GatewayId, &Chain)| {
            self.last_heads.get(gateway).is_some_and(|last| head.seq < *last)
        };
        if checkpoint.number != number + 1
            || checkpoint.previous != hash
            || checkpoint.heads.iter().any(back)
        {
            return Err(BadCheckpoint::Order(checkpoint.number));
        }
        self.hold(&checkpoint, signed.hash())?;
        self.last = Some((checkpoint.number, signed.hash()));
        self.last_heads.extend(checkpoint.heads.iter().map(|(gateway, head)| (*gateway, head.seq)));
        Ok(checkpoint)
    }

    /// Takes a copy of a checkpoint that was kept elsewhere, in any order. What it tells of must be in the log, too.
    ///
    /// # Errors
    /// As [`Anchors::add`]; [`BadCheckpoint::Fork`] when the log has another checkpoint under this number.
    pub fn add_copy(&mut self, signed: &SignedCheckpoint) -> Result<Checkpoint, BadCheckpoint> {
        let checkpoint = signed.open(&self.trusted)?;
        self.hold(&checkpoint, signed.hash())?;
        Ok(checkpoint)
    }

    /// Gives how many checkpoints are held.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Tells whether no checkpoint is held.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Gives the newest event of a chain that a checkpoint holds.
    pub fn head(&self, gateway: GatewayId) -> Option<Chain> {
        let (seq, hash) = self.heads.get(&gateway)?.last_key_value()?;
        Some(Chain { seq: *seq, hash: *hash })
    }

    /// Gives the hash that a checkpoint holds for an event.
    pub fn event(&self, gateway: GatewayId, seq: u64) -> Option<Digest> {
        self.heads.get(&gateway)?.get(&seq).copied()
    }

    /// Gives the gateways whose chains checkpoints hold.
    pub fn gateways(&self) -> impl Iterator<Item = GatewayId> {
        self.heads.keys().copied()
    }

    /// Gives the hash that a checkpoint holds for a recording.
    pub fn recording(&self, session: SessionId) -> Option<Digest> {
        self.recordings.get(&session).copied()
    }

    fn hold(&mut self, checkpoint: &Checkpoint, hash: Digest) -> Result<(), BadCheckpoint> {
        let fork = BadCheckpoint::Fork(checkpoint.number);
        if self.by_number.get(&checkpoint.number).is_some_and(|held| *held != hash) {
            return Err(fork);
        }
        for (gateway, head) in &checkpoint.heads {
            let held = self.heads.get(gateway).and_then(|heads| heads.get(&head.seq));
            if held.is_some_and(|held| *held != head.hash) {
                return Err(fork);
            }
        }
        for (session, recording) in &checkpoint.recordings {
            if self.recordings.get(session).is_some_and(|held| held != recording) {
                return Err(fork);
            }
        }
        self.by_number.insert(checkpoint.number, hash);
        self.recordings.extend(&checkpoint.recordings);
        for (gateway, head) in &checkpoint.heads {
            self.heads.entry(*gateway).or_default().insert(head.seq, head.hash);
        }
        Ok(())
    }
}
