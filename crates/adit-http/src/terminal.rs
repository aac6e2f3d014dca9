//! `/ws/terminal`: a viewer's WebSocket, and the first and last step of a key.
//!
//! The path of a key is in `adit-core` `session/relay.rs`. Here: parse a frame, hand it to the seat, write what the inbox holds. A viewer
//! without `terminal:input` has no input handle, so there is nothing to check.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::session::outbox::ToViewer;
use adit_core::session::viewer::{FromViewer, Seat};
use adit_core::session::{Admission, Hand};
use adit_core::ticket::Presented;
use adit_core::{Refusal, failpoint};
use adit_domain::{Code, EndReason};
use adit_link::lanes;
use adit_session::TokenBucket;
use adit_wire::frame::{self, Frame, Kind};
use adit_wire::terminal::v1 as pb;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use pb::from_gateway::Message as ToViewerMessage;
use pb::from_viewer::Message as FromViewerMessage;
use prost::Message as _;

use crate::app::App;
use crate::listen::Peer;
use crate::websocket::{Closing, In, Incoming, Out, capped, failed, finish, next, pump};
use crate::{guard, json_terminal};

/// The subprotocol of the binary form.
pub const PROTOCOL: &str = "adit.terminal.v1";

/// How long a viewer has to present its ticket.
const TICKET_WITHIN: Duration = Duration::from_secs(10);

/// How often a quiet viewer is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(8);

/// How long a viewer may be silent. It is looked at with each ping, so one that vanished is noticed within 30 s.
const SILENT_FOR: Duration = Duration::from_secs(20);

/// Messages a second of one viewer, beside which the session's own limit of input stands: acknowledgements of bulk output are the most.
const MESSAGES: u32 = 4000;

/// Upgrades a viewer's connection. Its ticket comes in the first frame.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    ws: WebSocketUpgrade,
    request: Request,
) -> Response {
    let tls = Peer::is_tls(request.extensions());
    if let Err(error) = guard::websocket_origin(&app, request.headers(), tls).await {
        return error.into_response();
    }
    let address = Peer::of(request.extensions()).map(|peer| peer.address.ip());
    let credential = json_terminal::Credential::of(request.headers(), tls);
    capped(ws)
        .protocols([PROTOCOL])
        .on_upgrade(move |socket| lanes::changing(serve(app, socket, address, credential)))
}

async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    address: Option<IpAddr>,
    credential: Option<json_terminal::Credential>,
) {
    let (mut out, mut incoming) = socket.split();
    let first = tokio::time::timeout(TICKET_WITHIN, next(&mut incoming)).await;
    let Err(closing) = match first {
        Ok(Ok(Incoming::Binary(bytes))) => {
            binary(&app, &mut out, &mut incoming, bytes, address).await
        }
        Ok(Ok(Incoming::Text(text))) => {
            json_terminal::serve(&app, &mut out, &mut incoming, text, credential, address).await
        }
        Ok(Err(closing)) => Err(closing),
        Err(_) => Err(Closing::Code(Code::TicketMissing)),
    };
    finish(&mut out, &mut incoming, closing).await;
}

async fn binary(
    app: &App,
    out: &mut Out,
    incoming: &mut In,
    first: Bytes,
    address: Option<IpAddr>,
) -> Result<Infallible, Closing> {
    let redeem = read_redeem(first)?;
    let hand = Hand {
        cols: redeem.cols,
        rows: redeem.rows,
        output_position: redeem.output_position,
        writer: redeem.writer.to_vec(),
        input_position: redeem.input_position,
        longest: None,
    };
    let presented = Presented { ticket: &redeem.ticket, proof: &redeem.proof };
    let admission = match app.gateway.admit(presented, hand, address).await {
        Ok(admission) => admission,
        Err(refusal) => return refuse(out, &refusal).await,
    };
    let admitted = admitted(&admission, app.gateway.settings.grace);
    let mut viewer = Viewer {
        seat: admission.seat,
        out: VecDeque::from([Message::Binary(control(ToViewerMessage::Admitted(admitted)))]),
        dirty: false,
        heard: Instant::now(),
        bucket: TokenBucket::new(MESSAGES, MESSAGES, Instant::now()),
        closing: None,
    };
    let control = viewer.seat.control.clone();
    let served = AssertUnwindSafe(viewer.run(out, incoming)).catch_unwind().await;
    control.send(FromViewer::Gone).await;
    served.unwrap_or_else(|_| Err(failed()))
}

fn read_redeem(first: Bytes) -> Result<pb::Redeem, Closing> {
    let Frame::Control(message) = Frame::read(first)? else {
        return Err(Closing::Code(Code::TicketMissing));
    };
    let message = pb::FromViewer::decode(message).map_err(|_| Closing::Invalid)?;
    match message.message {
        Some(FromViewerMessage::Redeem(redeem)) => Ok(redeem),
        _ => Err(Closing::Code(Code::TicketMissing)),
    }
}

