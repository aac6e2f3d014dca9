//! The asciicast that any player reads.

use std::io::Write as _;
use std::process::Command;

use adit_wire::asciicast::{Cast, Joiner};
use adit_wire::recording::{Item, Mode, What};
use avt::Terminal;
use proptest::prelude::*;
use serde_json::Value;

use super::sample::{SESSION, header, items, sample};

fn cast(items: &[Item]) -> String {
    let mut out = String::new();
    let mut cast = Cast::begin(&header(SESSION, Mode::Input), &mut out);
    for item in items {
        cast.write(item, &mut out);
    }
    cast.finish(&mut out);
    out
}

fn item(at_ms: u64, what: What) -> Item {
    Item { at_ms, position: 0, what }
}

fn output(at_ms: u64, bytes: &[u8]) -> Item {
    item(at_ms, What::Output(bytes.to_vec().into()))
}

/// The events of a cast, each line read as JSON.
fn events(cast: &str) -> Vec<(f64, String, String)> {
    cast.lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

fn told(cast: &str, code: &str) -> String {
    events(cast).into_iter().filter(|event| event.1 == code).map(|event| event.2).collect()
}

/// Plays raw bytes, or a cast, as a player does.
fn screen(cols: usize, rows: usize, play: impl FnOnce(&mut Terminal)) -> String {
    let mut terminal = Terminal::new(cols, rows).unwrap();
    play(&mut terminal);
    terminal.dump()
}

#[test]
fn the_header_tells_the_size_the_start_and_who() {
    let cast = cast(&[]);
    let header: Value = serde_json::from_str(cast.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&header["version"], &header["width"], &header["height"]),
        (&2.into(), &80.into(), &24.into())
    );
    assert_eq!(header["timestamp"], 1_795_000_000);
    assert_eq!(header["title"], "user:ann on db-1");
}

// TERM-40
#[test]
fn each_kind_of_item_has_its_event() {
    let items = [
        output(1, b"$ "),
        item(1020, What::Input { who: "user:ann".into(), bytes: "ls\r".into() }),
        item(2003, What::Stderr("no".into())),
        item(3000, What::Resize { cols: 100, rows: 30 }),
        item(4000, What::Mark("here".into())),
        item(5000, What::Gap { bytes: 7, reason: "the disk is full".into() }),
        item(6000, What::Echo { on: false }),
    ];
    let expected = [
        "[0.001,\"o\",\"$ \"]",
        "[1.020,\"i\",\"ls\\u000d\"]",
        "[2.003,\"o\",\"no\"]",
        "[3.000,\"r\",\"100x30\"]",
        "[4.000,\"m\",\"here\"]",
        "[5.000,\"m\",\"7 bytes are missing: the disk is full\"]",
    ];
    let cast = cast(&items);
    assert_eq!(cast.lines().skip(1).collect::<Vec<_>>(), expected);
}

#[test]
fn a_character_that_is_cut_between_items_is_joined() {
    let euro = "€".as_bytes();
    let cast = cast(&[output(1, &euro[..1]), output(2, &euro[1..2]), output(3, &euro[2..])]);
    assert_eq!(events(&cast), [(0.003, "o".into(), "€".into())]);
}

#[test]
fn a_character_is_not_joined_across_a_gap() {
    let euro = "€".as_bytes();
    let gap = item(2, What::Gap { bytes: 1, reason: "lost".into() });
    let cast = cast(&[output(1, &euro[..2]), gap, output(3, &euro[2..])]);
    assert_eq!(told(&cast, "o"), "\u{fffd}\u{fffd}");
}

#[test]
fn what_two_people_type_is_not_joined() {
    let euro = "€".as_bytes();
    let typed = |who: &str, bytes: &[u8]| {
        item(1, What::Input { who: who.into(), bytes: bytes.to_vec().into() })
    };
    let cast = cast(&[typed("user:ann", &euro[..1]), typed("user:bob", &euro[1..])]);
    assert!(!told(&cast, "i").contains('€'));
}

// AUD-05, TERM-7
#[test]
fn hostile_texts_stay_inside_their_strings() {
    let evil = "\",\"level\":\"INFO\r\n\u{2028}\u{202e}\u{9b}31m\\\u{1b}]0;x\u{7}";
    let mut header = header(SESSION, Mode::Output);
    header.machine = evil.into();
    let mut out = String::new();
    let mut cast = Cast::begin(&header, &mut out);
    cast.write(&item(1, What::Mark(evil.into())), &mut out);
    cast.write(&output(2, evil.as_bytes()), &mut out);
    assert_eq!(out.lines().count(), 3);
    assert!(!out.chars().any(|c| c != '\n' && adit_wire::audit::escape::acts(c)));
    assert_eq!((told(&out, "m"), told(&out, "o")), (evil.into(), evil.into()));
}

// TERM-40
#[test]
fn asciinema_prints_what_was_shown() {
    let file = sample(SESSION);
    let path = std::env::temp_dir().join(format!("adit-cast-{}.cast", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(cast(&items(&file.file)).as_bytes()).unwrap();
    let cat = format!("LC_ALL=C.UTF-8 asciinema cat {}", path.display());
    // It wants a terminal, which a test need not have; `script` lends it one.
    let printed = Command::new("script").args(["-qec", &cat, "/dev/null"]).output();
    std::fs::remove_file(&path).unwrap();
    let printed = printed.expect("script is part of Debian");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stdout));
    assert_eq!(String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&file.output));
}

proptest! {
    #[test]
    fn joined_text_is_the_text_of_all_bytes(bytes in mixed(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut joiner = Joiner::default();
        let mut text: String = pieces(&bytes, &cuts).into_iter().map(|piece| joiner.push(piece)).collect();
        text.push_str(&joiner.finish());
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }

    // TERM-40
    #[test]
    fn a_cast_plays_to_the_same_screen_as_the_bytes(bytes in mixed(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let items: Vec<Item> = pieces(&bytes, &cuts).into_iter().map(|piece| output(1, piece)).collect();
        let raw = screen(80, 24, |terminal| terminal.feed(String::from_utf8_lossy(&bytes).as_ref()));
        let played = screen(80, 24, |terminal| {
            for (_, _, data) in events(&cast(&items)) {
                terminal.feed(data.as_str());
            }
        });
        prop_assert_eq!(played, raw);
    }
}

/// Text, escape sequences, wide characters and rubbish.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "[a-z ]{1,20}".prop_map(String::into_bytes),
        "\\PC{1,6}".prop_map(String::into_bytes),
        "\u{1b}\\[[0-9;?]{0,6}[A-Za-z]".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..8),
        Just("日本語🎉\r\n".as_bytes().to_vec()),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}
