//! Exports finished spans by OTLP over HTTP, in batches, apart from everything else.
//!
//! A sink that is down, slow or refuses costs spans and nothing more: the queue before this has a bound, and what does not get through
//! is counted and told once a minute.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adit_core::Gateway;
use adit_core::trace::{DROPPED, Kind, Span, Value};
use anyhow::Context as _;
use metrics::counter;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;

use crate::config::TraceSettings;

/// Sends spans to a sink.
#[derive(Debug)]
pub struct Exporter {
    sink: SpanExporter,
    service_name: String,
    spans: mpsc::Receiver<Span>,
    told: Option<Instant>,
}

/// How many spans go at once: the default of OpenTelemetry's batch processors.
const BATCH: usize = 512;

/// How long a batch is gathered.
const GATHER: Duration = Duration::from_secs(1);

/// How long one export may take, with the library's own tries.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// How long the last export may take, once the gateway ends.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// How often it is told that spans are dropped.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Exporter {
    /// Makes what exports the spans of a queue.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(settings: &TraceSettings, spans: mpsc::Receiver<Span>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(EXPORT_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the client of the traces' sink")?;
        let headers = settings.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.expose().clone()));
        let sink = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_headers(headers.collect())
            .with_timeout(EXPORT_WITHIN)
            .build()
            .context("the sink of traces")?;
        Ok(Self { sink, service_name: settings.service_name.clone(), spans, told: None })
    }

    /// Exports until the gateway ends, and what waits then.
    pub async fn run(mut self, gateway: Arc<Gateway>) {
        let resource = Resource::builder()
            .with_service_name(self.service_name.clone())
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", gateway.store.gateway().to_string()),
            ])
            .build();
        self.sink.set_resource(&resource);
        let mut tick = tokio::time::interval(GATHER);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_ending = false;
        while !is_ending {
            tokio::select! {
                () = gateway.tasks.ending() => is_ending = true,
                _ = tick.tick() => {}
            }
            while let Some(batch) = self.batch() {
                if is_ending {
                    return self.export(batch, LAST_WITHIN).await;
                }
                tokio::select! {
                    // What was on its way then is lost with the rest of the queue.
                    () = gateway.tasks.ending() => return,
                    () = self.export(batch, EXPORT_WITHIN) => {}
                }
            }
        }
    }

    /// Takes what waits, if anything does.
    fn batch(&mut self) -> Option<Vec<SpanData>> {
        let waiting = std::iter::from_fn(|| self.spans.try_recv().ok());
        let batch: Vec<SpanData> = waiting.take(BATCH).map(data).collect();
        (!batch.is_empty()).then_some(batch)
    }

    async fn export(&mut self, batch: Vec<SpanData>, within: Duration) {
        let spans = batch.len();
        let done = tokio::time::timeout(within, self.sink.export(batch)).await;
        let error = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        counter!(DROPPED, "reason" => "sink").increment(spans as u64);
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(error, spans, "spans were not taken by traces.endpoint and are dropped");
        }
    }
}

/// Writes a span as the library has it.
fn data(span: Span) -> SpanData {
    let flags = TraceFlags::default().with_sampled(span.context.is_sampled);
    let trace = TraceId::from_bytes(span.context.trace.0);
    let own = SpanId::from_bytes(span.context.span.0);
    let state = TraceState::default();
    let attribute = |(name, value): (&'static str, Value)| match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    };
    let mut attributes: Vec<KeyValue> = span.attributes.into_iter().map(attribute).collect();
    attributes.extend(span.failed.clone().map(|code| KeyValue::new("error.type", code)));
    let (start_time, end_time): (SystemTime, SystemTime) = (span.start, span.end);
    SpanData {
        span_context: SpanContext::new(trace, own, flags, false, state),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |id| SpanId::from_bytes(id.0)),
        parent_span_is_remote: span.kind == Kind::Server && span.parent.is_some(),
        span_kind: match span.kind {
            Kind::Server => SpanKind::Server,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Internal => SpanKind::Internal,
        },
        name: span.name,
        start_time,
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: span.failed.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("adit")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}
