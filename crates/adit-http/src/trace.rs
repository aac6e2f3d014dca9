//! The trace of a request: its caller's (W3C Trace Context) or a new one, and the span that the answer ends.
//!
//! A caller that is not signed in gives the trace its id and nothing else: whether it is exported is decided by chance, so that nobody
//! outside can have everything exported. One that is signed in decides for its own requests, as a service in the middle of a trace must.

use std::sync::Arc;
use std::time::Instant;

use adit_core::trace::{self, Context, Kind, Span, Value, system_time};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::listen::Peer;
use crate::problem::ApiError;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Says where in which trace the answer was made.
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Answers a request within its trace.
pub async fn follow(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let gateway = &app.gateway;
    let traces = &gateway.settings.traces;
    let caller = caller(request.headers());
    let context = traces.begin(&*gateway.ids, caller);
    let wanted = caller.map(|caller| caller.is_sampled).filter(|_| traces.is_on());
    let asked = Asked::of(&request);
    let (began, start) = (Instant::now(), system_time(gateway.clock.now()));
    let answer = async {
        let response = next.run(request).await;
        tracing::debug!(
            http.method = asked.method,
            http.route = asked.route.as_ref().map(MatchedPath::as_str),
            http.status = response.status().as_u16(),
            "a request is answered"
        );
        (response, trace::current().unwrap_or(context))
    };
    let (mut response, context) = trace::within_request(context, wanted, answer).await;
    if let Ok(value) = HeaderValue::try_from(context.to_string()) {
        response.headers_mut().insert(TRACERESPONSE, value);
    }
    if context.is_sampled && asked.is_work() {
        let times = (start, start + began.elapsed());
        traces.record(asked.span(context, caller, &response, times));
    }
    response
}

/// Reads the one `traceparent` of a request; two, or one that is none, count as none (W3C Trace Context §3.2).
fn caller(headers: &HeaderMap) -> Option<Context> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (first, second) = (all.next()?, all.next());
    second.is_none().then(|| first.to_str().ok().and_then(Context::read)).flatten()
}

/// What was asked, in words of ours: a span holds no text that a caller chose.
struct Asked {
    method: &'static str,
    route: Option<MatchedPath>,
    scheme: &'static str,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            // As OpenTelemetry's conventions have it.
            _ => "_OTHER",
        };
        let scheme = if Peer::is_tls(request.extensions()) { "https" } else { "http" };
        Self { method, route: request.extensions().get().cloned(), scheme }
    }

    /// Tells whether a trace is worth a span of it: pages and what watches the gateway are not.
    fn is_work(&self) -> bool {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let is_page = route == "/" || route.starts_with("/ui") || route.starts_with("/docs");
        !is_page && !matches!(route, "/metrics" | "/health" | "/support")
    }

    fn span(
        self,
        context: Context,
        caller: Option<Context>,
        response: &Response,
        (start, end): (std::time::SystemTime, std::time::SystemTime),
    ) -> Span {
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let name = route.map_or(self.method.to_owned(), |route| format!("{} {route}", self.method));
        let status = response.status();
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("http.request.method", self.method.into()),
            ("http.response.status_code", i64::from(status.as_u16()).into()),
            ("url.scheme", self.scheme.into()),
        ];
        attributes.extend(route.map(|route| ("http.route", route.into())));
        let code = response.extensions().get::<ApiError>().map(|error| error.code().as_str());
        attributes.extend(code.map(|code| ("adit.problem", code.into())));
        Span {
            context,
            parent: caller.map(|caller| caller.span),
            name: name.into(),
            kind: Kind::Server,
            start,
            end,
            attributes,
            failed: failure(status, code),
        }
    }
}

/// An answer is a failure of ours from 500 on (OpenTelemetry's conventions for HTTP servers).
fn failure(
    status: StatusCode,
    code: Option<&'static str>,
) -> Option<std::borrow::Cow<'static, str>> {
    let number = || status.as_u16().to_string().into();
    status.is_server_error().then(|| code.map_or_else(number, Into::into))
}
