//! Tickets.

use std::sync::Arc;
use std::time::Duration;

use adit_core::reach::channel::Push;
use adit_core::reach::{Guest, Handed};
use adit_domain::Code;
use adit_domain::certificate::Carried;
use adit_domain::reach::{Networks, peer_label};
use adit_store::MachineTicketState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Asking, Done, TransportOf, invalid};
use crate::api::{self, Body, Path, Query};
use crate::app::App;
use crate::problem::{ApiError, Fails};

/// Whom to let in, and to what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewTicket {
    /// The instance's capability.
    #[schema(example = "shell:connect")]
    scope: String,
    /// The caller's instance.
    instance_id: String,
    /// A machine's label, or `plugin-agent:LABEL:NAME`.
    #[schema(example = "web-2")]
    target: String,
}

/// A ticket with its id, which is its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketOf {
    /// 64 hexadecimal digits. Whoever is its target and shows it is let in once.
    pub(super) id: String,
    pub(super) scope: String,
    pub(super) instance_id: String,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) expires_at: String,
    /// How the instance is reached; in an inbox only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transport: Option<TransportOf>,
}

impl TicketOf {
    pub(super) fn of(handed: Handed, networks: &Networks) -> Self {
        Self {
            id: handed.id,
            scope: handed.capability.to_string(),
            instance_id: handed.instance.0.simple().to_string(),
            source: peer_label(&handed.source),
            target: peer_label(&handed.target),
            expires_at: api::time(handed.expires_at),
            transport: handed.transport.map(|transport| TransportOf::of(&transport, networks)),
        }
    }
}

/// A ticket that was issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedTicketOf {
    ok: bool,
    ticket: TicketOf,
}

/// Asks for a ticket by which a target is let in to an instance of the caller's. For machines.
#[utoipa::path(post, path = "/api/tickets", tag = "tickets", request_body = NewTicket, responses(
    (status = 201, description = "A ticket, for 30 seconds and one use", body = IssuedTicketOf), Fails,
))]
pub async fn request(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Body(body): Body<NewTicket>,
) -> Result<(StatusCode, Json<IssuedTicketOf>), ApiError> {
    let gateway = &app.gateway;
    let handed =
        gateway.request_ticket(&guest, &body.scope, &body.instance_id, &body.target).await?;
    let ticket = TicketOf::of(handed, &gateway.settings.reach.networks);
    Ok((StatusCode::CREATED, Json(IssuedTicketOf { ok: true, ticket })))
}

/// Which tickets of an inbox.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InboxQuery {
    /// Those of a capability.
    scope: Option<String>,
}

/// The live tickets of a target.
#[derive(Debug, Serialize, ToSchema)]
pub struct Inbox {
    tickets: Vec<TicketOf>,
}

/// The longest that an empty inbox is waited for, in seconds.
const LONGEST_WAIT: u64 = 25;

/// Lists the live, unused tickets whose target is the caller. With `Prefer: wait=N` (RFC 7240 §4.3) an empty one is answered once there is a
/// ticket, or after N seconds, 25 at most. For machines.
#[utoipa::path(get, path = "/api/tickets/inbox", tag = "tickets", params(InboxQuery), responses(
    (status = 200, description = "The newest first", body = Inbox), Fails,
))]
pub async fn inbox(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Query(query): Query<InboxQuery>,
    headers: HeaderMap,
) -> Result<Json<Inbox>, ApiError> {
    let scope: Option<Carried> =
        query.scope.as_deref().map(str::parse).transpose().map_err(invalid)?;
    let found = read_inbox(&app, &guest, scope.as_ref()).await?;
    let wait = wait_of(&headers);
    if !found.is_empty() || wait.is_zero() {
        return Ok(Json(Inbox { tickets: found }));
    }
    let peer = guest.peer()?;
    let mut channel =
        app.gateway.channels.open(peer.tenant, &peer.name).ok_or(ApiError::from(Code::TooMany))?;
    let waited = tokio::time::timeout(wait, async {
        loop {
            // Looked at again after the channel is open, so that a ticket in between is not missed.
            let found = read_inbox(&app, &guest, scope.as_ref()).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            loop {
                match channel.next().await {
                    Some(Push::Inbox) => break,
                    Some(_) => {}
                    None => return Ok(found),
                }
            }
        }
    });
    let tickets = waited.await.unwrap_or_else(|_| Ok::<_, ApiError>(Vec::new()))?;
    Ok(Json(Inbox { tickets }))
}

