//! `/auth/device`: where a device without a browser begins (RFC 8628 §3.1).

use std::sync::Arc;

use adit_core::oauth::device::{INTERVAL_SECONDS, LIFE};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Form, OAuthError, OAuthProblem, shown};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::Fails;

/// What a device asks for.
#[derive(Deserialize, ToSchema)]
pub struct DeviceRequest {
    /// Who asks; `adit-cli` is the command line.
    #[schema(example = "adit-cli")]
    client_id: Option<String>,
    /// Its secret, where it keeps one, unless the header has it.
    client_secret: Option<String>,
    /// What the token is to open: names of capabilities between spaces.
    scope: Option<String>,
}

/// What a device shows to its user (RFC 8628 §3.2).
#[derive(Serialize, ToSchema)]
pub struct DeviceBegun {
    device_code: String,
    /// What the user types.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Where.
    verification_uri: String,
    /// Until when, in seconds.
    expires_in: u64,
    /// How long to wait between two questions, in seconds.
    interval: u64,
}

/// Begins a request of a device.
#[utoipa::path(post, path = "/auth/device", tag = "oauth", security(()),
    request_body(content = DeviceRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "What the device shows", body = DeviceBegun),
    (status = 400, description = "Why not (RFC 6749 §5.2)", body = OAuthProblem),
    (status = 401, description = "The client did not prove who it is", body = OAuthProblem), Fails,
))]
pub async fn device(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Form(request): Form<DeviceRequest>,
) -> Result<Json<DeviceBegun>, OAuthError> {
    let address = Some(peer.address.ip());
    let shown = shown(&headers, request.client_id, request.client_secret)?;
    let client = app.gateway.oauth_client(&shown, address).await;
    let client = client.map_err(|fault| OAuthError::from(fault).by(&headers))?;
    let begun = app.gateway.begin_device(&client, request.scope.as_deref(), address).await?;
    Ok(Json(DeviceBegun {
        device_code: begun.device_code.expose().clone(),
        user_code: begun.user_code,
        verification_uri: format!("{}/ui/device", app.gateway.settings.url),
        expires_in: LIFE.as_secs(),
        interval: INTERVAL_SECONDS,
    }))
}
