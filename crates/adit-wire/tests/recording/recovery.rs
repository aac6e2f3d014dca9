//! A crash leaves whole chunks and a torn tail; the recording goes on.

use adit_wire::recording::{Mode, Outcome, Packer, What, Why, Writer, recover, verify};
use proptest::prelude::*;

use super::sample::{
    SESSION, Sample, end, header, items, key, noise, public, report, sample, shown, starts,
};

/// Goes on with what a crash left, the machine sending again from the last durable byte; gives the finished file.
fn go_on(torn: &[u8], output: &[u8]) -> (Vec<u8>, adit_wire::digest::Digest) {
    let mut packer = Packer::new();
    let mut file = torn.to_vec();
    let mut writer = match recover(torn).tail() {
        Some(tail) => {
            file.truncate(tail.bytes as usize);
            Writer::resume(tail)
        }
        None => {
            file.clear();
            Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file)
        }
    };
    let from = writer.position();
    writer.output(20_000, from, &output[from as usize..]);
    let tail = writer.end(end(), &key(1), &mut packer, &mut file);
    (file, tail.hash)
}

fn proven(file: &[u8], hash: adit_wire::digest::Digest) -> bool {
    let keys = [public(&key(1))];
    let expected = adit_wire::recording::Expected { session: None, hash: Some(hash), keys: &keys };
    verify(&recover(file), &expected).outcome == Outcome::Proven
}

fn body(sample: &Sample) -> usize {
    *starts(&recover(&sample.file)).last().unwrap()
}

// R05, N2, TERM-43
#[test]
fn a_recording_torn_at_any_byte_keeps_its_whole_chunks_and_goes_on() {
    let sample = sample(SESSION);
    let whole = recover(&sample.file);
    for cut in 0..body(&sample) {
        let found = recover(&sample.file[..cut]);
        let kept = whole.entries.iter().take_while(|e| e.offset + e.bytes <= cut as u64).count();
        assert_eq!(found.entries, whole.entries[..kept], "cut at {cut}");
        let (file, hash) = go_on(&sample.file[..cut], &sample.output);
        assert!(shown(&file) == sample.output, "cut at {cut}");
        assert!(proven(&file, hash), "cut at {cut}");
    }
}

// R07
#[test]
fn a_tail_of_zeros_or_garbage_is_told_and_cut() {
    let sample = sample(SESSION);
    let whole = recover(&sample.file);
    for (kept, entry) in whole.entries.iter().enumerate().skip(1).take(4) {
        for torn in [0, 1, 60, 100] {
            for tail in [vec![0; 4096], noise(3, 4096), vec![0; 5], b"ADRC".repeat(500)] {
                let start = entry.offset as usize;
                let bytes = [&sample.file[..start + torn], &tail].concat();
                let found = recover(&bytes);
                assert_eq!(found.entries.len(), kept);
                assert_eq!(found.broken.len(), 1, "told once");
                assert_eq!(found.broken[0].first, entry.offset);
                assert_eq!(found.broken[0].until, bytes.len() as u64);
                let (file, hash) = go_on(&bytes, &sample.output);
                assert!(shown(&file) == sample.output && proven(&file, hash));
            }
        }
    }
}

// R07
#[test]
fn a_file_cut_to_nothing_is_told_and_started_anew() {
    let sample = sample(SESSION);
    let found = recover(&[]);
    let report = report(&[], &sample);
    assert_eq!(found.tail(), None);
    assert_eq!(report.outcome, Outcome::Broken);
    assert_eq!(report.first_bad.map(|bad| (bad.first, bad.why)), Some((0, Why::Torn)));
}

// N4
#[test]
fn a_recording_without_an_end_proves_less_and_says_so() {
    let sample = sample(SESSION);
    let found = recover(&sample.file[..body(&sample)]);
    let report = verify(&found, &Default::default());
    assert_eq!(report.outcome, Outcome::Unproven);
    assert!(report.sentence.contains("nothing proves that none was cut"), "{}", report.sentence);
    assert_eq!(found.tail().unwrap().position, sample.output.len() as u64);
}

