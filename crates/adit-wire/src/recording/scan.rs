//! Looks through a whole recording once: what is there, what is broken, and where a writer can go on.

use super::chunk::{Entry, Kind};
use super::item::What;
use super::reader::{Broken, Content, Reader, Step};
use super::seal::Seal;
use super::writer::{Tail, Terminal};
use super::{Ending, Header, Tombstone, Totals};
use crate::digest::Digest;

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scanned {
    /// The header, unless it is broken.
    pub header: Option<Header>,
    /// Every whole chunk, in order: the index for seeking.
    pub entries: Vec<Entry>,
    /// Every stretch that can't be trusted, in order.
    pub broken: Vec<Broken>,
    /// The end, where it was written.
    pub ending: Option<Ending>,
    /// The seal, where it was written, and where it starts.
    pub seal: Option<(u64, Seal)>,
    /// What stays of the recording, where it was deleted.
    pub tombstone: Option<Tombstone>,
    /// What the whole chunks amount to.
    pub totals: Totals,
    /// The time of the last item.
    pub length_ms: u64,
    /// The length of the file.
    pub bytes: u64,
    terminal: Option<Terminal>,
}

/// Scans a recording in pieces.
#[derive(Default)]
pub struct Scan {
    reader: Reader,
    found: Scanned,
}

impl Scan {
    /// Starts at the first byte of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.found.bytes += bytes.len() as u64;
        self.reader.push(bytes);
        self.drain();
    }

    /// Says that the file has no more bytes, and gives what was found.
    pub fn finish(mut self) -> Scanned {
        self.reader.close();
        self.drain();
        self.found
    }

    fn drain(&mut self) {
        while let Some(step) = self.reader.next() {
            match step {
                Step::Chunk(entry, content) => self.found.add(entry, content),
                Step::Seal { offset, seal } => self.found.seal = Some((offset, seal)),
                Step::Broken(broken) => self.found.broken.push(broken),
            }
        }
    }
}

/// Scans bytes that are all in memory.
pub fn recover(bytes: &[u8]) -> Scanned {
    let mut scan = Scan::new();
    scan.push(bytes);
    scan.finish()
}

impl Scanned {
    /// Gives where a writer goes on after a crash: cut the file to [`Tail::bytes`], then [`super::Writer::resume`]. Broken stretches before it stay
    /// in the file and stay broken. Nothing when there is no header to go on from, or when the recording has ended.
    pub fn tail(&self) -> Option<Tail> {
        let header = self.header.as_ref()?;
        let first = self.entries.first().filter(|entry| entry.kind == Kind::Header)?;
        let last = self.entries.last().filter(|entry| entry.kind != Kind::End)?;
        Some(Tail {
            session: header.session,
            mode: header.mode,
            bytes: last.offset + last.bytes,
            sequence: last.sequence + 1,
            hash: last.hash,
            tag: super::chunk::tag(first.hash),
            position: self.totals.output_bytes,
            at_ms: self.length_ms,
            terminal: self.terminal?,
            input_bytes: self.totals.input_bytes,
            gaps: self.totals.gaps,
        })
    }

    /// Gives the hash of the last whole chunk: of the end chunk where there is one.
    pub fn last_hash(&self) -> Option<Digest> {
        self.entries.last().map(|entry| entry.hash)
    }

    /// Gives where to start reading to see what happened at `at_ms`: the last chunk that starts no later.
    pub fn seek(&self, at_ms: u64) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.at_ms <= at_ms);
        self.entries.get(after.saturating_sub(1))
    }

    fn add(&mut self, entry: Entry, content: Content) {
        self.totals.chunks += 1;
        self.totals.output_bytes = entry.position;
        self.length_ms = self.length_ms.max(entry.at_ms);
        match content {
            Content::Header(header) => {
                self.terminal = Some(Terminal { cols: header.cols, rows: header.rows, echo: true });
                self.header = Some(header);
            }
            Content::Items(items) => {
                for item in items {
                    self.length_ms = item.at_ms;
                    self.count(&item.what);
                }
            }
            Content::End(ending) => {
                self.totals.chunks -= 1;
                self.ending = Some(ending);
            }
            Content::Tombstone(stone) => self.tombstone = Some(stone),
        }
        self.entries.push(entry);
    }

    fn count(&mut self, what: &What) {
        self.totals.output_bytes += what.output_bytes();
        match what {
            What::Input { bytes, .. } => self.totals.input_bytes += bytes.len() as u64,
            What::Gap { .. } => self.totals.gaps += 1,
            _ => {}
        }
        if let Some(terminal) = &mut self.terminal {
            match *what {
                What::Resize { cols, rows } => (terminal.cols, terminal.rows) = (cols, rows),
                What::Echo { on } => terminal.echo = on,
                _ => {}
            }
        }
    }
}
