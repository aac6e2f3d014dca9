//! The numbered output of a session: what was read from the shell and may still be asked for.
//!
//! Bytes have positions from the session's first one on. The ring holds `start..end`; it grows by chunks as output comes and
//! lets chunks go as they are no longer needed, so an idle session's ring is empty.

use bytes::Bytes;
use std::collections::VecDeque;

/// Which stream of the shell a byte came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The terminal, or standard output without one.
    Output,
    /// Standard error of a command without a terminal.
    Error,
}

/// The bytes `start..end` of a session's output.
#[derive(Debug, Default)]
pub struct Ring {
    chunks: VecDeque<Chunk>,
    /// Position of the first byte that is kept.
    start: u64,
    /// Position of the next byte that will be read.
    end: u64,
}

#[derive(Debug)]
struct Chunk {
    position: u64,
    kind: Kind,
    bytes: Vec<u8>,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

/// A run of output of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// Position of its first byte.
    pub position: u64,
    /// The stream it came from.
    pub kind: Kind,
    /// Never empty.
    pub bytes: &'a [u8],
}

impl Run<'_> {
    /// Position after its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    /// Copies it out of the ring.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.bytes)
    }
}

impl Ring {
    /// Position of the oldest byte that is kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Position of the next byte to come.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// How many more bytes fit.
    #[must_use]
    pub fn room(&self) -> usize {
        RING_BYTES.saturating_sub(usize::try_from(self.end - self.start).unwrap_or(usize::MAX))
    }

    /// Appends output that was read from the shell.
    pub fn push(&mut self, kind: Kind, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.chunks.back_mut() {
            Some(last) if last.kind == kind && last.bytes.len() + bytes.len() <= CHUNK_BYTES => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.chunks.push_back(Chunk { position: self.end, kind, bytes: bytes.to_vec() }),
        }
        self.end += bytes.len() as u64;
    }

    /// Finds the run that begins at a position, at most `max` bytes of it; `None` at the end and for what is gone.
    #[must_use]
    pub fn run_at(&self, position: u64, max: usize) -> Option<Run<'_>> {
        if position < self.start || position >= self.end {
            return None;
        }
        let after = self.chunks.partition_point(|chunk| chunk.position <= position);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let skipped = usize::try_from(position - chunk.position).ok()?;
        let rest = chunk.bytes.get(skipped..)?;
        let bytes = &rest[..rest.len().min(max)];
        Some(Run { position, kind: chunk.kind, bytes })
    }

    /// Lets go of everything before a position; memory follows chunk by chunk.
    pub fn forget_before(&mut self, position: u64) {
        self.start = self.start.max(position.min(self.end));
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= self.start) {
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        chunks + self.chunks.capacity() * size_of::<Chunk>()
    }
}

/// N2 of the promises: what the agent keeps until the gateway has it. Full, it stops reading the terminal.
pub const RING_BYTES: usize = 8 << 20;
/// One frame's worth; doubling it would hold up to twice as much memory for a byte that is still needed.
const CHUNK_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, Kind, RING_BYTES, Ring};
    use proptest::prelude::*;

    fn read(ring: &Ring, mut position: u64, max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(run) = ring.run_at(position, max) {
            bytes.extend_from_slice(run.bytes);
            position = run.end();
        }
        bytes
    }

    // TERM-5, N2
    #[test]
    fn what_is_kept_is_read_again_from_any_position() {
        let mut ring = Ring::default();
        ring.push(Kind::Output, b"hello ");
        ring.push(Kind::Output, b"world");
        assert_eq!(read(&ring, 4, 3), b"o world");
    }

    #[test]
    fn kinds_do_not_share_a_run() {
        let mut ring = Ring::default();
        ring.push(Kind::Output, b"out");
        ring.push(Kind::Error, b"err");
        let run = ring.run_at(1, 100).expect("kept");
        assert_eq!((run.kind, run.bytes), (Kind::Output, &b"ut"[..]));
        let run = ring.run_at(run.end(), 100).expect("kept");
        assert_eq!((run.kind, run.bytes), (Kind::Error, &b"err"[..]));
    }

    #[test]
    fn what_is_forgotten_can_not_be_read() {
        let mut ring = Ring::default();
        ring.push(Kind::Output, b"0123456789");
        ring.forget_before(4);
        assert_eq!(ring.run_at(3, 100), None);
        assert_eq!(read(&ring, 4, 100), b"456789");
    }

    // SES-33
    #[test]
    fn an_idle_ring_holds_no_memory() {
        let mut ring = Ring::default();
        for _ in 0..100 {
            ring.push(Kind::Output, &[b'x'; CHUNK_BYTES]);
        }
        ring.forget_before(ring.end());
        assert_eq!(ring.memory_bytes(), 0);
    }

    // SES-33, RES-11
    #[test]
    fn a_full_ring_has_no_room() {
        let mut ring = Ring::default();
        while ring.room() > 0 {
            let piece = ring.room().min(5000);
            ring.push(Kind::Output, &vec![b'x'; piece]);
        }
        assert_eq!(ring.end(), RING_BYTES as u64);
        ring.forget_before(10);
        assert_eq!(ring.room(), 10);
    }

    proptest! {
        // N2
        #[test]
        fn any_pushes_and_forgets_keep_the_rest_in_order(
            pieces in proptest::collection::vec((any::<bool>(), 0_usize..70_000), 1..20), cut in any::<u64>(), max in 1_usize..40_000,
        ) {
            let mut ring = Ring::default();
            let mut whole = Vec::new();
            for (number, (error, len)) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|at| (number * 31 + at) as u8).collect();
                ring.push(if error { Kind::Error } else { Kind::Output }, &bytes);
                whole.extend_from_slice(&bytes);
            }
            let cut = cut % (whole.len() as u64 + 1);
            ring.forget_before(cut);
            prop_assert_eq!(read(&ring, cut, max), &whole[cut as usize..]);
        }
    }
}
