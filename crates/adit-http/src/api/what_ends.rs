//! What a change of rights would end, before it is made.

use std::sync::Arc;

use adit_core::what_ends::Proposal;
use adit_domain::{Capabilities, Code};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Named};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A change that is thought about: one of its fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// A grant that is taken away, by its id.
    remove_grant: Option<String>,
    /// Somebody who is removed: `user:NAME`.
    remove_principal: Option<String>,
    /// A team that is removed, by its name.
    remove_team: Option<String>,
    /// Somebody who leaves a team.
    leave_team: Option<Leaving>,
    /// A role that allows something else.
    change_role: Option<Changing>,
    /// A role that is removed, by its name.
    remove_role: Option<String>,
    /// A machine that is removed, by its id or label.
    remove_machine: Option<String>,
}

/// Somebody who leaves a team.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// Who: `user:NAME`.
    principal: String,
    /// Which team.
    team: String,
}

/// A role that allows something else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changing {
    /// Which role.
    role: String,
    /// What it is to allow.
    capabilities: Vec<String>,
}

/// A live session that would end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    session: String,
    principal: Named,
    machine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
}

/// Lists the live sessions that a change would end. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/what-ends", tag = "access", request_body = Change, responses(
    (status = 200, description = "What would end", body = List<Ending>), Fails,
))]
pub async fn what_ends(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<Change>,
) -> Result<Json<List<Ending>>, ApiError> {
    app.gateway.permit_tenant(&caller, adit_domain::Capability::AccessManage).await?;
    let proposal = read(&app, &caller, body).await?;
    let sessions = app.gateway.what_ends(&caller, &proposal).await?;
    let items = sessions.iter().map(|session| Ending {
        session: session.id.to_string(),
        principal: Named::from(&session.principal),
        machine: session.machine_label.to_string(),
        started_at: session.started_at.map(api::time),
    });
    Ok(Json(List { items: items.collect(), next: None }))
}

async fn read(app: &App, caller: &adit_core::Caller, body: Change) -> Result<Proposal, ApiError> {
    let mut said: Vec<Proposal> = Vec::new();
    if let Some(id) = body.remove_grant {
        said.push(Proposal::RemoveGrant(api::id(&id, Code::NotFound)?));
    }
    if let Some(name) = body.remove_principal {
        let account = app.gateway.find_named(caller, &name).await?;
        said.push(Proposal::RemovePrincipal(account.principal.id));
    }
    if let Some(name) = body.remove_team {
        said.push(Proposal::RemoveTeam(app.gateway.find_team(caller, &name).await?.name));
    }
    if let Some(Leaving { principal, team }) = body.leave_team {
        let account = app.gateway.find_named(caller, &principal).await?;
        let team = app.gateway.find_team(caller, &team).await?;
        said.push(Proposal::LeaveTeam(account.principal.id, team.name));
    }
    if let Some(Changing { role, capabilities }) = body.change_role {
        said.push(Proposal::ChangeRole(role, super::role::read(&capabilities)?));
    }
    if let Some(role) = body.remove_role {
        said.push(Proposal::ChangeRole(role, Capabilities::NONE));
    }
    if let Some(machine) = body.remove_machine {
        said.push(Proposal::RemoveMachine(app.gateway.find_machine(caller, &machine).await?.id));
    }
    match (said.pop(), said.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(ApiError::said(Code::RequestInvalid, "Say one change.")),
    }
}
