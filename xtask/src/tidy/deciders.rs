//! Who may decide: the policy function, and nobody beside it.
//!
//! A right is decided in `crates/adit-domain/src/policy.rs`. Whoever reads roles, grants or scopes by itself to find out whether somebody
//! may do something is a second policy; this looks for the marks of one in code that ships.

use super::source::{Source, is_test_file};
use super::{File, Violation};
use anyhow::Result;

/// Where decisions are made, and where the rows are read that they rest on.
const HOME: &[&str] = &[
    "crates/adit-domain/src/policy",
    "crates/adit-domain/src/role.rs",
    "crates/adit-store/src/",
    // Thinks about grants that would be there after a change, and asks the policy function about them.
    "crates/adit-core/src/what_ends.rs",
    // Writes in words which grants a permit rests on.
    "crates/adit-core/src/grant.rs",
    "crates/adit-http/src/api/sign_in.rs",
];

/// The marks of a second policy.
const MARKS: &[(&str, &str)] = &[
    ("facts.grants", "ask `policy::authorize` or `policy::allowed`, which read the grants."),
    ("facts.active", "ask `policy::authorize`, which reads it."),
    ("circumstances.limit", "ask `policy::authorize`, which holds scopes against what is wanted."),
    ("role == \"", "a role's name decides nothing: ask for a capability."),
    ("BuiltInRole::Admin =>", "a role's name decides nothing: ask for a capability."),
];

/// Checks one file.
///
/// # Errors
/// The file is not Rust although its name says so.
pub fn check(file: &File) -> Result<Vec<Violation>> {
    let ships = file.path.starts_with("crates/") && file.has_extension(&["rs"]);
    let home = HOME.iter().any(|start| file.path.starts_with(start));
    if !ships || home || is_test_file(&file.path) || file.path.contains("/benches/") {
        return Ok(Vec::new());
    }
    let source = Source::parse(file)?;
    let lines = (1..).zip(file.text.lines());
    let shipped = lines
        .filter(|(number, line)| !source.is_test(*number) && !line.trim_start().starts_with("//"));
    Ok(shipped
        .flat_map(|(number, line)| {
            let found = MARKS.iter().filter(move |(mark, _)| line.contains(mark));
            found.map(move |(mark, why)| file.violation(number, format!("`{mark}` decides: {why}")))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&File { path: path.to_owned(), text: text.to_owned() }).unwrap().len()
    }

    #[test]
    fn a_second_policy_is_found() {
        // BEY-3
        let second =
            "fn may(facts: &Facts) -> bool { facts.grants.iter().any(|g| g.role == \"admin\") }";
        assert_eq!(found("crates/adit-http/src/a.rs", second), 2);
        assert_eq!(found("crates/adit-domain/src/policy.rs", second), 0);
        assert_eq!(found("crates/adit-http/src/a/tests.rs", second), 0);
    }
}