fn wait_of(headers: &HeaderMap) -> Duration {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = preferences.flat_map(|value| value.split(',')).find_map(|one| {
        one.trim().strip_prefix("wait=").and_then(|seconds| seconds.trim().parse::<u64>().ok())
    });
    Duration::from_secs(wait.unwrap_or(0).min(LONGEST_WAIT))
}

pub(super) async fn read_inbox(
    app: &App,
    guest: &Guest,
    scope: Option<&Carried>,
) -> Result<Vec<TicketOf>, ApiError> {
    let networks = &app.gateway.settings.reach.networks;
    let found = app.gateway.inbox(guest).await?;
    let fits = |handed: &Handed| scope.is_none_or(|scope| handed.capability == *scope);
    Ok(found.into_iter().filter(fits).map(|handed| TicketOf::of(handed, networks)).collect())
}

/// A ticket to use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presented {
    /// Its id.
    ticket_id: String,
}

/// What a used ticket lets in to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validated {
    valid: bool,
    scope: String,
    instance_id: String,
    source: String,
    target: String,
    transport: TransportOf,
}

/// Uses a ticket, once. With an `Idempotency-Key` the same caller gets the same answer for a minute. For its target.
#[utoipa::path(post, path = "/api/tickets/validate", tag = "tickets", request_body = Presented,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of at most 255 characters")),
    responses((status = 200, description = "It is used now", body = Validated), Fails))]
pub async fn validate(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    headers: HeaderMap,
    Body(body): Body<Presented>,
) -> Result<Json<Validated>, ApiError> {
    let retry = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let handed = app.gateway.validate_ticket(&guest, &body.ticket_id, retry).await?;
    let empty = TransportOf {
        strategies: Vec::new(),
        preferred: None,
        direct: None,
        allowed_networks: Vec::new(),
    };
    let ticket = TicketOf::of(handed, &app.gateway.settings.reach.networks);
    Ok(Json(Validated {
        valid: true,
        scope: ticket.scope,
        instance_id: ticket.instance_id,
        source: ticket.source,
        target: ticket.target,
        transport: ticket.transport.unwrap_or(empty),
    }))
}

/// A ticket in a list: by its handle, which opens nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedTicket {
    /// A handle of 32 hexadecimal digits.
    id: String,
    scope: String,
    instance_id: String,
    source: String,
    target: String,
    /// `issued`, `used`, `expired` or `revoked`.
    status: &'static str,
    used: bool,
    issued_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
}

/// Tickets.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tickets {
    tickets: Vec<ListedTicket>,
}

/// Lists the tickets of the last hour, the newest 1,000 first. For operators.
#[utoipa::path(get, path = "/api/tickets", tag = "tickets", responses(
    (status = 200, description = "By their handles", body = Tickets), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
) -> Result<Json<Tickets>, ApiError> {
    let now = app.gateway.clock.now();
    let found = app.gateway.list_machine_tickets(&guest).await?;
    let listed = |one: adit_store::MachineTicket| ListedTicket {
        id: one.id.0.simple().to_string(),
        scope: one.capability.to_string(),
        instance_id: one.instance.0.simple().to_string(),
        source: peer_label(&one.source),
        target: peer_label(&one.target),
        status: match one.state {
            MachineTicketState::Issued if one.expires_at <= now => "expired",
            MachineTicketState::Issued => "issued",
            MachineTicketState::Redeemed => "used",
            MachineTicketState::Revoked => "revoked",
        },
        used: one.state != MachineTicketState::Issued,
        issued_at: api::time(one.issued_at),
        expires_at: api::time(one.expires_at),
        used_at: one.redeemed_at.map(api::time),
    };
    Ok(Json(Tickets { tickets: found.into_iter().map(listed).collect() }))
}

/// Marks a ticket as used and ends its session. For operators.
#[utoipa::path(delete, path = "/api/tickets/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's handle, or its id")),
    responses((status = 200, description = "It opens nothing more", body = Done), Fails))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(id): Path<String>,
) -> Result<Json<Done>, ApiError> {
    app.gateway.revoke_machine_ticket(&guest, &id).await?;
    Ok(Json(Done::OK))
}
