//! `/ws/tickets`: a machine's channel, on which it is told at once what it may reach and what is over. Messages are JSON texts.

use std::sync::Arc;
use std::time::Duration;

use adit_core::reach::Guest;
use adit_core::reach::channel::{Channel, Push};
use adit_domain::certificate::Carried;
use adit_domain::reach::read_peer;
use adit_domain::{CertificateName, Code};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Asking;
use super::ticket::{TicketOf, read_inbox};
use crate::app::App;
use crate::problem::ApiError;
use crate::websocket::{Closing, In, Out, capped, finish};

/// How often a quiet machine is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long a machine may be silent.
const SILENT_FOR: Duration = Duration::from_secs(25);

/// How often the certificate that a channel rests on is looked at, beside each look at rights.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a machine is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told {
    /// All live tickets whose target it is.
    Inbox { tickets: Vec<TicketOf> },
    /// A target waits for a ticket of an instance.
    #[serde(rename_all = "camelCase")]
    Wanted { instance_id: String, scope: String, target: String },
    /// A target opened a session.
    #[serde(rename_all = "camelCase")]
    Session { session_id: String, instance_id: String, scope: String, target: String },
    /// A target opened a stream, which the machine is to answer.
    #[serde(rename_all = "camelCase")]
    Stream {
        session_id: String,
        stream_id: String,
        scope: String,
        target: String,
        /// Where to answer it, when the target waits at another gateway.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<String>,
    },
    /// A session is over.
    #[serde(rename_all = "camelCase")]
    Ended { session_id: String, reason: &'static str },
}

/// What a machine says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Said {
    /// It waits for a ticket, of one source or of any.
    Want { scope: String, source: Option<String> },
    /// It waits no more.
    Enough { scope: String },
    /// It answers streams of its instances.
    Offer { scope: String },
}

/// Opens a machine's channel.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    ws: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let peer = guest.peer()?;
    let channel =
        app.gateway.channels.open(peer.tenant, &peer.name).ok_or(ApiError::from(Code::TooMany))?;
    Ok(capped(ws).on_upgrade(move |socket| serve(app, socket, guest, channel)))
}

async fn serve(app: Arc<App>, socket: WebSocket, guest: Guest, mut channel: Channel) {
    let (mut out, mut incoming) = socket.split();
    let closing = match run(&app, &mut out, &mut incoming, &guest, &mut channel).await {
        Ok(never) => match never {},
        Err(closing) => closing,
    };
    drop(channel);
    finish(&mut out, &mut incoming, closing).await;
}

