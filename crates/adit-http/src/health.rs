//! `/health` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::cluster::BusState;
use adit_domain::Code;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth;
use crate::listen::Peer;
use crate::problem::ApiError;

/// How the gateway stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `degraded`.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Each thing that it depends on: `ok`, or what is wrong.
    pub checks: BTreeMap<&'static str, String>,
}

/// Says whether the gateway lives and can work.
#[utoipa::path(get, path = "/health", tag = "operations", security(()), responses(
    (status = 200, description = "It works; `degraded` when other gateways cannot be told", body = Health),
    (status = 503, description = "Something that it depends on does not", body = Health),
    (status = "default", description = "A problem document", body = crate::problem::Problem, content_type = "application/problem+json"),
))]
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let database = match app.gateway.store.check().await {
        Ok(()) => "ok".to_owned(),
        Err(_) => "does not answer".to_owned(),
    };
    let folder = app.gateway.settings.dir.join("recordings");
    let recordings = match std::fs::metadata(&folder) {
        Ok(meta) if meta.is_dir() => "ok".to_owned(),
        _ => "the folder is not there".to_owned(),
    };
    let mut checks = BTreeMap::from([("database", database), ("recordings", recordings)]);
    let works = checks.values().all(|check| check == "ok");
    // Without its bus a gateway works; a balancer that took it out for that would take out all of them at once.
    let bus = bus(&app);
    let ok = works && bus.as_deref().is_none_or(|bus| bus == "ok");
    checks.extend(bus.map(|bus| ("bus", bus)));
    let status = if works { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { status: if ok { "ok" } else { "degraded" }, checks })).into_response()
}

/// Says how the bus to other gateways stands, where there is one.
fn bus(app: &App) -> Option<String> {
    Some(match app.gateway.cluster.bus()?.state() {
        BusState::Up { .. } => "ok".to_owned(),
        BusState::Down { since } => format!("away since {since}"),
    })
}

/// Gives the metrics in Prometheus' text format, to loopback or to whoever may read the audit log of the first tenant.
// RES-15
pub async fn metrics(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let loopback = peer.address.ip().is_loopback();
    if !(loopback && app.settings.open_metrics)
        && let Err(error) = permitted(&app, &headers).await
    {
        return error.into_response();
    }
    ([("content-type", "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

async fn permitted(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let token = auth::bearer(headers).ok_or(Code::AuthRequired)?.to_owned();
    let caller = app.gateway.caller_by_token(&token, None).await?;
    app.gateway.permit_metrics(&caller).await?;
    Ok(())
}
