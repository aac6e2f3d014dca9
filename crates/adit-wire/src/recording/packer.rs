//! Compression of chunk bodies, one for many recordings: a compressor's tables are too big to keep one for each session.

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::chunk::Codec;

/// The zstd level of ordinary bodies. Chosen: levels above cost more time than they save bytes.
const LEVEL: i32 = 1;

/// The zstd level of a flood. Measured on lines of random letters: 2900 MB/s against 940 at level 1, for files 1.6 times as long.
const FLOOD_LEVEL: i32 = -1;

/// Bodies from this length on belong to a flood, whose every byte takes time from the terminal. Chosen: no person makes a chunk this long.
const FLOOD_BYTES: usize = 128 * 1024;

/// Bodies below this are stored plain: a frame's own overhead eats the gain.
const WORTH_BYTES: usize = 64;

/// Compresses chunk bodies; a gateway's recorder keeps one and lends it to every writer.
pub struct Packer {
    ordinary: Compressor<'static>,
    flood: Compressor<'static>,
    scratch: Vec<u8>,
}

impl Packer {
    /// Makes the compressors' tables.
    ///
    /// # Panics
    /// When there is no memory for them.
    pub fn new() -> Self {
        let compressor =
            |level| Compressor::new(level).expect("a compressor needs nothing but memory");
        Self { ordinary: compressor(LEVEL), flood: compressor(FLOOD_LEVEL), scratch: Vec::new() }
    }

    /// Gives the body as it is stored: compressed where that is shorter.
    pub(super) fn pack<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        let compressor = match raw.len() {
            0..WORTH_BYTES => return (Codec::Plain, raw),
            WORTH_BYTES..FLOOD_BYTES => &mut self.ordinary,
            _ => &mut self.flood,
        };
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        match compressor.compress_to_buffer(raw, &mut self.scratch) {
            Ok(_) if self.scratch.len() < raw.len() => (Codec::Zstd, &self.scratch),
            _ => (Codec::Plain, raw),
        }
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens chunk bodies.
pub(super) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    /// Makes the decompressor.
    pub(super) fn new() -> Self {
        Self(Decompressor::new().expect("a decompressor needs nothing but memory"))
    }

    /// Gives the raw body of exactly `raw_bytes`, a length that the caller has checked against the cap.
    pub(super) fn unpack(
        &mut self,
        codec: Codec,
        stored: &[u8],
        raw_bytes: usize,
    ) -> Option<Bytes> {
        let raw = match codec {
            Codec::Plain => Bytes::copy_from_slice(stored),
            Codec::Zstd => self.0.decompress(stored, raw_bytes).ok()?.into(),
        };
        (raw.len() == raw_bytes).then_some(raw)
    }
}
