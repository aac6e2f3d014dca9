//! Writes a recording: takes what happens, gives the bytes to append.

use std::collections::VecDeque;
use std::fmt;

use adit_domain::id::SessionId;
use aws_lc_rs::signature::Ed25519KeyPair;

use super::chunk::{self, Codec, Head, Kind, MAX_RAW_BYTES};
use super::item::{self, Content, MAX_CONTENT_BYTES, MAX_TEXT_BYTES};
use super::packer::Packer;
use super::seal::{Seal, Sealed};
use super::{End, Ending, Header, Mode, Tombstone, Totals};
use crate::digest::Digest;

/// How much of a command the header keeps. Chosen: JSON may write a byte as six, and that must fit into a chunk.
const MAX_COMMAND_BYTES: usize = 32 * 1024;

/// Where a recording stands after its last whole chunk: all that a writer needs to go on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The session that is recorded.
    pub session: SessionId,
    /// What is recorded.
    pub mode: Mode,
    /// The length of the file.
    pub bytes: u64,
    /// The number of the next chunk.
    pub sequence: u64,
    /// The hash of the last chunk.
    pub hash: Digest,
    /// What the chunks after the header carry.
    pub tag: [u8; 8],
    /// The position of the next byte of output; everything before it is in the file or marked as a gap.
    pub position: u64,
    /// The time of the last item.
    pub at_ms: u64,
    /// The terminal, as the items left it.
    pub terminal: Terminal,
    /// Bytes of input that are recorded.
    pub input_bytes: u64,
    /// Gaps in the output.
    pub gaps: u64,
}

/// What of the terminal decides how later items are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Its width.
    pub cols: u16,
    /// Its height.
    pub rows: u16,
    /// Whether it echoes what is typed.
    pub echo: bool,
}

/// What became of output that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Bytes at the front that were recorded before and left out.
    pub repeated: u64,
    /// Bytes before it that were never offered; a gap marks them.
    pub missing: u64,
}

/// Writes one recording.
///
/// Whatever is offered waits in memory until [`Writer::cut`], so the caller cuts when [`Writer::pending_bytes`] reaches its bound. Times that run
/// backwards are taken as standing still.
pub struct Writer {
    tail: Tail,
    position: u64,
    at_ms: u64,
    terminal: Terminal,
    ready: VecDeque<Body>,
    open: Body,
    pending_bytes: usize,
}

/// The items of a chunk to be.
struct Body {
    position: u64,
    at_ms: u64,
    last_ms: u64,
    until: u64,
    before: Terminal,
    after: Terminal,
    input_bytes: u64,
    gaps: u64,
    raw: Vec<u8>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("tail", &self.tail)
            .field("position", &self.position)
            .field("pending_bytes", &self.pending_bytes)
            .finish_non_exhaustive()
    }
}

impl Body {
    fn new(position: u64, at_ms: u64, terminal: Terminal) -> Self {
        Self {
            position,
            at_ms,
            last_ms: at_ms,
            until: position,
            before: terminal,
            after: terminal,
            input_bytes: 0,
            gaps: 0,
            raw: Vec::new(),
        }
    }
}

impl Writer {
    /// Starts a recording; appends the header chunk.
    pub fn begin(header: &Header, packer: &mut Packer, out: &mut Vec<u8>) -> Self {
        let terminal = Terminal { cols: header.cols, rows: header.rows, echo: true };
        let mut tail = Tail {
            session: header.session,
            mode: header.mode,
            bytes: 0,
            sequence: 0,
            hash: Digest::ZERO,
            tag: [0; 8],
            position: 0,
            at_ms: 0,
            terminal,
            input_bytes: 0,
            gaps: 0,
        };
        append(&mut tail, Kind::Header, &json(&fitting(header)), packer, out);
        tail.tag = chunk::tag(tail.hash);
        Self::resume(tail)
    }

    /// Goes on after what [`super::recover`] found; the file has been cut to [`Tail::bytes`].
    pub fn resume(tail: Tail) -> Self {
        Self {
            position: tail.position,
            at_ms: tail.at_ms,
            terminal: tail.terminal,
            ready: VecDeque::new(),
            open: Body::new(tail.position, tail.at_ms, tail.terminal),
            pending_bytes: 0,
            tail,
        }
    }

    /// Takes output that starts at `position`: what is there already is left out, what is missing before it becomes a gap.
    pub fn output(&mut self, at_ms: u64, position: u64, bytes: &[u8]) -> Taken {
        self.shown(at_ms, position, bytes, Content::Output)
    }

