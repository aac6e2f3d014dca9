//! What users let act for them: clients that ask in a browser, devices that ask by a code, and the list of both.

use std::sync::Arc;

use adit_core::oauth::authorize::{Answer, Asked};
use adit_domain::{Code, PrincipalId};
use adit_store::{DeviceAnswer, Family};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::oauth::authorize::WishQuery;
use crate::problem::{ApiError, Fails};

/// What a client asks a user for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wished {
    /// What people call the client.
    client: String,
    /// What it wants to do in the user's name.
    scopes: Vec<String>,
    /// Where the user will be sent back to.
    redirect_uri: String,
}

/// Shows what a client asks for, before the user answers.
#[utoipa::path(get, path = "/api/v1/authorization-request", tag = "oauth", params(WishQuery), responses(
    (status = 200, description = "What it asks for", body = Wished), Fails,
))]
pub async fn look(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<WishQuery>,
) -> Result<Json<Wished>, ApiError> {
    let invalid = |sentence: &str| Err(ApiError::said(Code::RequestInvalid, sentence));
    match app.gateway.look_at_wish(&query.into()).await? {
        Asked::Question(question)
            if question.service.principal.tenant == caller.principal.tenant =>
        {
            Ok(Json(Wished {
                client: question.service.principal.name.name().to_owned(),
                scopes: question.scopes.names(),
                redirect_uri: question.redirect_uri.clone(),
            }))
        }
        Asked::Told(sentence) => invalid(sentence),
        _ => invalid(
            "This request is not well formed. Go back to where you came from and begin again.",
        ),
    }
}

/// A user's answer to a client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishAnswer {
    /// What the client asked for, as it stood in the address.
    request: WishQuery,
    /// Whether the user says yes.
    approve: bool,
}

/// Where the browser goes.
#[derive(Serialize, ToSchema)]
pub struct Onward {
    /// The client's address, with its answer.
    redirect: String,
}

/// Answers a client for the caller.
#[utoipa::path(post, path = "/api/v1/authorization-request", tag = "oauth", request_body = WishAnswer, responses(
    (status = 200, description = "Where the browser goes", body = Onward), Fails,
))]
pub async fn answer(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<WishAnswer>,
) -> Result<Json<Onward>, ApiError> {
    let answer = if body.approve { Answer::Approve } else { Answer::Deny };
    let redirect = app.gateway.answer_wish(&caller, &body.request.into(), answer).await?;
    Ok(Json(Onward { redirect }))
}

/// A code that a device shows.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypedCode {
    /// As it was typed.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
}

/// What a device asks a user for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingDevice {
    /// What people call the client; `adit` is the command line.
    client: String,
    /// What it wants to do in the user's name.
    scopes: Vec<String>,
    /// Where it asks from.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    asked_at: String,
}

/// Shows the device that waits with a code, before the user answers.
#[utoipa::path(post, path = "/api/v1/device-request", tag = "oauth", request_body = TypedCode, responses(
    (status = 200, description = "What it asks for", body = WaitingDevice), Fails,
))]
pub async fn look_at_device(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<TypedCode>,
) -> Result<Json<WaitingDevice>, ApiError> {
    let seen = app.gateway.look_at_device(&caller, &body.user_code).await?;
    Ok(Json(WaitingDevice {
        client: seen.client,
        scopes: seen.scopes.names(),
        address: seen.address,
        asked_at: api::time(seen.asked_at),
    }))
}

/// A user's answer to a device.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypedAnswer {
    /// As it was typed.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Whether the user says yes.
    approve: bool,
}

/// Answers the device that waits with a code for the caller.
#[utoipa::path(post, path = "/api/v1/device-request/answer", tag = "oauth", request_body = TypedAnswer, responses(
    (status = 204, description = "It hears the answer within five seconds"), Fails,
))]
pub async fn answer_device(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<TypedAnswer>,
) -> Result<StatusCode, ApiError> {
    let answer = if body.approve { DeviceAnswer::Approve } else { DeviceAnswer::Deny };
    app.gateway.answer_device(&caller, &body.user_code, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Something that acts for a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    id: String,
    /// What people call the client; `adit-cli` is the command line.
    client: String,
    /// How it came about: `code` or `device`.
    flow: String,
    scopes: Vec<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn shown_family(family: &Family) -> Authorization {
    let client = family.client_name.clone();
    Authorization {
        id: family.id.to_string(),
        client: client.unwrap_or_else(|| adit_core::oauth::CLI.to_owned()),
        flow: family.flow.as_str().to_owned(),
        scopes: family.scopes.names(),
        created_at: api::time(family.created_at),
        expires_at: family.expires_at.map(api::time),
    }
}

/// Lists what a user let act for them.
#[utoipa::path(get, path = "/api/v1/users/{user}/authorizations", tag = "access",
    params(("user" = String, Path, description = "Its id"), PageQuery), responses(
    (status = 200, description = "A page of them", body = List<Authorization>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Authorization>>, ApiError> {
    let of: PrincipalId = api::id(&user, Code::NotFound)?;
    let (items, next) = app.gateway.list_authorizations(&caller, of, &page.paging()?).await?;
    Ok(Json(List::of(items.iter().map(shown_family).collect(), next)))
}

/// Ends what a user let act for them: its tokens count no more, and its live sessions end.
#[utoipa::path(delete, path = "/api/v1/authorizations/{authorization}", tag = "access",
    params(("authorization" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Ended"), Fails,
))]
pub async fn end(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(authorization): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.end_authorization(&caller, api::id(&authorization, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
