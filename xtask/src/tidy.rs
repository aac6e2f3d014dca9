//! `cargo xtask tidy`: the rules of the house that a machine can check, one file for each.

mod ceilings;
mod deciders;
mod layers;
mod promises;
mod references;
mod source;
mod twins;
mod words;

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// A place that breaks a rule.
#[derive(Debug, PartialEq)]
struct Violation {
    path: String,
    /// Counted from one; none where the whole file is meant.
    line: Option<usize>,
    sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.sentence),
            None => write!(f, "{}: {}", self.path, self.sentence),
        }
    }
}

/// A text file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn violation(&self, line: usize, sentence: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line: Some(line), sentence: sentence.into() }
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| extensions.iter().any(|extension| found == *extension))
    }
}

/// Prints every violation and fails if there is one.
pub fn run(workspace: &Workspace) -> Result<()> {
    let violations = violations(workspace)?;
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        bail!("the rules of CONTRIBUTING.md do not hold at {} places", violations.len());
    }
    println!("The rules of CONTRIBUTING.md hold.");
    Ok(())
}

fn violations(workspace: &Workspace) -> Result<Vec<Violation>> {
    let files = files(&workspace.root)?;
    let exceptions = std::fs::read_to_string(workspace.root.join(ceilings::EXCEPTIONS))
        .with_context(|| format!("reading {}", ceilings::EXCEPTIONS))?;
    let mut violations = layers::check(&workspace.metadata);
    violations.extend(ceilings::check(&files, &exceptions)?);
    violations.extend(promises::check(&files));
    violations.extend(references::check(&files));
    violations.extend(twins::check(&files));
    for file in &files {
        violations.extend(words::check(file)?);
        violations.extend(deciders::check(file)?);
    }
    Ok(violations)
}

/// The text files that git follows, and the new ones that it would.
fn files(root: &Path) -> Result<Vec<File>> {
    let list = command::output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root),
    )?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0').filter(|path| root.join(path).is_file()) {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_keeps_its_rules() {
        let workspace = Workspace::find().expect("the repository");
        let found = violations(&workspace).expect("checked");
        assert!(
            found.is_empty(),
            "{}",
            found.iter().map(|one| format!("{one}\n")).collect::<String>()
        );
    }

    #[test]
    fn a_violation_says_where_it_is() {
        let file = File { path: "crates/a/src/b.rs".to_owned(), text: String::new() };
        assert_eq!(file.violation(7, "why.").to_string(), "crates/a/src/b.rs:7: why.");
    }
}
