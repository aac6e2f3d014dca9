//! Verifies an exported audit log without a gateway: nothing is believed but the key that the user names.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use adit_wire::audit::{AuditEvent, line};
use adit_wire::checkpoint::{LogReport, LogVerifier, SignedCheckpoint};
use adit_wire::recording::PublicKey;
use serde_json::{Value, json};

use super::super::Ended;
use super::super::failure::Failure;
use super::conclude;
use crate::output::Output;

/// The longest line of an export that is read, in bytes: an event holds at most 64 KiB of details, escaped.
const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How a line of a checkpoint begins.
const CHECKPOINT: &str = "{\"log\":\"checkpoint\"";

/// Verifies a file; `kept` are files with checkpoints from elsewhere.
pub fn verify(output: Output, file: &Path, keys: &[String], kept: &[PathBuf]) -> Ended {
    let keys: Vec<PublicKey> = keys.iter().map(|key| parse_key(key)).collect::<Result<_, _>>()?;
    let mut verifier = LogVerifier::new(&keys);
    for path in kept {
        each_line(path, |number, text| {
            if text.starts_with(CHECKPOINT) {
                verifier.copy(&checkpoint(path, number, text)?);
            }
            Ok(())
        })?;
    }
    each_line(file, |number, text| {
        if text.starts_with(CHECKPOINT) {
            verifier.checkpoint(&checkpoint(file, number, text)?);
        }
        Ok(())
    })?;
    each_line(file, |number, text| {
        if !text.starts_with(CHECKPOINT) {
            record(&mut verifier, file, number, text)?;
        }
        Ok(())
    })?;
    let report = verifier.finish();
    conclude(output, &tell(&report), report.is_ok(), &report.sentence)
}

fn checkpoint(file: &Path, number: usize, text: &str) -> Result<SignedCheckpoint, Failure> {
    SignedCheckpoint::parse(text).map_err(|_| broken(file, number, "this is no checkpoint"))
}

fn record(
    verifier: &mut LogVerifier,
    file: &Path,
    number: usize,
    text: &str,
) -> Result<(), Failure> {
    let record = line::parse(text).map_err(|_| broken(file, number, "this is no audit event"))?;
    let event = AuditEvent::decode(&record.bytes)
        .map_err(|why| broken(file, number, &format!("event {}: {why}", record.seq)))?;
    verifier.record(event.gateway, &record);
    Ok(())
}

fn broken(file: &Path, number: usize, why: &str) -> Failure {
    Failure::Found {
        sentence: format!("{} is not as it was exported: line {number}: {why}", file.display()),
        code: "audit.broken",
    }
}

/// Calls `take` with the number and text of each line that is not empty.
pub(in crate::cli) fn each_line(
    path: &Path,
    mut take: impl FnMut(usize, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let what = format!("reading {}", path.display());
    let mut lines = BufReader::new(File::open(path).map_err(Failure::file(&what))?);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let read = (&mut lines).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut text);
        if read.map_err(Failure::file(&what))? == 0 {
            break;
        }
        if text.len() > MAX_LINE_BYTES {
            return Err(broken(path, number, "the line is too long"));
        }
        let text = std::str::from_utf8(&text).map_err(|_| broken(path, number, "it is no text"))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            take(number, text)?;
        }
    }
    Ok(())
}

/// Reads a public key of 64 hexadecimal digits, from a file where it begins with `@`.
pub(in crate::cli) fn parse_key(text: &str) -> Result<PublicKey, Failure> {
    let told = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(Failure::file(format!("reading the key from {path}")))?,
        None => text.to_owned(),
    };
    let digest: Result<adit_wire::digest::Digest, _> = told.trim().parse();
    digest.map(|digits| digits.0).map_err(|_| {
        Failure::Usage("a checkpoint key is 64 hexadecimal digits, or @FILE with them".to_owned())
    })
}

fn tell(report: &LogReport) -> Value {
    let first_bad = report.first_bad.first().map(|bad| {
        json!({ "gateway": bad.gateway.to_string(), "seq": bad.record.seq,
            "why": bad.record.flaw.to_string() })
    });
    json!({
        "ok": report.is_ok(),
        "events": report.events,
        "checkpoints": report.checkpoints,
        "firstBad": first_bad,
        "badCheckpoint": report.bad_checkpoint.map(|bad| bad.to_string()),
        "unanchored": report.unanchored,
        "sentence": report.sentence,
    })
}
