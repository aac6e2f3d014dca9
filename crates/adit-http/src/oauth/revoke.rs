//! `/auth/revoke` (RFC 7009) and `/auth/introspect` (RFC 7662).

use std::sync::Arc;

use adit_core::oauth::Fault;
use adit_core::oauth::client::Client;
use adit_core::oauth::revoke::Told;
use adit_domain::Secret;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Form, OAuthError, OAuthProblem, shown};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::Fails;

/// A token, and who shows it.
#[derive(Deserialize, ToSchema)]
pub struct TokenShown {
    /// An access token or a refresh token.
    token: Option<String>,
    /// Which; it is found out anyway.
    #[serde(rename = "token_type_hint")]
    _token_type_hint: Option<String>,
    /// The client's id, unless the header has it.
    client_id: Option<String>,
    /// Its secret, unless the header has it.
    client_secret: Option<String>,
}

async fn read(
    app: &App,
    peer: &Peer,
    headers: &HeaderMap,
    request: TokenShown,
) -> Result<(Client, Secret<String>), OAuthError> {
    let shown = shown(headers, request.client_id, request.client_secret)?;
    let client = app.gateway.oauth_client(&shown, Some(peer.address.ip())).await;
    let client = client.map_err(|fault| OAuthError::from(fault).by(headers))?;
    let token = request.token.ok_or_else(|| Fault::request("The request names no token."))?;
    Ok((client, Secret::new(token)))
}

/// Revokes a token of the client's own: an access token alone, a refresh token with everything that came of the same yes. Anything
/// else changes nothing and is answered alike.
#[utoipa::path(post, path = "/auth/revoke", tag = "oauth", security(()),
    request_body(content = TokenShown, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "It counts no more"),
    (status = 400, description = "Why not (RFC 6749 §5.2)", body = OAuthProblem),
    (status = 401, description = "The client did not prove who it is", body = OAuthProblem), Fails,
))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Form(request): Form<TokenShown>,
) -> Result<StatusCode, OAuthError> {
    let (client, token) = read(&app, &peer, &headers, request).await?;
    app.gateway.revoke_oauth_token(&client, &token, Some(peer.address.ip())).await?;
    Ok(StatusCode::OK)
}

/// What is known of a token (RFC 7662 §2.2).
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Introspection {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

/// Says whether a token counts. Access tokens of its own tenant to a client with a secret, and its own refresh tokens.
#[utoipa::path(post, path = "/auth/introspect", tag = "oauth", security(()),
    request_body(content = TokenShown, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "What is known of it", body = Introspection),
    (status = 400, description = "Why not (RFC 6749 §5.2)", body = OAuthProblem),
    (status = 401, description = "The client did not prove who it is", body = OAuthProblem), Fails,
))]
pub async fn introspect(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Form(request): Form<TokenShown>,
) -> Result<Json<Introspection>, OAuthError> {
    let (client, token) = read(&app, &peer, &headers, request).await?;
    let told = app.gateway.introspect(&client, &token).await?;
    Ok(Json(told.map_or_else(Introspection::default, |told| {
        let Told { scopes, client, principal, expires_at, kind } = told;
        Introspection {
            active: true,
            scope: Some(adit_domain::scope::write(scopes)),
            client_id: Some(client),
            username: Some(principal.name.to_string()),
            token_type: Some(kind),
            exp: Some(expires_at.seconds()),
            sub: Some(principal.id.to_string()),
            iss: Some(app.gateway.settings.issuer().to_owned()),
        }
    })))
}
