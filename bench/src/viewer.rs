//! A session over the terminal WebSocket, as the console has it: a ticket, one connection, frames.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use adit_wire::frame::{Frame, Kind, MAX_INPUT, write_control, write_data};
use adit_wire::terminal::v1::{
    End, FromGateway, FromViewer, InputRewind, OutputAck, Redeem, from_gateway, from_viewer,
};
use anyhow::{Context, Result, bail};
use prost::Message as _;
use rustix::fd::{AsFd, BorrowedFd};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use crate::pty::SIZE;
use crate::terminal::{Terminal, wait_readable};

/// What a viewer shows before it acknowledges: half of the 128 KiB that the protocol allows.
const ACK_BYTES: u64 = 64 * 1024;
/// The longest that shown bytes go unacknowledged, as the protocol allows.
const ACK_TIME: Duration = Duration::from_millis(100);
/// The same for a few bytes.
const ACK_FEW_TIME: Duration = Duration::from_secs(1);
/// Fewer bytes than this are a few.
const FEW: u64 = 4 * 1024;

/// One connection.
pub struct Viewer {
    socket: WebSocket<TcpStream>,
    /// The position of the next input.
    input: u64,
    /// Input that the machine has not acknowledged: the last of what was sent.
    unacknowledged: Vec<u8>,
    shown: u64,
    acknowledged: u64,
    acknowledged_at: Instant,
    /// Whether the WebSocket may hold messages that the socket does not show any more.
    more: bool,
}

impl Viewer {
    /// Asks for a ticket to a shell and redeems it.
    pub fn open(gateway: &str, token: &str, machine: &str) -> Result<Self> {
        let request = json!({"machine": machine, "command": ["/bin/sh", "-i"], "pty": true});
        let answer = post(gateway, "/api/v1/tickets", token, &request)?;
        let ticket = answer["ticket"].as_str().with_context(|| format!("no ticket: {answer}"))?;
        let url = answer["url"].as_str().with_context(|| format!("no url: {answer}"))?;
        let mut request = url.into_client_request()?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("adit.terminal.v1"));
        let stream = TcpStream::connect(address(gateway)?)?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client(request, stream)?;
        let redeem = Redeem {
            ticket: ticket.to_owned(),
            cols: SIZE.1.into(),
            rows: SIZE.0.into(),
            ..Redeem::default()
        };
        socket.send(control(from_viewer::Message::Redeem(redeem)))?;
        socket.get_mut().set_nonblocking(true)?;
        Ok(Self {
            socket,
            input: 0,
            unacknowledged: Vec::new(),
            shown: 0,
            acknowledged: 0,
            acknowledged_at: Instant::now(),
            more: false,
        })
    }

    fn show(&mut self, message: Message, into: &mut Vec<u8>) -> Result<()> {
        let Message::Binary(bytes) = message else { return Ok(()) };
        match Frame::read(bytes)? {
            Frame::Data(data) if data.kind == Kind::Output => {
                into.extend_from_slice(&data.bytes);
                self.shown = data.position + data.bytes.len() as u64;
            }
            Frame::Data(_) => {}
            Frame::Control(bytes) => match FromGateway::decode(bytes)?.message {
                Some(from_gateway::Message::Admitted(admitted)) => {
                    self.input = admitted.input_position
                }
                Some(from_gateway::Message::Snapshot(snapshot)) => {
                    into.extend_from_slice(&snapshot.screen);
                    self.shown = snapshot.position;
                }
                Some(from_gateway::Message::InputAck(ack)) => self.forget(ack.position),
                Some(from_gateway::Message::InputRewind(rewind)) => self.send_again(&rewind)?,
                Some(from_gateway::Message::Ended(ended)) => {
                    bail!("the session ended: {}", ended.sentence)
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// Drops input that has arrived.
    fn forget(&mut self, position: u64) {
        let first = self.input - self.unacknowledged.len() as u64;
        let arrived = position.saturating_sub(first) as usize;
        self.unacknowledged.drain(..arrived.min(self.unacknowledged.len()));
    }

    /// Sends input again from where the machine wants it; a limit that was met makes the measurement void.
    fn send_again(&mut self, rewind: &InputRewind) -> Result<()> {
        if rewind.retry_after_ms > 0 {
            bail!("input was refused: {}", rewind.code);
        }
        self.forget(rewind.position);
        let again = std::mem::take(&mut self.unacknowledged);
        self.input = rewind.position;
        self.send(&again)
    }

    fn acknowledge(&mut self) -> Result<()> {
        let waiting = self.shown - self.acknowledged;
        let within = if waiting < FEW { ACK_FEW_TIME } else { ACK_TIME };
        if waiting >= ACK_BYTES || (waiting > 0 && self.acknowledged_at.elapsed() >= within) {
            let ack = OutputAck { position: self.shown };
            self.write(control(from_viewer::Message::OutputAck(ack)))?;
            self.acknowledged = self.shown;
            self.acknowledged_at = Instant::now();
        }
        Ok(())
    }

    /// Sends one message; what the socket does not take yet goes with the next read.
    fn write(&mut self, message: Message) -> Result<()> {
        match self.socket.send(message) {
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => Ok(other?),
        }
    }
}

impl Drop for Viewer {
    /// Ends the session: one that is only left would go on for the grace, beside what is measured next.
    fn drop(&mut self) {
        if self.write(control(from_viewer::Message::End(End {}))).is_ok() {
            // What the socket does not take now, it never will.
            drop(self.socket.flush());
        }
    }
}

impl Terminal for Viewer {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(MAX_INPUT) {
            self.write(Message::Binary(write_data(Kind::Input, self.input, piece)))?;
            self.input += piece.len() as u64;
            self.unacknowledged.extend_from_slice(piece);
        }
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    fn read(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Result<()> {
        if self.more || wait_readable(self.fd(), deadline)? { self.take(into) } else { Ok(()) }
    }

    fn take(&mut self, into: &mut Vec<u8>) -> Result<()> {
        let before = into.len();
        // A bound on one call, so that the caller sees a flood as it comes.
        self.more = true;
        while into.len() - before < ACK_BYTES as usize {
            match self.socket.read() {
                Ok(message) => self.show(message, into)?,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    self.more = false;
                    break;
                }
                Err(error) => return Err(error).context("the gateway closed the connection"),
            }
        }
        self.acknowledge()
    }
}

fn control(message: from_viewer::Message) -> Message {
    Message::Binary(write_control(&FromViewer { message: Some(message) }))
}

/// The address in `http://HOST:PORT`.
fn address(gateway: &str) -> Result<SocketAddr> {
    let address =
        gateway.strip_prefix("http://").context("the measured gateway is on plain loopback")?;
    address.trim_end_matches('/').parse().with_context(|| format!("{gateway} is no address"))
}

/// Posts JSON and reads JSON.
fn post(gateway: &str, path: &str, token: &str, body: &Value) -> Result<Value> {
    let address = address(gateway)?;
    let body = body.to_string();
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has a head and a body")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 201 ") {
        bail!("{path}: {status}: {body}");
    }
    Ok(serde_json::from_str(body)?)
}
