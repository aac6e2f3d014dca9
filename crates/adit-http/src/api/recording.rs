//! Recordings: listed, played, verified, searched, deleted.

use std::io;
use std::sync::Arc;

use adit_domain::Code;
use adit_store::{RecordingFilter, RecordingState};
use adit_wire::recording::Outcome;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::api::session::MachineName;
use crate::api::{self, List, Named, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A recording.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Its session's id, which is its own.
    id: String,
    machine: MachineName,
    principal: Named,
    started_at: String,
    length_seconds: f64,
    bytes: u64,
    /// `recording`, `complete` or `incomplete`.
    state: &'static str,
    /// SHA-256 of its last chunk in hex, once it is closed: what the audit log holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Deleted>,
}

/// When a recording was deleted, and by whom.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    at: String,
    by: String,
}

fn shown(recording: &adit_store::Recording) -> Recording {
    #[expect(clippy::cast_precision_loss, reason = "a length in milliseconds is far below 2^52")]
    let length_seconds = recording.length_ms as f64 / 1000.0;
    Recording {
        id: recording.session.to_string(),
        machine: MachineName {
            id: recording.machine.to_string(),
            label: recording.machine_label.to_string(),
        },
        principal: Named::from(&recording.principal),
        started_at: api::time(recording.started_at),
        length_seconds,
        bytes: recording.bytes,
        state: match recording.state {
            RecordingState::Running => "recording",
            RecordingState::Complete => "complete",
            RecordingState::Incomplete => "incomplete",
        },
        hash: recording.hash.map(hex::encode),
        deleted: recording
            .deleted
            .as_ref()
            .map(|d| Deleted { at: api::time(d.at), by: d.by.clone() }),
    }
}

/// Which recordings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordingQuery {
    /// Only of this machine: its id or label.
    machine: Option<String>,
    /// Only of this principal: `user:NAME`.
    principal: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists the recordings that the caller may play, the newest first.
#[utoipa::path(get, path = "/api/v1/recordings", tag = "recordings", params(RecordingQuery), responses(
    (status = 200, description = "A page of recordings", body = List<Recording>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<RecordingQuery>,
) -> Result<Json<List<Recording>>, ApiError> {
    let machine = match &query.machine {
        None => None,
        Some(text) => Some(app.gateway.find_machine(&caller, text).await?.id),
    };
    let principal = match &query.principal {
        None => None,
        Some(name) => Some(app.gateway.find_named(&caller, name).await?.principal.id),
    };
    let filter = RecordingFilter { machine, principal };
    let paging = api::paging(query.cursor.as_deref(), query.limit)?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let page = tenant.list_recordings(&filter, &paging).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for recording in &page.items {
        let Some(machine) = tenant.find_machine(recording.machine).await? else { continue };
        if app.gateway.may_see_recordings(&caller, &machine).await? {
            items.push(shown(recording));
        }
    }
    Ok(Json(List::of(items, page.next)))
}

/// Shows one recording.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id")), responses(
    (status = 200, description = "The recording", body = Recording), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
) -> Result<Json<Recording>, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    Ok(Json(shown(&app.gateway.find_recording(&caller, id).await?)))
}

/// Deletes a recording. Its hash, and who deleted it, remain.
#[utoipa::path(delete, path = "/api/v1/recordings/{recording}", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id")), responses(
    (status = 204, description = "Deleted"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    app.gateway.delete_recording(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a recording as asciicast v2, for any player.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}/cast", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id")), responses(
    (status = 200, description = "asciicast v2", body = String, content_type = "application/x-asciicast"), Fails,
))]
pub async fn cast(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
) -> Result<Response, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    let (_, path) = app.gateway.open_recording(&caller, id, "play").await?;
    let pieces = adit_core::recording::cast(path);
    Ok(attachment(pieces, "application/x-asciicast", &format!("{id}.cast")))
}

/// Gives a recording as it is stored, for an offline check.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}/raw", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id")), responses(
    (status = 200, description = "The chunks", body = Vec<u8>, content_type = "application/octet-stream"), Fails,
))]
pub async fn raw(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
) -> Result<Response, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    let (_, path) = app.gateway.open_recording(&caller, id, "download").await?;
    let pieces = adit_core::recording::raw(path);
    Ok(attachment(pieces, "application/octet-stream", &format!("{id}.adr")))
}

// AUD-19: a file to keep, whatever is in it.
fn attachment(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    kind: &'static str,
    name: &str,
) -> Response {
    let stream = futures_util::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

/// What was checked of a recording.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifiedRecording)]
pub struct Verified {
    /// Whether everything that can be proved is proved.
    ok: bool,
    /// `proven`, `unproven`, `broken` or `deleted`.
    outcome: &'static str,
    checked: Checked,
    /// The first byte that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad_byte: Option<u64>,
    sentence: String,
}

/// What was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    chunks: u64,
    bytes: u64,
    /// Whether the signature of its last chunk is the gateway's.
    signature: String,
    /// Whether the audit log holds the same hash.
    audit: String,
}

/// Verifies a recording: its chain of chunks, its signature, and the audit log's copy of its hash.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}/verify", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id")), responses(
    (status = 200, description = "What was found", body = Verified), Fails,
))]
pub async fn verify(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
) -> Result<Json<Verified>, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    let report = app.gateway.verify_recording(&caller, id).await?;
    Ok(Json(Verified {
        ok: report.outcome == Outcome::Proven,
        outcome: match report.outcome {
            Outcome::Proven => "proven",
            Outcome::Unproven => "unproven",
            Outcome::Broken => "broken",
            Outcome::Deleted => "deleted",
        },
        checked: Checked {
            chunks: report.chunks,
            bytes: report.bytes,
            signature: format!("{:?}", report.signature).to_lowercase(),
            audit: format!("{:?}", report.audit).to_lowercase(),
        },
        first_bad_byte: report.first_bad.as_ref().map(|broken| broken.first),
        sentence: report.sentence,
    }))
}

/// What to search for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// A text, in any case.
    #[param(min_length = 1, max_length = 200)]
    q: String,
}

/// A moment at which a text came on screen.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hit {
    /// Seconds since the start.
    at: f64,
    /// The row, from the top.
    row: u64,
    /// The row's text.
    text: String,
}

/// Searches what was on screen.
#[utoipa::path(get, path = "/api/v1/recordings/{recording}/search", tag = "recordings",
    params(("recording" = String, Path, description = "Its session's id"), SearchQuery), responses(
    (status = 200, description = "Where it came on screen", body = List<Hit>), Fails,
))]
pub async fn search(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(recording): Path<String>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<List<Hit>>, ApiError> {
    let id = api::id(&recording, Code::RecordingUnknown)?;
    let found = app.gateway.search_recording(&caller, id, &query.q).await?;
    let items = found.hits.into_iter().map(|hit| Hit {
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds is far below 2^52")]
        at: hit.at_ms as f64 / 1000.0,
        row: hit.row as u64,
        text: hit.text,
    });
    Ok(Json(List { items: items.collect(), next: None }))
}
