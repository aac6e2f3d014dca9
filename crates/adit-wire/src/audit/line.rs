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
    format!(
        "{{\"log\":\"audit\",\"seq\":{},\"prev\":\"{}\",\"hash\":\"{}\",\"time\":\"{}\",\"event\":{}}}",
        record.seq,
        record.prev,
        record.hash,
        event.at,
        event.canonical()
    )
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
/// [`NotALine`] when it is anything else.
pub fn parse(line: &str) -> Result<Record, NotALine> {
    let read: Read<'_> = serde_json::from_str(line).map_err(|_| NotALine)?;
    let told = AuditEvent::decode(read.event.get().as_bytes()).map(|event| event.at.to_string());
    if told.is_ok_and(|time| time != read.time) {
        return Err(NotALine);
    }
    Ok(Record {
        seq: read.seq,
        prev: read.prev,
        bytes: read.event.get().as_bytes().to_vec(),
        hash: read.hash,
    })
}
