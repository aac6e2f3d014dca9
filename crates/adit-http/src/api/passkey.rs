//! Passkeys: adding, listing and removing them, and signing in with one.

use std::sync::Arc;

use adit_core::sign_in::Wanted;
use adit_core::sign_in::passkey::Ceremony;
use adit_domain::Code;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::password::{SignInState, entered_response};
use crate::api::sign_in::{browser, visitor};
use crate::api::user::Nothing;
use crate::api::{self, Body, List, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passkey {
    id: String,
    name: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

fn shown(passkey: &adit_store::Passkey) -> Passkey {
    Passkey {
        id: passkey.id.to_string(),
        name: passkey.name.clone(),
        created_at: api::time(passkey.created_at),
        last_used_at: passkey.last_used_at.map(api::time),
    }
}

/// A ceremony of WebAuthn that has begun.
#[derive(Serialize, ToSchema)]
pub struct BegunCeremony {
    /// What goes on with it, once, within five minutes.
    #[schema(example = "asp_…")]
    ceremony: String,
    /// The options for the browser, as WebAuthn's JSON (`PublicKeyCredentialCreationOptionsJSON` or `…RequestOptionsJSON`).
    #[schema(value_type = Object)]
    options: Value,
}

impl From<Ceremony> for BegunCeremony {
    fn from(begun: Ceremony) -> Self {
        Self { ceremony: begun.secret.expose().clone(), options: begun.options }
    }
}

/// Lists the caller's passkeys.
#[utoipa::path(get, path = "/api/v1/me/passkeys", tag = "sign-in", responses(
    (status = 200, description = "All of them", body = List<Passkey>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Passkey>>, ApiError> {
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_passkeys(caller.principal.id).await?;
    Ok(Json(List::of(found.iter().map(shown).collect(), None)))
}

/// Begins a passkey of the caller.
#[utoipa::path(post, path = "/api/v1/me/passkeys/begin", tag = "sign-in", request_body = Nothing, responses(
    (status = 201, description = "What the browser is asked", body = BegunCeremony), Fails,
))]
pub async fn begin(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<BegunCeremony>), ApiError> {
    Ok((StatusCode::CREATED, Json(app.gateway.begin_passkey(&caller).await?.into())))
}

/// A passkey that the browser made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// Of the answer that began it.
    ceremony: String,
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The browser's answer, as WebAuthn's JSON.
    #[schema(value_type = Object)]
    credential: Value,
}

/// Adds a passkey to the caller.
#[utoipa::path(post, path = "/api/v1/me/passkeys", tag = "sign-in", request_body = NewPasskey, responses(
    (status = 201, description = "The passkey", body = Passkey), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewPasskey>,
) -> Result<(StatusCode, Json<Passkey>), ApiError> {
    let NewPasskey { ceremony, name, credential } = body;
    let added = app.gateway.add_passkey(&caller, &ceremony, &name, credential).await?;
    Ok((StatusCode::CREATED, Json(shown(&added))))
}

/// Removes a passkey of the caller.
#[utoipa::path(delete, path = "/api/v1/me/passkeys/{passkey}", tag = "sign-in",
    params(("passkey" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(passkey): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_passkey(&caller, api::id(&passkey, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins a sign-in with a passkey. Whose it is shows with the passkey.
#[utoipa::path(post, path = "/api/v1/sign-in/passkey/begin", tag = "sign-in", request_body = Nothing, security(()), responses(
    (status = 201, description = "What the browser is asked", body = BegunCeremony), Fails,
))]
pub async fn begin_sign_in(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<BegunCeremony>), ApiError> {
    browser(&app, &headers)?;
    let visitor = visitor(&peer, &headers);
    let begun = app.gateway.begin_passkey_sign_in(Wanted::Console, &visitor).await?;
    Ok((StatusCode::CREATED, Json(begun.into())))
}

/// A passkey that the browser shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownPasskey {
    /// Of the answer that began it.
    ceremony: String,
    /// The browser's answer, as WebAuthn's JSON.
    #[schema(value_type = Object)]
    credential: Value,
}

/// Signs in with a passkey.
#[utoipa::path(post, path = "/api/v1/sign-in/passkey", tag = "sign-in", request_body = ShownPasskey, security(()), responses(
    (status = 200, description = "Signed in", body = SignInState), Fails,
))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<ShownPasskey>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let visitor = visitor(&peer, &headers);
    let entered =
        app.gateway.sign_in_with_passkey(&body.ceremony, body.credential, &visitor).await?;
    Ok(entered_response(&peer, &entered))
}

/// Begins to show a second factor again with a passkey.
#[utoipa::path(post, path = "/api/v1/step-up/passkey/begin", tag = "sign-in", request_body = Nothing, responses(
    (status = 201, description = "What the browser is asked", body = BegunCeremony), Fails,
))]
pub async fn begin_step_up(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(Nothing {}): Body<Nothing>,
) -> Result<(StatusCode, Json<BegunCeremony>), ApiError> {
    Ok((StatusCode::CREATED, Json(app.gateway.begin_step_up(&caller).await?.into())))
}

/// Shows a second factor again with a passkey.
#[utoipa::path(post, path = "/api/v1/step-up/passkey", tag = "sign-in", request_body = ShownPasskey, responses(
    (status = 204, description = "Noted"), Fails,
))]
pub async fn step_up(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<ShownPasskey>,
) -> Result<StatusCode, ApiError> {
    app.gateway.step_up_with_passkey(&caller, &body.ceremony, body.credential).await?;
    Ok(StatusCode::NO_CONTENT)
}
