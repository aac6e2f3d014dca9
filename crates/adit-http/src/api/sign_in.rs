//! Signing in to the console, signing out, and who one is.

use std::sync::Arc;

use adit_core::sign_in::COOKIE_LIFE;
use adit_domain::Code;
use adit_domain::policy::{self, Target};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
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
    headers: axum::http::HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response, ApiError> {
    let from_browser =
        headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if from_browser {
        guard::same_origin(&app, &headers)?;
    }
    let (_, cookie) = app.gateway.sign_in(&body.code, Some(peer.address.ip())).await?;
    let value = auth::set_cookie(peer.tls.is_some(), cookie.secret.expose(), COOKIE_LIFE.as_secs());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response())
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
                    policy::Selection::Machines(list) => format!("{} machines", list.len()),
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
