//! The keys that sign access tokens.

use std::sync::Arc;

use adit_core::oauth::key::PublicKey;
use adit_core::oauth::turn::Turn;
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

/// A key that signs access tokens, or did, or will.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// The `kid` of the tokens that it signs.
    id: String,
    created_at: String,
    /// From when on it signs.
    signs_from: String,
    /// Until when its tokens are accepted; absent for the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<String>,
}

fn shown(key: &PublicKey) -> SigningKey {
    SigningKey {
        id: key.id.to_string(),
        created_at: api::time(key.created_at),
        signs_from: api::time(key.signs_from),
        accepted_until: key.accepted_until.map(api::time),
    }
}

/// Lists the keys that sign access tokens, in the order in which they sign.
#[utoipa::path(get, path = "/api/v1/signing-keys", tag = "access", responses(
    (status = 200, description = "The keys", body = List<SigningKey>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<SigningKey>>, ApiError> {
    let keys = app.gateway.signing_keys(&caller).await?;
    Ok(Json(List::of(keys.iter().map(shown).collect(), None)))
}

/// When a new key is to sign.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// At once, and not after everybody has had the time to read it.
    #[serde(default)]
    now: bool,
}

/// Makes a new key. The one before it is accepted until its last token has expired.
#[utoipa::path(post, path = "/api/v1/signing-keys", tag = "access", request_body = Rotation, responses(
    (status = 201, description = "The keys, the new one among them", body = List<SigningKey>), Fails,
))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<Rotation>,
) -> Result<(StatusCode, Json<List<SigningKey>>), ApiError> {
    let turn = if body.now { Turn::Now } else { Turn::InTime };
    app.gateway.rotate_signing_key(&caller, turn).await?;
    let keys = app.gateway.signing_keys(&caller).await?;
    Ok((StatusCode::CREATED, Json(List::of(keys.iter().map(shown).collect(), None))))
}

/// Revokes a key: every token that it signed is refused from now on.
#[utoipa::path(delete, path = "/api/v1/signing-keys/{key}", tag = "access",
    params(("key" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Revoked"), Fails,
))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(key): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.revoke_signing_key(&caller, api::id(&key, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
