//! The log: to standard error, through a bounded queue that drops rather than waits.
//!
//! What is dropped is counted; the audit log does not come this way.

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use adit_core::trace;
use metrics::counter;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// How many lines may wait for a slow reader of standard error.
const LINES: usize = 4096;

/// Starts the log. `ADIT_LOG` says what is in it, as `tracing` filters are written; `quiet` is for when it says nothing.
pub fn start(quiet: &str, json: bool) {
    let filter = EnvFilter::try_from_env("ADIT_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines::start());
    if json {
        builder.json().map_event_format(Traced).init()
    } else {
        builder.with_target(false).init()
    }
}

/// A line of JSON with the trace that its task works for, named as OpenTelemetry names it in logs.
struct Traced<F>(F);

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(within) = trace::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_suffix("}\n") {
            Some(line) => {
                let trace::Context { trace, span, .. } = within;
                writeln!(writer, "{line},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            None => writer.write_str(&line),
        }
    }
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
