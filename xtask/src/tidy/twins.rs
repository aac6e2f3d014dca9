//! The console writes the frames of `adit-wire` too: its numbers are those of the Rust file.

use super::{File, Violation};

const RUST: &str = "crates/adit-wire/src/frame.rs";
const TYPESCRIPT: &str = "web/src/terminal/frame.ts";

/// What a number is called in Rust and in TypeScript.
const TWINS: &[(&str, &str)] = &[
    ("Output", "OUTPUT"),
    ("Input", "INPUT"),
    ("Stderr", "STDERR"),
    ("MAX_INPUT: usize", "MAX_INPUT_BYTES"),
    ("MAX_OUTPUT: usize", "MAX_OUTPUT_BYTES"),
    ("MAX_FRAME: usize", "MAX_FRAME_BYTES"),
    ("HEADER: usize", "DATA_HEADER_BYTES"),
];

/// Compares the two files, where both are there.
pub fn check(files: &[File]) -> Vec<Violation> {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    let (Some(rust), Some(typescript)) = (find(RUST), find(TYPESCRIPT)) else { return Vec::new() };
    TWINS.iter().filter_map(|twin| compare(rust, typescript, twin)).collect()
}

fn compare(rust: &File, typescript: &File, (ours, theirs): &(&str, &str)) -> Option<Violation> {
    let (expected, found) = (number(&rust.text, ours), number(&typescript.text, theirs));
    if expected.is_some() && expected == found {
        return None;
    }
    let shown =
        |number: Option<u64>| number.map_or("missing".to_owned(), |number| number.to_string());
    let sentence =
        format!("{theirs} is {}, {ours} in {RUST} is {}.", shown(found), shown(expected));
    Some(Violation { path: TYPESCRIPT.to_owned(), line: None, sentence })
}

/// What stands after `name =` on the line that defines it: a number or a product of numbers.
fn number(text: &str, name: &str) -> Option<u64> {
    let definition = text.lines().find_map(|line| {
        let rest = line.trim_start();
        let rest = ["pub const ", "export const ", "const "]
            .iter()
            .find_map(|word| rest.strip_prefix(word))
            .unwrap_or(rest);
        rest.strip_prefix(name)?.trim_start().strip_prefix('=')
    })?;
    let product = definition.split([';', ',']).next()?;
    product.split('*').map(|factor| factor.trim().parse::<u64>().ok()).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "\
pub const MAX_INPUT: usize = 16 * 1024;
pub const MAX_OUTPUT: usize = 32 * 1024;
pub const MAX_FRAME: usize = 64 * 1024;
pub const HEADER: usize = 9;
pub enum Kind {
    Output = 1,
    Input = 2,
    Stderr = 3,
}
";
    const THEIRS: &str = "\
export const OUTPUT = 1;
export const INPUT = 2;
export const STDERR = 3;
export const MAX_INPUT_BYTES = 16 * 1024; // why
export const MAX_OUTPUT_BYTES = 32768;
export const MAX_FRAME_BYTES = 65536;
const DATA_HEADER_BYTES = 9;
";

    fn found(rust: &str, typescript: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        check(&[file(RUST, rust), file(TYPESCRIPT, typescript)])
            .into_iter()
            .map(|one| one.sentence)
            .collect()
    }

    #[test]
    fn equal_numbers_hold_however_they_are_written() {
        assert!(found(OURS, THEIRS).is_empty());
    }

    #[test]
    fn a_number_that_differs_is_refused() {
        let sentence = format!("OUTPUT is 4, Output in {RUST} is 1.");
        assert_eq!(found(OURS, &THEIRS.replace("OUTPUT = 1", "OUTPUT = 4")), [sentence]);
    }

    #[test]
    fn a_number_that_is_gone_is_refused() {
        assert_eq!(found(OURS, &THEIRS.replace("const DATA_HEADER_BYTES = 9;", "")).len(), 1);
        assert_eq!(found(&OURS.replace("HEADER", "HEAD"), THEIRS).len(), 1);
    }
}
