//! Asks for what nobody may see: tokens, passwords, codes.
//!
//! Where somebody types, nothing is shown of it; where a script writes, a line of standard input is read.

use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};

use adit_domain::Secret;
use rustix::fd::AsFd;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::failure::Failure;

/// The longest line that is taken, in bytes.
const MAX_LINE_BYTES: u64 = 4096;

/// Asks on standard input.
///
/// # Errors
/// It cannot be read.
pub fn secret(question: &str) -> Result<Secret<String>, Failure> {
    let stdin = std::io::stdin();
    let _quiet = if stdin.is_terminal() {
        say(question)?;
        Some(Quiet::begin(stdin.as_fd())?)
    } else {
        None
    };
    read_line(stdin.lock())
}

/// Asks on the terminal of this process, whatever its streams are; `None` without a terminal, or while it is a session's.
///
/// # Errors
/// It cannot be read.
pub fn on_terminal(question: &str) -> Result<Option<Secret<String>>, Failure> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    let is_free = tcgetattr(&terminal).is_ok_and(|t| t.local_modes.contains(LocalModes::ICANON));
    if !is_free || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    say(question)?;
    let _quiet = Quiet::begin(terminal.as_fd())?;
    read_line(std::io::BufReader::new(&terminal)).map(Some)
}

fn say(question: &str) -> Result<(), Failure> {
    let mut stderr = std::io::stderr();
    let asked = write!(stderr, "{question}").and_then(|()| stderr.flush());
    asked.map_err(Failure::file("asking on the terminal"))
}

fn read_line(from: impl BufRead) -> Result<Secret<String>, Failure> {
    let mut line = String::new();
    let read = from.take(MAX_LINE_BYTES).read_line(&mut line);
    read.map_err(Failure::file("reading what is typed"))?;
    let line = Secret::new(line);
    Ok(Secret::new(line.expose().trim_end_matches(['\n', '\r']).to_owned()))
}

/// A terminal that shows nothing of what is typed until this is dropped.
struct Quiet<'t> {
    terminal: rustix::fd::BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn begin(terminal: rustix::fd::BorrowedFd<'t>) -> Result<Self, Failure> {
        let wrong = |cause: rustix::io::Errno| Failure::file("hiding what you type")(cause.into());
        let before = tcgetattr(terminal).map_err(wrong)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &quiet).map_err(wrong)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _terminal_went_away = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
