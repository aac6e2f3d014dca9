//! Writes the recordings of all sessions: one thread, beside the path of a key and not on it.
//!
//! It waits until 200 ms after the first unsynced byte of any session (or [`super::tape::WAKE_AT`] of one), cuts a chunk for each session that has
//! something, appends it to the session's file, syncs them together, and tells each relay how far it is durable. What cannot be
//! written is given up: the recording gets a marked gap, a strict session ends. A sync that fails counts as data lost since the
//! last good one: the file is cut back to it (an fsync that succeeds after one that failed proves nothing).

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_domain::SessionId;
use adit_wire::recording::{End, Header, Packer, Tail, Writer, recover};
use aws_lc_rs::signature::Ed25519KeyPair;
use metrics::counter;
use tracing::warn;

use super::tape::{Item, Shared, Tape, Waiting};
use crate::failpoint;

/// What a finished recording came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The hash that its signature covers; the audit log holds it.
    pub hash: [u8; 32],
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of output, with those that gaps lack.
    pub output_bytes: u64,
    /// Whether everything of it was written.
    pub complete: bool,
}

/// Why a recording cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder or file cannot be used.
    #[error("the recording's file cannot be used: {0}")]
    Io(#[from] io::Error),
    /// Not even the header is whole.
    #[error("nothing of the recording can be read")]
    Torn,
    /// The recorder has stopped.
    #[error("the recorder has stopped")]
    Stopped,
}

/// By how much the recorder's thread is nicer than the rest (nice(2)): a fifth of the weight beside a busy thread, all of an idle processor.
const GIVE_WAY: i32 = 7;

/// How many files are synced one by one; more are synced together by syncfs(2), which then costs less.
const SYNC_EACH: usize = 8;

#[derive(Default)]
struct Board {
    due: Vec<Arc<Shared>>,
    since: Option<Instant>,
    urgent: bool,
    opened: Vec<(SessionId, Reel)>,
    stopping: bool,
}

/// Wakes the recorder's thread.
#[derive(Clone)]
pub(super) struct Wake(Arc<(Mutex<Board>, Condvar)>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Wake {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn soon(&self, shared: &Arc<Shared>) {
        let mut board = self.board();
        board.due.push(Arc::clone(shared));
        if board.since.is_none() {
            board.since = Some(Instant::now());
            self.0.1.notify_one();
        }
    }

    pub(super) fn now(&self) {
        self.board().urgent = true;
        self.0.1.notify_one();
    }
}

/// One session's file, as the thread has it.
struct Reel {
    path: PathBuf,
    file: File,
    writer: Option<Writer>,
    durable: Tail,
    whole: bool,
}

/// The recorder.
pub struct Recorder {
    folder: PathBuf,
    wake: Wake,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the thread over a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or the thread not started.
    pub fn start(folder: &Path, key: Arc<Ed25519KeyPair>, sync: Duration) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode_0700().create(folder)?;
        let wake = Wake(Arc::new((Mutex::new(Board::default()), Condvar::new())));
        let worker = Worker {
            wake: wake.clone(),
            folder: File::open(folder)?,
            reels: HashMap::new(),
            packer: Packer::new(),
            key,
            sync,
        };
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(|| worker.run())?;
        Ok(Self { folder: folder.to_owned(), wake, thread: Mutex::new(Some(thread)) })
    }

    /// Gives the path of a session's recording.
    pub fn path(&self, session: SessionId) -> PathBuf {
        self.folder.join(format!("{session}.adr"))
    }

    /// Begins a recording: its header is on disk when this returns, so that nothing passes before it.
    ///
    /// # Errors
    /// [`RecorderError`] when the file cannot be made.
    pub fn begin(&self, header: &Header, strict: bool) -> Result<Tape, RecorderError> {
        let path = self.path(header.session);
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let mut bytes = Vec::new();
        let writer = Writer::begin(header, &mut Packer::new(), &mut bytes);
        file.write_all_at(&bytes, 0)?;
        if strict {
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(self.enter(header.session, path, file, writer, strict))
    }

    /// Goes on with a recording after the gateway came back; what was torn is cut off and will be fetched again.
    ///
    /// # Errors
    /// [`RecorderError`] when there is nothing to go on from.
    pub fn resume(&self, session: SessionId, strict: bool) -> Result<Tape, RecorderError> {
        let path = self.path(session);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let tail = recover_file(&path)?.ok_or(RecorderError::Torn)?;
        file.set_len(tail.bytes)?;
        file.sync_all()?;
        Ok(self.enter(session, path, file, Writer::resume(tail), strict))
    }

    fn enter(
        &self,
        session: SessionId,
        path: PathBuf,
        file: File,
        writer: Writer,
        strict: bool,
    ) -> Tape {
        let durable = writer.tail().clone();
        let shared = Arc::new(Shared {
            session,
            waiting: Mutex::new(Waiting::default()),
            durable: durable.position.into(),
            failing: false.into(),
            moved: tokio::sync::Notify::new(),
        });
        let reel = Reel { path, file, writer: Some(writer), durable, whole: true };
        self.wake.board().opened.push((session, reel));
        Tape::new(shared, self.wake.clone(), strict)
    }

    /// Syncs everything that was taken and stops the thread.
    pub fn stop(&self) {
        self.wake.board().stopping = true;
        self.wake.now();
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            warn!("the recorder's thread had failed");
        }
    }
}

