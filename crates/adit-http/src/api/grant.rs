//! Roles and grants, and why something is allowed.

use std::sync::Arc;
use std::time::Duration;

use adit_domain::policy::Selection;
use adit_domain::role::BuiltInRole;
use adit_domain::{Capability, Code, MachineLabel};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{self, Body, List, Named, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub struct Role {
    #[schema(example = "viewer")]
    name: String,
    /// As `scope:action`.
    capabilities: Vec<String>,
}

/// Lists the roles.
#[utoipa::path(get, path = "/api/v1/roles", tag = "access", responses(
    (status = 200, description = "The roles", body = List<Role>), Fails,
))]
pub async fn roles(Authenticated(_caller): Authenticated) -> Json<List<Role>> {
    let items = BuiltInRole::ALL.iter().map(|role| Role {
        name: role.as_str().to_owned(),
        capabilities: role.capabilities().names(),
    });
    Json(List { items: items.collect(), next: None })
}

/// A role given to a principal on a selection of machines.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    id: String,
    principal: Named,
    role: String,
    /// The machines' labels; absent: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    created_at: String,
}

fn shown(grant: &adit_store::Grant) -> Grant {
    Grant {
        id: grant.id.to_string(),
        principal: Named::from(&grant.principal),
        role: grant.role.clone(),
        machines: match grant.on {
            Selection::All => None,
            Selection::Machines(_) => Some(grant.machine_labels.clone()),
        },
        expires_at: grant.expires_at.map(api::time),
        created_at: api::time(grant.created_at),
    }
}

/// Whose grants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GrantQuery {
    /// Only of this principal: `user:NAME`.
    principal: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists grants.
#[utoipa::path(get, path = "/api/v1/grants", tag = "access", params(GrantQuery), responses(
    (status = 200, description = "A page of grants", body = List<Grant>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<GrantQuery>,
) -> Result<Json<List<Grant>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let of = match &query.principal {
        None => None,
        Some(name) => Some(app.gateway.find_named(&caller, name).await?.principal.id),
    };
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let page = tenant.list_grants(of, &api::paging(query.cursor.as_deref(), query.limit)?).await?;
    Ok(Json(List::of(page.items.iter().map(shown).collect(), page.next)))
}

/// What is to be granted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewGrant {
    /// To whom.
    #[schema(example = "user:bob")]
    principal: String,
    /// Which role.
    #[schema(example = "viewer")]
    role: String,
    /// On which machines, by label; absent: on everything.
    machines: Option<Vec<String>>,
    /// When it ends by itself, in seconds from now.
    #[schema(minimum = 1)]
    expires_in_seconds: Option<u64>,
}

/// Gives a role to somebody.
#[utoipa::path(post, path = "/api/v1/grants", tag = "access", request_body = NewGrant, responses(
    (status = 201, description = "The grant", body = Grant), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewGrant>,
) -> Result<(StatusCode, Json<Grant>), ApiError> {
    let machines =
        body.machines.map(|list| list.iter().map(|text| read_label(text)).collect()).transpose()?;
    let life = body.expires_in_seconds.map(Duration::from_secs);
    let grant = app.gateway.add_grant(&caller, &body.principal, &body.role, machines, life).await?;
    Ok((StatusCode::CREATED, Json(shown(&grant))))
}

fn read_label(text: &str) -> Result<MachineLabel, ApiError> {
    text.parse().map_err(|error: adit_domain::machine::BadLabel| {
        ApiError::said(Code::RequestInvalid, error.to_string())
    })
}

/// Takes a role away. What it allowed ends within a second.
#[utoipa::path(delete, path = "/api/v1/grants/{grant}", tag = "access",
    params(("grant" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Taken away"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(grant): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_grant(&caller, api::id(&grant, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A question to the policy.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// Who: `user:NAME`.
    principal: String,
    /// May do what: `scope:action`.
    capability: String,
    /// On what: a machine's id or label, or `tenant`.
    target: String,
}

/// The policy's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    allowed: bool,
    sentence: String,
    /// The ids of the grants that allow it.
    by: Vec<String>,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// Says whether a principal may do something on a target, and by what.
#[utoipa::path(get, path = "/api/v1/why", tag = "access", params(WhyQuery), responses(
    (status = 200, description = "The answer", body = Why), Fails,
))]
pub async fn why(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Why>, ApiError> {
    let answer =
        app.gateway.why(&caller, &query.principal, &query.capability, &query.target).await?;
    let adit_core::people::Why { allowed, sentence, by, code } = answer;
    Ok(Json(Why {
        allowed,
        sentence,
        by: by.iter().map(ToString::to_string).collect(),
        code: code.map(|code: Code| code.as_str().to_owned()),
    }))
}
