//! Traces: which work belongs to which request, and the spans that are made of it (W3C Trace Context, OpenTelemetry).
//!
//! 1. A request runs within a [`Context`], its caller's or a new one (`adit-http`'s `trace.rs`); log lines read it here.
//! 2. A job's row keeps the context of the request that asked (`job.rs`).
//! 3. When the job is over, its spans are made of the row and of what its machine says (`job/spans.rs`), by whichever gateway ends it.
//! 4. Finished spans go through a bounded queue to whoever exports them (the binary's `traces.rs`). Without one nothing is made.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_domain::{Ids, Timestamp};
use metrics::counter;
use tokio::sync::mpsc;

/// A trace's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A span's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A place in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span within it.
    pub span: SpanId,
    /// Whether the trace is exported.
    pub is_sampled: bool,
}

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Span {
    /// Where it stands.
    pub context: Context,
    /// What it is part of.
    pub parent: Option<SpanId>,
    /// What it is, of few names.
    pub name: Cow<'static, str>,
    /// Whose side it is.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// When it was over.
    pub end: SystemTime,
    /// What else is to be known; never what a person typed.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, as a stable code.
    pub failed: Option<Cow<'static, str>>,
}

/// Whose side a span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Does what a queue held.
    Consumer,
    /// Neither.
    Internal,
}

/// A value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Where finished spans go: nowhere by default.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<On>);

#[derive(Clone, Debug)]
struct On {
    spans: mpsc::Sender<Span>,
    ratio: f64,
    endpoint: String,
}

/// How many finished spans wait for a slow sink: some seconds of a busy gateway, about 4 MiB.
const SPANS: usize = 8192;

impl Traces {
    /// Sends spans of a share of traces to a queue, whose other end it gives.
    pub fn to(endpoint: &str, ratio: f64) -> (Self, mpsc::Receiver<Span>) {
        let (spans, waiting) = mpsc::channel(SPANS);
        (Self(Some(On { spans, ratio, endpoint: endpoint.to_owned() })), waiting)
    }

    /// Gives the address and the share, where spans are exported.
    pub fn shown(&self) -> Option<(&str, f64)> {
        self.0.as_ref().map(|on| (on.endpoint.as_str(), on.ratio))
    }

    /// Tells whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span, in its caller's trace or in a new one, and decides by chance alone whether the trace is exported.
    ///
    /// Not by the trace's id, which a caller chooses.
    pub fn begin(&self, ids: &dyn Ids, caller: Option<Context>) -> Context {
        let (mut trace, mut chance) = ([0; 16], [0; 4]);
        ids.fill(&mut trace);
        ids.fill(&mut chance);
        let share = f64::from(u32::from_be_bytes(chance)) / (f64::from(u32::MAX) + 1.0);
        Context {
            trace: caller.map_or(TraceId(trace), |caller| caller.trace),
            span: SpanId::new(ids),
            is_sampled: self.0.as_ref().is_some_and(|on| share < on.ratio),
        }
    }

    /// Hands a finished span on, or counts it as dropped when too many wait.
    pub fn record(&self, span: Span) {
        let Some(on) = self.0.as_ref().filter(|_| span.context.is_sampled) else { return };
        if on.spans.try_send(span).is_err() {
            counter!(DROPPED, "reason" => "queue").increment(1);
        }
    }
}

/// The counter of spans that were not exported.
pub const DROPPED: &str = "adit_trace_spans_dropped_total";

impl SpanId {
    /// Makes a new one.
    pub fn new(ids: &dyn Ids) -> Self {
        let mut span = [0; 8];
        ids.fill(&mut span);
        Self(span)
    }
}

impl Context {
    /// Reads a `traceparent`; none for what is not one (W3C Trace Context §3.2).
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version: [u8; 1] = lower_hex(version)?;
        // A later version may have more parts; this one has four, and `ff` is no version.
        if version == [0xff] || (version == [0] && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (lower_hex(trace)?, lower_hex(span)?);
        let [flags] = lower_hex::<1>(flags)?;
        let is_real = trace != [0; 16] && span != [0; 8];
        is_real.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled: flags & 1 == 1,
        })
    }

    /// Begins a span below this one, in the same trace.
    pub fn below(self, ids: &dyn Ids) -> Self {
        Self { span: SpanId::new(ids), ..self }
    }
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

impl fmt::Display for Context {
    /// Writes a `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

macro_rules! shown_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

shown_as_hex!(TraceId, SpanId);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// What a task works for.
struct Work {
    context: Cell<Context>,
    /// What the caller wants exported, until the caller is known.
    wanted: Option<bool>,
}

tokio::task_local! {
    static WORK: Work;
}

/// Runs work within a trace.
pub async fn within<F: Future>(context: Context, work: F) -> F::Output {
    WORK.scope(Work { context: Cell::new(context), wanted: None }, work).await
}

/// Runs a request within a trace whose caller wants it exported, or not, which counts from [`trust_caller`] on.
pub async fn within_request<F: Future>(
    context: Context,
    wanted: Option<bool>,
    request: F,
) -> F::Output {
    WORK.scope(Work { context: Cell::new(context), wanted }, request).await
}

/// Gives the trace that the running task works for.
pub fn current() -> Option<Context> {
    WORK.try_with(|work| work.context.get()).ok()
}

/// Notes that the caller of the running request is signed in: whether its trace is exported is the caller's word from here on.
pub fn trust_caller() {
    let _no_request = WORK.try_with(|work| {
        if let Some(is_sampled) = work.wanted {
            work.context.set(Context { is_sampled, ..work.context.get() });
        }
    });
}

/// Gives a time of the database as the system's.
pub fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.wire())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back_and_a_malformed_one_does_not() {
        // CMD-40
        let read = Context::read(PARENT).unwrap();
        assert_eq!((read.to_string().as_str(), read.is_sampled), (PARENT, true));
        let later = format!("{}-more", PARENT.replacen("00", "01", 1));
        assert_eq!(Context::read(&later), Some(read));
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::read(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn what_a_caller_wants_exported_counts_once_it_is_known() {
        // CMD-40
        let (traces, _waiting) = Traces::to("", 0.0);
        let context = traces.begin(&SystemIds, Context::read(PARENT));
        let (before, after) = within_request(context, Some(true), async {
            let before = current().unwrap();
            trust_caller();
            (before, current().unwrap())
        })
        .await;
        assert_eq!((before.is_sampled, after.is_sampled), (false, true));
        assert_eq!(after.trace, Context::read(PARENT).unwrap().trace);
    }

    #[test]
    fn a_full_queue_drops_and_does_not_wait() {
        // CMD-40
        let (traces, mut waiting) = Traces::to("", 1.0);
        let context = traces.begin(&SystemIds, None);
        let span = Span {
            context,
            parent: None,
            name: "one".into(),
            kind: Kind::Internal,
            start: UNIX_EPOCH,
            end: UNIX_EPOCH,
            attributes: Vec::new(),
            failed: None,
        };
        for _ in 0..SPANS + 1 {
            traces.record(span.clone());
        }
        assert_eq!(std::iter::from_fn(|| waiting.try_recv().ok()).count(), SPANS);
    }
}
