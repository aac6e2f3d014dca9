//! The certificates that the gateway's own listeners show.

use std::sync::Arc;

use adit_core::listener::Standing;
use adit_domain::Timestamp;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{self, List, Path};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// What a listener shows, and how the gateway gets the next.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerCertificate {
    /// `people` for the console, the API and the CLI, `machines` for agents.
    listener: &'static str,
    /// `acme`, `files` or `self-made`: while the first one of ACME is awaited, the gateway shows one that it made itself.
    source: &'static str,
    /// The host names and addresses that it is for.
    hosts: Vec<String>,
    /// Who signed it.
    issuer: String,
    /// The serial number, in hexadecimal.
    serial: String,
    not_before: String,
    not_after: String,
    /// `valid`, `expiring` or `expired`.
    status: &'static str,
    /// From when on the gateway gets another by itself; absent for files, which somebody else keeps fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_at: Option<String>,
    /// Whether another is being got right now.
    renewing: bool,
    /// Why the last attempt at another failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<ListenerFailure>,
}

/// Why an attempt at a certificate failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerFailure {
    at: String,
    why: String,
    /// When it is tried again by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    again_at: Option<String>,
}

fn shown(standing: Standing, now: Timestamp) -> ListenerCertificate {
    let shown = &standing.shown;
    ListenerCertificate {
        listener: standing.listener.name(),
        source: shown.source.name(),
        issuer: shown.issuer.clone(),
        serial: shown.serial.clone(),
        not_before: api::time(shown.not_before),
        not_after: api::time(shown.not_after),
        status: shown.status(now),
        renew_at: shown.renew_at().map(api::time),
        renewing: standing.renewing,
        failure: standing.failure.map(|failure| ListenerFailure {
            at: api::time(failure.at),
            why: failure.why,
            again_at: failure.again_at.map(api::time),
        }),
        hosts: standing.shown.hosts,
    }
}

/// Lists the certificates of the gateway's own listeners; a listener without TLS has none.
#[utoipa::path(get, path = "/api/v1/gateway-certificates", tag = "certificates", responses(
    (status = 200, description = "A certificate a listener", body = List<ListenerCertificate>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<ListenerCertificate>>, ApiError> {
    let found = app.gateway.listener_certificates(&caller).await?;
    let now = app.gateway.clock.now();
    let items = found.into_iter().map(|standing| shown(standing, now)).collect();
    Ok(Json(List::of(items, None)))
}

/// Gets another certificate for a listener now. Connections that live keep what they have.
///
/// The answer comes with the new one, or after 25 seconds with `renewing`.
#[utoipa::path(post, path = "/api/v1/gateway-certificates/{listener}/renew", tag = "certificates",
    params(("listener" = String, Path, description = "`people` or `machines`")), responses(
    (status = 200, description = "What it shows now", body = ListenerCertificate), Fails,
))]
pub async fn renew(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(listener): Path<String>,
) -> Result<Json<ListenerCertificate>, ApiError> {
    let standing = app.gateway.renew_listener_certificate(&caller, &listener).await?;
    Ok(Json(shown(standing, app.gateway.clock.now())))
}
