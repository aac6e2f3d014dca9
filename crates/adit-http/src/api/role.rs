//! Roles: what they allow, and those that people made.

use std::sync::Arc;

use adit_domain::policy::Scopes;
use adit_domain::template::name::BadNeededScope;
use adit_domain::{Capabilities, Capability, Code};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{Body, List, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A role.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    #[schema(example = "viewer")]
    name: String,
    /// As `scope:action`.
    capabilities: Vec<String>,
    /// The scopes of templates that it holds; `*` stands for all, which only built-in roles hold.
    template_scopes: Vec<String>,
    /// Whether every gateway knows it; such a role does not change.
    built_in: bool,
}

fn shown(role: &adit_store::Role) -> Role {
    Role {
        name: role.name.clone(),
        capabilities: role.capabilities.names(),
        template_scopes: match &role.scopes {
            Scopes::All => vec!["*".to_owned()],
            Scopes::Listed(list) => list.iter().map(ToString::to_string).collect(),
        },
        built_in: adit_domain::role::BuiltInRole::find(&role.name).is_some(),
    }
}

/// Lists the roles.
#[utoipa::path(get, path = "/api/v1/roles", tag = "access", responses(
    (status = 200, description = "The roles", body = List<Role>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Role>>, ApiError> {
    let roles = app.gateway.store.tenant(caller.principal.tenant).list_roles().await?;
    Ok(Json(List { items: roles.iter().map(shown).collect(), next: None }))
}

/// A role to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRole {
    /// 1 to 64 of a-z 0-9 . _ -
    #[schema(example = "deployer")]
    name: String,
    /// As `scope:action`.
    capabilities: Vec<String>,
    /// The scopes of templates that it is to hold, such as `read:files`.
    #[serde(default)]
    template_scopes: Vec<String>,
}

/// Makes a role.
#[utoipa::path(post, path = "/api/v1/roles", tag = "access", request_body = NewRole, responses(
    (status = 201, description = "The role", body = Role), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewRole>,
) -> Result<(StatusCode, Json<Role>), ApiError> {
    let (capabilities, scopes) = (read(&body.capabilities)?, read_scopes(&body.template_scopes)?);
    let role = adit_store::Role { name: body.name, capabilities, scopes };
    app.gateway.add_role(&caller, role.clone()).await?;
    Ok((StatusCode::CREATED, Json(shown(&role))))
}

/// What a role is to allow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowed {
    /// As `scope:action`, all of them.
    capabilities: Vec<String>,
    /// The scopes of templates that it is to hold, all of them.
    #[serde(default)]
    template_scopes: Vec<String>,
}

/// Replaces what a role allows. What it no longer allows ends within a second.
#[utoipa::path(put, path = "/api/v1/roles/{role}", tag = "access", request_body = Allowed,
    params(("role" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The role", body = Role), Fails,
))]
pub async fn change(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(role): Path<String>,
    Body(body): Body<Allowed>,
) -> Result<Json<Role>, ApiError> {
    let (capabilities, scopes) = (read(&body.capabilities)?, read_scopes(&body.template_scopes)?);
    let role = adit_store::Role { name: role, capabilities, scopes };
    app.gateway.change_role(&caller, role.clone()).await?;
    Ok(Json(shown(&role)))
}

/// Removes a role, and takes it away from whoever has it.
#[utoipa::path(delete, path = "/api/v1/roles/{role}", tag = "access",
    params(("role" = String, Path, description = "Its name")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(role): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_role(&caller, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads capabilities by their names.
///
/// # Errors
/// [`Code::RequestInvalid`] that names the one that is none.
pub fn read(names: &[String]) -> Result<Capabilities, ApiError> {
    let one = |name: &String| {
        name.parse::<Capability>().map_err(|_| {
            let known: Vec<&str> = Capability::ALL.iter().map(|one| one.as_str()).collect();
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let sentence =
                format!("There is no capability {shown}. There are {}.", known.join(", "));
            ApiError::said(Code::RequestInvalid, sentence)
        })
    };
    names.iter().map(one).collect()
}

fn read_scopes(names: &[String]) -> Result<Scopes, ApiError> {
    let one = |name: &String| {
        if name.parse::<Capability>().is_ok() {
            let sentence = format!("{name} is a capability; give it with the others.");
            return Err(ApiError::said(Code::RequestInvalid, sentence));
        }
        name.parse().map_err(|error: BadNeededScope| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            ApiError::said(Code::RequestInvalid, format!("`{shown}` is no scope: {error}."))
        })
    };
    Ok(Scopes::Listed(names.iter().map(one).collect::<Result<_, _>>()?))
}
