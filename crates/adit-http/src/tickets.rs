//! `/api/tickets/*`: machines that reach each other. On the machine listener a client certificate says who asks; on the other an
//! operator's sign-in or token does. Paths, fields and statuses are a contract with clients that were written elsewhere, so an error
//! also has the field `error`, and fields that are not known are let pass.

use std::sync::Arc;

use adit_core::reach::Guest;
use adit_domain::reach::scope::{BadScope, Strategy, Transport, read_strategies};
use adit_domain::reach::{Networks, read_peer};
use adit_domain::{CertificateName, Code};
use axum::extract::{FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::machine_plane::Certified;
use crate::problem::ApiError;

pub mod channel;
pub mod instance;
pub mod scope;
pub mod session;
pub mod stream;
pub mod ticket;

/// Marks the requests of the machine listener, where nothing but a certificate says who asks.
#[derive(Clone, Copy, Debug)]
pub struct OfMachines;

/// Who asks. It is looked at before a body is read.
#[derive(Debug)]
pub struct Asking(pub Guest);

impl FromRequestParts<Arc<App>> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if parts.extensions.get::<OfMachines>().is_none() {
            let Authenticated(caller) = Authenticated::from_request_parts(parts, app).await?;
            return Ok(Self(Guest::Operator(caller)));
        }
        let Certified(holder, _) = Certified::from_request_parts(parts, app).await?;
        let address = Peer::of(&parts.extensions).map(|peer| peer.address.ip());
        Ok(Self(app.gateway.guest(holder, address).await?))
    }
}

/// The routes of operators, which both listeners have, and those of an instance's owner as well.
pub fn operator_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(scope::list, scope::register))
        .routes(routes!(scope::remove))
        .routes(routes!(scope::holdings))
        .routes(routes!(scope::hold))
        .routes(routes!(instance::heartbeat))
        .routes(routes!(instance::remove))
        .routes(routes!(instance::assignments, instance::assign))
        .routes(routes!(instance::unassign))
        .routes(routes!(ticket::list))
        .routes(routes!(ticket::revoke))
        .routes(routes!(session::list))
        .routes(routes!(session::kill))
        .layer(axum::middleware::from_fn(with_error))
}

/// The routes of the ends of streams, which the machine listener alone has.
pub fn machine_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(instance::offer))
        .routes(routes!(ticket::request))
        .routes(routes!(ticket::inbox))
        .routes(routes!(ticket::validate))
        .routes(routes!(session::open))
        .routes(routes!(session::change))
        .routes(routes!(session::heartbeat))
        .layer(axum::middleware::from_fn(with_error))
}

/// Gives a problem document the field that clients of the wire contract read.
pub async fn with_error(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(error) = response.extensions().get::<ApiError>() else { return response };
    let mut body = serde_json::to_value(error.problem()).unwrap_or_else(|_| json!({}));
    body["error"] = json!(error.detail());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, body.to_string()).into_response()
}

/// Says what is wrong with a body.
fn invalid(why: impl std::fmt::Display) -> ApiError {
    let text = why.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    ApiError::said(Code::RequestInvalid, format!("{first}{}{end}", letters.as_str()))
}

fn peer(text: &str) -> Result<CertificateName, ApiError> {
    read_peer(text).map_err(|_| {
        invalid("a machine is named by its label of 1 to 64 of a-z 0-9 -, and whoever speaks for one by plugin-agent:LABEL:NAME")
    })
}

fn strategies(words: &[String]) -> Result<Vec<Strategy>, ApiError> {
    read_strategies(words.iter().map(String::as_str)).map_err(invalid)
}

fn preferred(word: Option<&str>) -> Result<Option<Strategy>, ApiError> {
    word.map(str::parse).transpose().map_err(|error: BadScope| invalid(error))
}

/// Where an instance is dialled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DirectOf {
    /// A public address or a name, 1 to 255 characters.
    #[schema(example = "edge-1.example.org")]
    pub host: String,
    /// 1024 to 65535.
    #[schema(minimum = 1024)]
    pub port: u16,
}

/// How an instance is reached.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransportOf {
    /// `tunnel`, `relay`, `direct`: in an answer those that the scope allows, the one to try first in front.
    pub strategies: Vec<String>,
    /// The one to try first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<String>,
    /// Where machines dial it, where it has `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<DirectOf>,
    /// Networks that may be dialled though they are not public, as the operator set; only in an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<String>,
}

impl TransportOf {
    fn of(transport: &Transport, networks: &Networks) -> Self {
        let words = transport.strategies.iter().map(|one| one.as_str().to_owned());
        let direct = transport.direct.as_ref();
        let direct =
            direct.map(|direct| DirectOf { host: direct.host.to_string(), port: direct.port });
        Self {
            strategies: words.collect(),
            preferred: transport.preferred.map(|one| one.as_str().to_owned()),
            allowed_networks: if direct.is_some() { networks.words() } else { Vec::new() },
            direct,
        }
    }
}

/// That it was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    ok: bool,
}

impl Done {
    const OK: Self = Self { ok: true };
}
