//! What a client reads before it asks: the keys (RFC 7517) and the server's metadata (RFC 8414).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::token::GRANT_TYPES;
use crate::app::App;

/// How long what is read here may be kept: less than half of the time for which a new key is known before it signs.
const KEEP: &str = "public, max-age=240";

/// How a client shows its secret.
const SECRET: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// The public halves of the keys that sign access tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key (RFC 7517 §4, RFC 7518 §6.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct Key {
    #[schema(example = "EC")]
    kty: &'static str,
    #[schema(example = "P-256")]
    crv: &'static str,
    #[schema(example = "ES256")]
    alg: &'static str,
    #[serde(rename = "use")]
    #[schema(example = "sig")]
    for_what: &'static str,
    kid: String,
    x: String,
    y: String,
}

/// Gives the keys that access tokens are checked with.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "oauth", security(()), responses(
    (status = 200, description = "The keys", body = KeySet), crate::problem::Fails,
))]
pub async fn keys(State(app): State<Arc<App>>) -> impl IntoResponse {
    let published = app.gateway.oauth.keys.published(app.gateway.clock.now());
    let keys = published.into_iter().map(|key| Key {
        kty: "EC",
        crv: "P-256",
        alg: "ES256",
        for_what: "sig",
        kid: key.id.to_string(),
        x: key.x,
        y: key.y,
    });
    ([(header::CACHE_CONTROL, KEEP)], Json(KeySet { keys: keys.collect() }))
}

/// What this server can do (RFC 8414 §2).
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    jwks_uri: String,
    scopes_supported: Vec<String>,
    response_types_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    code_challenge_methods_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    authorization_response_iss_parameter_supported: bool,
}

/// Says what this server can do.
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "oauth", security(()), responses(
    (status = 200, description = "The server's metadata", body = Metadata), crate::problem::Fails,
))]
pub async fn metadata(State(app): State<Arc<App>>) -> impl IntoResponse {
    let issuer = app.gateway.settings.issuer();
    let at = |path: &str| format!("{issuer}{path}");
    let metadata = Metadata {
        authorization_endpoint: at("/auth/authorize"),
        token_endpoint: at("/auth/token"),
        device_authorization_endpoint: at("/auth/device"),
        revocation_endpoint: at("/auth/revoke"),
        introspection_endpoint: at("/auth/introspect"),
        jwks_uri: at("/.well-known/jwks.json"),
        issuer: issuer.to_owned(),
        scopes_supported: adit_domain::Capabilities::all().names(),
        response_types_supported: vec!["code"],
        grant_types_supported: GRANT_TYPES.to_vec(),
        code_challenge_methods_supported: vec!["S256"],
        token_endpoint_auth_methods_supported: [&SECRET[..], &["none"]].concat(),
        revocation_endpoint_auth_methods_supported: [&SECRET[..], &["none"]].concat(),
        introspection_endpoint_auth_methods_supported: SECRET.to_vec(),
        authorization_response_iss_parameter_supported: true,
    };
    ([(header::CACHE_CONTROL, KEEP)], Json(metadata))
}