async fn run(
    app: &App,
    out: &mut Out,
    incoming: &mut In,
    guest: &Guest,
    channel: &mut Channel,
) -> Result<std::convert::Infallible, Closing> {
    let gone = |_| Closing::Gone;
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut rights = app.gateway.rights_looked_at();
    let mut heard = Instant::now();
    tell_inbox(app, out, guest).await?;
    loop {
        tokio::select! {
            push = channel.next() => match push {
                None => return Err(Closing::Code(Code::ViewerLagged)),
                Some(Push::Inbox) => tell_inbox(app, out, guest).await?,
                Some(push) => tell(out, &told(push)).await?,
            },
            message = incoming.next() => {
                heard = Instant::now();
                if let Some(said) = read(message)? {
                    hear(app, out, guest, channel, &said).await?;
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENT_FOR {
                    return Err(Closing::Gone);
                }
                let sent = tokio::time::timeout(SILENT_FOR, out.send(Message::Ping(Bytes::new())));
                sent.await.map_err(|_| Closing::Gone)?.map_err(gone)?;
            }
            _ = look.tick() => check(app, guest).await?,
            changed = rights.changed() => match changed {
                Ok(()) => check(app, guest).await?,
                Err(_) => return Err(Closing::Code(Code::GatewayRestarting)),
            },
            () = app.gateway.tasks.ending() => return Err(Closing::Code(Code::GatewayRestarting)),
        }
    }
}

/// Reads what came; nothing for pings and pongs.
fn read(message: Option<Result<Message, axum::Error>>) -> Result<Option<String>, Closing> {
    match message {
        None => Err(Closing::Gone),
        Some(Err(error)) => Err(Closing::from(error)),
        Some(Ok(Message::Close(_))) => Err(Closing::Asked),
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        Some(Ok(Message::Binary(_))) => Err(Closing::Invalid),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
    }
}

/// Sends the machine away whose certificate does not count any more.
async fn check(app: &App, guest: &Guest) -> Result<(), Closing> {
    let Ok(peer) = guest.peer() else { return Err(Closing::Code(Code::CertificateRefused)) };
    let tenant = app.gateway.store.tenant(peer.tenant);
    let now = app.gateway.clock.now();
    if let CertificateName::Delegated { delegator, .. } = &peer.name {
        let speaks_for = CertificateName::Agent(delegator.clone());
        if let Ok(false) = tenant.has_certificate(&speaks_for, now).await {
            return Err(Closing::Code(Code::CertificateRefused));
        }
    }
    match tenant.find_certificate(peer.holder.certificate.id).await {
        Ok(Some(found)) if found.revoked_at.is_none() && found.not_after > now => Ok(()),
        Ok(_) => Err(Closing::Code(Code::CertificateRefused)),
        // Whoever watches rights ends what nobody can vouch for.
        Err(_) => Ok(()),
    }
}

async fn hear(
    app: &App,
    out: &mut Out,
    guest: &Guest,
    channel: &Channel,
    text: &str,
) -> Result<(), Closing> {
    let said: Said = serde_json::from_str(text).map_err(|_| Closing::Invalid)?;
    let read = |scope: &str| scope.parse::<Carried>().map_err(|_| Closing::Invalid);
    let refused = |refusal: adit_core::Refusal| Closing::Code(refusal.code());
    match said {
        Said::Want { scope, source } => {
            let scope = read(&scope)?;
            let from =
                source.as_deref().map(read_peer).transpose().map_err(|_| Closing::Invalid)?;
            if channel.want(scope.clone(), from) {
                app.gateway.tell_sources(guest, &scope).await.map_err(refused)?;
            }
        }
        Said::Enough { scope } => channel.want_no_more(&read(&scope)?),
        Said::Offer { scope } => {
            let scope = read(&scope)?;
            if channel.offer(scope.clone()) {
                let words = app.gateway.words_for_source(guest, &scope).await.map_err(refused)?;
                for word in words {
                    tell(out, &told(word)).await?;
                }
            }
        }
    }
    Ok(())
}

/// The most tickets that one message tells of; whoever has more of them in half a minute finds the rest in its inbox.
const TOLD_AT_ONCE: usize = 100;

async fn tell_inbox(app: &App, out: &mut Out, guest: &Guest) -> Result<(), Closing> {
    let mut tickets =
        read_inbox(app, guest, None).await.map_err(|error| Closing::Code(error.code()))?;
    tickets.truncate(TOLD_AT_ONCE);
    tell(out, &Told::Inbox { tickets }).await
}

fn told(push: Push) -> Told {
    match push {
        Push::Inbox => Told::Inbox { tickets: Vec::new() },
        Push::Wanted { instance, capability, target } => Told::Wanted {
            instance_id: instance.0.simple().to_string(),
            scope: capability.to_string(),
            target,
        },
        Push::Session { session, instance, capability, target } => Told::Session {
            session_id: session.0.simple().to_string(),
            instance_id: instance.0.simple().to_string(),
            scope: capability.to_string(),
            target,
        },
        Push::Stream { session, stream, capability, target, dial } => Told::Stream {
            gateway: dial,
            session_id: session.0.simple().to_string(),
            stream_id: stream.0.simple().to_string(),
            scope: capability.to_string(),
            target,
        },
        Push::Ended { session, reason } => {
            Told::Ended { session_id: session.0.simple().to_string(), reason: reason.as_str() }
        }
    }
}

async fn tell(out: &mut Out, told: &Told) -> Result<(), Closing> {
    let text = serde_json::to_string(told).map_err(|_| Closing::Failed)?;
    let sent = tokio::time::timeout(SILENT_FOR, out.send(Message::Text(text.into()))).await;
    sent.map_err(|_| Closing::Gone)?.map_err(|_| Closing::Gone)
}
