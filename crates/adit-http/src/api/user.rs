//! People and their tokens.

use std::sync::Arc;
use std::time::Duration;

use adit_domain::{Capabilities, Capability, Code, PrincipalId, PrincipalKind};
use adit_store::CredentialKind;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    created_at: String,
}

fn shown(account: &adit_store::Account) -> User {
    User {
        id: account.principal.id.to_string(),
        name: account.principal.name.name().to_owned(),
        email: account.email.clone(),
        created_at: api::time(account.created_at),
    }
}

/// Lists users.
#[utoipa::path(get, path = "/api/v1/users", tag = "access", params(PageQuery), responses(
    (status = 200, description = "A page of users", body = List<User>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<User>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_principals(&page.paging()?).await?;
    let items = found
        .items
        .iter()
        .filter(|account| account.active && account.principal.name.kind() == PrincipalKind::User)
        .map(shown)
        .collect();
    Ok(Json(List::of(items, found.next)))
}

/// Who is to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// 1 to 64 of a-z 0-9 . _ @ + -
    #[schema(example = "bob")]
    name: String,
    /// For the audit log and for people.
    #[schema(max_length = 254)]
    email: Option<String>,
}

/// The longest e-mail address (RFC 5321 §4.5.3.1.3).
const MAX_EMAIL: usize = 254;

/// Adds a user, who can do nothing yet.
#[utoipa::path(post, path = "/api/v1/users", tag = "access", request_body = NewUser, responses(
    (status = 201, description = "The user", body = User), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), ApiError> {
    let odd = |email: &String| {
        email.len() > MAX_EMAIL
            || !email.contains('@')
            || email.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if body.email.as_ref().is_some_and(odd) {
        return Err(ApiError::said(Code::RequestInvalid, "That is not an e-mail address."));
    }
    let account = app.gateway.add_user(&caller, &body.name, body.email).await?;
    Ok((StatusCode::CREATED, Json(shown(&account))))
}

/// Removes a user: tokens, grants and live sessions end.
#[utoipa::path(delete, path = "/api/v1/users/{user}", tag = "access",
    params(("user" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = api::id(&user, Code::NotFound)?;
    if id == caller.principal.id {
        let sentence = "You cannot remove yourself. Ask another administrator.";
        return Err(ApiError::said(Code::Conflict, sentence));
    }
    app.gateway.remove_user(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A sign-in link, shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    url: String,
    expires_at: String,
}

impl Link {
    /// Shows a link and its end.
    pub fn of(url: String, expires_at: Option<adit_domain::Timestamp>) -> Self {
        Self { url, expires_at: expires_at.map(api::time).unwrap_or_default() }
    }
}

/// Makes a single-use sign-in link for a user.
#[utoipa::path(post, path = "/api/v1/users/{user}/sign-in-links", tag = "access",
    params(("user" = String, Path, description = "Its id")), request_body = Nothing, responses(
    (status = 201, description = "The link, ten minutes", body = Link), Fails,
))]
pub async fn issue_link(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<Link>), ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let account = app.gateway.find_user(&caller, api::id(&user, Code::NotFound)?).await?;
    let issued = app.gateway.issue_sign_in_code(&caller.actor(), &account.principal).await?;
    let url = sign_in_url(&app.gateway.settings.url, issued.secret.expose());
    Ok((StatusCode::CREATED, Json(Link::of(url, issued.expires_at))))
}

/// Writes a sign-in link: the code is in the fragment, which browsers send to nobody.
pub fn sign_in_url(url: &str, code: &str) -> String {
    format!("{url}/ui/sign-in#code={code}")
}

/// An empty object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// An API token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    id: String,
    name: String,
    /// Its first characters.
    prefix: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

/// Lists a user's API tokens.
#[utoipa::path(get, path = "/api/v1/users/{user}/tokens", tag = "access",
    params(("user" = String, Path, description = "Its id"), PageQuery), responses(
    (status = 200, description = "A page of tokens", body = List<Token>), Fails,
))]
pub async fn list_tokens(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Token>>, ApiError> {
    let id: PrincipalId = api::id(&user, Code::NotFound)?;
    if !caller.owns(id, Capabilities::NONE) {
        app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
        app.gateway.find_user(&caller, id).await?;
    }
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_credentials(id, CredentialKind::ApiToken, &page.paging()?).await?;
    let items = found.items.iter().map(|token| Token {
        id: token.id.to_string(),
        name: token.name.clone(),
        prefix: token.prefix.clone(),
        created_at: api::time(token.created_at),
        expires_at: token.expires_at.map(api::time),
        last_used_at: token.last_used_at.map(api::time),
        revoked_at: token.revoked_at.map(api::time),
    });
    Ok(Json(List::of(items.collect(), found.next)))
}

/// What an API token is to be like.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// How long it works, in seconds; absent: 90 days. At most a year.
    #[schema(minimum = 1, maximum = 31_536_000)]
    expires_in_seconds: Option<u64>,
}

/// How long a token works unless its maker says.
const TOKEN_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// How long it may.
const MAX_TOKEN_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// An API token, shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    id: String,
    token: String,
    expires_at: String,
}

/// Makes an API token for a user: administrators for anybody, everybody for themselves.
#[utoipa::path(post, path = "/api/v1/users/{user}/tokens", tag = "access",
    params(("user" = String, Path, description = "Its id")), request_body = NewToken, responses(
    (status = 201, description = "The token, shown once", body = IssuedToken), Fails,
))]
pub async fn issue_token(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Body(body): Body<NewToken>,
) -> Result<(StatusCode, Json<IssuedToken>), ApiError> {
    let id: PrincipalId = api::id(&user, Code::NotFound)?;
    if id == caller.principal.id {
        caller.unlimited()?;
    } else {
        app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    }
    let account = app.gateway.find_user(&caller, id).await?;
    let name = body.name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ApiError::said(Code::RequestInvalid, "A token's name is 1 to 64 characters."));
    }
    let life = body.expires_in_seconds.map_or(TOKEN_LIFE, Duration::from_secs).min(MAX_TOKEN_LIFE);
    let issued =
        app.gateway.issue_api_token(&caller.actor(), &account.principal, name, Some(life)).await?;
    let answer = IssuedToken {
        id: issued.id.to_string(),
        token: issued.secret.expose().clone(),
        expires_at: issued.expires_at.map(api::time).unwrap_or_default(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes an API token: one's own, or anybody's for an administrator.
#[utoipa::path(delete, path = "/api/v1/tokens/{token}", tag = "access",
    params(("token" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Revoked"), Fails,
))]
pub async fn revoke_token(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(token): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = api::id(&token, Code::NotFound)?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.find_credential_by_id(id).await?.ok_or(Code::NotFound)?;
    if !caller.owns(found.principal.id, Capabilities::NONE) {
        app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    }
    app.gateway.revoke_credential(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
