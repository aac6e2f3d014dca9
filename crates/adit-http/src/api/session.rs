//! Sessions, live and past.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use adit_core::Caller;
use adit_core::access::target_of_past;
use adit_core::session::OWN;
use adit_domain::session::State as Life;
use adit_domain::{Capability, Code, Facts, policy};
use adit_store::{RecordingState, SessionFilter, SessionKind};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{self, List, Named, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A machine, as far as a session names it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MachineName {
    /// Its id.
    pub id: String,
    /// Its label.
    pub label: String,
}

/// Why something ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reason {
    code: String,
    sentence: String,
}

/// Somebody who is in a session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watching {
    name: String,
    can_type: bool,
}

/// A session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    id: String,
    principal: Named,
    machine: MachineName,
    /// `shell` or `exec`.
    kind: &'static str,
    command: Vec<String>,
    /// `opening`, `live`, `detached` (nobody is in it), `reconnecting` (its machine is away) or `ended`.
    state: &'static str,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    length_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    viewers: Vec<Watching>,
    /// `none`, `recording`, `complete` or `incomplete`.
    recording: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
    cols: u16,
    rows: u16,
    /// What the caller may do in it, as `scope:action`.
    capabilities: Vec<String>,
}

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// `live` or `past`; absent: both.
    state: Option<String>,
    /// Only on this machine: its id or label.
    machine: Option<String>,
    /// Only of this principal: `user:NAME`.
    principal: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists sessions, the newest first: one's own, and those on machines whose sessions one may list.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", params(SessionQuery), responses(
    (status = 200, description = "A page of sessions", body = List<Session>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<SessionQuery>,
) -> Result<Json<List<Session>>, ApiError> {
    let live = match query.state.as_deref() {
        None => None,
        Some("live") => Some(true),
        Some("past") => Some(false),
        Some(_) => {
            return Err(ApiError::said(Code::RequestInvalid, "`state` is `live` or `past`."));
        }
    };
    let machine = match &query.machine {
        None => None,
        Some(text) => Some(app.gateway.find_machine(&caller, text).await?.id),
    };
    let principal = match &query.principal {
        None => None,
        Some(name) => Some(app.gateway.find_named(&caller, name).await?.principal.id),
    };
    let filter = SessionFilter { live, machine, principal };
    let paging = api::paging(query.cursor.as_deref(), query.limit)?;
    let page =
        app.gateway.store.tenant(caller.principal.tenant).list_sessions(&filter, &paging).await?;
    let facts = app.gateway.facts_of(&caller).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for session in &page.items {
        let may = may(&app, &caller, &facts, session).await?;
        let own = caller.owns(session.principal.id, OWN);
        if own || may.has(Capability::SessionList) {
            items.push(shown(&app, session, own, may));
        }
    }
    Ok(Json(List::of(items, page.next)))
}

async fn may(
    app: &App,
    caller: &Caller,
    facts: &Facts,
    session: &adit_store::Session,
) -> Result<adit_domain::Capabilities, ApiError> {
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let Some(machine) = tenant.find_machine(session.machine).await? else {
        return Ok(adit_domain::Capabilities::NONE);
    };
    // What was done on a machine is still to be seen after the machine is gone.
    let target = target_of_past(&machine);
    Ok(policy::allowed(facts, &target, app.gateway.clock.now()))
}

fn shown(
    app: &App,
    session: &adit_store::Session,
    own: bool,
    may: adit_domain::Capabilities,
) -> Session {
    let tally = app.gateway.sessions.tally(session.id);
    let now = app.gateway.clock.now();
    let started = session.started_at.unwrap_or(session.reserved_at);
    let length = session.ended_at.unwrap_or(now).since(started);
    let viewers: Vec<Watching> = tally.as_ref().map_or_else(Vec::new, |tally| {
        tally
            .viewers()
            .into_iter()
            .map(|w| Watching { name: w.name, can_type: w.can_type })
            .collect()
    });
    let (bytes_in, bytes_out) = tally.map_or((session.bytes_in, session.bytes_out), |tally| {
        (tally.bytes_in.load(Ordering::Relaxed), tally.bytes_out.load(Ordering::Relaxed))
    });
    let ending = adit_domain::Capabilities::of(&[Capability::SessionEnd]);
    let may = if own { may.or(ending) } else { may };
    Session {
        id: session.id.to_string(),
        principal: Named::from(&session.principal),
        machine: MachineName {
            id: session.machine.to_string(),
            label: session.machine_label.to_string(),
        },
        kind: match session.kind {
            SessionKind::Shell => "shell",
            SessionKind::Exec => "exec",
        },
        command: session.command.clone(),
        state: match session.state {
            Life::Reserved | Life::Opening => "opening",
            Life::Live if viewers.is_empty() => "detached",
            Life::Live => "live",
            Life::Away => "reconnecting",
            Life::Ended => "ended",
        },
        started_at: api::time(started),
        ended_at: session.ended_at.map(api::time),
        ends_at: session.ends_at.map(api::time),
        length_seconds: length.as_secs(),
        reason: session.reason.as_ref().map(|reason| Reason {
            code: reason.code().as_str().to_owned(),
            sentence: reason.to_string(),
        }),
        exit_status: session.reason.as_ref().and_then(adit_domain::EndReason::exit_status),
        signal: session.reason.as_ref().and_then(|reason| reason.signal().map(str::to_owned)),
        bytes_in,
        bytes_out,
        viewers,
        recording: match session.recorded {
            None => "none",
            Some(RecordingState::Running) => "recording",
            Some(RecordingState::Complete) => "complete",
            Some(RecordingState::Incomplete) => "incomplete",
        },
        client_address: session.client.clone(),
        cols: session.cols,
        rows: session.rows,
        capabilities: may.names(),
    }
}

/// Shows one session.
#[utoipa::path(get, path = "/api/v1/sessions/{session}", tag = "sessions",
    params(("session" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The session", body = Session), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(session): Path<String>,
) -> Result<Json<Session>, ApiError> {
    let session =
        app.gateway.find_session(&caller, api::id(&session, Code::SessionUnknown)?).await?;
    let facts = app.gateway.facts_of(&caller).await?;
    let may = may(&app, &caller, &facts, &session).await?;
    let own = caller.owns(session.principal.id, OWN);
    Ok(Json(shown(&app, &session, own, may)))
}

/// Ends a session. One that is over already is no error.
#[utoipa::path(delete, path = "/api/v1/sessions/{session}", tag = "sessions",
    params(("session" = String, Path, description = "Its id")), responses(
    (status = 204, description = "It ends"), Fails,
))]
pub async fn end(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(session): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.end_session(&caller, api::id(&session, Code::SessionUnknown)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The screen of a live session, as text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Screen {
    /// The position in the output at which it stood so.
    position: u64,
    cols: u32,
    rows: u32,
    /// One string a row.
    lines: Vec<String>,
}

/// Shows what is on a live session's screen.
#[utoipa::path(get, path = "/api/v1/sessions/{session}/screen", tag = "sessions",
    params(("session" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The screen", body = Screen), Fails,
))]
pub async fn screen(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(session): Path<String>,
) -> Result<Json<Screen>, ApiError> {
    let screen = app.gateway.screen(&caller, api::id(&session, Code::SessionUnknown)?).await?;
    let adit_core::session::relay::Screen { position, cols, rows, lines } = screen;
    Ok(Json(Screen { position, cols, rows, lines }))
}
