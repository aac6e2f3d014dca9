//! Input at the agent: of each writer, everything once and in order.

use std::cmp::Ordering;

use adit_wire::agent::v1 as pb;
use bytes::Bytes;

use super::INPUT_WINDOW;
use super::output::fresh_part;

/// The writers remembered for a session: far more than people who type at once, and each page that is opened is one.
pub const MAX_WRITERS: usize = 64;

/// The longest id of a writer, in bytes: a UUID has 16.
pub const MAX_WRITER_ID: usize = 32;

/// What to do with a frame of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accept {
    /// Write these bytes to the terminal, after those taken before; then call [`Writers::written`].
    Take(Bytes),
    /// Drop it: it is here already, or the sender was told to go back.
    Ignore,
    /// Something before it is missing: say so to the gateway.
    Rewind {
        /// Whose input.
        writer: Bytes,
        /// The position that is expected.
        position: u64,
    },
    /// No writer was named before.
    Unknown,
}

/// What to do with the end of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AcceptEof {
    /// Close the command's input once everything taken is written; comes again after a new connection.
    Take,
    /// Drop it.
    Ignore,
    /// Something before it is missing: say so to the gateway.
    Rewind {
        /// The position that is expected.
        position: u64,
    },
}

/// The writers of one session; at most [`MAX_WRITERS`], of which the one that was quiet longest is forgotten first.
#[derive(Clone, Debug, Default)]
pub struct Writers {
    /// In the order of their last input, the latest at the end.
    list: Vec<Writer>,
    current: Option<Bytes>,
}

#[derive(Clone, Debug)]
struct Writer {
    id: Bytes,
    /// Everything before it was taken.
    accepted: u64,
    /// Everything before it was written to the terminal.
    written: u64,
    rewinding: bool,
}

impl Writers {
    /// Begins with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the writer of the frames that follow; `position` counts only for one that is not known.
    pub fn select(&mut self, id: &Bytes, position: u64) {
        self.current = None;
        if id.is_empty() || id.len() > MAX_WRITER_ID {
            return;
        }
        if self.find(id).is_none() {
            self.make_room();
            let id = Bytes::copy_from_slice(id);
            let writer = Writer { id, accepted: position, written: position, rewinding: false };
            self.list.push(writer);
        }
        self.current = Some(Bytes::copy_from_slice(id));
    }

    /// Decides about a frame of the writer that was named last.
    pub fn accept(&mut self, position: u64, bytes: &Bytes) -> Accept {
        let Some(id) = self.current.clone() else { return Accept::Unknown };
        let Some(writer) = self.touch(&id) else { return Accept::Unknown };
        match fresh_part(writer.accepted, position, bytes) {
            Ok(None) => Accept::Ignore,
            Ok(Some(fresh)) if writer.fits(fresh.len()) => {
                writer.accepted += fresh.len() as u64;
                writer.rewinding = false;
                Accept::Take(fresh)
            }
            Ok(Some(_)) | Err(_) => match writer.rewind() {
                Some(position) => Accept::Rewind { writer: id, position },
                None => Accept::Ignore,
            },
        }
    }

    /// Decides about the end of a writer's input.
    pub fn accept_eof(&mut self, id: &[u8], position: u64) -> AcceptEof {
        let Some(writer) = self.find(id) else { return AcceptEof::Ignore };
        match position.cmp(&writer.accepted) {
            Ordering::Less => AcceptEof::Ignore,
            Ordering::Equal => AcceptEof::Take,
            Ordering::Greater => match writer.rewind() {
                Some(position) => AcceptEof::Rewind { position },
                None => AcceptEof::Ignore,
            },
        }
    }

    /// Tells that the next `len` bytes of a writer are in the terminal, and gives the position to acknowledge.
    pub fn written(&mut self, id: &[u8], len: usize) -> Option<u64> {
        let writer = self.find(id)?;
        writer.written = writer.accepted.min(writer.written + len as u64);
        Some(writer.written)
    }

    /// Gives where each writer stands, for `ShellHello`; a new connection begins with it, so each may be told to go back anew.
    pub fn hello(&mut self) -> Vec<pb::Writer> {
        self.current = None;
        let hello = self.list.iter_mut().map(|writer| {
            writer.rewinding = false;
            pb::Writer { writer: writer.id.clone(), position: writer.written }
        });
        hello.collect()
    }

    fn find(&mut self, id: &[u8]) -> Option<&mut Writer> {
        self.list.iter_mut().find(|writer| writer.id == id)
    }

    /// Finds a writer and makes it the latest.
    fn touch(&mut self, id: &[u8]) -> Option<&mut Writer> {
        let index = self.list.iter().position(|writer| writer.id == id)?;
        self.list[index..].rotate_left(1);
        self.list.last_mut()
    }

    fn make_room(&mut self) {
        if self.list.len() >= MAX_WRITERS {
            let idle = self.list.iter().position(|writer| writer.accepted == writer.written);
            self.list.remove(idle.unwrap_or(0));
        }
    }
}

impl Writer {
    fn fits(&self, len: usize) -> bool {
        let queued = self.accepted - self.written + len as u64;
        queued <= INPUT_WINDOW as u64
    }

    /// Gives the position to go back to, once for each gap.
    fn rewind(&mut self) -> Option<u64> {
        let first = !self.rewinding;
        self.rewinding = true;
        first.then_some(self.accepted)
    }
}
