//! Requests for access: asked for with a reason, approved or denied by somebody else.

use std::sync::Arc;
use std::time::Duration;

use adit_core::request::{Asked, Verdict, waits};
use adit_domain::{Code, MachineLabel, Timestamp};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Named, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A request for access.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessRequest {
    id: String,
    principal: Named,
    role: String,
    /// The machines' labels as they were asked for; empty: everything.
    machines: Vec<String>,
    reason: String,
    /// For how long.
    seconds: u64,
    /// `pending`, `approved`, `denied`, `withdrawn` or `expired`.
    state: &'static str,
    /// What the one who decided said.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    /// The grant that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    created_at: String,
    /// Until when somebody may decide.
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
}

/// Shows a request as it stands at a time.
pub fn shown(request: &adit_store::AccessRequest, now: Timestamp) -> AccessRequest {
    let pending = request.state == adit_store::RequestState::Pending;
    AccessRequest {
        id: request.id.to_string(),
        principal: Named::from(&request.principal),
        role: request.role.clone(),
        machines: request.labels.clone(),
        reason: request.reason.clone(),
        seconds: request.seconds,
        state: if pending && !waits(request, now) { "expired" } else { request.state.as_str() },
        note: request.note.clone(),
        decided_by: request.decided_by.clone(),
        grant: request.grant.map(|id| id.to_string()),
        created_at: api::time(request.created_at),
        expires_at: api::time(request.expires_at),
        decided_at: request.decided_at.map(api::time),
    }
}

/// Lists requests, the newest first: everybody's for whoever may approve, one's own otherwise.
#[utoipa::path(get, path = "/api/v1/access-requests", tag = "access", params(PageQuery), responses(
    (status = 200, description = "A page of requests", body = List<AccessRequest>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<AccessRequest>>, ApiError> {
    let all = app.gateway.sees_all_requests(&caller).await?;
    let of = (!all).then_some(caller.principal.id);
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_requests(of, &page.paging()?).await?;
    let now = app.gateway.clock.now();
    let items = found.items.iter().map(|request| shown(request, now)).collect();
    Ok(Json(List::of(items, found.next)))
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRequest {
    /// Which role.
    #[schema(example = "operator")]
    role: String,
    /// On which machines, by label; absent: on everything.
    #[serde(default)]
    machines: Vec<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// For how long, in seconds; at most 30 days.
    #[schema(minimum = 1, maximum = 2_592_000)]
    seconds: u64,
}

/// Asks for a role for a time.
#[utoipa::path(post, path = "/api/v1/access-requests", tag = "access", request_body = NewRequest, responses(
    (status = 201, description = "The request", body = AccessRequest), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewRequest>,
) -> Result<(StatusCode, Json<AccessRequest>), ApiError> {
    let labels: Result<Vec<MachineLabel>, _> =
        body.machines.iter().map(|text| text.parse()).collect();
    let bad =
        |e: adit_domain::machine::BadLabel| ApiError::said(Code::RequestInvalid, e.to_string());
    let asked = Asked {
        role: body.role,
        labels: labels.map_err(bad)?,
        reason: body.reason,
        length: Duration::from_secs(body.seconds),
    };
    let request = app.gateway.ask_access(&caller, asked).await?;
    Ok((StatusCode::CREATED, Json(shown(&request, app.gateway.clock.now()))))
}

/// What is decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    /// `approve` or `deny`.
    decision: Decided,
    /// What is said to the one who asked.
    #[schema(max_length = 500)]
    note: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decided {
    /// It becomes a grant.
    Approve,
    /// It does not.
    Deny,
}

/// Decides about somebody else's request.
#[utoipa::path(post, path = "/api/v1/access-requests/{request}/decision", tag = "access", request_body = NewDecision,
    params(("request" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The request, decided", body = AccessRequest), Fails,
))]
pub async fn decide(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(request): Path<String>,
    Body(body): Body<NewDecision>,
) -> Result<Json<AccessRequest>, ApiError> {
    let id = api::id(&request, Code::NotFound)?;
    let verdict = match body.decision {
        Decided::Approve => Verdict::Approve,
        Decided::Deny => Verdict::Deny,
    };
    let request = app.gateway.decide_access(&caller, id, verdict, body.note).await?;
    Ok(Json(shown(&request, app.gateway.clock.now())))
}

/// Takes one's own request back.
#[utoipa::path(delete, path = "/api/v1/access-requests/{request}", tag = "access",
    params(("request" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Withdrawn"), Fails,
))]
pub async fn withdraw(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(request): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.withdraw_access(&caller, api::id(&request, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
