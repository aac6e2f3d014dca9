//! Files of templates: YAML that operators write, and the JSON beside it. What a template is stands in `adit_domain::template`.
//!
//! 1. [`read`] takes the text of one file. `yaml.rs` makes a tree with positions of it, and refuses what a file of templates does not need:
//!    tags, anchors, aliases, keys that stand there twice, depth.
//! 2. `file.rs` reads templates from the tree, `parameters.rs` their parameters, `limits.rs` what a job may use. Every fault has its line and column.
//! 3. [`Set`] keeps the templates of many files. A file with a fault changes nothing: its last good version stays.
//! 4. [`schema`] tells programs what parameters a template takes, and [`Values`] reads what they send.
//!
//! Nothing here opens a file. It is a crate of its own so that no parser of YAML stands in what runs on machines.

mod fields;
mod file;
mod limits;
mod parameters;
mod schema;
mod set;
mod values;
mod yaml;

use std::fmt;

use adit_domain::Template;

pub use schema::schema;
pub use set::{MAX_FILES, Set};
pub use values::Values;
pub use yaml::{MAX_DEPTH, MAX_FILE_BYTES};

/// The most templates of one file, and of one set.
pub const MAX_TEMPLATES: usize = 1000;

/// A place in a file, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// What is wrong with a file, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Fault {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Where it is.
    pub at: Position,
    /// What it is, as a sentence without a full stop.
    pub what: String,
}

impl fmt::Display for Fault {
    /// Writes it as compilers do, `files.yaml:3:5: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.at.line, self.at.column, self.what)
    }
}

/// Reads the templates of one file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; a file with a fault has no templates.
pub fn read(file: &str, text: &str) -> Result<Vec<Template>, Vec<Fault>> {
    let placed = file::read(file, text)?;
    Ok(placed.into_iter().map(|placed| placed.template).collect())
}
