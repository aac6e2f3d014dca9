//! Teams and who is in them.

use std::sync::Arc;

use adit_domain::Capability;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Named, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A team.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Team {
    id: String,
    #[schema(example = "engineers")]
    name: String,
    /// How many are in it.
    members: u64,
    created_at: String,
}

fn shown(team: &adit_store::Team) -> Team {
    Team {
        id: team.id.to_string(),
        name: team.name.clone(),
        members: team.members,
        created_at: api::time(team.created_at),
    }
}

/// Lists teams.
#[utoipa::path(get, path = "/api/v1/teams", tag = "access", params(PageQuery), responses(
    (status = 200, description = "A page of teams", body = List<Team>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Team>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_teams(&page.paging()?).await?;
    Ok(Json(List::of(found.items.iter().map(shown).collect(), found.next)))
}

/// A team to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// 1 to 64 of a-z 0-9 . _ -
    #[schema(example = "engineers")]
    name: String,
}

/// Makes a team.
#[utoipa::path(post, path = "/api/v1/teams", tag = "access", request_body = NewTeam, responses(
    (status = 201, description = "The team", body = Team), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewTeam>,
) -> Result<(StatusCode, Json<Team>), ApiError> {
    let team = app.gateway.add_team(&caller, &body.name).await?;
    Ok((StatusCode::CREATED, Json(shown(&team))))
}

/// Removes a team. What its roles allowed ends within a second.
#[utoipa::path(delete, path = "/api/v1/teams/{team}", tag = "access",
    params(("team" = String, Path, description = "Its name")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(team): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_team(&caller, &team).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody in a team.
#[derive(Debug, Serialize, ToSchema)]
pub struct Member {
    principal: Named,
    /// Who says so: `local` for people, else the name of the company's sign-in.
    source: String,
}

/// Lists who is in a team.
#[utoipa::path(get, path = "/api/v1/teams/{team}/members", tag = "access",
    params(("team" = String, Path, description = "Its name")), responses(
    (status = 200, description = "Its members", body = List<Member>), Fails,
))]
pub async fn members(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(team): Path<String>,
) -> Result<Json<List<Member>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let team = app.gateway.find_team(&caller, &team).await?;
    let found = app.gateway.store.tenant(caller.principal.tenant).list_members(team.id).await?;
    let items = found
        .into_iter()
        .map(|member| Member { principal: Named::from(&member.principal), source: member.source });
    Ok(Json(List { items: items.collect(), next: None }))
}

/// Who is to join.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Who: `user:NAME`, `service:NAME`.
    #[schema(example = "user:bob")]
    principal: String,
}

/// Takes somebody into a team.
#[utoipa::path(post, path = "/api/v1/teams/{team}/members", tag = "access", request_body = NewMember,
    params(("team" = String, Path, description = "Its name")), responses(
    (status = 204, description = "In the team"), Fails,
))]
pub async fn join(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(team): Path<String>,
    Body(body): Body<NewMember>,
) -> Result<StatusCode, ApiError> {
    app.gateway.add_member(&caller, &team, &body.principal).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes somebody out of a team. What the team's roles allowed ends within a second.
#[utoipa::path(delete, path = "/api/v1/teams/{team}/members/{principal}", tag = "access",
    params(
        ("team" = String, Path, description = "Its name"),
        ("principal" = String, Path, description = "Who: `user:NAME`"),
    ), responses(
    (status = 204, description = "Out of the team"), Fails,
))]
pub async fn leave(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path((team, principal)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_member(&caller, &team, &principal).await?;
    Ok(StatusCode::NO_CONTENT)
}
