//! The session surface that integrators know (SES-40, SES-41).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adit_core::ticket::Wish;
use adit_domain::ticket::SPAWN_LIFE;
use adit_domain::{Capability, Timestamp};
use adit_store::{Paging, SessionFilter};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Body;
use crate::api::ticket::{read_capabilities, read_thumbprint, websocket_url};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// What is to be spawned.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spawn {
    /// A machine's id or label.
    machine_id: String,
    /// `spawn`, `input`, `resize`, `exec`, `view`; absent: what a shell needs.
    capabilities: Option<Vec<String>>,
    /// The first width; the first frame may name another.
    #[schema(minimum = 1, maximum = 1000)]
    cols: Option<u32>,
    /// The first height; the first frame may name another.
    #[schema(minimum = 1, maximum = 1000)]
    rows: Option<u32>,
    /// A command; absent: a login shell.
    command: Option<Vec<String>>,
    /// The key that whoever redeems the token must prove: its JWK thumbprint (RFC 7638, SHA-256), as `dpop_jkt` of RFC 9449 section 10.
    dpop_jkt: Option<String>,
}

/// A session that waits for its first frame.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spawned {
    session_id: String,
    /// Unix seconds until which the token works.
    expires_at: i64,
    capabilities: Vec<String>,
    /// The ticket: single use, five minutes; it goes into the first frame.
    token: String,
    ws_url: String,
}

/// Reserves a session on a machine and gives the single-use token that opens it.
#[utoipa::path(post, path = "/api/terminal/spawn", tag = "sessions", request_body = Spawn, responses(
    (status = 200, description = "The session's id and its token", body = Spawned), Fails,
))]
pub async fn spawn(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<Spawn>,
) -> Result<Json<Spawned>, ApiError> {
    let capabilities = body.capabilities.as_deref().map(read_capabilities).transpose()?;
    let wish = Wish {
        capabilities,
        command: body.command.unwrap_or_default(),
        pty: true,
        env: vec![],
        size: body.cols.zip(body.rows).map(|(cols, rows)| (cells(cols), cells(rows))),
        life: Some(SPAWN_LIFE),
        key: body.dpop_jkt.as_deref().map(read_thumbprint).transpose()?,
    };
    let issued = app.gateway.issue_ticket(&caller, &body.machine_id, wish).await?;
    Ok(Json(Spawned {
        session_id: issued.ticket.session.to_string(),
        expires_at: issued.ticket.expires_at.seconds(),
        capabilities: issued.ticket.capabilities.iter().map(|c| c.action().to_owned()).collect(),
        token: issued.minted.secret.expose().clone(),
        ws_url: websocket_url(&app),
    }))
}

fn cells(n: u32) -> u16 {
    u16::try_from(n.clamp(1, 1000)).unwrap_or(1000)
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    session_id: String,
    user_id: String,
    machine_id: String,
    /// Unix seconds at which it ends at the latest.
    expires_at: i64,
    /// Unix seconds at which it began.
    since: i64,
    bytes_in: u64,
    bytes_out: u64,
}

/// The live sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveSessions {
    sessions: Vec<Active>,
}

/// How many pages of two hundred the list holds at most: more than a gateway's cap of sessions.
const PAGES: usize = 50;

/// Lists live sessions: administrators see all, others their own.
#[utoipa::path(get, path = "/api/terminal/sessions", tag = "sessions", responses(
    (status = 200, description = "The live sessions", body = ActiveSessions), Fails,
))]
pub async fn sessions(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<ActiveSessions>, ApiError> {
    let facts = app.gateway.facts_of(&caller).await?;
    let now: Timestamp = app.gateway.clock.now();
    let tenant = adit_domain::policy::Target::Tenant(caller.principal.tenant);
    let all = adit_domain::policy::allowed(&facts, &tenant, now).has(Capability::SessionEnd);
    let principal = (!all).then_some(caller.principal.id);
    let mut sessions = Vec::new();
    let mut paging = Paging { cursor: None, limit: 200 };
    for _ in 0..PAGES {
        let filter = SessionFilter { live: Some(true), machine: None, principal };
        let page = app
            .gateway
            .store
            .tenant(caller.principal.tenant)
            .list_sessions(&filter, &paging)
            .await?;
        sessions.extend(page.items.iter().map(|session| active(&app, session)));
        match page.next {
            Some(next) => paging = Paging { cursor: Some(next), limit: 200 },
            None => break,
        }
    }
    Ok(Json(ActiveSessions { sessions }))
}

fn active(app: &App, session: &adit_store::Session) -> Active {
    let tally = app.gateway.sessions.tally(session.id);
    let (bytes_in, bytes_out) = tally.map_or((session.bytes_in, session.bytes_out), |tally| {
        (tally.bytes_in.load(Ordering::Relaxed), tally.bytes_out.load(Ordering::Relaxed))
    });
    Active {
        session_id: session.id.to_string(),
        user_id: session.principal.id.to_string(),
        machine_id: session.machine.to_string(),
        expires_at: session.ends_at.map_or(0, Timestamp::seconds),
        since: session.started_at.map_or(0, Timestamp::seconds),
        bytes_in,
        bytes_out,
    }
}
