//! `/ws/terminal`: a viewer's WebSocket, and the first and last step of a key.
//!
//! The path of a key is in `adit-core` `session/relay.rs`. Here: parse a frame, hand it to the seat, write what the inbox holds. A viewer
//! without `terminal:input` has no input handle, so there is nothing to check.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::Refusal;
use adit_core::session::outbox::ToViewer;
use adit_core::session::viewer::{FromViewer, Seat};
use adit_core::session::{Admission, Hand};
use adit_domain::{Code, EndReason};
use adit_link::socket::{MAX_MESSAGE, READ_BUFFER, WRITE_BUFFER};
use adit_session::TokenBucket;
use adit_wire::frame::{self, Frame, FrameError, Kind};
use adit_wire::terminal::v1 as pb;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use pb::from_gateway::Message as ToViewerMessage;
use pb::from_viewer::Message as FromViewerMessage;
use prost::Message as _;

use crate::app::App;
use crate::listen::Peer;
use crate::{guard, json_terminal};

/// The subprotocol of the binary form.
pub const PROTOCOL: &str = "adit.terminal.v1";

/// How long a viewer has to present its ticket.
const TICKET_WITHIN: Duration = Duration::from_secs(10);

/// How often a quiet viewer is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a viewer may be silent.
const SILENT_FOR: Duration = Duration::from_secs(45);

/// How long a close may take to be written.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Messages a second of one viewer, beside which the session's own limit of input stands: acknowledgements of bulk output are the most.
const MESSAGES: u32 = 4000;

/// How many messages are written before other connections have their turn.
const MESSAGES_A_TURN: usize = 8;

/// The sending half.
pub(crate) type Out = SplitSink<WebSocket, Message>;

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
        .on_upgrade(move |socket| async move { serve(app, socket, address, credential).await })
}

/// Gives a WebSocket the caps of its plane.
pub(crate) fn capped(ws: WebSocketUpgrade) -> WebSocketUpgrade {
    ws.read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * MAX_MESSAGE)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
}

async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    address: Option<IpAddr>,
    credential: Option<json_terminal::Credential>,
) {
    let (mut out, mut incoming) = socket.split();
    let first = tokio::time::timeout(TICKET_WITHIN, next(&mut incoming)).await;
    let served = match first {
        Ok(Ok(Incoming::Binary(bytes))) => {
            binary(&app, &mut out, &mut incoming, bytes, address).await
        }
        Ok(Ok(Incoming::Text(text))) => {
            json_terminal::serve(&app, &mut out, &mut incoming, text, credential, address).await
        }
        Ok(Err(closing)) => Err(closing),
        Err(_) => Err(Closing::Code(Code::TicketMissing)),
    };
    match served {
        Ok(()) | Err(Closing::Gone) => {}
        Err(Closing::Code(code)) => close(&mut out, code.close_code(), code.as_str()).await,
        Err(Closing::TooLarge) => close(&mut out, 1009, Code::FrameTooLarge.as_str()).await,
        Err(Closing::Invalid) => close(&mut out, 1002, Code::FrameInvalid.as_str()).await,
    }
}

/// Why a connection ends before its session does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closing {
    /// With a code that the viewer is told.
    Code(Code),
    /// A frame over the cap.
    TooLarge,
    /// Bytes that are no frame.
    Invalid,
    /// The viewer is not there any more.
    Gone,
}

impl From<FrameError> for Closing {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Large(_) => Self::TooLarge,
            _ => Self::Invalid,
        }
    }
}

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    Binary(Bytes),
    Text(String),
}

