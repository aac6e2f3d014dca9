//! What is written is what is read.

use adit_wire::recording::chunk::MAX_RAW_BYTES;
use adit_wire::recording::{End, Item, Mode, Outcome, Packer, Taken, What, Writer, recover};
use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{
    SESSION, end, header, items, key, noise, report, sample, shown, starts, steps,
};

/// One call of a writer.
#[derive(Debug, Clone)]
enum Call {
    Output(Vec<u8>),
    Stderr(Vec<u8>),
    Input(String, Vec<u8>),
    Resize(u16, u16),
    Mark(String),
    Gap(u32, String),
    Echo(bool),
    Cut,
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..300);
    prop_oneof![
        4 => bytes().prop_map(Call::Output),
        1 => bytes().prop_map(Call::Stderr),
        1 => (".{0,20}", bytes()).prop_map(|(who, bytes)| Call::Input(who, bytes)),
        1 => any::<(u16, u16)>().prop_map(|(cols, rows)| Call::Resize(cols, rows)),
        1 => ".{0,40}".prop_map(Call::Mark),
        1 => (any::<u32>(), ".{0,20}").prop_map(|(bytes, reason)| Call::Gap(bytes, reason)),
        1 => any::<bool>().prop_map(Call::Echo),
        2 => Just(Call::Cut),
    ]
}

/// Plays the calls into a writer and says what must be read back.
fn play(calls: &[(u64, Call)]) -> (Vec<u8>, Vec<Item>) {
    let (mut packer, mut file, mut expected) = (Packer::new(), Vec::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    let (mut at_ms, mut echo) = (0, true);
    for (after, call) in calls {
        at_ms += after;
        let position = writer.position();
        let what = match call.clone() {
            Call::Output(bytes) => {
                writer.output(at_ms, position, &bytes);
                What::Output(bytes.into())
            }
            Call::Stderr(bytes) => {
                writer.stderr(at_ms, position, &bytes);
                What::Stderr(bytes.into())
            }
            Call::Input(who, bytes) => {
                writer.input(at_ms, &who, &bytes);
                if !echo {
                    continue;
                }
                What::Input { who, bytes: bytes.into() }
            }
            Call::Resize(cols, rows) => {
                writer.resize(at_ms, cols, rows);
                What::Resize { cols, rows }
            }
            Call::Mark(text) => {
                writer.mark(at_ms, &text);
                What::Mark(text)
            }
            Call::Gap(bytes, reason) => {
                writer.gap(at_ms, bytes.into(), &reason);
                What::Gap { bytes: bytes.into(), reason }
            }
            Call::Echo(on) => {
                writer.echo(at_ms, on);
                if std::mem::replace(&mut echo, on) == on {
                    continue;
                }
                What::Echo { on }
            }
            Call::Cut => {
                writer.cut(&mut packer, &mut file);
                continue;
            }
        };
        expected.push(Item { at_ms, position, what });
    }
    writer.end(end(), &key(1), &mut packer, &mut file);
    (file, expected)
}

proptest! {
    // TERM-40
    #[test]
    fn what_is_written_is_read_back(calls in prop::collection::vec((0..5000_u64, call()), 0..60)) {
        let (file, expected) = play(&calls);
        prop_assert_eq!(items(&file), expected);
        prop_assert!(recover(&file).broken.is_empty());
    }

    #[test]
    fn a_file_read_in_any_pieces_is_the_same_file(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let file = sample(SESSION).file;
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(file.len())).collect();
        at.extend([0, file.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
        prop_assert_eq!(steps(&pieces), steps(&[&file]));
    }
}

// TERM-42
#[test]
fn a_finished_recording_is_proven() {
    let sample = sample(SESSION);
    let report = report(&sample.file, &sample);
    assert_eq!(report.outcome, Outcome::Proven, "{}", report.sentence);
    assert_eq!(report.chunks, 6);
    assert_eq!(report.bytes, sample.file.len() as u64);
    assert_eq!(sample.tail.bytes, sample.file.len() as u64);
    assert_eq!(shown(&sample.file), sample.output);
}

#[test]
fn the_end_tells_what_the_recording_amounts_to() {
    let sample = sample(SESSION);
    let found = recover(&sample.file);
    let totals = found.ending.unwrap().totals;
    assert_eq!(totals, found.totals);
    assert_eq!((totals.chunks, totals.output_bytes), (5, sample.output.len() as u64));
    assert_eq!((totals.input_bytes, totals.gaps), (12, 0));
}

// N2
#[test]
fn output_that_is_offered_again_is_recorded_once() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.output(1, 0, b"abcdef");
    let overlapping = writer.output(2, 4, b"efgh");
    let old = writer.output(3, 0, b"abc");
    writer.cut(&mut packer, &mut file);
    assert_eq!(overlapping, Taken { repeated: 2, missing: 0 });
    assert_eq!(old, Taken { repeated: 3, missing: 0 });
    assert_eq!(shown(&file), b"abcdefgh");
}

#[test]
fn output_that_never_came_is_a_gap() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.output(1, 0, b"abc");
    let taken = writer.output(2, 10, b"xyz");
    writer.cut(&mut packer, &mut file);
    let found = items(&file);
    assert_eq!(taken, Taken { repeated: 0, missing: 7 });
    assert_eq!(found[1].what, What::Gap { bytes: 7, reason: "not received".into() });
    assert_eq!(
        (found[2].position, &found[2].what),
        (10, &What::Output(Bytes::from_static(b"xyz")))
    );
}