fn admitted(admission: &Admission, grace: Duration) -> pb::Admitted {
    let session = &admission.session;
    pb::Admitted {
        session_id: session.id.to_string(),
        machine_label: session.machine_label.to_string(),
        capabilities: admission.capabilities.iter().map(|c| c.action().to_owned()).collect(),
        ends_at_ms: session.ends_at.map_or(0, adit_domain::Timestamp::wire),
        writer: admission.writer.to_vec().into(),
        input_position: admission.input_position,
        recording: session.recording.as_str().to_owned(),
        pty: session.pty,
        grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Tells a viewer why it was not admitted, in words and by the close code.
async fn refuse(out: &mut Out, refusal: &Refusal) -> Result<Infallible, Closing> {
    let code = refusal.code();
    let error = crate::problem::ApiError::from(refusal.clone());
    let ended = ToViewerMessage::Ended(pb::Ended {
        code: code.as_str().to_owned(),
        sentence: error.detail().to_owned(),
        ..pb::Ended::default()
    });
    out.send(Message::Binary(control(ended))).await.map_err(|_| Closing::Gone)?;
    Err(Closing::Code(code))
}

fn control(message: ToViewerMessage) -> Bytes {
    frame::write_control(&pb::FromGateway { message: Some(message) })
}

struct Viewer {
    seat: Seat,
    out: VecDeque<Message>,
    /// Whether something is not flushed yet.
    dirty: bool,
    heard: Instant,
    bucket: TokenBucket,
    closing: Option<EndReason>,
}

impl Viewer {
    async fn run(&mut self, out: &mut Out, incoming: &mut In) -> Result<Infallible, Closing> {
        let mut taken = VecDeque::new();
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            // What was handed to the socket is on its way only once it was flushed, which an arriving message may interrupt.
            self.dirty |= !self.out.is_empty();
            if let (Some(reason), false) = (&self.closing, self.dirty) {
                return Err(Closing::Code(reason.code()));
            }
            tokio::select! {
                biased;
                message = incoming.next() => self.on_message(message).await?,
                written = pump(out, &mut self.out), if self.dirty => {
                    written.map_err(|_| Closing::Gone)?;
                    self.dirty = false;
                }
                () = self.seat.inbox.take(&mut taken), if !self.dirty => self.encode(&mut taken),
                _ = ping.tick() => self.look_alive()?,
            }
        }
    }

    async fn on_message(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
    ) -> Result<(), Closing> {
        self.heard = Instant::now();
        self.bucket.take(self.heard).map_err(|_| Closing::Code(Code::RateLimited))?;
        match message {
            None => Err(Closing::Gone),
            Some(Ok(Message::Close(_))) => Err(Closing::Asked),
            Some(Err(error)) => Err(Closing::from(error)),
            Some(Ok(Message::Binary(bytes))) => self.on_frame(Frame::read(bytes)?).await,
            Some(Ok(Message::Text(_))) => Err(Closing::Invalid),
            Some(Ok(Message::Ping(_))) => {
                self.dirty = true;
                Ok(())
            }
            Some(Ok(Message::Pong(_))) => Ok(()),
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), Closing> {
        let stays = match frame {
            Frame::Data(data) if data.kind == Kind::Input => {
                failpoint::pass("viewer", &data.bytes);
                match &self.seat.input {
                    Some(input) => input.type_bytes(data.position, data.bytes).await,
                    None => self.forbid(),
                }
            }
            Frame::Data(_) => return Err(Closing::Invalid),
            Frame::Control(bytes) => {
                let message = pb::FromViewer::decode(bytes).map_err(|_| Closing::Invalid)?;
                self.on_control(message.message.ok_or(Closing::Invalid)?).await?
            }
        };
        // A session that is over says why through the inbox.
        let _ = stays;
        Ok(())
    }

    async fn on_control(&mut self, message: FromViewerMessage) -> Result<bool, Closing> {
        let control = &self.seat.control;
        Ok(match message {
            FromViewerMessage::Redeem(_) => return Err(Closing::Invalid),
            FromViewerMessage::Ping(ping) => {
                let pong = ToViewerMessage::Pong(pb::Pong { nonce: ping.nonce });
                self.out.push_back(Message::Binary(self::control(pong)));
                true
            }
            FromViewerMessage::OutputAck(ack) => {
                control.send(FromViewer::Ack { position: ack.position }).await
            }
            FromViewerMessage::Resize(size) => {
                control.send(FromViewer::Resize { cols: size.cols, rows: size.rows }).await
            }
            FromViewerMessage::InputEof(eof) => match &self.seat.input {
                Some(input) => input.eof(eof.position).await,
                None => self.forbid(),
            },
            FromViewerMessage::Signal(signal) => {
                control.send(FromViewer::Signal { name: signal.name }).await
            }
            FromViewerMessage::Detach(_) => control.send(FromViewer::Detach).await,
            FromViewerMessage::End(_) => control.send(FromViewer::End).await,
        })
    }

    fn forbid(&mut self) -> bool {
        let code = Code::FrameForbidden;
        let notice =
            pb::Notice { code: code.as_str().to_owned(), sentence: code.sentence().to_owned() };
        self.out.push_back(Message::Binary(control(ToViewerMessage::Notice(notice))));
        true
    }

    fn encode(&mut self, taken: &mut VecDeque<ToViewer>) {
        for item in taken.drain(..) {
            match item {
                ToViewer::Data { kind, position, bytes } => {
                    self.out.push_back(Message::Binary(frame::write_data(kind, position, &bytes)));
                }
                ToViewer::Control(message) => {
                    self.out.push_back(Message::Binary(control(*message)))
                }
                ToViewer::Close(reason) => self.closing = Some(reason),
            }
        }
    }

    fn look_alive(&mut self) -> Result<(), Closing> {
        if self.heard.elapsed() > SILENT_FOR {
            return Err(Closing::Gone);
        }
        self.out.push_back(Message::Ping(Bytes::new()));
        Ok(())
    }
}
