//! Input at the gateway: keeps its order, keeps no byte.

/// What to do with a frame of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// Send it on to the machine.
    Forward,
    /// Drop it: it was on its way when the viewer was told to go back, or it is here already.
    Ignore,
    /// Something before it is missing: tell the viewer to go back.
    Rewind {
        /// The position that is expected.
        position: u64,
    },
}

/// The gateway's place between one writer and the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputRelay {
    expected: u64,
    /// Where the last frame that was let through began.
    before: u64,
    /// The viewer was told to go back and has not yet done so.
    rewinding: bool,
}

impl InputRelay {
    /// Begins at the position that the machine expects of this writer.
    pub fn new(position: u64) -> Self {
        Self { expected: position, before: position, rewinding: false }
    }

    /// Gives the position of the next byte that is let through.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Decides about a frame of `len` bytes.
    pub fn admit(&mut self, position: u64, len: usize) -> Admit {
        let end = position.saturating_add(len as u64);
        if position == self.expected {
            self.before = position;
            self.expected = end;
            self.rewinding = false;
            return Admit::Forward;
        }
        if self.rewinding || end <= self.expected {
            return Admit::Ignore;
        }
        self.rewinding = true;
        Admit::Rewind { position: self.expected }
    }

    /// Takes back the last [`Admit::Forward`], as for a rate limit, and gives the position for the viewer's `InputRewind`.
    pub fn refuse(&mut self) -> u64 {
        self.expected = self.before;
        self.rewinding = true;
        self.expected
    }

    /// Goes back (or on) to where the machine says it stands; the viewer is told the same position.
    pub fn rewind(&mut self, position: u64) {
        self.expected = position;
        self.before = position;
        self.rewinding = true;
    }
}
