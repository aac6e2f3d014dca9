//! The recording: what a session showed, stored byte for byte in chunks that are hashed and chained.
//!
//! A file is a header chunk, chunks of items, an end chunk and a seal. All numbers are big-endian.
//!
//! ```text
//! chunk  = head body hash
//! head   = "ADRC" tag[8] kind[1] codec[1] sequence[8] position[8] at_ms[8] raw_bytes[4] stored_bytes[4] previous[32]
//! body   = stored_bytes bytes; codec 0: as they are, 1: one zstd frame of raw_bytes bytes
//! hash   = SHA-256("adit-recording-v1\n" head body)
//! seal   = "ADRS" key[32] signature[64]
//! ```
//!
//! `kind` is 1 header, 2 items, 3 end, 4 tombstone. `tag` is zero in the header and in a tombstone, and the first eight bytes of the header's hash
//! in every other chunk: header bodies hold a random salt, so that what a shell prints can't pass for a chunk of its own recording.
//! `previous` is the hash of the chunk before, zero in the first. The bodies of header, end and tombstone are JSON; items are
//! written as [`item`] says. The seal's signature is Ed25519 over `"adit-recording-end-v1\n"`, the session id and the hash of the end chunk;
//! that hash is what the audit log holds.
//!
//! A deleted recording is replaced by a tombstone chunk and its seal.
//!
//! The way of the bytes: [`writer`] → file → [`reader`] → [`scan`] (recovery, seeking) → [`verify`]; [`search`] and [`crate::asciicast`] take items.

pub mod chunk;
pub mod item;
pub mod packer;
pub mod reader;
pub mod scan;
pub mod seal;
pub mod search;
pub mod verify;
pub mod writer;

use std::fmt::Display;
use std::str::FromStr;

use adit_domain::id::SessionId;
use adit_domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use chunk::{Entry, Kind};
pub use item::{Item, What};
pub use packer::Packer;
pub use reader::{Broken, Content, Reader, Step, Why};
pub use scan::{Scan, Scanned, recover};
pub use seal::{PublicKey, Seal};
pub use verify::{Check, Expected, Outcome, Report, verify};
pub use writer::{Tail, Taken, Writer, tombstone};

use crate::digest::Digest;

/// What of a session is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What the session showed.
    Output,
    /// What it showed and what was typed while the terminal echoed.
    Input,
}

/// What a recording says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The session that is recorded.
    #[serde(with = "text")]
    pub session: SessionId,
    /// The label of the machine.
    pub machine: String,
    /// Who asked for the session, as `user:NAME`.
    pub principal: String,
    /// What was run; empty for a login shell.
    pub command: Vec<String>,
    /// When the session started; every item's time counts from here.
    #[serde(with = "unix_ms")]
    pub started_at: Timestamp,
    /// The terminal's first width.
    pub cols: u16,
    /// The terminal's first height.
    pub rows: u16,
    /// What is recorded.
    pub mode: Mode,
    /// Random, so that nobody who sees only the session can foretell the header's hash.
    #[serde(with = "hex16")]
    pub salt: [u8; 16],
}

/// Why and how a recording ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The stable code of the session's end.
    pub reason: String,
    /// The exit status, where the shell exited by itself.
    pub exit_status: Option<i32>,
    /// The signal that killed it, without SIG.
    pub signal: Option<String>,
    /// How long the session lasted.
    pub length_ms: u64,
}

/// What a whole recording amounts to; the end chunk holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Chunks before the end, with the header.
    pub chunks: u64,
    /// Bytes that the session wrote, with those that gaps lack.
    pub output_bytes: u64,
    /// Bytes of input that are recorded.
    pub input_bytes: u64,
    /// Gaps in the output.
    pub gaps: u64,
}

/// The body of the end chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why and how.
    #[serde(flatten)]
    pub end: End,
    /// What it amounts to.
    pub totals: Totals,
}

/// What stays of a deleted recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The session that was recorded.
    #[serde(with = "text")]
    pub session: SessionId,
    /// The hash of its end chunk, or of its last one where it never ended.
    pub hash: Digest,
    /// How long the file was.
    pub bytes: u64,
    /// When it was deleted.
    #[serde(with = "unix_ms")]
    pub deleted_at: Timestamp,
    /// Who deleted it, as `user:NAME`, or `retention`.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Writes a value as its text form.
mod text {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Writes a time as Unix milliseconds.
mod unix_ms {
    use super::*;

    pub fn serialize<S: Serializer>(value: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp)
    }
}

/// Writes sixteen bytes as hexadecimal digits.
mod hex16 {
    use super::*;

    pub fn serialize<S: Serializer>(value: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(String::deserialize(from)?, &mut bytes)
            .map_err(serde::de::Error::custom)?;
        Ok(bytes)
    }
}
