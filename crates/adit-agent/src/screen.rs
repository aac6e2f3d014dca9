//! The screen of a session, as a model: what a viewer that joins late is shown.

use crate::ring::Ring;
use crate::shell::Size;
use tokio::time::Instant;

/// The screen's model, which follows the ring at its own pace.
pub struct Screen {
    size: Size,
    terminal: avt::Terminal,
    position: u64,
}

impl Screen {
    /// Makes an empty screen.
    ///
    /// # Panics
    /// Never: a size has at least one cell.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let terminal = avt::Terminal::new(size.cols().into(), size.rows().into())
            .expect("a size has at least one cell");
        Self { size, terminal, position: 0 }
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
        self.terminal.resize(size.cols().into(), size.rows().into());
    }

    /// Takes what is about to leave the ring.
    pub fn catch_up(&mut self, ring: &Ring, _needed: u64) {
        self.catch_up_wholly(ring);
    }

    /// Takes everything that the ring has.
    pub fn catch_up_wholly(&mut self, ring: &Ring) {
        while let Some(run) = ring.run_at(self.position, usize::MAX) {
            self.terminal.feed(String::from_utf8_lossy(run.bytes).as_ref());
            self.position = run.end();
        }
    }

    /// Bytes which, written to a terminal that was reset, give this screen.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        self.terminal.dump().into_bytes()
    }

    /// The text of each row.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.terminal.screen().visible_lines().map(avt::Line::text).collect()
    }

    /// When it may be folded up, if it is not.
    #[must_use]
    pub fn freezes_at(&self) -> Option<Instant> {
        None
    }

    /// Folds it up.
    pub fn freeze(&mut self) {}
}
