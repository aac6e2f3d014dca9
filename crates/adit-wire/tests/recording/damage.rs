//! Whoever changes a recording is found out, and the rest of it still plays.

use adit_wire::recording::{
    Broken, Check, Expected, Mode, Outcome, Packer, Why, Writer, recover, verify,
};

use super::sample::{SESSION, end, header, key, public, report, sample, session, shown, starts};

fn first_bad(file: &[u8]) -> Broken {
    let report = report(file, &sample(SESSION));
    assert_eq!(report.outcome, Outcome::Broken, "{}", report.sentence);
    report.first_bad.unwrap()
}

// BEY-2, AUD-12, R13
#[test]
fn a_flipped_bit_anywhere_is_found_and_its_chunk_named() {
    let sample = sample(SESSION);
    let whole = recover(&sample.file);
    for at in 0..sample.file.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut file = sample.file.clone();
            file[at] ^= bit;
            let bad = first_bad(&file);
            assert!(bad.first <= at as u64, "byte {at}: {bad:?}");
            assert!(bad.until > at as u64, "byte {at}: {bad:?}");
            let chunk = whole.entries.iter().filter(|e| e.offset <= at as u64).count() as u64 - 1;
            assert!(bad.sequence == chunk || bad.sequence == 6, "byte {at}: {bad:?}");
        }
    }
}

// R13
#[test]
fn a_flipped_bit_leaves_the_other_chunks_as_they_were() {
    let sample = sample(SESSION);
    let whole = recover(&sample.file);
    for at in 0..starts(&whole)[5] {
        let mut file = sample.file.clone();
        file[at] ^= 0x04;
        let found = recover(&file);
        let hit = whole.entries.iter().rposition(|e| e.offset <= at as u64).unwrap();
        let mut others = whole.entries.clone();
        others.remove(hit);
        assert_eq!(found.entries, others, "byte {at}");
    }
}

// BEY-2, AUD-12
#[test]
fn a_tail_cut_at_any_byte_is_found() {
    let sample = sample(SESSION);
    for cut in 0..sample.file.len() {
        let bad = first_bad(&sample.file[..cut]);
        assert!(bad.first <= cut as u64, "cut at {cut}: {bad:?}");
    }
}

// BEY-2
#[test]
fn a_byte_put_in_or_taken_out_anywhere_is_found() {
    let sample = sample(SESSION);
    for at in 0..sample.file.len() {
        let mut longer = sample.file.clone();
        longer.insert(at, 0x41);
        assert!(first_bad(&longer).first <= at as u64);
        let mut shorter = sample.file.clone();
        shorter.remove(at);
        assert!(first_bad(&shorter).first <= at as u64);
    }
}

// AUD-12
#[test]
fn any_dropped_repeated_or_swapped_chunk_is_found_at_its_place() {
    let sample = sample(SESSION);
    let mut bounds = starts(&recover(&sample.file));
    bounds.push(sample.file.len() - 100);
    let chunk = |at: usize| &sample.file[bounds[at]..bounds[at + 1]];
    let seal = &sample.file[sample.file.len() - 100..];
    let whole: Vec<&[u8]> = (0..6).map(chunk).chain([seal]).collect();
    for at in 0..6 {
        let mut dropped = whole.clone();
        dropped.remove(at);
        assert_eq!(first_bad(&dropped.concat()).first, bounds[at] as u64, "dropped {at}");
        let mut repeated = whole.clone();
        repeated.insert(at, whole[at]);
        assert_eq!(first_bad(&repeated.concat()).first, bounds[at + 1] as u64, "repeated {at}");
        for other in at + 1..7 {
            let mut swapped = whole.clone();
            swapped.swap(at, other);
            assert_eq!(
                first_bad(&swapped.concat()).first,
                bounds[at] as u64,
                "swapped {at} {other}"
            );
        }
    }
}

// AUD-12
#[test]
fn a_chunk_of_another_session_is_found_and_named_foreign() {
    let (sample, other) = (sample(SESSION), sample(SESSION + 1));
    let (ours, theirs) = (starts(&recover(&sample.file)), starts(&recover(&other.file)));
    let file =
        [&sample.file[..ours[2]], &other.file[theirs[2]..theirs[3]], &sample.file[ours[3]..]]
            .concat();
    let bad = first_bad(&file);
    assert_eq!((bad.first, bad.sequence, bad.why), (ours[2] as u64, 2, Why::Foreign));
}

// AUD-12
#[test]
fn a_whole_recording_of_another_session_is_not_this_one() {
    let other = sample(SESSION + 1);
    let keys = [public(&key(1))];
    let expected = Expected { session: Some(session(SESSION)), hash: None, keys: &keys };
    let report = verify(&recover(&other.file), &expected);
    assert_eq!(report.outcome, Outcome::Broken);
    assert_eq!(report.first_bad.map(|bad| bad.why), Some(Why::Foreign));
}

// TERM-42
#[test]
fn a_recording_written_anew_by_another_key_is_not_proven() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.output(1, 0, b"nothing happened");
    writer.end(end(), &key(2), &mut packer, &mut file);
    let keys = [public(&key(1))];
    let report = verify(&recover(&file), &Expected { keys: &keys, ..Expected::default() });
    assert_eq!((report.outcome, report.signature), (Outcome::Broken, Check::Failed));
    assert_eq!(report.first_bad.map(|bad| bad.why), Some(Why::Signature));
}

// TERM-42
#[test]
fn a_recording_sealed_by_the_key_but_not_the_one_in_the_audit_log_is_found() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.output(1, 0, b"nothing happened");
    writer.end(end(), &key(1), &mut packer, &mut file);
    let bad = first_bad(&file);
    assert_eq!(bad.why, Why::Audit);
}

// AUD-12
#[test]
fn what_is_whole_still_plays_around_what_is_broken() {
    let sample = sample(SESSION);
    let starts = starts(&recover(&sample.file));
    let mut file = sample.file.clone();
    file[starts[2] + 90] ^= 1;
    let shown = shown(&file);
    assert!(shown.starts_with(b"line 0") && shown.windows(6).any(|w| w == b"line 3"));
    assert!(!shown.windows(6).any(|w| w == b"line 1"));
}