/// Reads the next message, letting pings and pongs pass.
pub(crate) async fn next(incoming: &mut SplitStream<WebSocket>) -> Result<Incoming, Closing> {
    loop {
        match incoming.next().await {
            None | Some(Ok(Message::Close(_))) => return Err(Closing::Gone),
            Some(Err(error)) => return Err(closing_of(&error)),
            Some(Ok(Message::Binary(bytes))) => return Ok(Incoming::Binary(bytes)),
            Some(Ok(Message::Text(text))) => return Ok(Incoming::Text(text.as_str().to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
        }
    }
}

fn closing_of(error: &axum::Error) -> Closing {
    let text = error.to_string();
    if text.contains("Space limit exceeded")
        || text.contains("too long")
        || text.contains("too large")
    {
        return Closing::TooLarge;
    }
    if text.contains("protocol") || text.contains("UTF-8") {
        Closing::Invalid
    } else {
        Closing::Gone
    }
}

async fn binary(
    app: &App,
    out: &mut Out,
    incoming: &mut SplitStream<WebSocket>,
    first: Bytes,
    address: Option<IpAddr>,
) -> Result<(), Closing> {
    let redeem = read_redeem(first)?;
    let hand = Hand {
        cols: redeem.cols,
        rows: redeem.rows,
        output_position: redeem.output_position,
        writer: redeem.writer.to_vec(),
        input_position: redeem.input_position,
    };
    let admission = match app.gateway.admit(&redeem.ticket, hand, address).await {
        Ok(admission) => admission,
        Err(refusal) => return refuse(out, &refusal).await,
    };
    let admitted = admitted(&admission);
    let mut viewer = Viewer {
        seat: admission.seat,
        out: VecDeque::from([Message::Binary(control(ToViewerMessage::Admitted(admitted)))]),
        dirty: false,
        heard: Instant::now(),
        bucket: TokenBucket::new(MESSAGES, MESSAGES, Instant::now()),
        closing: None,
    };
    let served = viewer.run(out, incoming).await;
    viewer.seat.control.send(FromViewer::Gone).await;
    served
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

fn admitted(admission: &Admission) -> pb::Admitted {
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
    }
}

/// Tells a viewer why it was not admitted, in words and by the close code.
async fn refuse(out: &mut Out, refusal: &Refusal) -> Result<(), Closing> {
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
    dirty: bool,
    heard: Instant,
    bucket: TokenBucket,
    closing: Option<EndReason>,
}

impl Viewer {
    async fn run(
        &mut self,
        out: &mut Out,
        incoming: &mut SplitStream<WebSocket>,
    ) -> Result<(), Closing> {
        let mut taken = VecDeque::new();
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            let writing = self.dirty || !self.out.is_empty();
            if let (Some(reason), false) = (&self.closing, writing) {
                let code = reason.code();
                close(out, code.close_code(), code.as_str()).await;
                return Ok(());
            }
            tokio::select! {
                biased;
                message = incoming.next() => self.on_message(message).await?,
                written = pump(out, &mut self.out), if writing => {
                    written.map_err(|_| Closing::Gone)?;
                    self.dirty = false;
                }
                () = self.seat.inbox.take(&mut taken), if !writing => self.encode(&mut taken),
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
            None | Some(Ok(Message::Close(_))) => Err(Closing::Gone),
            Some(Err(error)) => Err(closing_of(&error)),
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
            Frame::Data(data) if data.kind == Kind::Input => match &self.seat.input {
                Some(input) => input.type_bytes(data.position, data.bytes).await,
                None => self.forbid(),
            },
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

/// Writes everything, then flushes; can be dropped between any two polls without losing a message.
pub(crate) async fn pump(out: &mut Out, queue: &mut VecDeque<Message>) -> Result<(), axum::Error> {
    while !queue.is_empty() {
        if queue.len().is_multiple_of(MESSAGES_A_TURN) {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| std::pin::Pin::new(&mut *out).poll_ready(cx)).await?;
        if let Some(message) = queue.pop_front() {
            out.start_send_unpin(message)?;
        }
    }
    out.flush().await
}

/// Closes a WebSocket with a code and the reason's name.
pub(crate) async fn close(out: &mut Out, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    // A peer that does not take the close is gone all the same.
    let _ = tokio::time::timeout(CLOSE_WITHIN, out.send(Message::Close(Some(frame)))).await;
}
