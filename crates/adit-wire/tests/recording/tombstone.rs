//! What stays of a deleted recording.

use adit_domain::time::Timestamp;
use adit_wire::recording::{
    Check, Expected, Outcome, Packer, Tombstone, recover, tombstone, verify,
};

use super::sample::{SESSION, Sample, key, public, report, sample, session};

fn stone(sample: &Sample) -> Tombstone {
    Tombstone {
        session: session(SESSION),
        hash: sample.tail.hash,
        bytes: sample.tail.bytes,
        deleted_at: Timestamp(1_796_000_000_000),
        by: "retention".into(),
        reason: "older than 90 days".into(),
    }
}

// AUD-18
#[test]
fn a_deleted_recording_leaves_a_tombstone_that_the_audit_log_still_matches() {
    let sample = sample(SESSION);
    let file = tombstone(&stone(&sample), &key(1), &mut Packer::new());
    let report = report(&file, &sample);
    assert_eq!(report.outcome, Outcome::Deleted, "{}", report.sentence);
    assert_eq!((report.signature, report.audit), (Check::Held, Check::Held));
    assert_eq!(recover(&file).tombstone, Some(stone(&sample)));
}

// AUD-18
#[test]
fn a_tombstone_that_was_changed_or_cut_anywhere_is_found() {
    let sample = sample(SESSION);
    let file = tombstone(&stone(&sample), &key(1), &mut Packer::new());
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        assert_eq!(report(&flipped, &sample).outcome, Outcome::Broken, "byte {at}");
        assert_eq!(report(&file[..at], &sample).outcome, Outcome::Broken, "cut at {at}");
    }
}

// AUD-18
#[test]
fn a_tombstone_that_another_key_made_is_found() {
    let sample = sample(SESSION);
    let file = tombstone(&stone(&sample), &key(2), &mut Packer::new());
    assert_eq!(report(&file, &sample).outcome, Outcome::Broken);
}

#[test]
fn a_seal_of_a_tombstone_does_not_seal_a_recording() {
    let sample = sample(SESSION);
    let stone = Tombstone { hash: sample.tail.hash, ..stone(&sample) };
    let tomb = tombstone(&stone, &key(1), &mut Packer::new());
    let body = &sample.file[..sample.file.len() - 100];
    let keys = [public(&key(1))];
    let file = [body, &tomb[tomb.len() - 100..]].concat();
    let report = verify(&recover(&file), &Expected { keys: &keys, ..Expected::default() });
    assert_eq!(report.signature, Check::Failed);
}
