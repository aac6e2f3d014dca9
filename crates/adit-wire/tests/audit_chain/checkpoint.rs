//! Signed checkpoints: what they prove, and what they do not.

use std::collections::BTreeMap;

use adit_domain::time::Timestamp;
use adit_wire::audit::{Chain, Flaw, Record};
use adit_wire::checkpoint::{
    Anchors, BadCheckpoint, Checkpoint, LogReport, LogVerifier, SignedCheckpoint,
};
use adit_wire::digest::Digest;
use proptest::prelude::*;

use super::sample::{checkpoints, event, gateway, key, log, public, rechain, session};

fn verify(log: &[Record], own: &[SignedCheckpoint], copies: &[SignedCheckpoint]) -> LogReport {
    let mut verifier = LogVerifier::new(&[public(&key(1))]);
    own.iter().for_each(|signed| verifier.checkpoint(signed));
    copies.iter().for_each(|signed| verifier.copy(signed));
    for record in log {
        verifier.record(gateway(1), record);
    }
    verifier.finish()
}

fn first_bad(report: &LogReport) -> Option<(u64, Flaw)> {
    report.first_bad.first().map(|bad| (bad.record.seq, bad.record.flaw))
}

#[test]
fn a_whole_log_holds_and_says_so() {
    let log = log(gateway(1), 8);
    let report = verify(&log, &checkpoints(&log, &[3, 5, 8]), &[]);
    assert!(report.is_ok());
    assert_eq!((report.events, report.checkpoints, report.unanchored), (8, 3, 0));
    assert_eq!(
        report.sentence,
        "All 8 events follow one another and 3 signed checkpoints hold them all."
    );
}

// BEY-2
#[test]
fn an_unanchored_tail_is_counted_and_what_it_can_not_prove_is_said() {
    let log = log(gateway(1), 8);
    let report = verify(&log, &checkpoints(&log, &[3, 5]), &[]);
    assert_eq!((report.is_ok(), report.unanchored), (true, 3));
    assert!(
        report.sentence.contains("all but the newest 3: for those, nothing proves"),
        "{}",
        report.sentence
    );
    let report = verify(&log, &[], &[]);
    assert_eq!(report.unanchored, 8);
    assert!(
        report.sentence.contains("no signed checkpoint: nothing proves"),
        "{}",
        report.sentence
    );
}

// R50
#[test]
fn events_after_a_crash_are_held_by_the_next_checkpoint() {
    let log = log(gateway(1), 8);
    let all = checkpoints(&log, &[3, 8]);
    assert_eq!(verify(&log, &all[..1], &[]).unanchored, 5);
    assert_eq!(verify(&log, &all, &[]).unanchored, 0);
}

// AUD-02
#[test]
fn newest_events_that_were_deleted_are_found_by_the_last_checkpoint() {
    let log = log(gateway(1), 8);
    let own = checkpoints(&log, &[3, 6]);
    for kept in 0..6 {
        let report = verify(&log[..kept], &own, &[]);
        assert_eq!(first_bad(&report), Some((kept as u64 + 1, Flaw::Cut)), "kept {kept}");
    }
    assert!(verify(&log[..6], &own, &[]).is_ok(), "what no checkpoint holds can't be missed");
}

// AUD-02
#[test]
fn newest_events_deleted_along_with_their_checkpoints_are_found_by_an_exported_copy() {
    let log = log(gateway(1), 8);
    let all = checkpoints(&log, &[3, 6]);
    let report = verify(&log[..3], &all[..1], &all[1..]);
    assert_eq!(first_bad(&report), Some((4, Flaw::Cut)));
}

// AUD-03
#[test]
fn a_log_whose_chain_was_made_anew_is_found_by_the_first_checkpoint_after_the_edit() {
    let log = log(gateway(1), 8);
    let own = checkpoints(&log, &[3, 5, 8]);
    for at in 0..8 {
        let mut edited = log.clone();
        edited[at].bytes = event(99, gateway(1)).canonical().into_bytes();
        rechain(&mut edited);
        let anchor = [3, 5, 8].into_iter().find(|seq| *seq > at as u64);
        assert_eq!(first_bad(&verify(&edited, &own, &[])), anchor.map(|seq| (seq, Flaw::Anchor)));
    }
}

// AUD-03
#[test]
fn checkpoints_made_anew_without_the_key_do_not_hold() {
    let mut log = log(gateway(1), 8);
    log[2].bytes = event(99, gateway(1)).canonical().into_bytes();
    rechain(&mut log);
    let forged: Vec<SignedCheckpoint> = checkpoints(&log, &[3, 8])
        .iter()
        .map(|signed| Checkpoint::decode(&signed.line).unwrap().sign(&key(2)))
        .collect();
    let report = verify(&log, &forged, &[]);
    assert_eq!(report.bad_checkpoint, Some(BadCheckpoint::Signature(1)));
    assert_eq!(report.unanchored, 8, "nothing is held by a forged checkpoint");
}

// AUD-03
#[test]
fn whoever_has_the_key_too_is_found_by_an_exported_copy() {
    let log = log(gateway(1), 8);
    let copies = checkpoints(&log, &[3, 8]);
    let mut edited = log.clone();
    edited[4].bytes = event(99, gateway(1)).canonical().into_bytes();
    rechain(&mut edited);
    let own = checkpoints(&edited, &[3, 8]);
    assert!(verify(&edited, &own, &[]).is_ok());
    let report = verify(&edited, &own, &copies);
    assert_eq!(report.bad_checkpoint, Some(BadCheckpoint::Fork(2)));
}

