//! Tenants: for people of the first one. To everybody else there is nothing at these addresses.

use std::sync::Arc;

use adit_domain::Code;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    id: String,
    #[schema(example = "acme")]
    name: String,
    created_at: String,
}

fn shown(tenant: &adit_store::Tenant) -> Tenant {
    Tenant {
        id: tenant.id.to_string(),
        name: tenant.name.clone(),
        created_at: api::time(tenant.created_at),
    }
}

/// Lists the tenants.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", responses(
    (status = 200, description = "The tenants", body = List<Tenant>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Tenant>>, ApiError> {
    let tenants = app.gateway.list_tenants(&caller).await?;
    Ok(Json(List { items: tenants.iter().map(shown).collect(), next: None }))
}

/// A tenant to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// 1 to 64 of a-z 0-9 . _ -
    #[schema(example = "acme")]
    name: String,
    /// The name of its first administrator.
    #[schema(example = "ann")]
    admin: String,
}

/// A new tenant, with its first administrator's way in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeTenant {
    tenant: Tenant,
    admin: String,
    /// The administrator's sign-in link, shown once.
    url: String,
    expires_at: String,
}

/// Makes a tenant with its first administrator.
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", request_body = NewTenant, responses(
    (status = 201, description = "The tenant", body = MadeTenant), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewTenant>,
) -> Result<(StatusCode, Json<MadeTenant>), ApiError> {
    let (tenant, admin, issued) = app.gateway.add_tenant(&caller, &body.name, &body.admin).await?;
    let made = MadeTenant {
        tenant: shown(&tenant),
        admin: admin.name.name().to_owned(),
        url: super::user::sign_in_url(&app.gateway.settings.url, issued.secret.expose()),
        expires_at: issued.expires_at.map(api::time).unwrap_or_default(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Removes a tenant. What its people and machines hold opens nothing any more; their sessions end within a second.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}", tag = "tenants",
    params(("tenant" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(tenant): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_tenant(&caller, api::id(&tenant, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
