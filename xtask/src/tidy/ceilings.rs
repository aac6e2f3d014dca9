//! How long a file and a function may be. The list of exceptions only shrinks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::source::Source;
use super::{File, Violation};

/// What is longer and why; each line is `LINES PATH` or `LINES PATH::FUNCTION`.
pub const EXCEPTIONS: &str = "xtask/tidy-exceptions.txt";

/// A file of more lines is two files.
const FILE_LINES: usize = 800;
/// A function of more lines does not fit a screen.
const FUNCTION_LINES: usize = 70;

const LANGUAGES: &[&str] = &["css", "js", "mjs", "py", "rs", "sh", "svelte", "ts"];

/// Checks the length of every file of code and of every Rust function.
///
/// # Errors
/// A file is not Rust although its name says so, or the list of exceptions cannot be read.
pub fn check(files: &[File], exceptions: &str) -> Result<Vec<Violation>> {
    let mut lengths = BTreeMap::new();
    for file in files.iter().filter(|file| file.has_extension(LANGUAGES)) {
        lengths.insert(file.path.clone(), (file.text.lines().count(), FILE_LINES));
        if file.has_extension(&["rs"]) {
            measure_functions(file, &mut lengths)?;
        }
    }
    Ok(compare(&lengths, &parse(exceptions)?))
}

fn measure_functions(file: &File, lengths: &mut BTreeMap<String, (usize, usize)>) -> Result<()> {
    for function in Source::parse(file)?.functions {
        let lines = function.lines.end() - function.lines.start() + 1;
        let place = lengths
            .entry(format!("{}::{}", file.path, function.name))
            .or_insert((0, FUNCTION_LINES));
        place.0 = place.0.max(lines);
    }
    Ok(())
}

fn parse(exceptions: &str) -> Result<BTreeMap<&str, usize>> {
    let mut allowed = BTreeMap::new();
    for line in exceptions.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (lines, place) = line
            .split_once(' ')
            .with_context(|| format!("{EXCEPTIONS}: `{line}` names no place"))?;
        let lines = lines
            .parse()
            .with_context(|| format!("{EXCEPTIONS}: `{line}` begins with no number"))?;
        if allowed.insert(place, lines).is_some() {
            bail!("{EXCEPTIONS}: `{place}` stands there twice");
        }
    }
    Ok(allowed)
}

fn compare(
    lengths: &BTreeMap<String, (usize, usize)>,
    allowed: &BTreeMap<&str, usize>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (place, &(lines, ceiling)) in lengths {
        let sentence = match allowed.get(place.as_str()) {
            None if lines > ceiling => format!("{lines} lines, at most {ceiling}: split it."),
            Some(_) if lines <= ceiling => format!("{lines} lines: take it from {EXCEPTIONS}."),
            Some(&before) if lines > before => {
                format!("{lines} lines, it may not grow past {before}: split it.")
            }
            Some(&before) if lines < before => {
                format!("{lines} lines: lower its {before} in {EXCEPTIONS}.")
            }
            _ => continue,
        };
        violations.push(Violation { path: place.clone(), line: None, sentence });
    }
    for place in allowed.keys().filter(|place| !lengths.contains_key(**place)) {
        let sentence = format!("is not there any more: take it from {EXCEPTIONS}.");
        violations.push(Violation { path: (*place).to_owned(), line: None, sentence });
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(function_lines: usize, exceptions: &str) -> Vec<String> {
        let body = "    step();\n".repeat(function_lines - 2);
        let file = File {
            path: "crates/a/src/a.rs".to_owned(),
            text: format!("fn long() {{\n{body}}}\n"),
        };
        check(&[file], exceptions).expect("checked").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_function_of_seventy_lines_fits_and_one_of_seventy_one_does_not() {
        assert!(found(70, "").is_empty());
        assert_eq!(found(71, ""), ["crates/a/src/a.rs::long: 71 lines, at most 70: split it."]);
    }

    #[test]
    fn a_file_of_more_than_eight_hundred_lines_is_refused() {
        let file =
            |lines: usize| File { path: "web/src/a.ts".to_owned(), text: "a();\n".repeat(lines) };
        assert!(check(&[file(800)], "").expect("checked").is_empty());
        assert_eq!(check(&[file(801)], "").expect("checked").len(), 1);
    }

    #[test]
    fn an_exception_holds_for_its_own_length_only() {
        assert!(found(80, "# Why.\n80 crates/a/src/a.rs::long\n").is_empty());
        assert!(found(81, "80 crates/a/src/a.rs::long")[0].contains("may not grow"));
        assert!(found(79, "80 crates/a/src/a.rs::long")[0].contains("lower its 80"));
    }

    #[test]
    fn an_exception_that_is_not_needed_is_an_error() {
        assert!(found(70, "80 crates/a/src/a.rs::long")[0].contains("take it from"));
        assert!(found(10, "80 crates/a/src/gone.rs::long")[0].contains("not there any more"));
    }

    #[test]
    fn an_exception_without_a_number_is_named() {
        let error = check(&[], "crates/a/src/a.rs long").expect_err("it has no number");
        assert!(error.to_string().contains("begins with no number"), "{error}");
    }
}
