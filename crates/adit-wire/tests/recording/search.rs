//! Who ran DROP TABLE, and when.

use std::time::{Duration, Instant};

use adit_wire::recording::search::{Hit, Hits, MAX_HITS, MAX_LINE_CHARS, Search};
use adit_wire::recording::{Item, What};
use proptest::prelude::*;

fn output(at_ms: u64, text: &str) -> Item {
    Item { at_ms, position: 0, what: What::Output(text.as_bytes().to_vec().into()) }
}

fn find(needle: &str, items: &[Item]) -> Hits {
    let mut search = Search::new(needle, 80, 24);
    items.iter().for_each(|item| search.feed(item));
    search.finish()
}

fn found(needle: &str, items: &[Item]) -> Vec<(u64, usize, String)> {
    let hits = find(needle, items);
    assert_eq!(hits.stopped_at_ms, None);
    hits.hits.into_iter().map(|hit| (hit.at_ms, hit.row, hit.text)).collect()
}

fn hit(at_ms: u64, row: usize, text: &str) -> (u64, usize, String) {
    (at_ms, row, text.into())
}

// TERM-41
#[test]
fn a_line_is_found_where_and_when_it_was_first_shown() {
    let items = [
        output(0, "$ ls\r\n"),
        output(5000, "db=> DROP TABLE users;\r\n"),
        output(9000, "DROP\r\n"),
    ];
    assert_eq!(found("drop table", &items), [hit(5000, 1, "db=> DROP TABLE users;")]);
}

#[test]
fn what_is_not_shown_is_not_found() {
    let items = [output(0, "DROP"), output(500, "\r\x1b[K"), output(1000, " TABLE\r\n")];
    assert_eq!(found("drop table", &items), []);
    assert_eq!(found("", &items), []);
}

#[test]
fn a_line_typed_letter_by_letter_is_one_hit() {
    let typed = "$ drop table a b c";
    let items: Vec<Item> =
        typed.char_indices().map(|(at, c)| output(at as u64 * 200, &c.to_string())).collect();
    let hits = found("drop table", &items);
    assert_eq!(hits, [hit(11 * 200, 0, typed)]);
}

#[test]
fn a_line_that_scrolls_up_stays_one_hit() {
    let mut items = vec![output(0, "needle\r\n")];
    items.extend((1..60).map(|n| output(n * 1000, &format!("line {n}\r\n"))));
    assert_eq!(found("needle", &items), [hit(0, 0, "needle")]);
}

#[test]
fn a_line_that_comes_again_after_it_went_is_another_hit() {
    let items = [
        output(0, "needle"),
        output(1000, "\x1b[2J\x1b[H"),
        output(2000, "x\r\nneedle"),
        output(3000, "\r\n"),
    ];
    assert_eq!(found("needle", &items), [hit(0, 0, "needle"), hit(2000, 1, "needle")]);
}

#[test]
fn lines_that_rush_by_within_one_item_are_found() {
    let rush: String = (0..5000).map(|n| format!("row number {n}.\r\n")).collect();
    assert_eq!(found("number 1234.", &[output(70, &rush)]), [hit(70, 23, "row number 1234.")]);
}

#[test]
fn a_screen_that_is_cleared_at_once_is_looked_at_first() {
    let items = [output(0, "\x1b[?1049h\x1b[5;3Hneedle in vim\x1b[?1049l$ ")];
    assert_eq!(found("NEEDLE", &items), [hit(0, 4, "  needle in vim")]);
}

#[test]
fn a_text_that_wraps_at_the_edge_is_found() {
    let line = format!("{}needle-in-the-middle", "x".repeat(70));
    assert_eq!(found("needle-in-the-middle", &[output(0, &line)]), [hit(0, 0, &line)]);
    let left = [output(0, &format!("{line}\r\n"))];
    assert_eq!(found("needle-in-the-middle", &left), [hit(0, 0, &line)]);
}

#[test]
fn a_text_cut_between_items_and_inside_a_character_is_found() {
    let bytes = "grüße".as_bytes();
    let items: Vec<Item> = bytes
        .iter()
        .map(|byte| Item { at_ms: 3, position: 0, what: What::Output(vec![*byte].into()) })
        .collect();
    assert_eq!(found("GRÜSSE", &items), []);
    assert_eq!(found("Grüße", &items), [hit(3, 0, "grüße")]);
}

