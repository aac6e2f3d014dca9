//! The command of a template, split into arguments when it is read. No shell ever sees it.

use std::fmt;

use super::name::ParameterName;
use super::text::{self, BadText};

/// The longest command, in characters.
pub const MAX_COMMAND_CHARS: usize = 4096;

/// The most arguments, the program included.
pub const MAX_ARGUMENTS: usize = 128;

/// The most placeholders in one argument: with the longest values it still is an argument that Linux takes (`MAX_ARG_STRLEN`).
pub const MAX_PLACEHOLDERS: usize = 16;

/// The most placeholders in a command: with the longest values all arguments together are an eighth of what Linux takes (`ARG_MAX`, 2 MiB).
pub const MAX_ALL_PLACEHOLDERS: usize = 64;

/// A piece of an argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// What stands there.
    Literal(String),
    /// Where a value goes.
    Placeholder(ParameterName),
}

/// One argument: pieces that are written after one another. Two neighbours are never both literal.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Argument {
    parts: Vec<Part>,
}

impl Argument {
    /// Lists the pieces.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Lists the parameters that fill it.
    pub fn placeholders(&self) -> impl Iterator<Item = &ParameterName> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name),
            Part::Literal(_) => None,
        })
    }

    /// Gives what stands before the first value.
    pub fn start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Gives the text of one that no value changes.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Placeholder(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// A program and its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    program: String,
    arguments: Vec<Argument>,
}

/// Why a text is no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCommand {
    /// Nothing stands there.
    #[error("the command is empty")]
    Empty,
    /// It is too long, or has too many arguments or placeholders.
    #[error("the command has more than {0}")]
    TooLarge(&'static str),
    /// What an argument may not hold.
    #[error("the command {0}")]
    Text(BadText),
    /// A sign that only a shell understands.
    #[error(
        "at its character {at}: `{sign}` means something to a shell alone, and none runs{hint}"
    )]
    Shell {
        /// Where, counted from 1.
        at: usize,
        /// Which.
        sign: char,
        /// What to do.
        hint: &'static str,
    },
    /// A space that is not the one that parts words.
    #[error("at its character {at}: words are parted by plain spaces, and this is another one")]
    Space {
        /// Where, counted from 1.
        at: usize,
    },
    /// A variable of the environment before the program.
    #[error("a command begins with its program, and sets no variable")]
    Variable,
    /// A quote without its end, or a backslash at the end.
    #[error("at its character {at}: the quote that begins here does not end")]
    Unclosed {
        /// Where, counted from 1.
        at: usize,
    },
    /// A brace that is no placeholder.
    #[error(
        "at its character {at}: a brace stands only around the name of a parameter, `{{path}}`"
    )]
    Brace {
        /// Where, counted from 1.
        at: usize,
    },
    /// `..`.
    #[error("`..` may not stand in a command")]
    Dots,
    /// The program is a value, or partly one.
    #[error("the program may not be a parameter")]
    ProgramIsValue,
    /// The program is a path that depends on where it runs.
    #[error("the program is an absolute path or a bare name")]
    ProgramRelative,
    /// The program looks like an option.
    #[error("the program may not begin with `-`")]
    ProgramIsOption,
    /// A program that makes somebody else of the caller.
    #[error("`{0}` may not stand in a command: it changes who runs it")]
    Rises(String),
    /// A shell.
    #[error("`{0}` may not stand in a command: it is a shell")]
    IsShell(String),
    /// Code on a command line.
    #[error("`{0}` may not get its code from the command line")]
    Code(String),
    /// A value would choose what runs.
    #[error("a parameter would choose what `{0}` runs")]
    Chooses(String),
}

impl Command {
    /// Reads a command: words as POSIX quotes them, without any expansion, and `{name}` where a value goes.
    ///
    /// # Errors
    /// [`BadCommand`].
    pub fn parse(source: &str) -> Result<Self, BadCommand> {
        if source.chars().count() > MAX_COMMAND_CHARS {
            return Err(BadCommand::TooLarge("4096 characters"));
        }
        // A folded block of YAML ends with a line feed.
        let source = source.trim_matches([' ', '\n']);
        text::check(source).map_err(BadCommand::Text)?;
        if source.contains("..") {
            return Err(BadCommand::Dots);
        }
        let mut arguments = Splitter::new(source).split()?.into_iter();
        let first = arguments.next().ok_or(BadCommand::Empty)?;
        let program = read_program(&first)?;
        let command = Self { program, arguments: arguments.collect() };
        command.check_size()?;
        vetting::check(&command)?;
        Ok(command)
    }

    /// Gives the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Lists the arguments after the program.
    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    /// Lists every parameter that it uses, as often as it does.
    pub fn placeholders(&self) -> impl Iterator<Item = &ParameterName> {
        self.arguments.iter().flat_map(Argument::placeholders)
    }