    /// Takes a command's stderr, which shares its positions with stdout.
    pub fn stderr(&mut self, at_ms: u64, position: u64, bytes: &[u8]) -> Taken {
        self.shown(at_ms, position, bytes, Content::Stderr)
    }

    /// Takes what somebody typed; keeps it only where input is recorded and the terminal echoes.
    pub fn input(&mut self, at_ms: u64, who: &str, bytes: &[u8]) {
        if self.tail.mode != Mode::Input || !self.terminal.echo {
            return;
        }
        let who = cut_text(who);
        for piece in bytes.chunks(MAX_CONTENT_BYTES - 2 * MAX_TEXT_BYTES) {
            self.push(at_ms, &Content::Input { who, bytes: piece });
            self.open.input_bytes += piece.len() as u64;
        }
    }

    /// Takes a new size of the terminal.
    pub fn resize(&mut self, at_ms: u64, cols: u16, rows: u16) {
        self.terminal.cols = cols;
        self.terminal.rows = rows;
        self.push(at_ms, &Content::Resize { cols, rows });
    }

    /// Takes a remark.
    pub fn mark(&mut self, at_ms: u64, text: &str) {
        self.push(at_ms, &Content::Mark(cut_text(text)));
    }

    /// Takes a change of the terminal's echo.
    pub fn echo(&mut self, at_ms: u64, on: bool) {
        if self.terminal.echo != on {
            self.terminal.echo = on;
            self.push(at_ms, &Content::Echo { on });
        }
    }

    /// Marks the next `bytes` of output as missing.
    pub fn gap(&mut self, at_ms: u64, bytes: u64, reason: &str) {
        self.push(at_ms, &Content::Gap { bytes, reason: cut_text(reason) });
        self.position = self.position.saturating_add(bytes);
        self.open.until = self.position;
        self.open.gaps += 1;
    }

    /// Gives the position of the next byte of output.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Gives how many bytes wait to be cut.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Gives where the recording stands after the last cut.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Appends everything that waits, as whole chunks. What [`Writer::tail`] says then is durable once these bytes are.
    pub fn cut(&mut self, packer: &mut Packer, out: &mut Vec<u8>) {
        self.turn();
        while let Some(body) = self.ready.pop_front() {
            self.tail.position = body.position;
            self.tail.at_ms = body.at_ms;
            append(&mut self.tail, Kind::Items, &body.raw, packer, out);
            self.tail.position = body.until;
            self.tail.at_ms = body.last_ms;
            self.tail.terminal = body.after;
            self.tail.input_bytes += body.input_bytes;
            self.tail.gaps += body.gaps;
        }
        self.pending_bytes = 0;
    }

    /// Gives up what was cut after `durable`, because it could not be written: a gap stands in for it, and what waits goes on after it. The caller
    /// cuts the file to [`Tail::bytes`] of `durable` before it appends again.
    pub fn lose(&mut self, durable: Tail, reason: &str) {
        self.turn();
        let (until, at_ms, terminal) = match self.ready.front() {
            Some(body) => (body.position, body.at_ms, body.before),
            None => (self.position, self.at_ms, self.terminal),
        };
        let mut lost = Self::resume(durable);
        lost.gap(at_ms, until.saturating_sub(lost.position), reason);
        if (lost.terminal.cols, lost.terminal.rows) != (terminal.cols, terminal.rows) {
            lost.resize(at_ms, terminal.cols, terminal.rows);
        }
        lost.echo(at_ms, terminal.echo);
        lost.turn();
        self.pending_bytes += lost.pending_bytes;
        lost.ready.append(&mut self.ready);
        self.ready = lost.ready;
        self.tail = lost.tail;
    }

    /// Ends the recording: appends what waits, the end chunk and its seal. Gives the hash that the audit log holds.
    pub fn end(
        mut self,
        end: End,
        key: &Ed25519KeyPair,
        packer: &mut Packer,
        out: &mut Vec<u8>,
    ) -> Tail {
        self.cut(packer, out);
        let totals = Totals {
            chunks: self.tail.sequence,
            output_bytes: self.tail.position,
            input_bytes: self.tail.input_bytes,
            gaps: self.tail.gaps,
        };
        let end = End { reason: cut_text(&end.reason).to_owned(), ..end };
        let body = json(&Ending { end, totals });
        append(&mut self.tail, Kind::End, &body, packer, out);
        let before = out.len();
        Seal::sign(Sealed::Recording, self.tail.session, self.tail.hash, key).encode(out);
        self.tail.bytes += (out.len() - before) as u64;
        self.tail
    }

