//! Providers of company accounts, and the accounts that people sign in with.

use std::sync::Arc;

use adit_domain::{Capability, Code, IdentityId, PrincipalId};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::company;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// A provider of company accounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Provider {
    /// Its name in the settings.
    name: String,
    /// What its button says.
    title: String,
    /// Where a browser begins to sign in; `?back=` names a place of the console.
    url: String,
}

/// Lists the providers that people can sign in with.
#[utoipa::path(get, path = "/api/v1/sign-in/providers", tag = "sign-in", security(()), responses(
    (status = 200, description = "The providers", body = List<Provider>), Fails,
))]
pub async fn providers(State(app): State<Arc<App>>) -> Json<List<Provider>> {
    let show = |one: adit_core::company::Shown| Provider {
        url: format!("/auth/company/{}", one.name),
        name: one.name,
        title: one.title,
    };
    Json(List::of(app.gateway.company.shown().into_iter().map(show).collect(), None))
}

/// An account of a company that somebody signs in with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    id: String,
    /// The provider's name in the settings.
    provider: String,
    /// The issuer's lasting name for the account.
    subject: String,
    /// What people call it there.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

async fn of(
    app: &App,
    tenant: adit_domain::TenantId,
    who: PrincipalId,
) -> Result<List<Identity>, ApiError> {
    let found = app.gateway.store.tenant(tenant).list_identities(who).await?;
    let items = found.into_iter().map(|one| Identity {
        id: one.id.to_string(),
        provider: one.provider,
        subject: one.subject,
        name: one.name,
        email: one.email,
        created_at: api::time(one.created_at),
        last_used_at: one.last_used_at.map(api::time),
    });
    Ok(List::of(items.collect(), None))
}

/// Lists the company accounts that the caller signs in with.
#[utoipa::path(get, path = "/api/v1/me/identities", tag = "sign-in", responses(
    (status = 200, description = "The accounts", body = List<Identity>), Fails,
))]
pub async fn list_own(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Identity>>, ApiError> {
    Ok(Json(of(&app, caller.principal.tenant, caller.principal.id).await?))
}

/// Which provider's account is to be linked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkOwn {
    /// The provider's name in the settings.
    provider: String,
}

/// Where the browser is to go.
#[derive(Debug, Serialize, ToSchema)]
pub struct Departure {
    /// The provider's address; the browser that got the cookie of this answer must visit it within ten minutes.
    url: String,
}

/// Begins to link a company account to the caller: the browser signs in there and comes back to the settings.
#[utoipa::path(post, path = "/api/v1/me/identities", tag = "sign-in", request_body = LinkOwn, responses(
    (status = 200, description = "Where the browser is to go", body = Departure), Fails,
))]
pub async fn link_own(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Authenticated(caller): Authenticated,
    Body(body): Body<LinkOwn>,
) -> Result<Response, ApiError> {
    let address = Some(peer.address.ip());
    caller.unlimited()?;
    let begun =
        app.gateway.begin_company_sign_in(&body.provider, None, Some(&caller), address).await?;
    let cookie = company::departure_cookie(&begun, peer.tls.is_some());
    Ok(([(header::SET_COOKIE, cookie)], Json(Departure { url: begun.url })).into_response())
}

/// Takes one of the caller's company accounts away; the sign-ins that came by it end.
#[utoipa::path(delete, path = "/api/v1/me/identities/{identity}", tag = "sign-in",
    params(("identity" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Taken away"), Fails,
))]
pub async fn unlink_own(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(identity): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.unlimited()?;
    let id = owned(&app, &caller, caller.principal.id, &identity).await?;
    app.gateway.unlink_identity(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the company accounts that a user signs in with.
#[utoipa::path(get, path = "/api/v1/users/{user}/identities", tag = "access",
    params(("user" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The accounts", body = List<Identity>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
) -> Result<Json<List<Identity>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let user = app.gateway.find_user(&caller, api::id(&user, Code::NotFound)?).await?.principal;
    Ok(Json(of(&app, user.tenant, user.id).await?))
}

/// The account that a user is to sign in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIdentity {
    /// The provider's name in the settings.
    provider: String,
    /// The issuer's lasting name for the account: the `sub` of its ID tokens, or GitHub's number.
    #[schema(min_length = 1, max_length = 255)]
    subject: String,
}

/// Links a company account to a user.
#[utoipa::path(post, path = "/api/v1/users/{user}/identities", tag = "access",
    params(("user" = String, Path, description = "Its id")), request_body = NewIdentity, responses(
    (status = 204, description = "Linked"), Fails,
))]
pub async fn link(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(user): Path<String>,
    Body(body): Body<NewIdentity>,
) -> Result<StatusCode, ApiError> {
    let user: PrincipalId = api::id(&user, Code::NotFound)?;
    app.gateway.link_identity(&caller, user, &body.provider, &body.subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a company account away from a user; the sign-ins that came by it end.
#[utoipa::path(delete, path = "/api/v1/users/{user}/identities/{identity}", tag = "access",
    params(("user" = String, Path, description = "The user's id"), ("identity" = String, Path, description = "The account's id")), responses(
    (status = 204, description = "Taken away"), Fails,
))]
pub async fn unlink(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path((user, identity)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let id = owned(&app, &caller, api::id(&user, Code::NotFound)?, &identity).await?;
    app.gateway.unlink_identity(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds an account that is a certain user's; another's is as unknown as none.
async fn owned(
    app: &App,
    caller: &adit_core::Caller,
    owner: PrincipalId,
    identity: &str,
) -> Result<IdentityId, ApiError> {
    let id = api::id(identity, Code::NotFound)?;
    let found = app.gateway.store.tenant(caller.principal.tenant).find_identity(id).await?;
    let found = found.filter(|one| one.principal.id == owner).ok_or(Code::NotFound)?;
    Ok(found.id)
}
