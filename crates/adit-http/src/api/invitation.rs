//! The first administrator's setup token, and invitations of everybody else.

use std::sync::Arc;

use adit_domain::{Capability, Code, Secret};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::password::{SignInState, entered_response};
use crate::api::sign_in::{browser, visitor};
use crate::api::user::{Link, Nothing};
use crate::api::{self, Body, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// Whether the gateway waits for its first administrator.
#[derive(Debug, Serialize, ToSchema)]
pub struct SetupState {
    /// Whether nobody is there yet.
    needed: bool,
}

/// Says whether the gateway waits for its first administrator.
#[utoipa::path(get, path = "/api/v1/setup", tag = "sign-in", security(()), responses(
    (status = 200, description = "Whether it does", body = SetupState), Fails,
))]
pub async fn setup_state(State(app): State<Arc<App>>) -> Result<Json<SetupState>, ApiError> {
    Ok(Json(SetupState { needed: app.gateway.is_new().await? }))
}

/// The first administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The token that the gateway printed when it started.
    #[serde(default)]
    #[schema(example = "asu_…")]
    token: String,
    /// The administrator's name.
    #[serde(default)]
    #[schema(example = "ann", max_length = 64)]
    name: String,
    /// A password of 12 to 128 characters; without one, a passkey is added afterwards.
    password: Option<String>,
}

/// Makes the first administrator, once, and signs them in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "sign-in", request_body = Setup, security(()), responses(
    (status = 200, description = "Made and signed in", body = SignInState), Fails,
))]
pub async fn set_up(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<Setup>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let visitor = visitor(&peer, &headers);
    let password = body.password.map(Secret::new);
    let entered = app.gateway.set_up(&body.token, &body.name, password, &visitor).await?;
    Ok(entered_response(&peer, &entered))
}

/// Invites a user: a link that works once, for three days, and leads to a password or a passkey.
#[utoipa::path(post, path = "/api/v1/users/{user}/invitations", tag = "access",
    params(("user" = String, Path, description = "Its id")), request_body = Nothing, responses(
    (status = 201, description = "The link, three days", body = Link), Fails,
))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<Link>), ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let account = app.gateway.find_user(&caller, api::id(&user, Code::NotFound)?).await?;
    let issued = app.gateway.issue_invitation(&caller.actor(), &account.principal).await?;
    let url = format!("{}/ui/welcome#code={}", app.gateway.settings.url, issued.secret.expose());
    Ok((StatusCode::CREATED, Json(Link::of(url, issued.expires_at))))
}

/// An invitation that is taken up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The code that the link's fragment carries.
    #[schema(example = "ain_…")]
    code: String,
    /// A password of 12 to 128 characters; without one, a passkey or a password is added afterwards, within a quarter of an hour.
    password: Option<String>,
}

/// Takes up an invitation, once, and signs in.
#[utoipa::path(post, path = "/api/v1/sign-in/invitation", tag = "sign-in", request_body = Acceptance, security(()), responses(
    (status = 200, description = "Signed in", body = SignInState), Fails,
))]
pub async fn accept(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<Acceptance>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let visitor = visitor(&peer, &headers);
    let password = body.password.map(Secret::new);
    let entered = app.gateway.accept_invitation(&body.code, password, &visitor).await?;
    Ok(entered_response(&peer, &entered))
}
