//! Instances and assignments.

use std::sync::Arc;

use adit_core::reach::{Offer, instance_scope, read_instance_scope};
use adit_domain::reach::{Health, Networks, peer_label};
use adit_domain::{Code, Timestamp};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Asking, Done, TransportOf, invalid, peer, preferred, strategies};
use crate::api::{self, Body, Path, Query};
use crate::app::App;
use crate::problem::{ApiError, Fails};

/// What a machine offers.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewInstanceOf {
    /// A registered capability that the machine holds.
    #[schema(example = "shell:connect")]
    scope: String,
    /// How it is reached.
    transport: TransportOf,
}

/// An instance that was offered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferedOf {
    ok: bool,
    /// 32 hexadecimal digits.
    instance_id: String,
    /// `scope:instanceId`, as assignments name it.
    instance_scope: String,
}

/// Offers an instance: 201 for a new one, 200 for the same again.
#[utoipa::path(post, path = "/api/tickets/instances", tag = "tickets", request_body = NewInstanceOf, responses(
    (status = 201, description = "It is offered", body = OfferedOf),
    (status = 200, description = "It was there; how it is reached was brought up to date", body = OfferedOf), Fails,
))]
pub async fn offer(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Body(body): Body<NewInstanceOf>,
) -> Result<(StatusCode, Json<OfferedOf>), ApiError> {
    guest.peer()?;
    let transport = body.transport;
    let offer = Offer {
        scope: body.scope,
        strategies: strategies(&transport.strategies)?,
        preferred: preferred(transport.preferred.as_deref())?,
        direct: transport.direct.map(|direct| (direct.host, direct.port)),
    };
    let (id, capability, new) = app.gateway.offer_instance(&guest, offer).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let offered = OfferedOf {
        ok: true,
        instance_id: id.0.simple().to_string(),
        instance_scope: instance_scope(&capability, id),
    };
    Ok((status, Json(offered)))
}

/// Says that the owner of an instance is there. For its owner and for operators.
#[utoipa::path(post, path = "/api/tickets/instances/{id}/heartbeat", tag = "tickets",
    params(("id" = String, Path, description = "The instance's id")),
    responses((status = 200, description = "Noted", body = Done), Fails))]
pub async fn heartbeat(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    app.gateway.hear_instance(&guest, &id).await?;
    Ok(Json(Done::OK))
}

/// An instance that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedInstance {
    ok: bool,
    instance_id: String,
}

/// Removes an instance with its assignments, tickets and sessions. For its owner and for operators.
#[utoipa::path(delete, path = "/api/tickets/instances/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The instance's id")),
    responses((status = 200, description = "It is gone", body = RemovedInstance), Fails))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
) -> Result<Json<RemovedInstance>, ApiError> {
    let id = app.gateway.remove_instance(&guest, &id).await?;
    Ok(Json(RemovedInstance { ok: true, instance_id: id.0.simple().to_string() }))
}

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceOf {
    instance_id: String,
    #[schema(example = "shell:connect")]
    scope: String,
    instance_scope: String,
    /// Who offers it.
    agent_label: String,
    transport: TransportOf,
    /// `active`, `stale` after five minutes without a heartbeat, `dead` after an hour.
    status: &'static str,
    registered_at: String,
    last_heartbeat: String,
}

impl InstanceOf {
    pub(super) fn of(one: &adit_store::Instance, now: Timestamp, networks: &Networks) -> Self {
        Self {
            instance_id: one.id.0.simple().to_string(),
            scope: one.capability.to_string(),
            instance_scope: instance_scope(&one.capability, one.id),
            agent_label: peer_label(&one.owner),
            transport: TransportOf::of(&one.transport, networks),
            status: Health::of(one.heard_at, now).as_str(),
            registered_at: api::time(one.created_at),
            last_heartbeat: api::time(one.heard_at),
        }
    }
}

