//! The log: to standard error, through a bounded queue that drops rather than waits.
//!
//! What is dropped is counted; the audit log does not come this way.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use metrics::counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait for a slow reader of standard error.
const LINES: usize = 4096;

/// Starts the log. `ADIT_LOG` says what is in it, as `tracing` filters are written; `quiet` is for when it says nothing.
pub fn start(quiet: &str, json: bool) {
    let filter = EnvFilter::try_from_env("ADIT_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines::start());
    if json { builder.json().init() } else { builder.with_target(false).init() }
}

#[derive(Clone)]
struct Lines(SyncSender<Vec<u8>>);

impl Lines {
    fn start() -> Self {
        let (lines, waiting) = sync_channel(LINES);
        // Without a writer the queue fills and lines are dropped, which is what a missing log comes to.
        let _ = thread::Builder::new().name("log".into()).spawn(move || write_all(&waiting));
        Self(lines)
    }
}

fn write_all(waiting: &Receiver<Vec<u8>>) {
    while let Ok(line) = waiting.recv() {
        if io::stderr().write_all(&line).is_err() {
            return;
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, text: Vec::new() }
    }
}

/// One line that is being put together.
struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // R48
        let sent = self.lines.0.try_send(std::mem::take(&mut self.text));
        if matches!(sent, Err(TrySendError::Full(_))) {
            counter!("adit_log_lines_dropped_total").increment(1);
        }
    }
}
