//! The screen model against xterm.js, which is what people see: cells, cursor, modes and title.

mod streams;

use adit_agent::screen::Screen;
use adit_agent::shell::{self, Size, Spawner, Stream};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Small for streams that were made up, so that they meet the edges.
const SMALL: (u32, u32) = (20, 6);
/// What programs expect.
const USUAL: (u32, u32) = (80, 24);
const LIMIT: Duration = Duration::from_secs(60);

struct Case {
    size: (u32, u32),
    stream: Vec<u8>,
    cut: usize,
    dump: Vec<u8>,
}

fn case(size: (u32, u32), stream: Vec<u8>, cut: usize) -> Case {
    let mut screen = Screen::new(Size::clamped(size.0, size.1));
    screen.feed(&stream[..cut]);
    Case { size, dump: screen.dump(), stream, cut }
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
            serde_json::json!({ "id": id, "cols": case.size.0, "rows": case.size.1, "whole": whole, "dump": dump, "rest": rest }).to_string()
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
        case(SMALL, stream, cut)
    })
    .filter(is_comparable)
    .take(count)
    .collect();
    assert_same(&cases);
}

/// Runs a program on a real terminal: types each text when what it waits for has come; gives all that the program wrote.
async fn capture(program: &[&str], steps: &[(&str, &str)]) -> Vec<u8> {
    let spawner = Spawner::with_program(PathBuf::from(env!("CARGO_BIN_EXE_adit-supervise")))
        .expect("the spawner starts");
    let arguments = program.iter().map(|argument| (*argument).to_owned()).collect();
    let terminal = Some(Size::clamped(USUAL.0, USUAL.1));
    let command = shell::Command { arguments, terminal, ..shell::Command::default() };
    let mut shell = spawner.spawn(&command).await.expect("it starts");
    let Stream::Terminal(pty) = &mut shell.stream else { panic!("no terminal") };
    let (mut output, mut from) = (Vec::new(), 0);
    let mut buffer = [0; 4096];
    for (wait_for, typed) in steps {
        while !String::from_utf8_lossy(&output[from..]).contains(wait_for) {
            let read = tokio::time::timeout(LIMIT, pty.read(&mut buffer)).await;
            let len =
                read.unwrap_or_else(|_| panic!("{wait_for:?} did not come")).expect("it runs");
            output.extend_from_slice(&buffer[..len]);
        }
        from = output.len();
        pty.write_all(typed.as_bytes()).await.expect("it runs");
    }
    // The last reader's error is the terminal's end.
    let _ =
        tokio::time::timeout(LIMIT, pty.read_to_end(&mut output)).await.expect("the program ends");
    output
}

fn assert_same_at_cuts(stream: &[u8]) {
    let cuts = (0..=60).map(|part| stream.len() * part / 60);
    let cases: Vec<Case> = cuts.map(|cut| case(USUAL, stream.to_vec(), cut)).collect();
    assert_same(&cases);
}

// TERM-1: vim, with colours, splits, insertion and its own screen.
#[tokio::test]
async fn vim_looks_the_same_to_a_late_viewer() {
    let steps = [
        ("~", ":syntax on | set mouse=a number | vsplit | echo 'one-shown'\r"),
        (
            "one-shown",
            "ihello, w\u{f6}rld \u{6f22}\u{5b57} \u{1f600}\x1b:split | echo 'two-shown'\r",
        ),
        ("two-shown", "yy30p:%s/hello/HELLO/g | echo 'three-shown'\r"),
        ("three-shown", ":qall!\r"),
    ];
    assert_same_at_cuts(&capture(&["vim", "-u", "NONE", "-N", "-i", "NONE"], &steps).await);
}

// TERM-1: tmux, with panes and a status line.
#[tokio::test]
async fn tmux_looks_the_same_to_a_late_viewer() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket").to_string_lossy().into_owned();
    let steps = [
        ("READY:", "echo o''ne\r"),
        ("one", "tmux split-window -h env PS1=READY: sh\r"),
        ("READY:", "echo t''wo; ls --color=always /\r"),
        ("two", "tmux split-window env PS1=READY: sh\r"),
        ("READY:", "printf '\\033[7minverse\\033[m th''ree\\n'\r"),
        ("three", "tmux kill-server\r"),
    ];
    let program = ["tmux", "-S", &socket, "-f", "/dev/null", "new-session", "env PS1=READY: sh"];
    assert_same_at_cuts(&capture(&program, &steps).await);
}

// TERM-1: less, which scrolls backwards and writes in reverse.
#[tokio::test]
async fn less_looks_the_same_to_a_late_viewer() {
    let steps = [(":", " "), (":", "/root\r"), ("root", "G"), ("(END)", "g"), (":", "q")];
    let script = "seq -f 'line %g root' 1 200 | less";
    assert_same_at_cuts(&capture(&["sh", "-c", script], &steps).await);
}