// AUD-16
#[test]
fn input_is_left_out_while_the_terminal_does_not_echo() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.input(1, "user:ann", b"sudo -s\r");
    writer.echo(2, false);
    writer.input(3, "user:ann", b"hunter2-canary\r");
    writer.echo(4, true);
    writer.input(5, "user:ann", b"id\r");
    writer.cut(&mut packer, &mut file);
    let typed: Vec<u8> = items(&file)
        .into_iter()
        .flat_map(|item| match item.what {
            What::Input { bytes, .. } => bytes.to_vec(),
            _ => vec![],
        })
        .collect();
    assert_eq!(typed, b"sudo -s\rid\r");
}

// AUD-16, TERM-40
#[test]
fn input_is_left_out_where_only_output_is_recorded() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.input(1, "user:ann", b"ls\r");
    writer.cut(&mut packer, &mut file);
    assert_eq!(items(&file), []);
}

// AUD-16
#[test]
fn an_echo_that_was_off_at_a_crash_is_off_after_it() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.echo(1, false);
    writer.cut(&mut packer, &mut file);
    let mut writer = Writer::resume(recover(&file).tail().unwrap());
    writer.input(2, "user:ann", b"hunter2-canary\r");
    writer.cut(&mut packer, &mut file);
    assert_eq!(items(&file).len(), 1);
}

#[test]
fn a_clock_that_runs_backwards_stands_still() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.mark(500, "a");
    writer.mark(100, "b");
    writer.cut(&mut packer, &mut file);
    writer.mark(50, "c");
    writer.cut(&mut packer, &mut file);
    let times: Vec<u64> = items(&file).iter().map(|item| item.at_ms).collect();
    assert_eq!(times, [500, 500, 500]);
    assert!(recover(&file).broken.is_empty());
}

#[test]
fn a_cut_with_nothing_to_write_writes_nothing() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    let before = file.len();
    writer.cut(&mut packer, &mut file);
    assert_eq!(file.len(), before);
}

#[test]
fn four_mebibytes_at_once_become_chunks_within_the_cap() {
    let bytes = noise(7, 4 << 20);
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.output(1, 0, &bytes);
    assert!(writer.pending_bytes() >= bytes.len());
    writer.cut(&mut packer, &mut file);
    let found = recover(&file);
    assert_eq!(writer.pending_bytes(), 0);
    assert!(found.broken.is_empty());
    assert!(found.entries.iter().all(|entry| entry.bytes as usize <= MAX_RAW_BYTES + 200));
    assert!(starts(&found).len() > 16);
    assert!(shown(&file) == bytes);
}

#[test]
fn output_that_repeats_itself_takes_little_room() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Output), &mut packer, &mut file);
    writer.output(1, 0, &b"y\r\n".repeat(100_000));
    writer.cut(&mut packer, &mut file);
    assert!(file.len() < 3000, "{} bytes", file.len());
}

#[test]
fn a_header_with_endless_texts_is_cut_to_fit() {
    let endless = "\u{1}".repeat(1 << 20);
    for command in [vec![endless.clone()], vec![String::new(); 1 << 20]] {
        let mut header = header(SESSION, Mode::Output);
        (header.machine, header.principal, header.command) =
            (endless.clone(), endless.clone(), command);
        let (mut packer, mut file) = (Packer::new(), Vec::new());
        let writer = Writer::begin(&header, &mut packer, &mut file);
        let end = End { reason: endless.clone(), ..end() };
        writer.end(end, &key(1), &mut packer, &mut file);
        let found = recover(&file);
        assert!(found.broken.is_empty());
        assert_eq!(found.header.map(|header| header.machine.len()), Some(1024));
    }
}

#[test]
fn what_a_session_carried_is_not_in_debug_forms() {
    let (mut packer, mut file) = (Packer::new(), Vec::new());
    let mut writer = Writer::begin(&header(SESSION, Mode::Input), &mut packer, &mut file);
    writer.output(1, 0, b"canary");
    writer.input(1, "user:ann", b"canary");
    let waiting = format!("{writer:?}");
    writer.cut(&mut packer, &mut file);
    let read = format!("{:?} {:?}", items(&file), steps(&[&file]));
    let bytes = format!("{:?}", b"canary");
    for form in [waiting, read] {
        assert!(!form.contains("canary") && !form.contains(&bytes), "{form}");
    }
}
