//! One event as one line of JSON: on standard output, and in an export that can be verified elsewhere.
//!
//! ```text
//! {"log":"audit","seq":…,"prev":"…","hash":"…","time":"…","event":<canonical form>}
//! ```

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{AuditEvent, Record};
use crate::digest::Digest;

/// Writes a record as one line, without the line's end.
pub fn line(record: &Record, event: &AuditEvent) -> String {
    write(record, &event.at.to_string(), &event.canonical())
}

/// Says that a line is no exported event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this line is no exported audit event")]
pub struct NotALine;

#[derive(Deserialize)]
struct Read<'a> {
    seq: u64,
    prev: Digest,
    hash: Digest,
    time: String,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// Reads a line back as the record that it tells; whether that holds is for [`super::ChainVerifier`] to say.
///
/// # Errors
/// [`NotALine`] when it is anything else, or tells another time than its event.
pub fn parse(line: &str) -> Result<Record, NotALine> {
    let read: Read<'_> = serde_json::from_str(line).map_err(|_| NotALine)?;
    let event = read.event.get();
    let record = Record {
        seq: read.seq,
        prev: read.prev,
        bytes: event.as_bytes().to_vec(),
        hash: read.hash,
    };
    let told = AuditEvent::decode(&record.bytes).map_or(read.time, |event| event.at.to_string());
    if write(&record, &told, event) != line {
        return Err(NotALine);
    }
    Ok(record)
}

fn write(record: &Record, time: &str, event: &str) -> String {
    let Record { seq, prev, hash, .. } = record;
    format!(
        "{{\"log\":\"audit\",\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"time\":\"{time}\",\"event\":{event}}}"
    )
}
