//! The JSON form of `/ws/terminal` (SES-42), for integrators: simpler than the binary one and with less behind it.
//!
//! What it lacks: positions and acknowledgements, so nothing is sent again after a reconnect; a binary stream, so bytes that are not
//! UTF-8 arrive as U+FFFD. Input over the rate limit is refused with `rate_limited` and its `retryAfterMs`; the client sends it again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use adit_core::session::outbox::ToViewer;
use adit_core::session::viewer::FromViewer;
use adit_core::session::{Admission, Hand};
use adit_core::ticket::{Presented, Wish};
use adit_core::{Caller, Refusal};
use adit_domain::{Capabilities, Code};
use adit_wire::asciicast::Joiner;
use adit_wire::frame::MAX_INPUT;
use adit_wire::terminal::v1::from_gateway::Message as ToViewerMessage;
use adit_wire::terminal::v1::state::Kind as StateKind;
use axum::extract::ws::Message;
use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::ticket::read_capabilities;
use crate::app::App;
use crate::auth;
use crate::websocket::{Closing, In, Incoming, Out, failed, next};

/// The credential that came with the upgrade.
#[derive(Debug)]
pub(crate) enum Credential {
    Token(String),
    Cookie(String),
}

impl Credential {
    pub(crate) fn of(headers: &HeaderMap, tls: bool) -> Option<Self> {
        let token = auth::bearer(headers).map(|token| Self::Token(token.to_owned()));
        token.or_else(|| auth::cookie(headers, tls).map(|cookie| Self::Cookie(cookie.to_owned())))
    }
}

// TOK-23: there is no field for a user or a session; who acts is who signed in on this connection.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Said {
    #[serde(rename = "terminal_spawn")]
    Spawn {
        #[serde(rename = "machineId")]
        machine_id: String,
        capabilities: Option<Vec<String>>,
        cols: Option<u32>,
        rows: Option<u32>,
        command: Option<Vec<String>>,
    },
    #[serde(rename = "terminal_input")]
    Input { data: String },
    #[serde(rename = "terminal_resize")]
    Resize { cols: u32, rows: u32 },
    #[serde(rename = "terminal_end")]
    End {},
}

/// Serves the JSON form from its first message on.
pub(crate) async fn serve(
    app: &App,
    out: &mut Out,
    incoming: &mut In,
    first: String,
    credential: Option<Credential>,
    address: Option<IpAddr>,
) -> Result<Infallible, Closing> {
    let admission = match open(app, &first, credential, address).await {
        Ok(admission) => admission,
        Err(refusal) => {
            let error = crate::problem::ApiError::from(refusal);
            say(out, &error_message(error.code(), error.detail())).await?;
            return Err(Closing::Code(error.code()));
        }
    };
    let session = &admission.session;
    let token = json!({
        "type": "session_token",
        "sessionId": session.id.to_string(),
        "expiresAt": session.ends_at.map_or(0, adit_domain::Timestamp::seconds),
        "capabilities": admission.capabilities.iter().map(|c| c.action()).collect::<Vec<_>>(),
    });
    say(out, &token).await?;
    let control = admission.seat.control.clone();
    let served = AssertUnwindSafe(relay(out, incoming, admission)).catch_unwind().await;
    control.send(FromViewer::Gone).await;
    served.unwrap_or_else(|_| Err(failed()))
}

async fn open(
    app: &App,
    first: &str,
    credential: Option<Credential>,
    address: Option<IpAddr>,
) -> Result<Admission, Refusal> {
    let caller: Caller = match credential {
        None => return Err(Code::AuthRequired.into()),
        Some(Credential::Token(token)) => app.gateway.caller_by_token(&token, address).await?,
        Some(Credential::Cookie(cookie)) => app.gateway.caller_by_cookie(&cookie, address).await?,
    };
    let Ok(Said::Spawn { machine_id, capabilities, cols, rows, command }) =
        serde_json::from_str(first)
    else {
        let sentence = "The first message is {\"type\":\"terminal_spawn\",\"machineId\":…}.";
        return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
    };
    let capabilities: Option<Capabilities> =
        capabilities.map(|list| read_capabilities(&list)).transpose()?;
    let wish =
        Wish { capabilities, command: command.unwrap_or_default(), pty: true, ..Wish::default() };
    let issued = app.gateway.issue_ticket(&caller, &machine_id, wish).await?;
    let hand = Hand { cols: cols.unwrap_or(0), rows: rows.unwrap_or(0), ..Hand::default() };
    let presented = Presented { ticket: issued.minted.secret.expose(), proof: "" };
    app.gateway.admit(presented, hand, address).await
}

