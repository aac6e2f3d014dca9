//! `/auth/token`: what a client shows becomes an access token.

use std::sync::Arc;

use adit_core::oauth::client::Client;
use adit_core::oauth::redeem::CodeShown;
use adit_core::oauth::{Fault, Issued, Reason, exchange};
use adit_domain::Secret;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Form, OAuthError, OAuthProblem, shown};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::Fails;

/// The ways to ask.
pub const GRANT_TYPES: [&str; 5] = [
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

/// What a client shows, and what it wants. Which of these count depends on `grant_type`.
#[derive(Deserialize, ToSchema)]
pub struct TokenRequest {
    /// How it asks: `client_credentials`, `authorization_code`, `refresh_token`, or the names of RFC 8628 and RFC 8693.
    #[schema(example = "client_credentials")]
    grant_type: Option<String>,
    /// Its id, unless the header has it.
    client_id: Option<String>,
    /// Its secret, unless the header has it.
    client_secret: Option<String>,
    /// What the token is to open: names of capabilities between spaces.
    #[schema(example = "terminal:spawn terminal:view")]
    scope: Option<String>,
    /// The code that a user's browser brought.
    code: Option<String>,
    /// Where it was brought.
    redirect_uri: Option<String>,
    /// What the challenge is the hash of.
    code_verifier: Option<String>,
    /// What was given beside an access token.
    refresh_token: Option<String>,
    /// What a device got when it began.
    device_code: Option<String>,
    /// Somebody else's token.
    subject_token: Option<String>,
    /// What it is: `urn:ietf:params:oauth:token-type:id_token`.
    subject_token_type: Option<String>,
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
    /// What it is, where somebody else's token bought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
}

impl From<Issued> for TokenAnswer {
    fn from(issued: Issued) -> Self {
        Self {
            access_token: issued.access.expose().clone(),
            token_type: "Bearer",
            expires_in: issued.expires_in,
            scope: issued.scope,
            refresh_token: issued.refresh.map(|refresh| refresh.expose().clone()),
            issued_token_type: None,
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
    let grant = request.grant_type.clone();
    let grant = grant.ok_or_else(|| Fault::request("The request does not name its grant_type."))?;
    let Some(at) = GRANT_TYPES.iter().position(|known| *known == grant) else {
        let sentence = "There is no such grant_type. Passwords buy no tokens here.";
        return Err(Fault::new(Reason::UnsupportedGrantType, sentence).into());
    };
    if at == 4 {
        return exchanged(&app, &peer, request).await;
    }
    let address = Some(peer.address.ip());
    let shown = shown(&headers, request.client_id.clone(), request.client_secret.clone())?;
    let client = app.gateway.oauth_client(&shown, address).await;
    let client = client.map_err(|fault| OAuthError::from(fault).by(&headers))?;
    let issued = issue(&app, &peer, GRANT_TYPES[at], &client, request).await?;
    Ok(Json(issued.into()))
}

async fn issue(
    app: &App,
    peer: &Peer,
    grant: &str,
    client: &Client,
    request: TokenRequest,
) -> Result<Issued, Fault> {
    let address = Some(peer.address.ip());
    let scope = request.scope.as_deref();
    let gateway = &app.gateway;
    match grant {
        "client_credentials" => gateway.token_for_client(client, scope, address).await,
        "authorization_code" => {
            let shown = CodeShown {
                code: needed(request.code, "code")?,
                redirect_uri: request.redirect_uri,
                verifier: request.code_verifier.map(Secret::new),
            };
            gateway.token_for_code(client, &shown, address).await
        }
        "refresh_token" => {
            let shown = needed(request.refresh_token, "refresh_token")?;
            gateway.token_for_refresh(client, &shown, scope, address).await
        }
        _ => {
            let shown = needed(request.device_code, "device_code")?;
            gateway.token_for_device(client, &shown, address).await
        }
    }
}

/// Somebody else's token proves who asks; a client's secret would add nothing to it.
async fn exchanged(
    app: &App,
    peer: &Peer,
    request: TokenRequest,
) -> Result<Json<TokenAnswer>, OAuthError> {
    let shown = needed(request.subject_token, "subject_token")?;
    let kind = request.subject_token_type.unwrap_or_default();
    let address = Some(peer.address.ip());
    let issued =
        app.gateway.token_for_token(&shown, &kind, request.scope.as_deref(), address).await?;
    let issued_token_type = Some(exchange::ISSUED_KIND);
    Ok(Json(TokenAnswer { issued_token_type, ..issued.into() }))
}

fn needed(value: Option<String>, name: &str) -> Result<Secret<String>, Fault> {
    value.map(Secret::new).ok_or_else(|| Fault::request(format!("The request has no {name}.")))
}
