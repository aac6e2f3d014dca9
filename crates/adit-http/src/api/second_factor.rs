//! Second factors: what the caller has, authenticator apps, recovery codes, and showing one again.

use std::sync::Arc;

use adit_core::sign_in::second_factor::grouped;
use adit_domain::Secret;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Body;
use crate::api::password::{SignInState, entered_response};
use crate::api::sign_in::{browser, visitor};
use crate::api::user::Nothing;
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// The code that goes on with a sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondStep {
    /// What the password's answer gave.
    #[schema(example = "asp_…")]
    step: String,
    /// Six digits of the authenticator, or a recovery code.
    #[schema(example = "123456", max_length = 64)]
    code: String,
}

/// Goes on with a sign-in that wants a second factor.
#[utoipa::path(post, path = "/api/v1/sign-in/second-factor", tag = "sign-in", request_body = SecondStep, security(()), responses(
    (status = 200, description = "Signed in", body = SignInState), Fails,
))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<SecondStep>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let visitor = visitor(&peer, &headers);
    let entered = app.gateway.sign_in_with_code(&body.step, &body.code, &visitor).await?;
    Ok(entered_response(&peer, &entered))
}

/// What signs the caller in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInFactors {
    /// Whether there is a password.
    password: bool,
    /// Whether there is an authenticator.
    authenticator: bool,
    /// How many recovery codes are left.
    recovery_codes: u32,
    /// How many passkeys there are.
    passkeys: u32,
    /// When a second factor was last shown with this credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_at: Option<String>,
}

/// Says what signs the caller in.
#[utoipa::path(get, path = "/api/v1/me/factors", tag = "sign-in", responses(
    (status = 200, description = "What there is", body = SignInFactors), Fails,
))]
pub async fn factors(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<SignInFactors>, ApiError> {
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.load_factors(caller.principal.id).await?;
    Ok(Json(SignInFactors {
        password: found.password,
        authenticator: found.authenticator,
        recovery_codes: found.recovery_codes,
        passkeys: found.passkeys,
        second_factor_at: caller.second_factor_at.map(crate::api::time),
    }))
}

/// An authenticator that waits for its first code; shown once.
#[derive(Serialize, ToSchema)]
pub struct NewAuthenticator {
    /// The secret, for apps that take it by hand.
    secret: String,
    /// The same as an address (`otpauth:`).
    uri: String,
    /// The same as a picture to scan, SVG.
    picture: String,
}

/// Begins an authenticator app. It counts from its first code on.
#[utoipa::path(post, path = "/api/v1/me/authenticator", tag = "sign-in", request_body = Nothing, responses(
    (status = 201, description = "The secret, shown once", body = NewAuthenticator), Fails,
))]
pub async fn begin_authenticator(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<NewAuthenticator>), ApiError> {
    let enrolment = app.gateway.begin_authenticator(&caller).await?;
    let answer = NewAuthenticator {
        secret: enrolment.secret.expose().clone(),
        uri: enrolment.uri.expose().clone(),
        picture: enrolment.picture.expose().clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownCode {
    /// Six digits of the authenticator, or a recovery code where one is good.
    #[schema(example = "123456", max_length = 64)]
    code: String,
}

/// Recovery codes; shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodes {
    /// Each signs in once in the authenticator's place.
    recovery_codes: Vec<String>,
}

fn shown(codes: &[Secret<String>]) -> RecoveryCodes {
    RecoveryCodes { recovery_codes: codes.iter().map(|code| grouped(code.expose())).collect() }
}

/// Takes the first code of an authenticator, and gives recovery codes.
#[utoipa::path(post, path = "/api/v1/me/authenticator/confirm", tag = "sign-in", request_body = ShownCode, responses(
    (status = 200, description = "It counts from now on; recovery codes, shown once", body = RecoveryCodes), Fails,
))]
pub async fn confirm_authenticator(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<ShownCode>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(shown(&app.gateway.confirm_authenticator(&caller, &body.code).await?)))
}

/// Removes the caller's authenticator and recovery codes.
#[utoipa::path(delete, path = "/api/v1/me/authenticator", tag = "sign-in", responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove_authenticator(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_authenticator(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives new recovery codes in the place of those that there were.
#[utoipa::path(post, path = "/api/v1/me/recovery-codes", tag = "sign-in", request_body = Nothing, responses(
    (status = 200, description = "The codes, shown once", body = RecoveryCodes), Fails,
))]
pub async fn new_recovery_codes(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    Ok(Json(shown(&app.gateway.new_recovery_codes(&caller).await?)))
}

/// Shows a second factor again, with the credential that the request carries.
#[utoipa::path(post, path = "/api/v1/step-up", tag = "sign-in", request_body = ShownCode, responses(
    (status = 204, description = "Noted"), Fails,
))]
pub async fn step_up(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<ShownCode>,
) -> Result<StatusCode, ApiError> {
    app.gateway.step_up(&caller, &body.code).await?;
    Ok(StatusCode::NO_CONTENT)
}
