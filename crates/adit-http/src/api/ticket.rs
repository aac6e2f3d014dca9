//! Tickets: asked for here, redeemed in the first frame of `/ws/terminal`.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::ticket::{IssuedTicket, Mode, Wish};
use adit_core::{Refusal, proof};
use adit_domain::ticket::Thumbprint;
use adit_domain::{Capabilities, Capability, Code};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// What a ticket is asked for: a new session on `machine`, or to come to `session`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTicket {
    /// Where a new session is to land: a machine's id or label.
    machine: Option<String>,
    /// The session to come to.
    session: Option<String>,
    /// To type (`control`, the default) or to watch (`view`) that session.
    mode: Option<String>,
    /// What may be done in a new session; absent: all that policy allows a shell.
    capabilities: Option<Vec<String>>,
    /// The command and its arguments; absent: a login shell.
    command: Option<Vec<String>>,
    /// Whether the command runs in a terminal; a shell always does.
    pty: Option<bool>,
    /// Variables for the command: `LANG`, `LC_*`, `TERM` and `COLORTERM` are taken.
    env: Option<BTreeMap<String, String>>,
    /// The key that whoever redeems the ticket must prove: its JWK thumbprint (RFC 7638, SHA-256), as `dpop_jkt` of RFC 9449 section 10.
    dpop_jkt: Option<String>,
}

/// A ticket, shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// What goes into the first frame.
    ticket: String,
    session_id: String,
    expires_at: String,
    /// The WebSocket to open.
    #[schema(example = "ws://127.0.0.1:7800/ws/terminal")]
    url: String,
    /// What may be done with it, as `scope:action`.
    capabilities: Vec<String>,
}

/// Issues a ticket.
#[utoipa::path(post, path = "/api/v1/tickets", tag = "sessions", request_body = NewTicket, responses(
    (status = 201, description = "The ticket: single use, 30 seconds", body = Ticket), Fails,
))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewTicket>,
) -> Result<(StatusCode, Json<Ticket>), ApiError> {
    let bad = |text: &str| ApiError::said(Code::RequestInvalid, text);
    let issued = match (&body.machine, &body.session) {
        (Some(machine), None) => {
            let wish = body.wish()?;
            app.gateway.issue_ticket(&caller, machine, wish).await?
        }
        (None, Some(session)) => {
            let session = api::id(session, Code::SessionUnknown)?;
            let mode = match body.mode.as_deref() {
                None | Some("control") => Mode::Control,
                Some("view") => Mode::View,
                Some(_) => return Err(bad("`mode` is `control` or `view`.")),
            };
            app.gateway.issue_join_ticket(&caller, session, mode, body.key()?).await?
        }
        _ => return Err(bad("Name either a `machine` or a `session`.")),
    };
    Ok((StatusCode::CREATED, Json(shown(&app, &issued))))
}

impl NewTicket {
    fn wish(&self) -> Result<Wish, ApiError> {
        let capabilities = self.capabilities.as_deref().map(read_capabilities).transpose()?;
        let command = self.command.clone().unwrap_or_default();
        let pty = command.is_empty() || self.pty.unwrap_or(false);
        let env = self.env.clone().unwrap_or_default().into_iter().collect();
        let key = self.key()?;
        Ok(Wish { capabilities, command, pty, env, size: None, life: None, key })
    }

    fn key(&self) -> Result<Option<Thumbprint>, ApiError> {
        self.dpop_jkt.as_deref().map(read_thumbprint).transpose()
    }
}

/// Reads the thumbprint of a key.
pub(super) fn read_thumbprint(text: &str) -> Result<Thumbprint, ApiError> {
    let sentence =
        "`dpopJkt` is the SHA-256 thumbprint of a JWK (RFC 7638), in base64url without padding.";
    proof::parse(text).ok_or_else(|| ApiError::said(Code::RequestInvalid, sentence))
}

fn shown(app: &App, issued: &IssuedTicket) -> Ticket {
    Ticket {
        ticket: issued.minted.secret.expose().clone(),
        session_id: issued.ticket.session.to_string(),
        expires_at: api::time(issued.ticket.expires_at),
        url: websocket_url(app),
        capabilities: issued.ticket.capabilities.names(),
    }
}

/// Gives the address of `/ws/terminal`.
pub fn websocket_url(app: &App) -> String {
    let url = &app.gateway.settings.url;
    format!("{}/ws/terminal", url.replacen("http", "ws", 1))
}

/// Reads capabilities by their bare actions or whole names.
///
/// # Errors
/// [`Code::RequestInvalid`] for a name that is no terminal capability.
pub fn read_capabilities(names: &[String]) -> Result<Capabilities, Refusal> {
    names
        .iter()
        .map(|name| {
            Capability::terminal(name).ok_or_else(|| {
                Refusal::Said(
                    Code::RequestInvalid,
                    "A session's capabilities are spawn, input, resize, exec and view.".into(),
                )
            })
        })
        .collect()
}
