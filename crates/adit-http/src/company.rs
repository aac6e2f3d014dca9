//! The addresses that a browser visits on its way to a company's sign-in and back.
//!
//! Everything that they answer is a redirect: to the provider, or into the console, whose page says what went wrong by its code.

use std::sync::Arc;

use adit_core::company::{AWAY_LIFE, Arrival, Departure, Return};
use adit_core::sign_in::COOKIE_LIFE;
use adit_domain::Code;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::api::{Path, Query};
use crate::app::App;
use crate::auth;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// The cookie's name on plain loopback, and with TLS.
const COOKIES: [&str; 2] = ["adit-company", "__Host-adit-company"];

/// How a sign-in begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Begin {
    /// Where in the console it goes on.
    back: Option<String>,
    /// Whether the browser was sent to the gateway's own name before.
    moved: Option<String>,
}

/// Sends a browser to a provider.
#[utoipa::path(get, path = "/auth/company/{provider}", tag = "sign-in", security(()),
    params(("provider" = String, Path, description = "A provider of the settings"), Begin), responses(
    (status = 303, description = "To the provider, to the gateway's own name first, or to the page that says what is wrong"), Fails,
))]
pub async fn begin(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Path(provider): Path<String>,
    Query(query): Query<Begin>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if query.moved.is_none() && !is_at_home(&app.gateway.settings.url, &headers) {
        return Ok(to(&home(&app.gateway.settings.url, &provider, query.back.as_deref()), []));
    }
    let (back, address) = (query.back.as_deref(), Some(peer.address.ip()));
    match app.gateway.begin_company_sign_in(&provider, back, None, address).await {
        Ok(departure) => {
            let cookie = departure_cookie(&departure, peer.tls.is_some());
            Ok(to(&departure.url, [cookie]))
        }
        Err(refusal) if refusal.code() == Code::NotFound => Err(refusal.into()),
        Err(refusal) => Ok(to(&page_of("sign-in", refusal.code()), [])),
    }
}

/// What a provider sends back with a browser.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Back {
    /// What the gateway sent along.
    state: Option<String>,
    /// The authorization code.
    code: Option<String>,
    /// Who answers (RFC 9207).
    iss: Option<String>,
    /// Why it did not.
    error: Option<String>,
}

/// Takes a browser that comes back from a provider.
#[utoipa::path(get, path = "/auth/company/{provider}/callback", tag = "sign-in", security(()),
    params(("provider" = String, Path, description = "A provider of the settings"), Back), responses(
    (status = 303, description = "Into the console, or to the page that says what is wrong"), Fails,
))]
pub async fn callback(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Path(provider): Path<String>,
    Query(query): Query<Back>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let tls = peer.tls.is_some();
    let back = Return {
        state: query.state.as_deref(),
        code: query.code.as_deref(),
        iss: query.iss.as_deref(),
        error: query.error.as_deref(),
        browser: auth::named_cookie(&headers, COOKIES[usize::from(tls)]),
    };
    let address = Some(peer.address.ip());
    let spent = binding_cookie(tls, "", 0);
    match app.gateway.finish_company_sign_in(&provider, back, address).await {
        Ok(Arrival::SignedIn { cookie, back }) => {
            let secret = cookie.secret.expose();
            let signed_in = auth::set_cookie(tls, secret, COOKIE_LIFE.as_secs());
            let place = format!("/ui{}", back.as_deref().unwrap_or("/"));
            Ok(to(&place, [spent, signed_in]))
        }
        Ok(Arrival::Linked) => Ok(to("/ui/settings", [spent])),
        Ok(Arrival::NotLinked(code)) => Ok(to(&page_of("settings", code), [spent])),
        Err(refusal) if refusal.code() == Code::NotFound => Err(refusal.into()),
        Err(refusal) => Ok(to(&page_of("sign-in", refusal.code()), [spent])),
    }
}

/// An issuer's word that sign-ins are over (OpenID Connect Back-Channel Logout 1.0 §2.5).
#[derive(Deserialize, ToSchema)]
pub struct Logout {
    /// A JWT that names the sign-in or the account.
    logout_token: String,
}

/// Ends sign-ins as an issuer says.
#[utoipa::path(post, path = "/auth/company/{provider}/logout", tag = "sign-in", security(()),
    params(("provider" = String, Path, description = "A provider of the settings")),
    request_body(content = Logout, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "What it names is over"), Fails,
))]
pub async fn logout(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Path(provider): Path<String>,
    form: Result<axum::Form<Logout>, axum::extract::rejection::FormRejection>,
) -> Result<StatusCode, ApiError> {
    let axum::Form(form) = form.map_err(|_| Code::LogoutRefused)?;
    let address = Some(peer.address.ip());
    app.gateway.end_by_issuer(&provider, &form.logout_token, address).await?;
    Ok(StatusCode::OK)
}

/// Gives the cookie that shows that whoever comes back is who left.
pub fn departure_cookie(departure: &Departure, tls: bool) -> String {
    binding_cookie(tls, departure.browser.expose(), AWAY_LIFE.as_secs())
}

/// Lax, as the browser comes back by a link of another site, where a strict cookie stays at home.
fn binding_cookie(tls: bool, secret: &str, seconds: u64) -> String {
    let secure = if tls { "; Secure" } else { "" };
    let name = COOKIES[usize::from(tls)];
    format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

fn page_of(page: &str, code: Code) -> String {
    format!("/ui/{page}#problem={code}")
}

fn to<const N: usize>(place: &str, cookies: [String; N]) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return ApiError::from(Code::Internal).into_response();
    };
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)], AppendHeaders(cookies)).into_response()
}

/// Tells whether a browser reached the gateway by the name that it comes back to, where its cookie will be.
fn is_at_home(url: &str, headers: &HeaderMap) -> bool {
    let home = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.zip(home).is_some_and(|(host, home)| host.eq_ignore_ascii_case(home))
}

/// Gives the address of a sign-in's beginning at the gateway's own name (BRW-41: of the settings, whatever a request says).
fn home(url: &str, provider: &str, back: Option<&str>) -> String {
    let back = back.map(|back| format!("&back={}", escaped(back))).unwrap_or_default();
    format!("{url}/auth/company/{}?moved=1{back}", escaped(provider))
}

/// Writes a text so that it can stand in a query (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_home_by_the_settings_only() {
        // BRW-41
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost:7800"));
        headers.insert("x-forwarded-host", HeaderValue::from_static("127.0.0.1:7800"));
        assert!(!is_at_home("http://127.0.0.1:7800", &headers));
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:7800"));
        assert!(is_at_home("http://127.0.0.1:7800", &headers));
        assert_eq!(
            home("https://adit.example.org", "work", Some("/a?b=c&d")),
            "https://adit.example.org/auth/company/work?moved=1&back=%2Fa%3Fb%3Dc%26d"
        );
    }
}
