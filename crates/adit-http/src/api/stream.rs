//! The stream of changes: what is open in a console looks again by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use adit_core::bus::Change;
use adit_domain::TenantId;

use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// How often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells what kinds of things change, as Server-Sent Events: `event: changed`, `data: {"kind": "sessions"}`.
#[utoipa::path(get, path = "/api/v1/stream", tag = "operations", responses(
    (status = 200, description = "Server-Sent Events, until the caller leaves", body = String, content_type = "text/event-stream"), Fails,
))]
pub async fn stream(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let changes = app.gateway.bus.listen();
    let tenant = caller.principal.tenant;
    let tasks = app.gateway.tasks.clone();
    let stream =
        futures_util::stream::unfold((changes, tasks), move |(mut changes, tasks)| async move {
            let kind = tokio::select! {
                () = tasks.ending() => return None,
                kind = next(&mut changes, tenant) => kind?,
            };
            let event = Event::default().event("changed").data(json!({"kind": kind}).to_string());
            Some((Ok(event), (changes, tasks)))
        });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

// DESK-7: of another tenant's changes nobody hears, not even when they are.
async fn next(
    changes: &mut Receiver<(TenantId, Change)>,
    tenant: TenantId,
) -> Option<&'static str> {
    loop {
        match changes.recv().await {
            Ok((whose, change)) if whose == tenant => return Some(change.as_str()),
            Ok(_) => {}
            // Fell behind: everything may have changed.
            Err(RecvError::Lagged(_)) => return Some("all"),
            Err(RecvError::Closed) => return None,
        }
    }
}