// BEY-2
#[test]
fn a_checkpoint_that_was_dropped_repeated_or_swapped_is_found() {
    let log = log(gateway(1), 8);
    let all = checkpoints(&log, &[2, 4, 6, 8]);
    for at in 0..3 {
        let mut dropped = all.clone();
        dropped.remove(at);
        let number = at as u64 + 2;
        assert_eq!(verify(&log, &dropped, &[]).bad_checkpoint, Some(BadCheckpoint::Order(number)));
        let mut repeated = all.clone();
        repeated.insert(at, all[at].clone());
        assert!(!verify(&log, &repeated, &[]).is_ok());
        let mut swapped = all.clone();
        swapped.swap(at, at + 1);
        assert!(!verify(&log, &swapped, &[]).is_ok());
    }
}

// BEY-2
#[test]
fn a_flipped_bit_anywhere_in_a_checkpoint_is_found() {
    let log = log(gateway(1), 3);
    let signed = &checkpoints(&log, &[3])[0];
    for at in 0..signed.line.len() {
        let mut bytes = signed.line.clone().into_bytes();
        bytes[at] ^= 1;
        let line = String::from_utf8(bytes).unwrap();
        assert!(!verify(&log, &[SignedCheckpoint { line, ..signed.clone() }], &[]).is_ok());
    }
    for at in 0..64 {
        let mut signature = signed.signature;
        signature[at] ^= 1;
        assert!(!verify(&log, &[SignedCheckpoint { signature, ..signed.clone() }], &[]).is_ok());
    }
}

#[test]
fn one_chain_that_is_broken_does_not_hide_what_is_wrong_with_another() {
    let (mut ours, theirs) = (log(gateway(1), 4), log(gateway(2), 4));
    ours[1].bytes[3] ^= 1;
    let mut verifier = LogVerifier::new(&[public(&key(1))]);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        verifier.record(gateway(1), ours);
        if theirs.seq != 3 {
            verifier.record(gateway(2), theirs);
        }
    }
    let report = verifier.finish();
    let bad: Vec<_> = report.first_bad.iter().map(|bad| (bad.gateway, bad.record.seq)).collect();
    assert_eq!(bad, [(gateway(1), 2), (gateway(2), 3)]);
}

#[test]
fn a_chain_that_is_gone_altogether_is_found() {
    let log = log(gateway(1), 4);
    let report = verify(&[], &checkpoints(&log, &[4]), &[]);
    assert_eq!(first_bad(&report), Some((1, Flaw::Cut)));
}

// TERM-42
#[test]
fn a_checkpoint_holds_the_hashes_of_finished_recordings() {
    let log = log(gateway(1), 4);
    let mut anchors = Anchors::new(&[public(&key(1))]);
    for signed in checkpoints(&log, &[2, 4]) {
        anchors.add(&signed).unwrap();
    }
    assert_eq!(anchors.recording(session(1)), Some(Digest([1; 32])));
    assert_eq!(anchors.recording(session(7)), None);
    assert_eq!(anchors.head(gateway(1)), Some(Chain { seq: 4, hash: log[3].hash }));
}

#[test]
fn a_checkpoint_that_tells_otherwise_of_a_recording_contradicts() {
    let log = log(gateway(1), 4);
    let first = &checkpoints(&log, &[2])[0];
    let second = Checkpoint {
        number: 2,
        at: Timestamp(0),
        previous: first.hash(),
        heads: BTreeMap::new(),
        recordings: BTreeMap::from([(session(0), Digest([9; 32]))]),
    }
    .sign(&key(1));
    let report = verify(&log, &[first.clone(), second], &[]);
    assert_eq!(report.bad_checkpoint, Some(BadCheckpoint::Fork(2)));
}

#[test]
fn a_checkpoint_whose_head_moves_back_contradicts() {
    let log = log(gateway(1), 4);
    let report = verify(&log, &checkpoints(&log, &[4, 2]), &[]);
    assert_eq!(report.bad_checkpoint, Some(BadCheckpoint::Order(2)));
}

#[test]
fn an_exported_checkpoint_reads_back() {
    let signed = checkpoints(&log(gateway(1), 3), &[3]).remove(0);
    assert_eq!(SignedCheckpoint::parse(&signed.export()), Ok(signed));
}

proptest! {
    #[test]
    fn a_checkpoint_reads_back_from_its_line(
        number in any::<u64>(), at in any::<i64>(), previous in any::<[u8; 32]>(),
        heads in prop::collection::btree_map(any::<u16>(), (any::<u64>(), any::<[u8; 32]>()), 0..5),
        recordings in prop::collection::btree_map(any::<u16>(), any::<[u8; 32]>(), 0..5),
    ) {
        let heads = heads.into_iter().map(|(id, (seq, hash))| (gateway(id.into()), Chain { seq, hash: Digest(hash) }));
        let recordings = recordings.into_iter().map(|(id, hash)| (session(id.into()), Digest(hash)));
        let checkpoint = Checkpoint {
            number, at: Timestamp(at), previous: Digest(previous), heads: heads.collect(), recordings: recordings.collect(),
        };
        prop_assert_eq!(Checkpoint::decode(&checkpoint.line()), Ok(checkpoint));
    }

    #[test]
    fn random_texts_are_no_checkpoint(text in "\\PC{0,200}") {
        prop_assert_eq!(Checkpoint::decode(&text), Err(BadCheckpoint::Form));
        prop_assert_eq!(SignedCheckpoint::parse(&text), Err(BadCheckpoint::Form));
    }
}
