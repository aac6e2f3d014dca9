//! A user's sign-ins: browsers and command lines that are signed in now.

use std::sync::Arc;

use adit_domain::{Code, PrincipalId, TokenId};
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

/// A browser or a command line that is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    id: String,
    /// `console` for a browser, `client` for the command line.
    kind: String,
    /// Whether it is the one that asks.
    current: bool,
    /// What was shown: `link`, `password`, `passkey`, `invitation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// The address that it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The browser or program, in a few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// When a second factor was last shown with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_at: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn shown(credential: adit_store::Credential, own: TokenId) -> SignedIn {
    let is_cookie = credential.kind == adit_store::CredentialKind::Cookie;
    SignedIn {
        id: credential.id.to_string(),
        kind: if is_cookie { "console" } else { "client" }.to_owned(),
        current: credential.id == own,
        method: credential.origin.method,
        address: credential.origin.address,
        agent: credential.origin.agent,
        second_factor_at: credential.origin.second_factor_at.map(api::time),
        created_at: api::time(credential.created_at),
        last_used_at: credential.last_used_at.map(api::time),
        expires_at: credential.expires_at.map(api::time),
    }
}

/// Lists where a user is signed in: everybody their own, administrators anybody's.
#[utoipa::path(get, path = "/api/v1/users/{user}/sign-ins", tag = "sign-in",
    params(("user" = String, Path, description = "Its id"), PageQuery), responses(
    (status = 200, description = "A page of sign-ins that count", body = List<SignedIn>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<SignedIn>>, ApiError> {
    let id: PrincipalId = api::id(&user, Code::NotFound)?;
    let found = app.gateway.sign_ins_of(&caller, id, &page.paging()?).await?;
    let items = found.items.into_iter().map(|one| shown(one, caller.credential));
    Ok(Json(List::of(items.collect(), found.next)))
}

/// Ends one sign-in, and every terminal that rests on it.
#[utoipa::path(delete, path = "/api/v1/users/{user}/sign-ins/{sign_in}", tag = "sign-in",
    params(("user" = String, Path, description = "Its id"), ("sign_in" = String, Path, description = "The sign-in's id")), responses(
    (status = 204, description = "Ended"), Fails,
))]
pub async fn end(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path((user, sign_in)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let user: PrincipalId = api::id(&user, Code::NotFound)?;
    let sign_in: TokenId = api::id(&sign_in, Code::NotFound)?;
    app.gateway.end_sign_in(&caller, user, sign_in).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    ended: u64,
}

/// Ends every sign-in of a user but the one that asks.
#[utoipa::path(post, path = "/api/v1/users/{user}/sign-ins/end", tag = "sign-in",
    params(("user" = String, Path, description = "Its id")), request_body = Nothing, responses(
    (status = 200, description = "How many ended", body = Ended), Fails,
))]
pub async fn end_all(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<Ended>, ApiError> {
    let user: PrincipalId = api::id(&user, Code::NotFound)?;
    Ok(Json(Ended { ended: app.gateway.end_sign_ins(&caller, user).await? }))
}

/// Takes every second factor of a user away: who lost them signs in with a link and adds new ones.
#[utoipa::path(delete, path = "/api/v1/users/{user}/factors", tag = "access",
    params(("user" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Taken away"), Fails,
))]
pub async fn reset_factors(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
) -> Result<StatusCode, ApiError> {
    let user: PrincipalId = api::id(&user, Code::NotFound)?;
    app.gateway.reset_factors(&caller, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
