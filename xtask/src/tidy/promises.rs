//! Each promise of SPECIFICATION.md and SECURITY.md names a test, and the test is there.
//!
//! A promise is a list item that begins with one or more ids; it may go on over several lines:
//! `- SES-12 What holds. — \`tests/session/resume.rs::a_test\``.

use super::{File, Violation};

const PAGES: &[&str] = &["SPECIFICATION.md", "SECURITY.md"];

/// Checks the promises of both pages.
pub fn check(files: &[File]) -> Vec<Violation> {
    let pages = files.iter().filter(|file| PAGES.contains(&file.path.as_str()));
    pages
        .flat_map(|page| {
            promises(page).into_iter().filter_map(|(line, text)| refuse(page, line, &text, files))
        })
        .collect()
}

/// The promises of a page with the line that each begins on.
fn promises(page: &File) -> Vec<(usize, String)> {
    let mut promises: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(page.text.lines()) {
        if let Some(item) = line.strip_prefix("- ") {
            is_open = item
                .split([' ', ',', ':'])
                .next()
                .is_some_and(|word| is_id(word.trim_matches('*')));
            if is_open {
                promises.push((number, item.to_owned()));
            }
        } else if line.starts_with("  ") && is_open {
            if let Some((_, text)) = promises.last_mut() {
                text.push(' ');
                text.push_str(line.trim());
            }
        } else {
            is_open = false;
        }
    }
    promises
}

/// `SES-12`, `TOK-11` or `R05`.
fn is_id(word: &str) -> bool {
    let digits =
        |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_ascii_digit());
    match word.split_once('-') {
        Some((letters, number)) => {
            letters.len() >= 2
                && letters.chars().all(|letter| letter.is_ascii_uppercase())
                && digits(number)
        }
        None => word.strip_prefix('R').is_some_and(digits),
    }
}

fn refuse(page: &File, line: usize, text: &str, files: &[File]) -> Option<Violation> {
    let names: Vec<_> =
        text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    if names.is_empty() {
        return Some(page.violation(line, "names no test: `path::name`."));
    }
    let (path, name) = names.into_iter().find(|(path, name)| !is_test(files, path, name))?;
    Some(page.violation(line, format!("there is no test `{path}::{name}`.")))
}

/// Tells whether a file holds a test of that name: a function, or in a script a title.
pub fn is_test(files: &[File], path: &str, name: &str) -> bool {
    let Some(file) = files.iter().find(|file| file.path == path) else { return false };
    let name = name.rsplit("::").next().unwrap_or(name);
    let forms = if file.has_extension(&["rs"]) {
        vec![format!("fn {name}("), format!("fn {name}<")]
    } else if file.has_extension(&["py"]) {
        vec![format!("def {name}(")]
    } else {
        ['"', '\'', '`'].map(|quote| format!("{quote}{name}{quote}")).to_vec()
    };
    forms.iter().any(|form| file.text.contains(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("SPECIFICATION.md", page),
            file("tests/session.rs", "async fn a_ticket_opens_one_session() {}"),
            file("tests/e2e/a.test.mjs", "test('a key is shown', async () => {})"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_promise_with_its_test_holds() {
        let page =
            "- SES-12, TOK-11 One session.\n  — `tests/session.rs::a_ticket_opens_one_session`\n";
        assert!(found(page).is_empty());
        assert!(found("- R05 A key. — `tests/e2e/a.test.mjs::a key is shown`").is_empty());
    }

    #[test]
    fn a_promise_without_a_test_is_refused() {
        assert_eq!(
            found("- SES-12 One session."),
            ["SPECIFICATION.md:1: names no test: `path::name`."]
        );
    }

    #[test]
    fn a_promise_whose_test_is_not_there_is_refused() {
        let expected = "SPECIFICATION.md:1: there is no test `tests/session.rs::gone`.";
        assert_eq!(found("- **SES-12** One. `tests/session.rs::gone`"), [expected]);
        assert_eq!(found("- SES-12 One. `tests/gone.rs::a_ticket_opens_one_session`").len(), 1);
    }

    #[test]
    fn an_item_without_an_id_promises_nothing() {
        assert!(found("- One session at a time.\n- UTF-8 `x`, R rows").len() <= 1);
        assert!(found("- One session at a time.").is_empty());
    }
}
