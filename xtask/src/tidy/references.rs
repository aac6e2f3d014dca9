//! What pages and lock files point to: files that are there, tests that are there, public registries.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::promises::is_test;
use super::{File, Violation};

/// Pages whose paths in backquotes are paths of this repository.
const PAGES_WITH_PATHS: &[&str] = &["README.md", "CONTRIBUTING.md"];

/// Paths of one developer's machine; the pieces are joined so that this file does not hold them.
const PRIVATE: &[&str] = &[concat!("/wo", "rk/"), concat!("../sha", "red")];

/// The only registries that lock files may name.
const NPM: &str = "https://registry.npmjs.org/";
const CARGO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every page and lock file.
pub fn check(files: &[File]) -> Vec<Violation> {
    let paths = paths(files);
    let mut violations = Vec::new();
    for file in files {
        let mut is_example = false;
        for (number, line) in (1..).zip(file.text.lines()) {
            is_example ^= line.starts_with("```");
            let mut refuse = |sentence: String| violations.push(file.violation(number, sentence));
            private_paths(line).for_each(&mut refuse);
            foreign_registry(file, line).into_iter().for_each(&mut refuse);
            if file.has_extension(&["md"]) && !is_example {
                broken_links(file, line, &paths).for_each(&mut refuse);
                broken_tests(line, files).for_each(&mut refuse);
            }
            if PAGES_WITH_PATHS.contains(&file.path.as_str()) && !is_example {
                broken_paths(line, &paths).for_each(&mut refuse);
            }
        }
    }
    violations
}

/// Every file and every folder that holds one.
fn paths(files: &[File]) -> BTreeSet<PathBuf> {
    files.iter().flat_map(|file| Path::new(&file.path).ancestors()).map(Path::to_owned).collect()
}

fn private_paths(line: &str) -> impl Iterator<Item = String> {
    let at_start = |start: usize| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|letter| {
            !letter.is_alphanumeric() && !matches!(letter, '_' | '-' | '.' | '}' | '*' | '$')
        })
    };
    let private = PRIVATE
        .iter()
        .filter(move |path| line.match_indices(**path).any(|(start, _)| at_start(start)));
    private.map(|path| format!("`{path}` is a path of one machine."))
}

fn foreign_registry(file: &File, line: &str) -> Option<String> {
    let (key, registry) = match file.path.rsplit('/').next()? {
        "package-lock.json" => ("\"resolved\": \"", NPM),
        "Cargo.lock" => ("source = \"", CARGO),
        _ => return None,
    };
    let (source, _) = line.trim_start().strip_prefix(key)?.split_once('"')?;
    (!source.starts_with(registry)).then(|| format!("`{source}` is not of {registry}."))
}

/// Relative links of Markdown, `[text](path#anchor)`.
fn broken_links(
    file: &File,
    line: &str,
    paths: &BTreeSet<PathBuf>,
) -> impl Iterator<Item = String> {
    let folder = Path::new(&file.path).parent().map(Path::to_owned).unwrap_or_default();
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next());
    links
        .filter(|link| !link.is_empty() && !link.contains(':'))
        .filter(move |link| !paths.contains(&plain(&folder.join(link))))
        .map(|link| format!("the link `{link}` leads nowhere."))
}

/// Tests named as `path::name` on any page.
fn broken_tests(line: &str, files: &[File]) -> impl Iterator<Item = String> {
    let named =
        code(line).filter_map(|code| code.split_once("::")).filter(|(path, _)| path.contains('/'));
    named
        .filter(|(path, name)| !is_test(files, path, name))
        .map(|(path, name)| format!("no test `{path}::{name}`."))
}

/// Paths in backquotes: with a slash, of letters that paths have, and not of another place.
fn broken_paths(line: &str, paths: &BTreeSet<PathBuf>) -> impl Iterator<Item = String> {
    let is_path = |text: &&str| {
        let elsewhere = ["/", "~", "http", "target/", "application/", "web/dist"];
        let first = text.split('/').next().unwrap_or_default();
        text.contains('/')
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter))
            && !elsewhere.iter().any(|start| text.starts_with(start))
            && (first.starts_with('.') || !first.contains('.'))
    };
    code(line)
        .filter(is_path)
        .filter(|path| !paths.contains(Path::new(path.trim_end_matches('/'))))
        .map(|path| format!("`{path}` is not there."))
}

/// What stands in backquotes in a line.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file(path, text),
            file("crates/adit/src/main.rs", "fn main() {}"),
            file("docs/up.md", ""),
        ];
        check(&files).into_iter().map(|one| one.sentence).collect()
    }

    #[test]
    fn the_path_of_one_machine_is_refused() {
        let path = format!("see {}notes", PRIVATE[0]);
        assert_eq!(found("docs/a.md", &path).len(), 1);
        assert_eq!(found("docs/a.md", &format!("`{}/x.md`", PRIVATE[1])).len(), 1);
        assert!(found("docs/a.md", "the folder .github/workflows and a/work/b").is_empty());
    }

    #[test]
    fn a_path_of_the_readme_must_be_there() {
        assert_eq!(found("README.md", "`crates/gone/a.rs`"), ["`crates/gone/a.rs` is not there."]);
        assert!(
            found("README.md", "`crates/adit/`, `docs/up.md`, `target/debug/adit`, `a/b c`")
                .is_empty()
        );
    }

    #[test]
    fn a_link_must_lead_somewhere() {
        assert_eq!(found("docs/a.md", "[x](gone.md#y)"), ["the link `gone.md` leads nowhere."]);
        assert!(
            found("docs/a.md", "[x](up.md#y) [m](../crates/adit/src/main.rs) [w](https://a.b)")
                .is_empty()
        );
    }

    #[test]
    fn a_test_named_on_a_page_must_be_there() {
        assert_eq!(found("ARCHITECTURE.md", "`tests/a.rs::gone`"), ["no test `tests/a.rs::gone`."]);
        assert!(
            found("ARCHITECTURE.md", "`crates/adit/src/main.rs::main`, `Session::open`").is_empty()
        );
    }

    #[test]
    fn what_an_example_names_need_not_be_there() {
        assert!(found("CONTRIBUTING.md", "```\n- `tests/a.rs::gone`\n```\n").is_empty());
        assert_eq!(found("CONTRIBUTING.md", "```\n```\n`tests/a.rs::gone`").len(), 1);
    }

    #[test]
    fn a_lock_file_names_public_registries_only() {
        assert_eq!(
            found("web/package-lock.json", "  \"resolved\": \"https://mirror.example/a.tgz\",")
                .len(),
            1
        );
        assert!(
            found("web/package-lock.json", "  \"resolved\": \"https://registry.npmjs.org/a.tgz\",")
                .is_empty()
        );
        assert_eq!(found("Cargo.lock", "source = \"git+https://example.org/a\"").len(), 1);
    }
}