#[test]
fn hits_and_their_texts_are_bounded() {
    let many: String = (0..3000).map(|n| format!("needle {n}\r\n")).collect();
    let hits = find("needle", &[output(1, &many), output(2, &many)]);
    assert_eq!((hits.hits.len(), hits.stopped_at_ms), (MAX_HITS, Some(1)));
    let long = find("needle", &[output(1, &"needle ".repeat(270))]);
    assert_eq!(long.hits.iter().map(|hit: &Hit| hit.text.len()).max(), Some(MAX_LINE_CHARS));
}

// AUD-14
#[test]
fn hostile_output_is_searched_within_the_budget() {
    let hostile = [
        "x\x1b[999999999b".repeat(1000),
        format!("\x1b[{}m", "1;".repeat(500_000)),
        format!("\x1b[{}m", "9".repeat(1_000_000)),
        format!("\x1b]0;{}", "A".repeat(1_000_000)),
        format!("\x1bP{}", "q".repeat(1_000_000)),
        "\x1b[65535L\x1b[65535M\x1b[65535S\x1b[65535T".repeat(1000),
        "\x1b[?1049h\x1b[?1049l\x1b[2J\x1b#8\x1bc".repeat(1000),
        "\n".repeat(100_000),
    ];
    for text in hostile {
        let mut search = Search::new("needle", 1024, 512).with_budget(50_000_000);
        for _ in 0..20 {
            search.feed(&output(1, &text));
        }
        let started = Instant::now();
        search.feed(&output(2, "\r\n"));
        drop(search.finish());
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", &text[..20]);
    }
}

// AUD-14
#[test]
fn a_search_that_runs_out_of_budget_says_where_it_stopped() {
    let mut search = Search::new("needle", 80, 24).with_budget(100_000);
    search.feed(&output(5, "needle\r\n"));
    search.feed(&output(700, &"\x1b[9999b".repeat(1000)));
    search.feed(&output(900, "needle again\r\n"));
    let hits = search.finish();
    assert_eq!((hits.hits.len(), hits.stopped_at_ms), (1, Some(700)));
}

// AUD-14
#[test]
fn a_storm_of_sizes_costs_one() {
    let mut search = Search::new("needle", 80, 24).with_budget(2_000_000);
    for n in 0..1_000_000_u32 {
        let what = What::Resize { cols: (n % 60_000) as u16, rows: 65_535 };
        search.feed(&Item { at_ms: n.into(), position: 0, what });
    }
    search.feed(&output(2_000_000, "needle\r\n"));
    assert_eq!(search.finish().hits.len(), 1);
}

/// What a hostile program may print, or do to its window.
fn hostile() -> impl Strategy<Value = What> {
    let print = |text: String| What::Output(text.into_bytes().into());
    prop_oneof![
        2 => "\\x1b\\[[?!]?([0-9]{0,6};){0,3}[0-9]{0,6}[@-~]".prop_map(print),
        2 => "\\x1b[ -/]{0,2}[0-~]".prop_map(print),
        2 => "[\\x00-\\x1f]{1,4}".prop_map(print),
        2 => "\\PC{1,12}".prop_map(print),
        1 => "(日|🎉|é|e\u{301}|\u{200d}|needle){1,9}".prop_map(print),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| What::Output(bytes.into())),
        1 => (0..20_u16, 0..12_u16).prop_map(|(cols, rows)| What::Resize { cols, rows }),
    ]
}

proptest! {
    // AUD-14
    #[test]
    fn nothing_that_is_printed_harms_a_search(
        whats in prop::collection::vec((0..150_u64, hostile()), 0..80),
        cols in 0..20_u16,
        rows in 0..12_u16,
    ) {
        let mut search = Search::new("needle", cols, rows);
        let mut at_ms = 0;
        for (after, what) in whats {
            at_ms += after;
            search.feed(&Item { at_ms, position: 0, what });
        }
        let hits = search.finish();
        for hit in hits.hits {
            prop_assert!(hit.text.to_lowercase().contains("needle"), "{hit:?}");
            prop_assert!(hit.at_ms <= at_ms);
        }
    }
}
