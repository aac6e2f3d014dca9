//! The screen model: its dump and what follows it give the same screen as the whole stream, wherever it is cut.

mod streams;

use adit_agent::screen::Screen;
use adit_agent::shell::Size;
use proptest::prelude::*;
use streams::stream;

const COLS: u32 = 20;
const ROWS: u32 = 6;

fn screen() -> Screen {
    Screen::new(Size::clamped(COLS, ROWS))
}

fn screen_of(bytes: &[u8]) -> Screen {
    let mut screen = screen();
    screen.feed(bytes);
    screen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // Decision 13
    #[test]
    fn a_dump_and_what_follows_give_the_whole_screen(stream in stream(), cut in any::<prop::sample::Index>()) {
        // No terminal can be told where a cluster stands while insertion is on.
        prop_assume!(!contains(&stream, b"\x1b[4h") || stream.is_ascii());
        let cut = cut.index(stream.len() + 1);
        let mut late = screen_of(&screen_of(&stream[..cut]).dump());
        late.feed(&stream[cut..]);
        let mut whole = screen_of(&stream);
        prop_assert_eq!(late.lines(), whole.lines());
        prop_assert_eq!(text(&late.dump()), text(&whole.dump()));
    }

    #[test]
    fn an_idle_screen_loses_nothing(stream in stream(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(stream.len() + 1);
        let mut folded = screen_of(&stream[..cut]);
        folded.freeze();
        folded.feed(&stream[cut..]);
        prop_assert_eq!(text(&folded.dump()), text(&screen_of(&stream).dump()));
    }

    // SES-33: what is skipped is skipped without a trace.
    #[test]
    fn a_flood_gives_the_same_screen_whole_and_in_pieces(lines in proptest::collection::vec("(\x1b\\[[0-9]{1,2}m)?[a-zé ]{0,30}", 0..60), size in 1_usize..9) {
        let flood = lines.join("\r\n").into_bytes();
        let mut pieces = screen();
        flood.chunks(size).for_each(|piece| pieces.feed(piece));
        prop_assert_eq!(text(&pieces.dump()), text(&screen_of(&flood).dump()));
    }

    // RES-19: any bytes at all, in any pieces.
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..600), size in 1_usize..64) {
        let mut pieces = screen();
        bytes.chunks(size).for_each(|piece| pieces.feed(piece));
        prop_assert_eq!(text(&pieces.dump()), text(&screen_of(&bytes).dump()));
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn text(dump: &[u8]) -> String {
    String::from_utf8_lossy(dump).escape_debug().to_string()
}

// AUD-14, RES-19: each of these ends at once and is not kept.
#[test]
fn endless_and_huge_sequences_are_bounded() {
    let mut screen = screen();
    for _ in 0..20_000 {
        screen.feed(b"x\x1b[999999999b");
    }
    for introducer in [&b"\x1b]2;"[..], b"\x1bPq", b"\x1b_", b"\x1b^", b"\x1bX", b"\x1b["] {
        screen.feed(introducer);
        for _ in 0..1000 {
            screen.feed(&[b'1'; 10_000]);
        }
        assert!(screen.dump().len() < 20_000, "{introducer:?}");
        screen.feed(b"\x1b\\");
    }
}

// TERM-7: a title from the machine is text, and a dump asks the terminal nothing.
#[test]
fn a_dump_holds_no_question_and_no_clipboard() {
    let mut screen =
        screen_of(b"\x1b]52;c;aGk=\x07\x1b[6n\x1b[c\x1b]11;?\x07\x1bP$qm\x1b\\\x1b]2;a\x01b\x07hi");
    let dump = text(&screen.dump());
    assert!(
        dump.contains("]2;ab")
            && !dump.contains("52;")
            && !dump.contains("6n")
            && !dump.contains('?'),
        "{dump}"
    );
}

#[test]
fn clusters_and_links_survive_the_dump() {
    let mut screen = screen_of("\x1b]8;;https://example.com/\x1b\\link\x1b]8;;\x1b\\ e\u{301} 👩\u{200d}💻 \x1b[4:3;58;5;9mcurly\x1b[m".as_bytes());
    let dump = String::from_utf8(screen.dump()).expect("text");
    for wanted in ["https://example.com/", "e\u{301}", "👩\u{200d}💻", "\x1b[4:3m", "\x1b[58:5:9m"]
    {
        assert!(dump.contains(wanted), "{wanted:?} is not in {dump:?}");
    }
    assert_eq!(screen.lines()[0].trim_end(), "link e\u{301} 👩\u{200d}💻 curly");
}
