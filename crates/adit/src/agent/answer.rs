//! The terminal of the person at a machine, and the one question that is asked there.
//!
//! It is the terminal itself and not standard input: what a pipe holds is nobody's answer.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use adit_domain::support::Answer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{QueueSelector, tcflush};

/// The longest line that is read: far more than a code or an answer.
const LINE_BYTES: usize = 1024;

/// The person's terminal.
pub struct Person(File);

impl Person {
    /// Opens the terminal that this process runs in.
    ///
    /// # Errors
    /// When it runs in none: there is nobody to ask.
    pub fn open() -> io::Result<Self> {
        File::options().read(true).write(true).open("/dev/tty").map(Self)
    }

    /// Opens it once more, for whoever asks beside.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn again(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Shows a line.
    pub fn say(&mut self, line: &str) {
        // A terminal that was closed shows nothing; its end ends the agent.
        let _ = writeln!(self.0, "{line}");
    }

    /// Asks for a line, for as long as it takes.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        write!(self.0, "{question} ")?;
        self.line(None)?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// Asks for consent. What was typed before the question is no answer, and no answer in time is silence.
    // DESK-20
    pub fn agree(&mut self, question: &str, within: Duration) -> Answer {
        if tcflush(&self.0, QueueSelector::IFlush).is_err()
            || write!(self.0, "{question} ").is_err()
        {
            return Answer::Silence;
        }
        match self.line(Some(Instant::now() + within)) {
            Ok(Some(line)) if matches!(&*line.trim().to_lowercase(), "y" | "yes") => Answer::Yes,
            Ok(Some(_)) => Answer::No,
            Ok(None) | Err(_) => Answer::Silence,
        }
    }

    /// Reads a line; none when its end does not come in time.
    fn line(&mut self, until: Option<Instant>) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if !self.is_ready(until)? {
                return Ok(None);
            }
            let mut byte = [0; 1];
            if self.0.read(&mut byte)? == 0 || line.len() == LINE_BYTES {
                return Ok(None);
            }
            line.push(byte[0]);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    fn is_ready(&self, until: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut ready, limit.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
