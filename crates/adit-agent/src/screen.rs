//! The screen of a session, as a model: what a viewer that joins late is shown.
//!
//! The model follows the ring at its own pace: on the way of a key nothing is drawn. It catches up when somebody wants to see
//! it, and before bytes leave the ring. An idle one is folded up.

mod dump;
mod glyphs;
mod model;
mod modes;
mod scanner;
mod skip;
mod style;

use crate::ring::Ring;
use crate::shell::Size;
use model::Model;
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::Instant;

/// The screen's model.
pub struct Screen {
    size: Size,
    model: Box<Model>,
    /// The next byte that it will take.
    position: u64,
    freezes_at: Option<Instant>,
}

impl Screen {
    /// Makes an empty screen.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let mut model = Box::new(Model::new(size));
        model.fold();
        Self { size, model, position: 0, freezes_at: None }
    }

    /// Its size in cells.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The position of the next byte that it will take.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes on a new size.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.model.resize(size);
        self.touch();
    }

    /// Takes what the ring has, if it is much or about to leave the ring. Says whether it did.
    pub fn follow(&mut self, ring: &Ring, needed: u64) -> bool {
        let lag = if self.freezes_at.is_some() { LAG_BYTES_BUSY } else { LAG_BYTES };
        let leaving = needed.saturating_sub(self.position) > lag;
        if leaving || ring.end() - self.position > LAG_BYTES_MAX {
            self.catch_up(ring);
            return true;
        }
        false
    }

    /// Leaves out everything before `position`, which is not drawn.
    pub fn pass(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Takes everything that the ring has.
    pub fn catch_up(&mut self, ring: &Ring) {
        let first = ring.run_at(self.position, usize::MAX);
        let Some(first) = first.filter(|run| run.end() < ring.end()) else {
            return first.map_or((), |run| self.feed(run.bytes));
        };
        // In one piece, because a flood is drawn once for each piece.
        WHOLE.with_borrow_mut(|whole| {
            whole.clear();
            let mut next = Some(first);
            while let Some(run) = next {
                whole.extend_from_slice(run.bytes);
                next = ring.run_at(run.end(), usize::MAX);
            }
            self.feed(whole);
            whole.shrink_to(LAG_BYTES_MAX as usize);
        });
    }

    /// Takes the next bytes of output.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.model.feed(bytes);
        self.position += bytes.len() as u64;
        self.touch();
    }

    /// Bytes which, written to a terminal that was reset and resized, give this screen and its modes.
    #[must_use]
    pub fn dump(&mut self) -> Vec<u8> {
        self.touch();
        self.model.dump()
    }

    /// The text of each row.
    #[must_use]
    pub fn lines(&mut self) -> Vec<String> {
        self.touch();
        self.model.lines()
    }

    /// When it may be folded up, if it is not.
    #[must_use]
    pub fn freezes_at(&self) -> Option<Instant> {
        self.freezes_at
    }

    /// Folds it up.
    pub fn freeze(&mut self) {
        self.freezes_at = None;
        self.model.fold();
    }

    fn touch(&mut self) {
        self.freezes_at = Some(Instant::now() + QUIET);
    }
}

thread_local! {
    /// Where the runs of a ring are put together: one for each thread and not for each session.
    static WHOLE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far the model may stay behind what leaves the ring: some keys' worth of echo, kept in the ring meanwhile.
const LAG_BYTES: u64 = 8 << 10;
/// The same while much is written: of a longer piece of a flood, more is scrolled away before it was drawn.
const LAG_BYTES_BUSY: u64 = 64 << 10;
/// How far it may stay behind at all: so much is drawn in a millisecond or two.
const LAG_BYTES_MAX: u64 = 256 << 10;
/// After so long without output a screen is folded up; unfolding it takes a tenth of a millisecond.
const QUIET: Duration = Duration::from_secs(3);
