//! A viewer that is not bound to the protocol: it sends whatever a test wants.

use adit_testkit::{TestGateway, within};
use adit_wire::frame::{Frame, Kind, write_control, write_data};
use adit_wire::terminal::v1 as pb;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use pb::from_gateway::Message as Down;
use pb::from_viewer::Message as Up;
use prost::Message as _;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What came, apart from output.
#[derive(Debug)]
pub enum Told {
    Message(Down),
    Text(String),
    /// With its code, if it had one.
    Closed(Option<u16>),
}

pub struct RawViewer {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    /// Every byte of output.
    pub output: Vec<u8>,
    /// Where the next input goes.
    pub position: u64,
}

impl RawViewer {
    /// Connects, with a token if there is one, and sends nothing.
    pub async fn connect(gateway: &TestGateway, token: Option<&str>) -> Self {
        let mut request = gateway.websocket("/ws/terminal").into_client_request().unwrap();
        let protocol = HeaderValue::from_static("adit.terminal.v1");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", bearer);
        }
        let (socket, _) = within("connection", connect_async(request)).await.unwrap();
        Self { socket, output: vec![], position: 0 }
    }

    /// Connects and redeems a ticket.
    pub async fn redeem(gateway: &TestGateway, ticket: &str) -> Self {
        let mut viewer = Self::connect(gateway, None).await;
        let redeem =
            pb::Redeem { ticket: ticket.to_owned(), cols: 80, rows: 24, ..pb::Redeem::default() };
        viewer.say(Up::Redeem(redeem)).await;
        let Told::Message(Down::Admitted(admitted)) = viewer.told().await else {
            panic!("not admitted")
        };
        viewer.position = admitted.input_position;
        viewer
    }

    pub async fn say(&mut self, message: Up) {
        self.send(write_control(&pb::FromViewer { message: Some(message) })).await;
    }

    pub async fn send(&mut self, frame: Bytes) {
        // A peer that has closed already is heard of when its close is read.
        let _ = self.socket.send(Message::Binary(frame)).await;
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        let _ = self.socket.send(Message::text(text.into())).await;
    }

    /// Sends one frame of input.
    pub async fn type_frame(&mut self, bytes: &[u8]) {
        let frame = write_data(Kind::Input, self.position, bytes);
        self.position += bytes.len() as u64;
        self.send(frame).await;
    }

    /// Waits for the next thing that is not output; output is kept and acknowledged.
    pub async fn told(&mut self) -> Told {
        loop {
            if let Some(told) = self.read().await {
                return told;
            }
        }
    }

    /// Waits until the output holds a text.
    pub async fn until_text(&mut self, text: &str) {
        within(text, async {
            while !String::from_utf8_lossy(&self.output).contains(text) {
                if let Some(Told::Closed(code)) = self.read().await {
                    panic!("closed with {code:?} before {text:?}");
                }
            }
        })
        .await;
    }

    /// Waits for a message that a test looks for.
    pub async fn until<T>(&mut self, wanted: impl Fn(&Down) -> Option<T>) -> T {
        loop {
            match self.told().await {
                Told::Message(message) => {
                    if let Some(found) = wanted(&message) {
                        return found;
                    }
                }
                Told::Closed(code) => panic!("closed with {code:?}"),
                Told::Text(text) => panic!("a text: {text}"),
            }
        }
    }

    /// Waits for the close, and gives its code.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Told::Closed(code) = self.told().await {
                return code;
            }
        }
    }

    async fn read(&mut self) -> Option<Told> {
        match within("message", self.socket.next()).await {
            Some(Ok(Message::Binary(bytes))) => self.read_frame(bytes).await,
            Some(Ok(Message::Text(text))) => Some(Told::Text(text.as_str().to_owned())),
            Some(Ok(Message::Close(frame))) => {
                Some(Told::Closed(frame.map(|frame| u16::from(frame.code))))
            }
            Some(Ok(_)) => None,
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_))) => {
                Some(Told::Closed(None))
            }
            Some(Err(Error::Protocol(_))) => Some(Told::Closed(None)),
            Some(Err(error)) => panic!("{error}"),
        }
    }

    async fn read_frame(&mut self, bytes: Bytes) -> Option<Told> {
        match Frame::read(bytes).unwrap() {
            Frame::Data(data) => {
                self.output.extend_from_slice(&data.bytes);
                let position = data.position + data.bytes.len() as u64;
                self.say(Up::OutputAck(pb::OutputAck { position })).await;
                None
            }
            Frame::Control(bytes) => {
                pb::FromGateway::decode(bytes).unwrap().message.map(Told::Message)
            }
        }
    }
}
