//! Words that must not stand in the code, with the reason for each.

use std::path::Path;

use anyhow::Result;

use super::source::{Source, is_test_file};
use super::{File, Violation};

/// Where a word is refused.
#[derive(Clone, Copy, PartialEq)]
enum In {
    /// Code and pages alike.
    Everything,
    /// Code of any language, tests as well.
    Code,
    /// Rust that ships: not its tests.
    Shipped,
    /// Tests of any language.
    Tests,
    /// Tests in TypeScript and JavaScript.
    Scripts,
}

const WORDS: &[(&str, In, &str)] = &[
    ("TODO", In::Everything, "do it, or say what is missing where a user reads it."),
    ("FIXME", In::Everything, "mend it."),
    ("XXX", In::Everything, "say what is meant."),
    ("successfully", In::Everything, "what did not fail has happened: say what happened."),
    ("dbg!", In::Code, "a trace of debugging."),
    ("todo!", In::Code, "a stub."),
    ("unimplemented!", In::Code, "a stub."),
    ("unbounded_channel", In::Code, "every queue has a bound."),
    ("thread::sleep", In::Code, "wait for the event, not for time."),
    (".unwrap()", In::Shipped, "handle it, or say with expect why it holds."),
    ("time::sleep", In::Tests, "move the clock, or wait for the event with a limit."),
    ("waitForTimeout", In::Tests, "wait for the event with a limit."),
    ("#[ignore", In::Tests, "a test that does not run shows nothing."),
    ("test.skip(", In::Scripts, "a test that does not run shows nothing."),
    ("it.skip(", In::Scripts, "a test that does not run shows nothing."),
    ("test.only(", In::Scripts, "the others would not run."),
    ("it.only(", In::Scripts, "the others would not run."),
];

/// What is no test: a process that tests start from their own program, and a figure for whoever works on something.
const NO_TESTS: &[&str] = &["#[ignore = \"other tests start it", "#[ignore = \"prints "];

/// Names that say nothing of what a file is for.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "manager", "managers", "helpers", "misc"];

const CODE: &[&str] =
    &["css", "html", "js", "mjs", "proto", "py", "rs", "sh", "sql", "svelte", "ts"];
const SCRIPTS: &[&str] = &["js", "mjs", "ts"];
const PAGES: &[&str] = &["md", "toml", "yml", "yaml"];

/// This file and its like hold the words as data.
const TABLES: &[&str] =
    &["xtask/src/tidy/words.rs", "clippy.toml", "Cargo.toml", "CONTRIBUTING.md"];

/// Checks the words and the name of one file.
///
/// # Errors
/// The file is not Rust although its name says so.
pub fn check(file: &File) -> Result<Vec<Violation>> {
    let mut violations: Vec<_> = name(file).into_iter().collect();
    let is_code = file.has_extension(CODE);
    if TABLES.contains(&file.path.as_str()) || !(is_code || file.has_extension(PAGES)) {
        return Ok(violations);
    }
    let source = if file.has_extension(&["rs"]) { Some(Source::parse(file)?) } else { None };
    let is_test_file = is_test_file(&file.path);
    let lines = (1..).zip(file.text.lines());
    for (number, line) in lines.filter(|(_, line)| !is_no_test(line)) {
        let is_test = source.as_ref().map_or(is_test_file, |source| source.is_test(number));
        let is_comment = line.trim_start().starts_with("//");
        let applies = |place: In| match place {
            In::Everything => true,
            In::Code => is_code,
            In::Shipped => {
                source.is_some() && file.path.starts_with("crates/") && !is_test && !is_comment
            }
            In::Tests => is_code && is_test,
            In::Scripts => is_test && file.has_extension(SCRIPTS),
        };
        let found =
            WORDS.iter().filter(|(word, place, _)| applies(*place) && contains_word(line, word));
        violations
            .extend(found.map(|(word, _, why)| file.violation(number, format!("`{word}`: {why}"))));
    }
    Ok(violations)
}

