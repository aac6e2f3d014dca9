//! `GET /api/tickets/sessions/{id}/stream`: a stream of a session, by an upgrade of HTTP/1.1 (RFC 9110 §7.8) to plain bytes.
//!
//! The target opens it; its source is told on its channel and answers with the stream's id. From then on bytes go from one to the other
//! as they are. What they are, the ends seal between themselves.

use std::sync::Arc;

use adit_core::reach::streams::BoxPipe;
use adit_domain::Code;
use adit_domain::reach::Strategy;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tracing::debug;

use super::Asking;
use crate::api::{Path, Query};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::ApiError;

/// The protocol of the upgrade.
pub const PROTOCOL: &str = "adit-stream";

/// Which stream.
#[derive(Debug, Default, Deserialize)]
pub struct StreamQuery {
    /// The id of the stream that a source answers; absent when a target opens one.
    stream: Option<String>,
    /// `relay` or `tunnel`: how its source is told; absent: `relay`.
    via: Option<String>,
}

/// Opens or answers a stream.
pub async fn stream(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
    Query(query): Query<StreamQuery>,
    mut request: Request,
) -> Result<Response, ApiError> {
    if !is_upgrade(request.headers()) {
        let sentence =
            "Ask for an upgrade to adit-stream: Connection: Upgrade, Upgrade: adit-stream.";
        return Err(ApiError::said(Code::RequestInvalid, sentence));
    }
    if let Some(peer) = Peer::of(request.extensions()) {
        peer.patience.ask();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    match query.stream {
        Some(stream) => {
            let answer = app.gateway.answer_stream(&guest, &id, &stream)?;
            app.gateway.tasks.spawn(async move {
                match upgrade.await {
                    Ok(upgraded) => answer.give(Box::new(TokioIo::new(upgraded))),
                    Err(error) => debug!(%error, "a source did not take its stream up"),
                }
            });
        }
        None => {
            let via = match query.via.as_deref().unwrap_or("relay").parse() {
                Ok(via @ (Strategy::Relay | Strategy::Tunnel)) => via,
                _ => return Err(super::invalid("via is relay or tunnel")),
            };
            let opening = app.gateway.open_stream(&guest, &id, via).await?;
            let tasks = app.gateway.tasks.clone();
            let gateway = Arc::clone(&app.gateway);
            tasks.spawn(async move {
                let upgraded = match upgrade.await {
                    Ok(upgraded) => upgraded,
                    Err(error) => return debug!(%error, "a target did not take its stream up"),
                };
                let pipe: BoxPipe = Box::new(TokioIo::new(upgraded));
                tokio::select! {
                    _ = opening.carry(pipe) => {}
                    () = gateway.tasks.ending() => {}
                }
            });
        }
    }
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response())
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &axum::http::HeaderValue| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, PROTOCOL)
}