    fn shown<'a>(
        &mut self,
        at_ms: u64,
        position: u64,
        bytes: &'a [u8],
        content: fn(&'a [u8]) -> Content<'a>,
    ) -> Taken {
        let missing = position.saturating_sub(self.position);
        if missing > 0 {
            self.gap(at_ms, missing, "not received");
        }
        let repeated = self.position.saturating_sub(position).min(bytes.len() as u64);
        for piece in bytes[repeated as usize..].chunks(MAX_CONTENT_BYTES) {
            self.push(at_ms, &content(piece));
            self.position += piece.len() as u64;
            self.open.until = self.position;
        }
        Taken { repeated, missing }
    }

    fn push(&mut self, at_ms: u64, content: &Content<'_>) {
        // An item's own bytes are at most its content and two varints.
        if self.open.raw.len() + MAX_CONTENT_BYTES + 32 > MAX_RAW_BYTES {
            self.turn();
        }
        self.at_ms = self.at_ms.max(at_ms);
        if self.open.raw.is_empty() {
            self.open.at_ms = self.at_ms;
            self.open.last_ms = self.at_ms;
        }
        let before = self.open.raw.len();
        item::encode(self.at_ms - self.open.last_ms, content, &mut self.open.raw);
        self.pending_bytes += self.open.raw.len() - before;
        self.open.last_ms = self.at_ms;
        self.open.after = self.terminal;
    }

    /// Closes the open body and starts the next.
    fn turn(&mut self) {
        let next = Body::new(self.position, self.at_ms, self.open.after);
        let body = std::mem::replace(&mut self.open, next);
        if !body.raw.is_empty() {
            self.ready.push_back(body);
        }
    }
}

/// Gives the file that replaces a deleted recording.
pub fn tombstone(stone: &Tombstone, key: &Ed25519KeyPair, packer: &mut Packer) -> Vec<u8> {
    let mut out = Vec::new();
    let mut tail = Tail {
        session: stone.session,
        mode: Mode::Output,
        bytes: 0,
        sequence: 0,
        hash: Digest::ZERO,
        tag: [0; 8],
        position: 0,
        at_ms: 0,
        terminal: Terminal { cols: 0, rows: 0, echo: true },
        input_bytes: 0,
        gaps: 0,
    };
    let stone = Tombstone {
        by: cut_text(&stone.by).to_owned(),
        reason: cut_text(&stone.reason).to_owned(),
        ..stone.clone()
    };
    append(&mut tail, Kind::Tombstone, &json(&stone), packer, &mut out);
    Seal::sign(Sealed::Tombstone, stone.session, tail.hash, key).encode(&mut out);
    out
}

fn append(tail: &mut Tail, kind: Kind, raw: &[u8], packer: &mut Packer, out: &mut Vec<u8>) {
    let (codec, stored): (Codec, &[u8]) = packer.pack(raw);
    let head = Head {
        tag: tail.tag,
        kind,
        codec,
        sequence: tail.sequence,
        position: tail.position,
        at_ms: tail.at_ms,
        raw_bytes: u32::try_from(raw.len()).expect("a body is at most MAX_RAW_BYTES"),
        stored_bytes: u32::try_from(stored.len()).expect("a body is at most MAX_RAW_BYTES"),
        previous: tail.hash,
    };
    let start = out.len();
    out.extend_from_slice(&head.encode());
    out.extend_from_slice(stored);
    tail.hash = chunk::hash(&out[start..]);
    out.extend_from_slice(&tail.hash.0);
    tail.bytes += head.chunk_bytes() as u64;
    tail.sequence += 1;
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers are JSON")
}

/// Cuts what would not fit into a chunk, however JSON writes it.
fn fitting(header: &Header) -> Header {
    let mut room = MAX_COMMAND_BYTES;
    let mut command = Vec::new();
    for argument in &header.command {
        let kept = &argument[..argument.floor_char_boundary(room)];
        command.push(kept.to_owned());
        // The comma and the quotes.
        room = room.saturating_sub(kept.len() + 3);
        if room == 0 {
            break;
        }
    }
    Header {
        machine: cut_text(&header.machine).to_owned(),
        principal: cut_text(&header.principal).to_owned(),
        command,
        ..header.clone()
    }
}

fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}