/// Reads where a recording stands; none when nothing of it is whole.
fn recover_file(path: &Path) -> Result<Option<Tail>, RecorderError> {
    let bytes = fs::read(path)?;
    Ok(recover(&bytes).tail())
}

struct Worker {
    wake: Wake,
    folder: File,
    reels: HashMap<SessionId, Reel>,
    packer: Packer,
    key: Arc<Ed25519KeyPair>,
    sync: Duration,
}

/// How a recording ends, and who waits for it.
type Ending = (End, tokio::sync::oneshot::Sender<Finished>);

/// One session's part of a round.
struct Turn {
    shared: Arc<Shared>,
    until: u64,
    end: Option<Ending>,
    written: io::Result<()>,
}

/// A recording whose last mark is written and not yet durable.
struct LastMark {
    session: SessionId,
    path: PathBuf,
    file: File,
    whole: bool,
    tail: Tail,
    written: io::Result<()>,
    done: tokio::sync::oneshot::Sender<Finished>,
}

impl Worker {
    fn run(mut self) {
        give_way();
        loop {
            let (due, stopping) = self.wait();
            self.round(due);
            if stopping {
                return;
            }
        }
    }

    fn wait(&mut self) -> (Vec<Arc<Shared>>, bool) {
        let sync = self.sync;
        let wake = self.wake.clone();
        let mut board = wake.board();
        loop {
            let due_at = board.since.map(|since| since + sync);
            let now = Instant::now();
            if board.urgent || board.stopping || due_at.is_some_and(|at| at <= now) {
                break;
            }
            board = match due_at {
                None => wake.0.1.wait(board).unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(at) => {
                    let waited = wake.0.1.wait_timeout(board, at - now);
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
            };
        }
        board.since = None;
        board.urgent = false;
        self.reels.extend(board.opened.drain(..));
        (std::mem::take(&mut board.due), board.stopping)
    }

    fn round(&mut self, due: Vec<Arc<Shared>>) {
        let mut turns: Vec<Turn> =
            due.into_iter().filter_map(|shared| self.write(shared)).collect();
        self.sync_all(&mut turns);
        let marks: Vec<LastMark> = turns.into_iter().filter_map(|turn| self.settle(turn)).collect();
        self.close(marks);
    }

    fn write(&mut self, shared: Arc<Shared>) -> Option<Turn> {
        let mut waiting = std::mem::take(&mut *shared.lock());
        let reel = self.reels.get_mut(&shared.session)?;
        let mut writer = reel.writer.take()?;
        let end = take_end(&mut waiting.items);
        let until = until_of(&waiting.items).max(writer.position());
        let packer = &mut self.packer;
        // One session's failure must not be that of all recordings.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            waiting.items.into_iter().for_each(|(at_ms, item)| feed(&mut writer, at_ms, item));
            let mut bytes = Vec::new();
            let from = writer.tail().bytes;
            writer.cut(packer, &mut bytes);
            counter!("adit_recording_bytes_total").increment(bytes.len() as u64);
            (reel.file.write_all_at(&bytes, from), writer)
        }));
        let (written, writer) = tried.unwrap_or_else(|_| {
            counter!("adit_task_panics_total").increment(1);
            (
                Err(io::Error::other("the recorder failed at it")),
                Writer::resume(reel.durable.clone()),
            )
        });
        reel.writer = Some(writer);
        Some(Turn { shared, until, end, written })
    }

    fn sync_all(&self, turns: &mut [Turn]) {
        if turns.len() > SYNC_EACH {
            let synced = rustix::fs::syncfs(&self.folder);
            if let Err(error) = synced {
                for turn in turns {
                    turn.written = Err(error.into());
                }
            }
            return;
        }
        for turn in turns {
            if turn.written.is_ok()
                && let Some(reel) = self.reels.get(&turn.shared.session)
            {
                turn.written = reel.file.sync_data();
            }
        }
    }

    fn settle(&mut self, turn: Turn) -> Option<LastMark> {
        let reel = self.reels.get_mut(&turn.shared.session)?;
        let writer = reel.writer.as_mut()?;
        match &turn.written {
            Ok(()) => {
                reel.durable = writer.tail().clone();
                turn.shared.failing.store(false, Ordering::Release);
            }
            Err(error) => {
                warn!(session.id = %turn.shared.session, %error, "a recording could not be written; it has a gap");
                counter!("adit_recording_failures_total").increment(1);
                writer.lose(reel.durable.clone(), "could not be written");
                reel.whole = false;
                turn.shared.failing.store(true, Ordering::Release);
                // What the failed write left is past the durable end, so that nothing reads it; cutting it off only saves space.
                let _ = reel.file.set_len(reel.durable.bytes);
            }
        }
        turn.shared.durable.store(turn.until, Ordering::Release);
        turn.shared.moved.notify_one();
        let (how, done) = turn.end?;
        self.finish(turn.shared.session, how, done)
    }

    /// Writes the last mark of a recording.
    fn finish(
        &mut self,
        session: SessionId,
        how: End,
        done: tokio::sync::oneshot::Sender<Finished>,
    ) -> Option<LastMark> {
        let reel = self.reels.remove(&session)?;
        let mut bytes = Vec::new();
        let writer = reel.writer?;
        let from = writer.tail().bytes;
        let tail = writer.end(how, &self.key, &mut self.packer, &mut bytes);
        let written = reel.file.write_all_at(&bytes, from);
        let Reel { path, file, whole, .. } = reel;
        Some(LastMark { session, path, file, whole, tail, written, done })
    }

    /// Makes the last marks durable, together where there are many, and says what the recordings came to.
    fn close(&self, marks: Vec<LastMark>) {
        let together = (marks.len() > SYNC_EACH).then(|| rustix::fs::syncfs(&self.folder));
        for LastMark { session, path, file, whole, tail, written, done } in marks {
            let written = written.and_then(|()| match together {
                Some(synced) => synced.map_err(io::Error::from),
                None => file.sync_all(),
            });
            if let Err(error) = &written {
                warn!(session.id = %session, %error, path = %path.display(), "a recording could not be closed");
            }
            let finished = Finished {
                hash: tail.hash.0,
                bytes: tail.bytes,
                output_bytes: tail.position,
                complete: written.is_ok() && whole,
            };
            // Nobody waiting means that the session's task is gone; the file says the same.
            let _ = done.send(finished);
        }
    }
}