    fn check_size(&self) -> Result<(), BadCommand> {
        if self.arguments.len() >= MAX_ARGUMENTS {
            return Err(BadCommand::TooLarge("128 arguments"));
        }
        if self.arguments.iter().any(|one| one.placeholders().count() > MAX_PLACEHOLDERS) {
            return Err(BadCommand::TooLarge("16 parameters in one argument"));
        }
        if self.placeholders().count() > MAX_ALL_PLACEHOLDERS {
            return Err(BadCommand::TooLarge("64 places for parameters"));
        }
        Ok(())
    }
}

fn read_program(first: &Argument) -> Result<String, BadCommand> {
    let program = first.literal().ok_or(BadCommand::ProgramIsValue)?;
    if program.is_empty() {
        return Err(BadCommand::Empty);
    }
    if program.contains('=') {
        return Err(BadCommand::Variable);
    }
    if program.starts_with('-') {
        return Err(BadCommand::ProgramIsOption);
    }
    if program.contains('/') && program.parse::<super::path::AbsolutePath>().is_err() {
        return Err(BadCommand::ProgramRelative);
    }
    Ok(program.to_owned())
}

/// How a character is quoted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Splits a command; a word under way is `Some`, so that `''` is an argument.
struct Splitter<'a> {
    rest: std::iter::Peekable<std::iter::Enumerate<std::str::Chars<'a>>>,
    word: Option<Argument>,
    words: Vec<Argument>,
}

impl<'a> Splitter<'a> {
    fn new(source: &'a str) -> Self {
        Self { rest: source.chars().enumerate().peekable(), word: None, words: Vec::new() }
    }

    fn split(mut self) -> Result<Vec<Argument>, BadCommand> {
        while let Some((at, c)) = self.rest.next() {
            match c {
                ' ' => self.words.extend(self.word.take()),
                '\'' => self.quoted(at, Quote::Single)?,
                '"' => self.quoted(at, Quote::Double)?,
                '\\' => self.escaped(at)?,
                c => self.character(at, c, Quote::None)?,
            }
        }
        self.words.extend(self.word.take());
        Ok(self.words)
    }

    fn quoted(&mut self, from: usize, quote: Quote) -> Result<(), BadCommand> {
        self.word.get_or_insert_default();
        while let Some((at, c)) = self.rest.next() {
            match (quote, c) {
                (Quote::Single, '\'') | (Quote::Double, '"') => return Ok(()),
                (Quote::Double, '\\') => {
                    match self.rest.next_if(|(_, c)| matches!(c, '"' | '\\')) {
                        Some((_, c)) => self.push(c),
                        None => self.push('\\'),
                    }
                }
                _ => self.character(at, c, quote)?,
            }
        }
        Err(BadCommand::Unclosed { at: from + 1 })
    }

    fn escaped(&mut self, at: usize) -> Result<(), BadCommand> {
        let (_, c) = self.rest.next().ok_or(BadCommand::Unclosed { at: at + 1 })?;
        if c == '{' {
            return Err(BadCommand::Brace { at: at + 2 });
        }
        self.character(at, c, Quote::Single)
    }

    fn character(&mut self, at: usize, c: char, quote: Quote) -> Result<(), BadCommand> {
        match c {
            '{' => return self.placeholder(at),
            '}' => return Err(BadCommand::Brace { at: at + 1 }),
            c if c.is_whitespace() && c != ' ' => return Err(BadCommand::Space { at: at + 1 }),
            _ => {}
        }
        let starts = self.word.is_none();
        match shell_sign(c, quote, starts) {
            Some(hint) => Err(BadCommand::Shell { at: at + 1, sign: c, hint }),
            None => {
                self.push(c);
                Ok(())
            }
        }
    }

    fn placeholder(&mut self, at: usize) -> Result<(), BadCommand> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some((_, '}')) => break,
                Some((_, c)) => name.push(c),
                None => return Err(BadCommand::Brace { at: at + 1 }),
            }
        }
        let name = name.parse().map_err(|_| BadCommand::Brace { at: at + 1 })?;
        self.word.get_or_insert_default().parts.push(Part::Placeholder(name));
        Ok(())
    }

    fn push(&mut self, c: char) {
        let word = self.word.get_or_insert_default();
        match word.parts.last_mut() {
            Some(Part::Literal(text)) => text.push(c),
            _ => word.parts.push(Part::Literal(c.into())),
        }
    }
}

/// Tells whether a shell would make something of a sign, with what to do about it.
///
/// `$` and a backquote are refused in quotes as well: whoever writes them expects an expansion, and there is none.
fn shell_sign(c: char, quote: Quote, starts: bool) -> Option<&'static str> {
    match c {
        '$' | '`' => Some(""),
        '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | ']' | '!'
            if quote == Quote::None =>
        {
            Some("; quote it if the program is to see it")
        }
        '~' | '#' if quote == Quote::None && starts => {
            Some("; quote it if the program is to see it")
        }
        _ => None,
    }
}

mod vetting;

#[cfg(test)]
mod tests;
