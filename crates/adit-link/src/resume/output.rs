//! Output: a position and a window on the sender's side, a position on the receiver's.

use bytes::Bytes;

use super::Gap;

/// Where the sender of output stands; the bytes are in the owner's ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputSender {
    acked: u64,
    next: u64,
    window: u64,
}

/// Where the receiver of output stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputReceiver {
    position: u64,
}

impl OutputSender {
    /// Begins at a position, with at most `window` bytes unacknowledged.
    pub fn new(position: u64, window: u64) -> Self {
        Self { acked: position, next: position, window }
    }

    /// Gives the position of the next byte to send.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Gives the position before which everything arrived.
    pub fn acknowledged(&self) -> u64 {
        self.acked
    }

    /// Gives how many bytes may be sent now.
    pub fn room(&self) -> usize {
        let used = self.next - self.acked;
        usize::try_from(self.window.saturating_sub(used)).unwrap_or(usize::MAX)
    }

    /// Tells that `len` bytes were sent.
    pub fn sent(&mut self, len: usize) {
        self.next += len as u64;
    }

    /// Takes an acknowledgement; one that says less than an earlier one changes nothing.
    ///
    /// # Errors
    /// [`Gap`] for bytes that were never sent.
    pub fn acked(&mut self, position: u64) -> Result<(), Gap> {
        if position > self.next {
            return Err(Gap { expected: self.next, found: position });
        }
        self.acked = self.acked.max(position);
        Ok(())
    }

    /// Goes on over a new connection, from the position that the receiver names.
    pub fn resume(&mut self, position: u64) {
        self.acked = position;
        self.next = position;
    }
}

impl OutputReceiver {
    /// Begins at a position.
    pub fn new(position: u64) -> Self {
        Self { position }
    }

    /// Gives the position of the next byte that is wanted.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes a frame and gives what is new in it.
    ///
    /// # Errors
    /// [`Gap`] when bytes before the frame are missing.
    pub fn accept(&mut self, position: u64, bytes: &Bytes) -> Result<Option<Bytes>, Gap> {
        let fresh = fresh_part(self.position, position, bytes)?;
        if let Some(fresh) = &fresh {
            self.position += fresh.len() as u64;
        }
        Ok(fresh)
    }
}

/// Cuts what lies before `expected` off a frame.
pub(super) fn fresh_part(
    expected: u64,
    position: u64,
    bytes: &Bytes,
) -> Result<Option<Bytes>, Gap> {
    let Some(known) = expected.checked_sub(position) else {
        return Err(Gap { expected, found: position });
    };
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    Ok((known < bytes.len()).then(|| bytes.slice(known..)))
}
