//! What is looked at before a request reaches its route: host, origin, media type, secrets in the address.

use std::sync::Arc;

use adit_domain::Code;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::listen::Peer;
use crate::problem::ApiError;

/// Query parameters that would carry a secret; such a request is refused, so that nobody comes to rely on it.
const SECRET_PARAMETERS: [&str; 5] = ["token", "ticket", "access_token", "key", "code"];

/// Refuses requests with a foreign Host (DNS rebinding), and secrets in the address.
pub async fn check(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    name_host(&mut request);
    if let Err(error) = host_is_ours(&app, &request).and_then(|()| no_secret_in(&request)) {
        return error.into_response();
    }
    let tls = Peer::is_tls(request.extensions());
    let path = request.uri().path().to_owned();
    let mut response = as_problem(next.run(request).await);
    harden(response.headers_mut(), &path, tls);
    response
}

/// Gives an HTTP/2 request, which names its host in the address, the header that HTTP/1.1 has (RFC 9113 §8.3.1).
fn name_host(request: &mut Request) {
    let named = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let Some(host) = named {
        request.headers_mut().insert(header::HOST, host);
    }
}

// CMD-16: what a layer refuses by itself, it says in a text of its own.
fn as_problem(response: Response) -> Response {
    let code = match response.status() {
        StatusCode::BAD_REQUEST => Code::RequestInvalid,
        StatusCode::REQUEST_TIMEOUT => Code::RequestTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Code::RequestTooLarge,
        _ => return response,
    };
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    match kind {
        None => ApiError::from(code).into_response(),
        Some(kind) if kind.starts_with(b"text/plain") => ApiError::from(code).into_response(),
        Some(_) => response,
    }
}

// BRW-50
fn host_is_ours(app: &App, request: &Request) -> Result<(), ApiError> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<axum::http::uri::Authority>().ok())
        .map(|authority| authority.host().to_owned());
    let known = host.is_some_and(|host| app.settings.is_ours(&host));
    if known { Ok(()) } else { Err(Code::HostDenied.into()) }
}

/// Refuses secrets in the address, and says in a problem document what a layer says in a text of its own: for the machine listener, which
/// serves no browser.
pub async fn check_machine(request: Request, next: Next) -> Response {
    match no_secret_in(&request) {
        Ok(()) => as_problem(next.run(request).await),
        Err(error) => error.into_response(),
    }
}

// BRW-04
fn no_secret_in(request: &Request) -> Result<(), ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let back = is_way_back(request.uri().path());
    let named = query.split('&').filter_map(|pair| pair.split('=').next());
    if named.into_iter().any(|name| SECRET_PARAMETERS.contains(&name) && !(back && name == "code"))
    {
        return Err(Code::TicketInUrl.into());
    }
    Ok(())
}

/// Tells whether a browser comes back from a company's issuer here, whose protocol puts a code into the address (RFC 6749 §4.1.2): it is
/// good once, and only with the verifier that never left the gateway.
fn is_way_back(path: &str) -> bool {
    path.strip_prefix("/auth/company/").is_some_and(|rest| rest.ends_with("/callback"))
}

/// Checks that a request that a browser made comes from our own page.
///
/// # Errors
/// [`Code::OriginDenied`] for another site's page, and for a cookie without an origin.
// BRW-29
pub fn same_origin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let denied = || Err(ApiError::from(Code::OriginDenied));
    if let Some(site) = headers.get("sec-fetch-site").and_then(|v| v.to_str().ok())
        && site != "same-origin"
        && site != "none"
    {
        return denied();
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            if origin.to_str().is_ok_and(|origin| app.settings.is_own_origin(origin, headers)) {
                Ok(())
            } else {
                denied()
            }
        }
        None if headers.contains_key("sec-fetch-site") => Ok(()),
        None => denied(),
    }
}

/// Checks the origin of a WebSocket's upgrade: ours, or none at all from a client that sends no cookie.
///
/// # Errors
/// [`Code::OriginDenied`].
// BRW-01, BRW-02
pub async fn websocket_origin(app: &App, headers: &HeaderMap, tls: bool) -> Result<(), ApiError> {
    let ours = match headers.get(header::ORIGIN) {
        Some(origin) => {
            origin.to_str().is_ok_and(|origin| app.settings.is_own_origin(origin, headers))
        }
        None => crate::auth::cookie(headers, tls).is_none(),
    };
    if ours {
        return Ok(());
    }
    let actor = adit_core::audit::Actor::nobody(None);
    let event = app
        .gateway
        .event("ws.origin_denied", &actor, "A WebSocket from another site's page was refused")
        .denied(Code::OriginDenied);
    app.gateway.note(event).await;
    Err(Code::OriginDenied.into())
}

/// Checks that a body is JSON: a form or a text cannot pass as one.
///
/// # Errors
/// [`Code::RequestMediaType`].
pub async fn json_only(request: Request, next: Next) -> Response {
    let has_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if has_body && !essence.eq_ignore_ascii_case("application/json") {
        return ApiError::from(Code::RequestMediaType).into_response();
    }
    next.run(request).await
}

/// The console's policy: nothing but its own files. Style attributes too, because xterm.js without WebGL positions and colours its cells by them.
const CONSOLE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'none'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything else shows nothing at all, even if a browser is made to open it.
const DATA_CSP: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

// BRW-38
fn harden(headers: &mut HeaderMap, path: &str, tls: bool) {
    let page =
        path.starts_with("/ui") || path.starts_with("/docs") || matches!(path, "/" | "/support");
    let csp = if page { CONSOLE_CSP } else { DATA_CSP };
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("content-security-policy", csp);
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("x-frame-options", "DENY");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    set("permissions-policy", "camera=(), microphone=(), geolocation=(), usb=()");
    if tls {
        set("strict-transport-security", "max-age=31536000");
    }
    if !page && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
