//! What the inside of the sandbox tells its outside, through a pipe that no program of the job inherits.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

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