async fn relay(
    out: &mut Out,
    incoming: &mut In,
    admission: Admission,
) -> Result<Infallible, Closing> {
    let seat = admission.seat;
    let mut position = admission.input_position;
    let mut taken = VecDeque::new();
    let mut text = Joiner::default();
    // While the machine's link is away nothing is read: what is typed then waits in the client's own socket.
    let mut live = false;
    loop {
        tokio::select! {
            biased;
            message = next(incoming), if live => {
                let Incoming::Text(message) = message? else { return Err(Closing::Invalid) };
                match serde_json::from_str(&message) {
                    Ok(Said::Input { data }) => match &seat.input {
                        None => say(out, &error_of(Code::FrameForbidden)).await?,
                        Some(_) if data.len() > MAX_INPUT => say(out, &error_of(Code::FrameTooLarge)).await?,
                        Some(input) => {
                            let len = data.len() as u64;
                            input.type_bytes(position, Bytes::from(data)).await;
                            position += len;
                        }
                    },
                    Ok(Said::Resize { cols, rows }) => {
                        seat.control.send(FromViewer::Resize { cols, rows }).await;
                    }
                    Ok(Said::End {}) => {
                        seat.control.send(FromViewer::End).await;
                    }
                    Ok(Said::Spawn { .. }) | Err(_) => say(out, &error_of(Code::RequestInvalid)).await?,
                }
            }
            () = seat.inbox.take(&mut taken) => {
                for item in taken.drain(..) {
                    match item {
                        ToViewer::Data { position, bytes, .. } => {
                            let shown = position + bytes.len() as u64;
                            say(out, &json!({"type": "terminal_output", "data": text.push(&bytes)})).await?;
                            seat.control.send(FromViewer::Ack { position: shown }).await;
                        }
                        ToViewer::Control(message) => {
                            match &*message {
                                ToViewerMessage::State(state) => live = state.kind() == StateKind::Live,
                                ToViewerMessage::InputRewind(rewind) if rewind.position == position => continue,
                                ToViewerMessage::InputRewind(rewind) => position = rewind.position,
                                _ => {}
                            }
                            if let Some(message) = translate(*message) {
                                say(out, &message).await?;
                            }
                        }
                        ToViewer::Close(reason) => return Err(Closing::Code(reason.code())),
                    }
                }
            }
        }
    }
}

fn translate(message: ToViewerMessage) -> Option<Value> {
    Some(match message {
        ToViewerMessage::InputRewind(rewind) => json!({
            "type": "error", "code": rewind.code, "retryAfterMs": rewind.retry_after_ms,
            "message": "This input was not taken. Send it again after the time given.",
        }),
        ToViewerMessage::Resized(size) => {
            json!({"type": "terminal_resized", "cols": size.cols, "rows": size.rows})
        }
        ToViewerMessage::Notice(notice) => {
            json!({"type": "notice", "code": notice.code, "message": notice.sentence})
        }
        ToViewerMessage::Ended(ended) => json!({
            "type": "terminal_end", "code": ended.code, "message": ended.sentence, "exitStatus": ended.exit_status,
        }),
        ToViewerMessage::Snapshot(_)
        | ToViewerMessage::Admitted(_)
        | ToViewerMessage::InputAck(_)
        | ToViewerMessage::State(_)
        | ToViewerMessage::Participants(_)
        | ToViewerMessage::Pong(_) => return None,
    })
}

fn error_of(code: Code) -> Value {
    error_message(code, code.sentence())
}

fn error_message(code: Code, message: &str) -> Value {
    json!({"type": "error", "code": code.as_str(), "message": message})
}

async fn say(out: &mut Out, message: &Value) -> Result<(), Closing> {
    out.send(Message::text(message.to_string())).await.map_err(|_| Closing::Gone)
}
