//! Says what a recording proves, and what it does not.

use adit_domain::id::SessionId;

use super::chunk::Kind;
use super::reader::{Broken, Why};
use super::scan::Scanned;
use super::seal::{PublicKey, Sealed};
use crate::digest::Digest;

/// What the recording should be, from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// The session that it is asked for.
    pub session: Option<SessionId>,
    /// The hash of its end chunk, from the audit log or a checkpoint.
    pub hash: Option<Digest>,
    /// The keys that may have sealed it.
    pub keys: &'a [PublicKey],
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte is as it was sealed.
    Proven,
    /// Nothing is wrong, but the recording has no end yet: what was cut from its tail can't be seen.
    Unproven,
    /// Something was changed, cut or added.
    Broken,
    /// It was deleted, and a sealed tombstone says so.
    Deleted,
}

/// What was compared, and whether it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It held.
    Held,
    /// It did not.
    Failed,
    /// There was nothing to compare with.
    Absent,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it comes to.
    pub outcome: Outcome,
    /// Whole chunks that were checked.
    pub chunks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Whether a trusted key sealed it.
    pub signature: Check,
    /// Whether its hash is the one that the audit log holds.
    pub audit: Check,
    /// The first stretch that is not as it was.
    pub first_bad: Option<Broken>,
    /// All of it for a person.
    pub sentence: String,
}

/// Checks a scanned recording against what is known of it.
pub fn verify(found: &Scanned, expected: &Expected<'_>) -> Report {
    let signature = signature(found, expected.keys);
    let audit = audit(found, expected.hash);
    let inside = found.broken.first().copied().filter(|_| !unfinished(found, audit));
    let across = inconsistent(found, expected, signature, audit);
    let first_bad = inside.into_iter().chain(across).min_by_key(|bad| bad.first);
    let outcome = match first_bad {
        Some(_) => Outcome::Broken,
        None if found.tombstone.is_some() => Outcome::Deleted,
        None if signature == Check::Held => Outcome::Proven,
        None => Outcome::Unproven,
    };
    Report {
        outcome,
        chunks: found.entries.len() as u64,
        bytes: found.bytes,
        signature,
        audit,
        first_bad,
        sentence: sentence(found, outcome, first_bad, audit),
    }
}

fn signature(found: &Scanned, keys: &[PublicKey]) -> Check {
    let Some((_, seal)) = found.seal else {
        return Check::Absent;
    };
    let sealed = match (&found.header, &found.tombstone) {
        (_, Some(stone)) => found.last_hash().map(|hash| (Sealed::Tombstone, stone.session, hash)),
        (Some(header), None) => {
            found.last_hash().map(|hash| (Sealed::Recording, header.session, hash))
        }
        (None, None) => None,
    };
    match sealed {
        Some((sealed, session, hash)) if seal.is_by(keys, sealed, session, hash) => Check::Held,
        _ => Check::Failed,
    }
}

fn audit(found: &Scanned, expected: Option<Digest>) -> Check {
    let Some(expected) = expected else {
        return Check::Absent;
    };
    let hash = match &found.tombstone {
        Some(stone) => Some(stone.hash),
        None => found.last_hash(),
    };
    if hash == Some(expected) { Check::Held } else { Check::Failed }
}

/// Tells whether all that is wrong is a last chunk that is not wholly there, as in a recording that is being written or that a crash cut off.
fn unfinished(found: &Scanned, audit: Check) -> bool {
    let [broken] = found.broken[..] else {
        return false;
    };
    let ends = broken.why == Why::Torn && broken.until == found.bytes;
    ends && found.ending.is_none() && found.tombstone.is_none() && audit == Check::Absent
}

/// Finds what no single chunk shows: the wrong file, a missing tail, a missing or foreign seal, wrong totals.
fn inconsistent(
    found: &Scanned,
    expected: &Expected<'_>,
    signature: Check,
    audit: Check,
) -> Option<Broken> {
    let sequence = found.entries.len() as u64;
    let at = |first, why| Some(Broken { sequence, first, until: found.bytes, why });
    let session =
        found.header.as_ref().map(|h| h.session).or(found.tombstone.as_ref().map(|t| t.session));
    if found.entries.is_empty() {
        return at(0, Why::Torn);
    }
    if expected.session.is_some_and(|wanted| session != Some(wanted)) {
        return at(0, Why::Foreign);
    }
    let end =
        found.entries.last().filter(|entry| matches!(entry.kind, Kind::End | Kind::Tombstone));
    if let (Some(end), Some(ending)) = (end, &found.ending)
        && ending.totals != found.totals
    {
        return at(end.offset, Why::Totals);
    }
    match (end, signature, audit) {
        // The audit log knows the end, so whatever lacks it was cut.
        (None, _, Check::Failed) => at(found.bytes, Why::Torn),
        (Some(end), _, Check::Failed) => at(end.offset, Why::Audit),
        (Some(_), Check::Absent, _) => at(found.bytes, Why::Torn),
        (Some(_), Check::Failed, _) => {
            at(found.seal.map_or(found.bytes, |(offset, _)| offset), Why::Signature)
        }
        _ => None,
    }
}

fn sentence(found: &Scanned, outcome: Outcome, first_bad: Option<Broken>, audit: Check) -> String {
    let held = match audit {
        Check::Held => "and its hash is the one in the audit log",
        _ => "but no audit event was at hand to compare its hash with",
    };
    match (outcome, first_bad) {
        (_, Some(bad)) => format!(
            "The recording is not as it was: {} (chunk {}, bytes {} to {}).",
            bad.why, bad.sequence, bad.first, bad.until
        ),
        (Outcome::Deleted, _) => {
            format!("The recording was deleted; its sealed tombstone is whole, {held}.")
        }
        (Outcome::Proven, _) => format!(
            "All {} chunks and {} bytes are as they were sealed, {held}.",
            found.entries.len(),
            found.bytes
        ),
        _ => format!(
            "The recording has no end: its {} chunks follow one another up to byte {} of {}, but nothing proves that none \
             was cut after it, or that they were not all written anew.",
            found.entries.len(),
            found.entries.last().map_or(0, |entry| entry.offset + entry.bytes),
            found.bytes
        ),
    }
}
