//! What the inside of the sandbox tells its outside, through a pipe that no program of the job inherits.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use adit_wire::sandbox::{LayerState, Refusal, Resource};
use serde::{Deserialize, Serialize};

/// One line. Both ends are this program, so its form is nobody else's concern.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The job does not run.
    Refused(Refusal),
    /// The layers that the inside raised; the program is executed next.
    Held(Vec<LayerState>),
    /// The program was executed.
    Started,
    /// The job's first process ended.
    Ended { status: Status, scratch: Option<Resource> },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Exited(i32),
    Signalled(i32),
}

/// The inside's end.
#[derive(Debug)]
pub(crate) struct Words(OwnedFd);

impl Words {
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self(pipe)
    }

    pub(crate) fn into_pipe(self) -> OwnedFd {
        self.0
    }

    /// Says it. The outside is gone when that fails, and then everything here is about to be.
    pub(crate) fn say(&self, word: &Word) {
        if let Ok(mut line) = serde_json::to_vec(word)
            && let Ok(pipe) = self.0.as_fd().try_clone_to_owned()
        {
            line.push(b'\n');
            let _ = std::fs::File::from(pipe).write_all(&line);
        }
    }
}

/// The outside's end: bytes as they come, words one by one.
#[derive(Debug)]
pub(crate) struct Hearing {
    pipe: OwnedFd,
    heard: Vec<u8>,
}

impl Hearing {
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self { pipe, heard: Vec::new() }
    }

    /// Readable when there is something to take in.
    pub(crate) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes in what there is; `false` when the inside is dead or says too much without an end.
    pub(crate) fn take_in(&mut self) -> bool {
        let mut bytes = [0; WORD_BYTES_MAX];
        match rustix::io::read(&self.pipe, &mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.heard.extend(bytes.iter().take(count));
                self.heard.len() <= 2 * WORD_BYTES_MAX
            }
            Err(error) => error == rustix::io::Errno::INTR,
        }
    }

    /// The next whole word; one that is none says that the inside is out of its mind, and ends it.
    pub(crate) fn next(&mut self) -> Option<serde_json::Result<Word>> {
        let end = self.heard.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.heard.drain(..=end).collect();
        Some(serde_json::from_slice(&line))
    }
}

/// All layers that the inside raises, each with a reason, are half of it.
const WORD_BYTES_MAX: usize = 8 * 1024;