fn name(file: &File) -> Option<Violation> {
    if !file.has_extension(CODE) {
        return None;
    }
    let path = Path::new(&file.path);
    // Cargo takes each file of a crate's `tests/` for a program of its own; what these share is in a folder.
    let shared_by_tests = path.ancestors().nth(2).is_some_and(|folder| folder.ends_with("tests"));
    let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
    let sentence = if is_mod && !shared_by_tests {
        "`foo.rs` stands beside `foo/`.".to_owned()
    } else {
        let mut parts = path.with_extension("");
        if let Some((stem, _)) = file.path.rsplit('/').next().and_then(|name| name.split_once('.'))
        {
            parts.set_file_name(stem);
        }
        let empty = parts.iter().find(|part| EMPTY_NAMES.iter().any(|name| part == name))?;
        format!("`{}` is no name: say what is in it.", empty.display())
    };
    Some(Violation { path: file.path.clone(), line: None, sentence })
}

fn is_no_test(line: &str) -> bool {
    NO_TESTS.iter().any(|start| line.trim_start().starts_with(start))
}

/// Tells whether a word stands in a line by itself, not as a part of a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let joined_before = word.starts_with(is_letter) && before.is_some_and(is_letter);
        let joined_after = word.ends_with(is_letter) && after.is_some_and(is_letter);
        !joined_before && !joined_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&File { path: path.to_owned(), text: text.to_owned() }).expect("checked").len()
    }

    #[test]
    fn every_word_of_the_table_is_found_where_it_is_refused() {
        for (word, place, _) in WORDS {
            let path = match place {
                In::Everything => "docs/a.md",
                In::Code | In::Shipped => "crates/a/src/a.rs",
                In::Tests | In::Scripts => "tests/e2e/a.test.mjs",
            };
            let text = if path.ends_with(".rs") {
                format!("fn a() {{ b({word:?}) }}")
            } else {
                (*word).to_owned()
            };
            assert!(found(path, &text) > 0, "{word}");
        }
    }

    #[test]
    fn a_part_of_a_longer_word_is_not_the_word() {
        assert_eq!(found("docs/a.md", "mktemp -d /tmp/adit.XXXXXX, METHODS"), 0);
    }

    #[test]
    fn unwrap_is_refused_in_what_ships_and_allowed_in_tests() {
        assert_eq!(found("crates/a/src/a.rs", "fn a() { b().unwrap() }"), 1);
        assert_eq!(found("crates/a/src/a.rs", "#[test]\nfn a() { b().unwrap() }"), 0);
        assert_eq!(found("crates/a/src/a.rs", "/// a().unwrap()\nfn a() {}"), 0);
    }

    #[test]
    fn sleep_is_refused_in_tests() {
        assert_eq!(
            found(
                "crates/a/src/a.rs",
                "#[tokio::test]\nasync fn a() { tokio::time::sleep(b).await }"
            ),
            1
        );
        assert_eq!(found("crates/a/src/a.rs", "async fn a() { tokio::time::sleep(b).await }"), 0);
    }

    #[test]
    fn only_what_is_no_test_may_be_left_out() {
        let path = "tests/a.rs";
        assert_eq!(found(path, "#[test]\n#[ignore = \"slow\"]\nfn a() {}"), 1);
        for start in NO_TESTS {
            assert_eq!(found(path, &format!("#[test]\n{start}x\"]\nfn a() {{}}")), 0);
        }
    }

    #[test]
    fn empty_names_are_refused() {
        for path in [
            "crates/a/src/utils.rs",
            "web/src/common/a.ts",
            "crates/a/src/b/mod.rs",
            "web/src/manager.test.ts",
        ] {
            assert_eq!(found(path, ""), 1, "{path}");
        }
        for path in ["crates/a/src/ticket.rs", "crates/a/tests/gateway/mod.rs"] {
            assert_eq!(found(path, ""), 0, "{path}");
        }
    }
}