/// An assignment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentOf {
    /// Who may be let in.
    #[schema(example = "web-2")]
    agent_label: String,
    /// To what: `scope:instanceId`.
    instance_scope: String,
    assigned_at: String,
    assigned_by: String,
}

impl AssignmentOf {
    pub(super) fn of(one: &adit_store::Assignment) -> Self {
        Self {
            agent_label: peer_label(&one.target),
            instance_scope: instance_scope(&one.capability, one.instance),
            assigned_at: api::time(one.assigned_at),
            assigned_by: one.assigned_by.clone(),
        }
    }
}

/// Who is to be let in, and to what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewAssignment {
    /// A machine's label, or `plugin-agent:LABEL:NAME`; 1 to 150 characters.
    agent_label: String,
    /// `scope:instanceId`; 1 to 200 characters.
    instance_scope: String,
}

/// An assignment that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Assigned {
    ok: bool,
    assignment: AssignmentOf,
}

/// The longest scope of an instance, in characters (TIX-30).
const MAX_INSTANCE_SCOPE: usize = 200;

/// Assigns a machine to an instance: 201 for a new assignment, 200 for one that was there. For operators.
#[utoipa::path(post, path = "/api/tickets/assignments", tag = "tickets", request_body = NewAssignment, responses(
    (status = 201, description = "It is assigned", body = Assigned),
    (status = 200, description = "It was", body = Assigned), Fails,
))]
pub async fn assign(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Body(body): Body<NewAssignment>,
) -> Result<(StatusCode, Json<Assigned>), ApiError> {
    guest.operator()?;
    if !(1..=MAX_INSTANCE_SCOPE).contains(&body.instance_scope.len()) {
        return Err(invalid("instanceScope is 1 to 200 characters"));
    }
    let target = peer(&body.agent_label)?;
    let (made, new) = app.gateway.assign(&guest, &target, &body.instance_scope).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Assigned { ok: true, assignment: AssignmentOf::of(&made) })))
}

/// Which assignments.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentQuery {
    /// Those of a machine.
    agent_label: Option<String>,
    /// Those to an instance.
    instance_scope: Option<String>,
}

/// Assignments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Assignments {
    assignments: Vec<AssignmentOf>,
}

/// Lists assignments, the oldest first. For operators.
#[utoipa::path(get, path = "/api/tickets/assignments", tag = "tickets", params(AssignmentQuery), responses(
    (status = 200, description = "Those that fit", body = Assignments), Fails,
))]
pub async fn assignments(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Query(query): Query<AssignmentQuery>,
) -> Result<Json<Assignments>, ApiError> {
    guest.operator()?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let target = given(query.agent_label).as_deref().map(peer).transpose()?;
    let instance = match given(query.instance_scope) {
        None => None,
        Some(text) => {
            let (_, id) = read_instance_scope(&text)
                .ok_or_else(|| invalid("instanceScope is scope:instanceId"))?;
            Some(id)
        }
    };
    let found = app.gateway.list_assignments(&guest, target.as_ref(), instance).await?;
    Ok(Json(Assignments { assignments: found.iter().map(AssignmentOf::of).collect() }))
}

/// Takes an assignment back. For operators.
#[utoipa::path(delete, path = "/api/tickets/assignments/{agentLabel}/{instanceScope}", tag = "tickets",
    params(
        ("agentLabel" = String, Path, description = "Who"),
        ("instanceScope" = String, Path, description = "To what"),
    ),
    responses((status = 200, description = "It is gone", body = Done), Fails))]
pub async fn unassign(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path((label, scope)): Path<(String, String)>,
) -> Result<Json<Done>, ApiError> {
    guest.operator()?;
    let unknown = || ApiError::said(Code::NotFound, "There is no such assignment.");
    let target = peer(&label).map_err(|_| unknown())?;
    app.gateway.unassign(&guest, &target, &scope).await?;
    Ok(Json(Done::OK))
}
