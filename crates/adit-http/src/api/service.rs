//! Services: the clients of the OAuth2 server.

use std::sync::Arc;

use adit_core::service::ServiceWish;
use adit_domain::service::ClientKind;
use adit_domain::{Capabilities, Capability, Code};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::user::Nothing;
use crate::api::{self, Body, List, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its id, which is its `client_id`.
    client_id: String,
    #[schema(example = "ci")]
    name: String,
    /// `confidential` if it keeps a secret, else `public`.
    #[schema(example = "confidential")]
    kind: String,
    /// The most that its tokens open.
    scopes: Vec<String>,
    /// Where users may be sent back to.
    redirect_uris: Vec<String>,
    created_at: String,
}

fn shown(service: &adit_store::Service) -> Service {
    Service {
        client_id: service.principal.id.to_string(),
        name: service.principal.name.name().to_owned(),
        kind: service.kind.as_str().to_owned(),
        scopes: service.scopes.names(),
        redirect_uris: service.redirect_uris.clone(),
        created_at: api::time(service.created_at),
    }
}

/// Lists services.
#[utoipa::path(get, path = "/api/v1/services", tag = "access", params(PageQuery), responses(
    (status = 200, description = "A page of services", body = List<Service>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Service>>, ApiError> {
    let (items, next) = app.gateway.list_services(&caller, &page.paging()?).await?;
    Ok(Json(List::of(items.iter().map(shown).collect(), next)))
}

/// What a service is to be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewService {
    /// 1 to 64 of a-z 0-9 . _ @ + -
    #[schema(example = "ci")]
    name: String,
    /// The most that its tokens open: names of capabilities.
    scopes: Vec<String>,
    /// Whether it is a program on users' own machines, which keeps no secret.
    #[serde(default)]
    public: bool,
    /// Where users may be sent back to, compared byte for byte.
    #[serde(default)]
    redirect_uris: Vec<String>,
}

/// A service, and its secret, shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddedService {
    #[serde(flatten)]
    service: Service,
    /// Absent for a public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// Adds a service, which can do nothing until a grant gives it a role.
#[utoipa::path(post, path = "/api/v1/services", tag = "access", request_body = NewService, responses(
    (status = 201, description = "The service; its secret is shown this once", body = AddedService), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewService>,
) -> Result<(StatusCode, Json<AddedService>), ApiError> {
    let wish = ServiceWish {
        name: body.name,
        kind: if body.public { ClientKind::Public } else { ClientKind::Confidential },
        scopes: read_scopes(&body.scopes)?,
        redirect_uris: body.redirect_uris,
    };
    let added = app.gateway.add_service(&caller, wish).await?;
    let client_secret = added.secret.map(|secret| secret.expose().clone());
    let answer = AddedService { service: shown(&added.service), client_secret };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn read_scopes(names: &[String]) -> Result<Capabilities, ApiError> {
    let one = |name: &String| {
        name.parse::<Capability>().map_err(|_| {
            let bad = adit_domain::scope::read(name).err();
            let sentence =
                bad.map_or_else(|| "A scope has a name.".to_owned(), |bad| bad.to_string());
            ApiError::said(Code::RequestInvalid, sentence)
        })
    };
    names.iter().map(one).collect()
}

/// A secret of a service, without the secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSecret {
    id: String,
    /// Its first characters.
    prefix: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// A service with its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownService {
    #[serde(flatten)]
    service: Service,
    /// Those that count.
    secrets: Vec<ServiceSecret>,
}

/// Shows a service.
#[utoipa::path(get, path = "/api/v1/services/{service}", tag = "access",
    params(("service" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The service", body = ShownService), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(service): Path<String>,
) -> Result<Json<ShownService>, ApiError> {
    let id = api::id(&service, Code::NotFound)?;
    let (service, secrets) = app.gateway.show_service(&caller, id).await?;
    let secrets = secrets.into_iter().map(|secret| ServiceSecret {
        id: secret.id.to_string(),
        prefix: secret.prefix,
        created_at: api::time(secret.created_at),
        expires_at: secret.expires_at.map(api::time),
    });
    Ok(Json(ShownService { service: shown(&service), secrets: secrets.collect() }))
}

/// Removes a service: its secrets, grants, tokens and live sessions end.
#[utoipa::path(delete, path = "/api/v1/services/{service}", tag = "access",
    params(("service" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(service): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_service(&caller, api::id(&service, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A new secret, shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotatedSecret {
    client_id: String,
    client_secret: String,
    /// Until when the secrets before it count.
    old_until: String,
}

/// Gives a service a new secret; those before it count for a day.
#[utoipa::path(post, path = "/api/v1/services/{service}/secrets", tag = "access",
    params(("service" = String, Path, description = "Its id")), request_body = Nothing, responses(
    (status = 201, description = "The secret, shown this once", body = RotatedSecret), Fails,
))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(service): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<RotatedSecret>), ApiError> {
    let rotated = app.gateway.rotate_service(&caller, api::id(&service, Code::NotFound)?).await?;
    let answer = RotatedSecret {
        client_id: service,
        client_secret: rotated.secret.expose().clone(),
        old_until: api::time(rotated.old_until),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
