//! A session's end of the recorder: where the relay puts what happens, without ever waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use adit_domain::SessionId;
use adit_wire::recording::End;
use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::recorder::{Finished, Wake};

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Item {
    Output { position: u64, bytes: Bytes },
    Stderr { position: u64, bytes: Bytes },
    Input { who: Arc<str>, bytes: Bytes },
    Resize { cols: u16, rows: u16 },
    Echo { on: bool },
    Mark { text: String },
    End { end: End, done: oneshot::Sender<Finished> },
}

/// What waits for the recorder.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub items: Vec<(u64, Item)>,
    pub bytes: usize,
    pub scheduled: bool,
    /// When the oldest of them came.
    pub since: Option<Instant>,
}

impl Waiting {
    fn is_stalled(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= STALLED_AFTER)
    }
}

/// What the relay and the recorder share of one session.
#[derive(Debug)]
pub(super) struct Shared {
    pub session: SessionId,
    pub waiting: Mutex<Waiting>,
    pub durable: AtomicU64,
    pub failing: AtomicBool,
    pub moved: Notify,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How much may wait before the recorder is woken at once, in bytes: what is not yet durable is at most this much, or what 200 ms bring.
pub const WAKE_AT: usize = 4 * 1024 * 1024;

/// How much may wait at all, in bytes: then the session stops reading until the recorder caught up. Twice [`WAKE_AT`], so that one batch is
/// written while the next gathers.
pub const MAX_WAITING: usize = 2 * WAKE_AT;

/// After how long without a move of the recorder a session that is not strict goes on with a gap rather than wait.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Takes what happens in one session.
#[derive(Debug)]
pub struct Tape {
    pub(super) shared: Arc<Shared>,
    pub(super) wake: Wake,
    strict: bool,
}

impl Tape {
    pub(super) fn new(shared: Arc<Shared>, wake: Wake, strict: bool) -> Self {
        Self { shared, wake, strict }
    }

    /// Takes output; its position is that of its first byte.
    ///
    /// A tape that is not strict drops output past [`MAX_WAITING`] once the recorder has stalled; then there is a marked gap.
    pub fn output(&self, at_ms: u64, position: u64, bytes: Bytes) {
        self.shown(at_ms, bytes.len(), |bytes| Item::Output { position, bytes }, bytes);
    }

    /// Takes stderr of a command without a terminal.
    pub fn stderr(&self, at_ms: u64, position: u64, bytes: Bytes) {
        self.shown(at_ms, bytes.len(), |bytes| Item::Stderr { position, bytes }, bytes);
    }

    /// Takes what somebody typed.
    pub fn input(&self, at_ms: u64, who: &Arc<str>, bytes: Bytes) {
        let len = bytes.len();
        self.put(at_ms, len, Item::Input { who: Arc::clone(who), bytes });
    }

    /// Takes a new size.
    pub fn resize(&self, at_ms: u64, cols: u16, rows: u16) {
        self.put(at_ms, 0, Item::Resize { cols, rows });
    }

    /// Takes a change of the terminal's echo.
    pub fn echo(&self, at_ms: u64, on: bool) {
        self.put(at_ms, 0, Item::Echo { on });
    }

    /// Takes a remark.
    pub fn mark(&self, at_ms: u64, text: &str) {
        self.put(at_ms, text.len(), Item::Mark { text: text.to_owned() });
    }

    /// Ends the recording: syncs all of it, signs it, and says what it came to.
    pub async fn end(self, at_ms: u64, end: End) -> Option<Finished> {
        let (done, finished) = oneshot::channel();
        self.put(at_ms, 0, Item::End { end, done });
        self.wake.now();
        finished.await.ok()
    }

    /// Tells up to which position the recording is durable, or given up.
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Resolves when [`Tape::durable`] has moved or the tape began to fail.
    pub async fn moved(&self) {
        self.shared.moved.notified().await;
    }

    /// Tells whether the session must stop because its recording cannot be written.
    pub fn must_end(&self) -> bool {
        self.strict && self.shared.failing.load(Ordering::Acquire)
    }

    /// Tells whether the relay must stop reading until the recorder caught up.
    pub fn is_full(&self) -> bool {
        let waiting = self.shared.lock();
        waiting.bytes >= MAX_WAITING && (self.strict || !waiting.is_stalled())
    }

    fn shown(&self, at_ms: u64, len: usize, item: impl FnOnce(Bytes) -> Item, bytes: Bytes) {
        if !self.strict {
            let waiting = self.shared.lock();
            if waiting.bytes + len > MAX_WAITING && waiting.is_stalled() {
                self.shared.failing.store(true, Ordering::Release);
                return;
            }
        }
        self.put(at_ms, len, item(bytes));
    }

    fn put(&self, at_ms: u64, len: usize, item: Item) {
        let mut waiting = self.shared.lock();
        waiting.items.push((at_ms, item));
        waiting.bytes += len;
        waiting.since.get_or_insert_with(Instant::now);
        let full = waiting.bytes >= WAKE_AT;
        let scheduled = std::mem::replace(&mut waiting.scheduled, true);
        drop(waiting);
        if !scheduled {
            self.wake.soon(&self.shared);
        }
        if full {
            self.wake.now();
        }
    }
}
