//! `/ws/agent`: machines. A key or a certificate says which machine it is; the sealed handshake inside proves that it has the machine's
//! own key, and only then is it let in.

use std::sync::Arc;

use adit_core::admission::Admission;
use adit_core::{BoxSocket, Gateway};
use adit_domain::{Code, SessionId};
use adit_link::connection::{self, Offer};
use adit_link::seal::Binding;
use adit_link::socket::{Adapted, Dialect, Message as LinkMessage, SocketError};
use adit_store::Machine;
use adit_wire::agent::v1::preamble::Purpose;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use metrics::counter;
use tracing::warn;

use crate::app::App;
use crate::auth;
use crate::listen::Peer;
use crate::problem::ApiError;
use crate::websocket::capped;

/// The subprotocol.
pub const PROTOCOL: &str = "adit.agent.v1";

/// The dialect of axum's WebSockets.
pub enum Axum {}

impl Dialect for Axum {
    type Message = Message;
    type Error = axum::Error;

    fn read(theirs: Message) -> LinkMessage {
        match theirs {
            Message::Binary(bytes) => LinkMessage::Binary(bytes),
            Message::Text(_) => LinkMessage::Text,
            Message::Ping(bytes) => LinkMessage::Ping(bytes),
            Message::Pong(bytes) => LinkMessage::Pong(bytes),
            Message::Close(frame) => LinkMessage::Close(frame.map(|f| f.code)),
        }
    }

    fn write(ours: LinkMessage) -> Message {
        match ours {
            LinkMessage::Binary(bytes) => Message::Binary(bytes),
            LinkMessage::Text => Message::text(""),
            LinkMessage::Ping(bytes) => Message::Ping(bytes),
            LinkMessage::Pong(bytes) => Message::Pong(bytes),
            LinkMessage::Close(code) => {
                Message::Close(code.map(|code| CloseFrame { code, reason: "".into() }))
            }
        }
    }

    fn error(theirs: axum::Error) -> SocketError {
        if theirs.to_string().contains("Space limit exceeded") {
            return SocketError::Large;
        }
        SocketError::Failed(theirs.into())
    }
}

/// Connections that one machine may have beside those of its sessions: after a restart of the gateway all come back at once. A session has
/// one: the newest takes the place of the one before.
const UNLINKED: usize = 1024;

/// Upgrades a machine's connection.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    ws: WebSocketUpgrade,
    request: Request,
) -> Response {
    let Some(peer) = Peer::of(request.extensions()).cloned() else {
        return ApiError::from(Code::Internal).into_response();
    };
    let admission = match admit(&app, &peer, request.headers()).await {
        Ok(admission) => admission,
        Err(error) => return error.into_response(),
    };
    let machine = &admission.machine;
    let Some(place) = app.gateway.machine_links.take(machine.id, UNLINKED) else {
        counter!("adit_connections_refused_total").increment(1);
        warn!(machine.label = %machine.label, "a machine wants more connections than it may have");
        return ApiError::from(Code::TooMany).into_response();
    };
    capped(ws).protocols([PROTOCOL]).on_upgrade(move |socket| async move {
        serve(app, socket, admission, peer).await;
        drop(place);
    })
}

// AGT-01, AGT-03: which machine it is comes from the credential and from nothing else.
async fn admit(app: &App, peer: &Peer, headers: &HeaderMap) -> Result<Admission, ApiError> {
    let address = Some(peer.address.ip());
    let certificate = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    if let Some(certificate) = certificate {
        return Ok(app.gateway.admit_by_certificate(certificate, address).await?);
    }
    let key = auth::bearer(headers).ok_or(Code::AuthRequired)?;
    Ok(app.gateway.admit_by_key(key, address).await?)
}

async fn serve(app: Arc<App>, socket: WebSocket, admission: Admission, peer: Peer) {
    let socket: BoxSocket = Box::new(Adapted::<_, Axum>::new(socket));
    // AGT-02: the connection ends with what admitted it.
    let socket = app.gateway.admissions.tie(socket, &admission);
    let machine = &admission.machine;
    let binding = peer.tls.map_or(Binding::None, |tls| tls.binding);
    let offer = match connection::accept(socket, &app.gateway.keys.session_service, &binding).await
    {
        Ok(offer) => offer,
        Err(error) => {
            warn!(machine.label = %machine.label, %error, "a machine's handshake failed");
            return;
        }
    };
    if offer.machine().0 != machine.link_key {
        note_wrong_key(&app, machine).await;
        return offer.refuse(Code::AuthRequired.close_code()).await;
    }
    let purpose = offer.preamble().purpose();
    let session = SessionId::from_bytes(&offer.preamble().session_id);
    match (purpose, session) {
        (Purpose::Control, _) => control(&app, offer, admission).await,
        (Purpose::Session, _) if admission.renewal_only => {
            offer.refuse(Code::CertificateExpired.close_code()).await;
        }
        (Purpose::Session, Some(id)) => session_link(&app, offer, admission.machine, id).await,
        _ => offer.refuse(Code::FrameInvalid.close_code()).await,
    }
}

async fn control(app: &App, offer: Offer<BoxSocket>, admission: Admission) {
    match offer.accept().await {
        Ok(link) => app.gateway.serve_control(link, admission).await,
        Err(error) => {
            let label = admission.machine.label;
            warn!(machine.label = %label, %error, "a machine's handshake failed");
        }
    }
}

async fn session_link(app: &App, offer: Offer<BoxSocket>, machine: Machine, id: SessionId) {
    if app.gateway.sessions.tenant(id).is_none() {
        return offer.refuse(Code::SessionUnknown.close_code()).await;
    }
    if !app.gateway.knows_warrant(offer.preamble().warrant.as_ref(), id, machine.id) {
        note_wrong_warrant(&app.gateway, &machine, id).await;
        return offer.refuse(Code::WarrantInvalid.close_code()).await;
    }
    let link = match offer.accept().await {
        Ok(link) => link,
        Err(error) => {
            warn!(machine.label = %machine.label, %error, "a session's handshake failed");
            return;
        }
    };
    // AGT-10: a session is linked only by the machine that it is on.
    if let Err(link) = app.gateway.sessions.link(id, machine.id, link) {
        warn!(machine.label = %machine.label, session.id = %id, "a machine came for a session that is not its own");
        link.close(Code::SessionUnknown.close_code()).await;
    }
}

// TOK-24, AGT-10: a session is linked with the warrant that was signed for it, by the machine that it names.
async fn note_wrong_warrant(gateway: &Gateway, machine: &Machine, id: SessionId) {
    warn!(machine.label = %machine.label, session.id = %id, "a machine came for a session without its warrant");
    let actor = adit_core::machine::machine_actor(machine, None);
    let sentence = format!("{} came for a session without its warrant", machine.label);
    let event = gateway
        .event("machine.wrong_warrant", &actor, sentence)
        .on(adit_core::access::machine_party(machine))
        .with("session", serde_json::json!(id.to_string()))
        .denied(Code::WarrantInvalid);
    gateway.note(event).await;
}

async fn note_wrong_key(app: &App, machine: &Machine) {
    warn!(machine.label = %machine.label, "a machine's credential came with another machine's link key");
    let actor = adit_core::machine::machine_actor(machine, None);
    let event = app
        .gateway
        .event(
            "machine.wrong_key",
            &actor,
            format!("The credential of {} came with another link key", machine.label),
        )
        .on(adit_core::access::machine_party(machine))
        .denied(Code::AuthRequired);
    app.gateway.note(event).await;
}
