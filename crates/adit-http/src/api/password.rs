//! Passwords: signing in with one, setting one.

use std::sync::Arc;

use adit_core::sign_in::password::Claim;
use adit_core::sign_in::{Entered, Entry, Pending, Visitor, Wanted};
use adit_domain::{Code, Password, Secret};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::sign_in::{browser, cookie_header, visitor};
use crate::api::{self, Body};
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordSignIn {
    /// The user's name.
    #[schema(example = "ann", max_length = 64)]
    name: String,
    /// The password.
    #[schema(max_length = 128)]
    password: String,
    /// The tenant's name, where there is more than one.
    tenant: Option<String>,
    /// What it is for; absent: the console.
    #[serde(default)]
    wanted: For,
}

/// What a sign-in is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum For {
    /// The console's cookie.
    #[default]
    Console,
    /// An API token for the command line.
    Client,
}

/// Where a sign-in stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInState {
    /// Whether it is done. If not, `step` goes on with it.
    done: bool,
    /// What goes on with it, once: send it with a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "asp_…")]
    step: Option<String>,
    /// What may be shown next: `authenticator`, `recovery_code`, `passkey`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    /// The API token, where one was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Until when the step, the cookie or the token works.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Signs in with a name and a password.
#[utoipa::path(post, path = "/api/v1/sign-in/password", tag = "sign-in", request_body = PasswordSignIn, security(()), responses(
    (status = 200, description = "Signed in, or a second factor is missing", body = SignInState), Fails,
))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<PasswordSignIn>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let claim = Claim {
        tenant: body.tenant,
        name: body.name,
        password: presented(Secret::new(body.password))?,
    };
    let wanted = match body.wanted {
        For::Console => Wanted::Console,
        For::Client => Wanted::Client,
    };
    let visitor: Visitor = visitor(&peer, &headers);
    Ok(match app.gateway.sign_in_with_password(claim, wanted, &visitor).await? {
        Entry::In(entered) => entered_response(&peer, &entered),
        Entry::Next(pending) => Json(waiting(&pending)).into_response(),
    })
}

fn presented(text: Secret<String>) -> Result<Password, ApiError> {
    Password::presented(text)
        .map_err(|error| ApiError::said(Code::RequestInvalid, error.to_string()))
}

fn waiting(pending: &Pending) -> SignInState {
    SignInState {
        done: false,
        step: Some(pending.secret.expose().clone()),
        methods: pending.methods.iter().map(|method| (*method).to_owned()).collect(),
        token: None,
        expires_at: Some(api::time(pending.expires_at)),
    }
}

/// Answers a sign-in that is done: with a cookie, or with a token in the body.
pub fn entered_response(peer: &Peer, entered: &Entered) -> Response {
    let secret = entered.issued.secret.expose();
    let token = (entered.wanted == Wanted::Client).then(|| secret.clone());
    let state = SignInState {
        done: true,
        step: None,
        methods: vec![],
        token,
        expires_at: entered.issued.expires_at.map(api::time),
    };
    match entered.wanted {
        Wanted::Client => Json(state).into_response(),
        Wanted::Console => (cookie_header(peer, secret), Json(state)).into_response(),
    }
}

/// A password to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// 12 to 128 characters, and nothing that guessers try first.
    #[schema(min_length = 12, max_length = 128)]
    password: String,
    /// The password until now, where there is one. A sign-in with a link, within a quarter of an hour, does without.
    current: Option<String>,
}

/// Sets the caller's password. Every other sign-in of the caller ends.
#[utoipa::path(post, path = "/api/v1/me/password", tag = "sign-in", request_body = NewPassword, responses(
    (status = 204, description = "Set"), Fails,
))]
pub async fn set(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewPassword>,
) -> Result<StatusCode, ApiError> {
    let current = body.current.map(|text| presented(Secret::new(text))).transpose()?;
    app.gateway.set_password(&caller, Secret::new(body.password), current).await?;
    Ok(StatusCode::NO_CONTENT)
}
