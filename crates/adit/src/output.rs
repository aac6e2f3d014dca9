//! What the commands print: tables for people, JSON for scripts, and never a byte that a terminal would obey.
//!
//! Names, sentences and labels come from servers and machines, so everything goes through [`escape()`] first (JSON through
//! [`Escaping`]). A reader who closed the pipe ends the command quietly.

mod escape;
mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

pub use adit_wire::audit::for_terminal as escape;
pub use escape::Escaping;
pub use table::{Cell, Table, Tone};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tables and sentences.
    Person,
    /// One JSON document, or one a line where a command follows something.
    Json,
}

/// Standard output with what is known of who reads it.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    form: Form,
    terminal: bool,
    colours: bool,
}

impl Output {
    /// Looks at standard output and at `NO_COLOR`.
    pub fn of_process(form: Form) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { form, terminal, colours: terminal && !refused && !dumb }
    }

    /// Makes one that writes as into a file.
    #[cfg(test)]
    pub fn plain(form: Form) -> Self {
        Self { form, terminal: false, colours: false }
    }

    /// Tells whether scripts read it.
    pub fn is_json(self) -> bool {
        self.form == Form::Json
    }

    /// Tells whether a person at a terminal reads it.
    pub fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Tells whether colours are wanted.
    pub fn has_colours(self) -> bool {
        self.colours
    }

    /// Prints one line; what a terminal would obey is escaped.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn line(self, text: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", escape(text))
    }

    /// Prints a value as one line of JSON that a terminal can show.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn json(self, value: &impl Serialize) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", to_json(value)?)
    }

    /// Prints a list: `{"items": […]}` for scripts, a table for people, or what to do next where it is empty.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn list(self, items: &[Value], table: &Table, when_empty: &str) -> io::Result<()> {
        if self.is_json() {
            return self.json(&serde_json::json!({ "items": items }));
        }
        if table.is_empty() {
            return self.line(when_empty);
        }
        write!(io::stdout().lock(), "{}", table.render(self))
    }

    /// Prints names and values below each other, or the value itself for scripts.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn facts(self, value: &Value, facts: &[(&str, String)]) -> io::Result<()> {
        if self.is_json() {
            return self.json(value);
        }
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut out = io::stdout().lock();
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(out, "{name:width$}  {}", escape(value))?;
        }
        Ok(())
    }

    /// Says that something was done: the answer for scripts, a sentence for people.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn done(self, value: &Value, sentence: &str) -> io::Result<()> {
        if self.is_json() { self.json(value) } else { self.line(sentence) }
    }
}

/// Writes a value as JSON without a character that a terminal obeys.
///
/// # Errors
/// The value has a map whose keys are no strings.
pub fn to_json(value: &impl Serialize) -> io::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Escaping))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
