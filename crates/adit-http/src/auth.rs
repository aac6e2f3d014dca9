//! Who calls: an API token in `Authorization`, or the console's cookie. Each other kind of credential has routes of its own.

use std::sync::Arc;

use adit_core::Caller;
use adit_core::trace::trust_caller;
use adit_domain::Code;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use crate::app::App;
use crate::listen::Peer;
use crate::problem::ApiError;

/// The cookie's name on plain loopback, and with TLS.
const COOKIES: [&str; 2] = ["adit", "__Host-adit"];

/// A caller that was authenticated on this request.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Caller);

impl FromRequestParts<Arc<App>> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let caller = caller(parts, app).await?;
        trust_caller();
        Ok(Self(caller))
    }
}

async fn caller(parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let address = Peer::of(&parts.extensions).map(|peer| peer.address.ip());
    if let Some(token) = bearer(&parts.headers) {
        return Ok(app.gateway.caller_by_token(token, address).await?);
    }
    let cookie =
        cookie(&parts.headers, Peer::is_tls(&parts.extensions)).ok_or(Code::AuthRequired)?;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        crate::guard::same_origin(app, &parts.headers)?;
    }
    Ok(app.gateway.caller_by_cookie(cookie, address).await?)
}

/// Reads the token of an `Authorization: Bearer` header (RFC 6750 §2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Reads the console's cookie.
pub fn cookie(headers: &HeaderMap, tls: bool) -> Option<&str> {
    named_cookie(headers, cookie_name(tls))
}

/// Reads a cookie by its name.
pub fn named_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Gives the cookie's name: with TLS the prefix keeps it to this host and to HTTPS.
pub fn cookie_name(tls: bool) -> &'static str {
    COOKIES[usize::from(tls)]
}

/// Writes a `Set-Cookie` value; an empty secret ends the cookie.
pub fn set_cookie(tls: bool, secret: &str, seconds: u64) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!(
        "{}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
        cookie_name(tls)
    )
}
