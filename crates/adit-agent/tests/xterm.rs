//! The screen model against xterm.js, which is what people see: cells, cursor, modes and title.

mod streams;

use adit_agent::screen::Screen;
use adit_agent::shell::Size;
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

const COLS: u32 = 20;
const ROWS: u32 = 6;

struct Case {
    stream: Vec<u8>,
    cut: usize,
    dump: Vec<u8>,
}

fn case(stream: Vec<u8>, cut: usize) -> Case {
    let mut screen = Screen::new(Size::clamped(COLS, ROWS));
    screen.feed(&stream[..cut]);
    Case { dump: screen.dump(), stream, cut }
}

/// Leaves out what can't be told to a terminal, and where avt and xterm.js go different ways of their own.
fn is_comparable(case: &Case) -> bool {
    let has = |sequence: &str| {
        case.stream.windows(sequence.len()).any(|window| window == sequence.as_bytes())
    };
    let any = |sequences: &[&str]| sequences.iter().any(|sequence| has(sequence));
    let other_screen = any(&["\x1b[?1049", "\x1b[?47"]);
    let restores = any(&["\x1b8", "\x1b[u", "\x1b[?1049l"]);
    let reasons = [
        // Where a cluster stands while insertion is on.
        has("\x1b[4h"),
        // Tab stops and margins of two screens; avt has one set of each.
        other_screen && (any(&["\x1bH", "\x1b[3g"]) || case.stream.contains(&b'r')),
        // A joiner that reaches xterm.js in two pieces is lost there.
        case.stream[..case.cut].ends_with(b"\xe2\x80"),
        // xterm.js restores the character set with the cursor, and half of an underline.
        restores && any(&["\x1b(0", "\x1b)0", "\x1b[4"]),
        // At the edge: a tab backwards, and wrapping that is switched off and on.
        case.stream.contains(&b'Z') || (has("\x1b[?7l") && has("\x1b[?7h")),
        // A mark without a letter, which only xterm.js joins across sequences.
        any(&["m\u{301}", "h\u{301}", "l\u{301}", "\n\u{301}", "C\u{301}"]),
    ];
    !reasons.contains(&true)
}

/// Asks xterm.js where the two ways differ.
fn differences(cases: &[Case]) -> Vec<Vec<String>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/agent/xterm");
    assert!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/agent/xterm first");
    let mut node = Command::new("node")
        .arg("compare.mjs")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut stdin = node.stdin.take().expect("piped");
    let lines: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(id, case)| {
            let [whole, dump, rest] = [&case.stream[..], &case.dump, &case.stream[case.cut..]].map(|bytes| STANDARD.encode(bytes));
            serde_json::json!({ "id": id, "cols": COLS, "rows": ROWS, "whole": whole, "dump": dump, "rest": rest }).to_string()
        })
        .collect();
    let writer =
        std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));
    let answers = BufReader::new(node.stdout.take().expect("piped")).lines();
    let answers = answers.map(|line| {
        let answer: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        serde_json::from_value(answer["differences"].clone()).expect("a list")
    });
    let answers = answers.collect();
    writer.join().expect("no panic").expect("node reads");
    assert!(node.wait().expect("node ends").success());
    answers
}

fn assert_same(cases: &[Case]) {
    let found = differences(cases);
    assert_eq!(found.len(), cases.len());
    let wrong = cases.iter().zip(&found).filter(|(_, differences)| !differences.is_empty());
    let mut wrong: Vec<_> = wrong.collect();
    wrong.sort_by_key(|(case, _)| case.stream.len());
    let shown: Vec<String> = wrong
        .iter()
        .take(10)
        .map(|(case, differences)| {
            let (stream, dump) = (case.stream.escape_ascii(), case.dump.escape_ascii());
            format!("{stream}\ncut at {} to {dump}\n{}", case.cut, differences.join("\n"))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} differ, the shortest:\n{}",
        wrong.len(),
        cases.len(),
        shown.join("\n\n")
    );
}

// Decision 13
#[test]
fn a_dump_and_what_follows_look_the_same_in_xterm_js() {
    let count =
        std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (streams::stream(), any::<prop::sample::Index>());
    let cases: Vec<Case> = std::iter::repeat_with(|| {
        let (stream, cut) = strategy.new_tree(&mut runner).expect("a stream").current();
        let cut = cut.index(stream.len() + 1);
        case(stream, cut)
    })
    .filter(is_comparable)
    .take(count)
    .collect();
    assert_same(&cases);
}