/// Lets a key go before a recording: compressing a flood must not hold up somebody's typing. A system that does not allow it changes
/// nothing but that.
fn give_way() {
    let lower = rustix::process::setpriority_process(Some(rustix::thread::gettid()), GIVE_WAY);
    if let Err(error) = lower {
        tracing::debug!(%error, "the recorder runs at the usual priority");
    }
}

/// Takes the end out of what happened.
fn take_end(items: &mut Vec<(u64, Item)>) -> Option<Ending> {
    let (_, item) = items.pop_if(|(_, item)| matches!(item, Item::End { .. }))?;
    match item {
        Item::End { end, done } => Some((end, done)),
        _ => None,
    }
}

/// Where output is after what happened.
fn until_of(items: &[(u64, Item)]) -> u64 {
    let until = |item: &Item| match item {
        Item::Output { position, bytes } | Item::Stderr { position, bytes } => {
            position + bytes.len() as u64
        }
        _ => 0,
    };
    items.iter().map(|(_, item)| until(item)).max().unwrap_or(0)
}

fn feed(writer: &mut Writer, at_ms: u64, item: Item) {
    match item {
        Item::Output { position, bytes } => {
            failpoint::pass("recorder", &bytes);
            writer.output(at_ms, position, &bytes);
        }
        Item::Stderr { position, bytes } => {
            writer.stderr(at_ms, position, &bytes);
        }
        Item::Input { who, bytes } => writer.input(at_ms, &who, &bytes),
        Item::Resize { cols, rows } => writer.resize(at_ms, cols, rows),
        Item::Echo { on } => writer.echo(at_ms, on),
        Item::Mark { text } => writer.mark(at_ms, &text),
        Item::End { .. } => {}
    }
}

trait Mode0700 {
    fn mode_0700(&mut self) -> &mut Self;
}

impl Mode0700 for fs::DirBuilder {
    fn mode_0700(&mut self) -> &mut Self {
        use std::os::unix::fs::DirBuilderExt as _;
        self.mode(0o700)
    }
}

#[cfg(test)]
#[path = "recorder/tests.rs"]
mod tests;
