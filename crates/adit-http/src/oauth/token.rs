//! `/auth/token`: what a client shows becomes an access token.

use std::sync::Arc;

use adit_core::oauth::{Fault, Issued, Reason};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Form, OAuthError, OAuthProblem, shown};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::Fails;

/// What a client shows, and what it wants. Which of these count depends on `grant_type`.
#[derive(Deserialize, ToSchema)]
pub struct TokenRequest {
    /// How it asks: `client_credentials`.
    #[schema(example = "client_credentials")]
    grant_type: Option<String>,
    /// Its id, unless the header has it.
    client_id: Option<String>,
    /// Its secret, unless the header has it.
    client_secret: Option<String>,
    /// What the token is to open: names of capabilities between spaces.
    #[schema(example = "terminal:spawn terminal:view")]
    scope: Option<String>,
}

/// An access token (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// How long it counts, in seconds.
    expires_in: u64,
    /// What it opens.
    scope: String,
    /// What another is had with, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl From<Issued> for TokenAnswer {
    fn from(issued: Issued) -> Self {
        Self {
            access_token: issued.access.expose().clone(),
            token_type: "Bearer",
            expires_in: issued.expires_in,
            scope: issued.scope,
            refresh_token: issued.refresh.map(|refresh| refresh.expose().clone()),
        }
    }
}

/// Gives an access token for what a client shows.
#[utoipa::path(post, path = "/auth/token", tag = "oauth", security(()),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "The token", body = TokenAnswer),
    (status = 400, description = "Why not (RFC 6749 §5.2)", body = OAuthProblem),
    (status = 401, description = "The client did not prove who it is", body = OAuthProblem), Fails,
))]
pub async fn token(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Form(request): Form<TokenRequest>,
) -> Result<Json<TokenAnswer>, OAuthError> {
    let grant = request.grant_type.as_deref();
    let grant = grant.ok_or_else(|| Fault::request("The request does not name its grant_type."))?;
    let address = Some(peer.address.ip());
    let shown = shown(&headers, request.client_id, request.client_secret)?;
    let client = app.gateway.oauth_client(&shown, address).await;
    let client = client.map_err(|fault| OAuthError::from(fault).by(&headers))?;
    let scope = request.scope.as_deref();
    let issued = match grant {
        "client_credentials" => app.gateway.token_for_client(&client, scope, address).await?,
        _ => {
            let sentence = "There is no such grant_type. Passwords buy no tokens here.";
            return Err(Fault::new(Reason::UnsupportedGrantType, sentence).into());
        }
    };
    Ok(Json(issued.into()))
}