// TERM-43
#[test]
fn a_recording_that_is_being_written_is_not_called_broken() {
    let sample = sample(SESSION);
    let starts = starts(&recover(&sample.file));
    for cut in starts[1] + 1..starts[5] {
        let found = recover(&sample.file[..cut]);
        let report = verify(&found, &Default::default());
        assert_eq!((report.outcome, report.first_bad), (Outcome::Unproven, None), "cut at {cut}");
    }
    let zeros = [&sample.file[..starts[3]], &[0; 500]].concat();
    assert_eq!(verify(&recover(&zeros), &Default::default()).outcome, Outcome::Broken);
}

#[test]
fn a_finished_recording_is_not_gone_on_with() {
    assert_eq!(recover(&sample(SESSION).file).tail(), None);
}

// R13
#[test]
fn a_chunk_that_rots_while_the_recording_lives_does_not_take_the_later_ones_along() {
    let sample = sample(SESSION);
    let starts = starts(&recover(&sample.file));
    let mut bytes = sample.file[..starts[4]].to_vec();
    bytes[starts[2] + 80] ^= 1;
    let found = recover(&bytes);
    let tail = found.tail().unwrap();
    assert_eq!(found.entries.len(), 3);
    assert_eq!((tail.bytes, tail.sequence), (starts[4] as u64, 4));
    let (file, _) = go_on(&bytes, &sample.output);
    let after = recover(&file);
    assert_eq!(after.broken.len(), 1);
    assert_eq!(after.broken[0].first, starts[2] as u64);
}

// A full disk: what could not be written is a gap, and the recording goes on.
#[test]
fn a_cut_that_could_not_be_written_is_a_gap() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.output(1, 0, b"before ");
    writer.cut(&mut packer, &mut file);
    let durable = writer.tail().clone();
    writer.output(2, 7, b"lost ");
    writer.resize(3, 132, 43);
    writer.echo(4, false);
    writer.cut(&mut packer, &mut Vec::new());
    writer.output(5, 12, b"after");
    writer.lose(durable, "the disk is full");
    writer.cut(&mut packer, &mut file);
    let what: Vec<What> = items(&file).into_iter().map(|item| item.what).collect();
    assert!(recover(&file).broken.is_empty());
    assert_eq!(
        what,
        [
            What::Output("before ".into()),
            What::Gap { bytes: 5, reason: "the disk is full".into() },
            What::Resize { cols: 132, rows: 43 },
            What::Echo { on: false },
            What::Output("after".into()),
        ]
    );
}

proptest! {
    // N4: whatever fails, what is there and what is marked as missing add up.
    #[test]
    fn what_is_recorded_and_what_is_missing_add_up(rounds in prop::collection::vec((1..2000_usize, any::<bool>(), any::<bool>()), 1..30)) {
        let (mut packer, mut file) = (Packer::new(), Vec::new());
        let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
        let (mut durable, mut output) = (writer.tail().clone(), Vec::new());
        for (round, (bytes, fails, waits)) in rounds.into_iter().enumerate() {
            let piece = noise(round as u64, bytes);
            writer.output(round as u64, output.len() as u64, &piece);
            output.extend_from_slice(&piece);
            if waits {
                continue;
            }
            let mut cut = Vec::new();
            writer.cut(&mut packer, &mut cut);
            if fails {
                writer.lose(durable.clone(), "no room");
            } else {
                file.extend_from_slice(&cut);
                durable = writer.tail().clone();
            }
        }
        writer.end(end(), &key(1), &mut packer, &mut file);
        let found = recover(&file);
        prop_assert!(found.broken.is_empty());
        prop_assert_eq!(found.ending.unwrap().totals.output_bytes, output.len() as u64);
        for item in items(&file) {
            if let What::Output(bytes) = item.what {
                let at = item.position as usize;
                prop_assert_eq!(&bytes[..], &output[at..at + bytes.len()]);
            }
        }
    }
}
