//! Sessions between machines.

use std::sync::Arc;

use adit_core::reach::Heartbeat;
use adit_domain::Code;
use adit_domain::reach::{GRACE, Lapse, Status, peer_label};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Asking, Done, invalid};
use crate::api::{self, Body, Path, Query};
use crate::app::App;
use crate::problem::{ApiError, Fails};

/// The ticket that opens a session. Whatever else is sent is the gateway's to say, and let pass.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewSession {
    /// The id of a ticket that the caller validated within the last minute.
    ticket_id: String,
}

/// A session between machines.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOf {
    /// 32 hexadecimal digits.
    session_id: String,
    /// The ticket's id as it was sent; in a list its handle.
    ticket_id: String,
    scope: String,
    instance_id: String,
    source: String,
    target: String,
    created_at: String,
    last_activity_at: String,
    /// `active`, `grace` or `dead`.
    status: &'static str,
    reconnect_grace_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Why it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl SessionOf {
    fn of(one: &adit_store::MachineSession, ticket: Option<String>) -> Self {
        Self {
            session_id: one.id.0.simple().to_string(),
            ticket_id: ticket.unwrap_or_else(|| one.ticket.0.simple().to_string()),
            scope: one.capability.to_string(),
            instance_id: one.instance.0.simple().to_string(),
            source: peer_label(&one.source),
            target: peer_label(&one.target),
            created_at: api::time(one.created_at),
            last_activity_at: api::time(one.heard_at),
            status: one.status.as_str(),
            reconnect_grace_seconds: GRACE.as_secs(),
            ended_at: one.ended_at.map(api::time),
            reason: one.reason.map(Lapse::as_str),
        }
    }
}

/// A session that was opened or changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneSession {
    ok: bool,
    session: SessionOf,
}

/// Opens the session of a ticket. For the ticket's target.
#[utoipa::path(post, path = "/api/tickets/sessions", tag = "tickets", request_body = NewSession, responses(
    (status = 201, description = "It lives", body = OneSession), Fails,
))]
pub async fn open(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Body(body): Body<NewSession>,
) -> Result<(StatusCode, Json<OneSession>), ApiError> {
    let session = app.gateway.open_reach(&guest, &body.ticket_id).await?;
    let session = SessionOf::of(&session, Some(body.ticket_id));
    Ok((StatusCode::CREATED, Json(OneSession { ok: true, session })))
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    sessions: Vec<SessionOf>,
}

/// Lists sessions, the newest 1,000 first; one that is over for a day. For operators.
#[utoipa::path(get, path = "/api/tickets/sessions", tag = "tickets", responses(
    (status = 200, description = "The newest first", body = Sessions), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
) -> Result<Json<Sessions>, ApiError> {
    let found = app.gateway.list_reaches(&guest).await?;
    Ok(Json(Sessions { sessions: found.iter().map(|one| SessionOf::of(one, None)).collect() }))
}

/// What a heartbeat is answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeartbeatOf {
    authorized: bool,
    /// Why not: `admin_killed`, `source_revoked`, `capability_removed`, `target_revoked` or `assignment_removed`; `grace_expired`, `inactive` or
    /// `restored` when none of these is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// SHA-256 of the certificates that the other end may show, in hexadecimal; only with `?peer=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "peerCertificates")]
    peer_certificates: Option<Vec<String>>,
}

/// What a heartbeat asks beside.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HeartbeatQuery {
    /// Whether to tell which certificates the other end may show: for ends that meet without the gateway.
    #[serde(default)]
    peer: bool,
}

/// Says that an end of a session is there, and asks whether it may go on. For its ends.
#[utoipa::path(post, path = "/api/tickets/sessions/{id}/heartbeat", tag = "tickets",
    params(("id" = String, Path, description = "The session's id"), HeartbeatQuery),
    responses((status = 200, description = "Whether it may", body = HeartbeatOf), Fails))]
pub async fn heartbeat(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
    Query(query): Query<HeartbeatQuery>,
) -> Result<Json<HeartbeatOf>, ApiError> {
    let peer_certificates = if query.peer {
        let found = app.gateway.peer_certificates(&guest, &id).await?;
        Some(found.iter().map(hex::encode).collect())
    } else {
        None
    };
    let answer = match app.gateway.hear_reach(&guest, &id).await? {
        Heartbeat::Authorized => HeartbeatOf { authorized: true, reason: None, peer_certificates },
        Heartbeat::Ended(reason) => HeartbeatOf {
            authorized: false,
            reason: Some(reason.as_str()),
            peer_certificates: None,
        },
    };
    Ok(Json(answer))
}

/// How a session is left.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SessionChange {
    /// `active` or `grace`.
    status: String,
}

/// Says that an end of a session went for a moment, or is back. For its ends.
#[utoipa::path(patch, path = "/api/tickets/sessions/{id}", tag = "tickets", request_body = SessionChange,
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, description = "As it is now", body = OneSession), Fails))]
pub async fn change(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
    Body(body): Body<SessionChange>,
) -> Result<Json<OneSession>, ApiError> {
    let status = match body.status.parse() {
        Ok(status @ (Status::Active | Status::Grace)) => status,
        Ok(Status::Dead) | Err(_) => return Err(invalid("status is active or grace")),
    };
    let session = app.gateway.change_reach(&guest, &id, status).await?;
    Ok(Json(OneSession { ok: true, session: SessionOf::of(&session, None) }))
}

/// Kills a session: its streams end at once. For operators.
#[utoipa::path(delete, path = "/api/tickets/sessions/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The session's id")),
    responses((status = 200, description = "It is over", body = Done), Fails))]
pub async fn kill(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    match app.gateway.kill_reach(&guest, &id).await {
        Ok(()) => Ok(Json(Done::OK)),
        // It is over already, which is what was asked for.
        Err(refusal) if refusal.code() == Code::ReachOver => Ok(Json(Done::OK)),
        Err(refusal) => Err(refusal.into()),
    }
}
