//! Signing in to the console, signing out, and who one is.

use std::sync::Arc;

use adit_core::sign_in::{COOKIE_LIFE, Visitor};
use adit_domain::Code;
use adit_domain::policy::{self, Target};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Body;
use crate::app::App;
use crate::auth::{self, Authenticated};
use crate::guard;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// A sign-in code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The code that the link's fragment carries.
    #[schema(example = "ads_…")]
    code: String,
}

/// Trades a single-use code for the console's cookie.
#[utoipa::path(post, path = "/api/v1/sign-in", tag = "sign-in", request_body = SignIn, security(()), responses(
    (status = 204, description = "Signed in: the cookie is set"), Fails,
))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response, ApiError> {
    browser(&app, &headers)?;
    let (_, cookie) = app.gateway.sign_in(&body.code, &visitor(&peer, &headers)).await?;
    Ok((StatusCode::NO_CONTENT, cookie_header(&peer, cookie.secret.expose())).into_response())
}

/// Refuses a sign-in that another site's page asks for; programs have no page.
///
/// # Errors
/// [`Code::OriginDenied`].
pub fn browser(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let from_browser =
        headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if from_browser { guard::same_origin(app, headers) } else { Ok(()) }
}

/// Sets the console's cookie.
pub fn cookie_header(peer: &Peer, secret: &str) -> [(HeaderName, String); 1] {
    let value = auth::set_cookie(peer.tls.is_some(), secret, COOKIE_LIFE.as_secs());
    [(header::SET_COOKIE, value)]
}

/// Says who comes, for lists of sign-ins and for the audit log.
pub fn visitor(peer: &Peer, headers: &HeaderMap) -> Visitor {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let agent = agent.and_then(|bytes| std::str::from_utf8(bytes).ok());
    Visitor { address: Some(peer.address.ip()), agent: agent.map(agent_name) }
}

/// The longest name of a program that is kept, in characters.
const MAX_AGENT: usize = 60;

/// What a browser calls itself, the narrower name first: most claim to be others too.
const BROWSERS: [(&str, &str); 7] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("HeadlessChrome/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("Mozilla/", "a browser"),
];

/// What a browser calls its system.
const SYSTEMS: [(&str, &str); 6] = [
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Mac OS X", "macOS"),
    ("Windows", "Windows"),
    ("Linux", "Linux"),
];

/// Names a browser and its system, as `Firefox on Linux`; another program by its own first words.
fn agent_name(header: &str) -> String {
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(sign, _)| header.contains(sign)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => header.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect(),
    }
}

/// Ends the console's session, on this browser and in the database.
#[utoipa::path(post, path = "/api/v1/sign-out", tag = "sign-in", responses(
    (status = 204, description = "Signed out"), Fails,
))]
pub async fn sign_out(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    request: Request,
) -> Result<Response, ApiError> {
    match app.gateway.revoke_credential(&caller, caller.credential).await {
        Ok(()) => {}
        Err(refusal) if refusal.code() == Code::NotFound => {}
        Err(refusal) => return Err(refusal.into()),
    }
    let value = auth::set_cookie(Peer::is_tls(request.extensions()), "", 0);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response())
}

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    id: String,
    name: String,
    kind: String,
    tenant: String,
    /// What the caller may do on the whole tenant, as `scope:action`.
    capabilities: Vec<String>,
    /// What the caller may do on at least one machine.
    anywhere: Vec<String>,
    grants: Vec<MyGrant>,
}

/// One of the caller's grants.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MyGrant {
    role: String,
    /// `everything`, how many machines, or what they are like.
    on: String,
    /// The team that it is held through.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// When it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<super::grant::Conditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Says who the caller is and what it may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "sign-in", responses(
    (status = 200, description = "The caller", body = Me), Fails,
))]
pub async fn me(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Me>, ApiError> {
    let facts = app.gateway.facts_of(&caller).await?;
    let now = app.gateway.clock.now();
    let tenant = Target::Tenant(caller.principal.tenant);
    Ok(Json(Me {
        id: caller.principal.id.to_string(),
        name: caller.principal.name.name().to_owned(),
        kind: caller.principal.name.kind().as_str().to_owned(),
        tenant: caller.principal.tenant.to_string(),
        capabilities: policy::allowed(&facts, &tenant, now).names(),
        anywhere: policy::anywhere(&facts, now).names(),
        grants: facts
            .grants
            .iter()
            .map(|grant| MyGrant {
                role: grant.role.clone(),
                on: match &grant.on {
                    policy::Selection::All => "everything".to_owned(),
                    policy::Selection::Machines(list) => match list.len() {
                        1 => "1 machine".to_owned(),
                        many => format!("{many} machines"),
                    },
                    policy::Selection::Matching(matcher) => {
                        adit_core::grant::matcher_words(matcher)
                    }
                },
                team: grant.team.as_ref().map(|(_, name)| name.clone()),
                conditions: super::grant::Conditions::of(&grant.conditions),
                expires_at: grant.expires_at.map(crate::api::time),
            })
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_named_in_a_few_words() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";
        let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605 Version/17.5 Safari/604.1";
        assert_eq!(agent_name(chrome), "Chrome on Linux");
        assert_eq!(agent_name(safari), "Safari on iOS");
        assert_eq!(agent_name("adit/0.1.0"), "adit/0.1.0");
        assert_eq!(agent_name(&"x".repeat(500)).len(), MAX_AGENT);
    }
}
