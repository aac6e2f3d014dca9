//! A machine's channel (`/ws/tickets`): the gateway says at once what changed.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::client::{Ticket, refusal};
use crate::{TicketClient, TicketError};

/// The largest message of a channel, in bytes: an inbox of a thousand tickets.
const MAX_MESSAGE: usize = 1 << 20;

/// How long a gateway may be silent; it pings every ten seconds.
const SILENT_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// What a machine is told.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Told {
    /// All live tickets whose target it is.
    Inbox {
        /// The tickets.
        tickets: Vec<Ticket>,
    },
    /// A target waits for a ticket of an instance.
    #[serde(rename_all = "camelCase")]
    Wanted {
        /// The instance.
        instance_id: String,
        /// For what.
        scope: String,
        /// Who waits.
        target: String,
    },
    /// A target opened a session.
    #[serde(rename_all = "camelCase")]
    Session {
        /// The session.
        session_id: String,
        /// The instance.
        instance_id: String,
        /// For what.
        scope: String,
        /// Who was let in.
        target: String,
    },
    /// A target opened a stream, which this machine is to answer.
    #[serde(rename_all = "camelCase")]
    Stream {
        /// The session.
        session_id: String,
        /// The stream.
        stream_id: String,
        /// For what.
        scope: String,
        /// Who was let in.
        target: String,
        /// The gateway at which it waits, when that is another.
        #[serde(default)]
        gateway: Option<String>,
    },
    /// A session is over.
    #[serde(rename_all = "camelCase")]
    Ended {
        /// The session.
        session_id: String,
        /// Why.
        reason: String,
    },
    /// Something of a newer gateway.
    #[serde(other)]
    Other,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said<'a> {
    Want {
        scope: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
    },
    Enough {
        scope: &'a str,
    },
    Offer {
        scope: &'a str,
    },
}

/// An open channel.
#[derive(Debug)]
pub struct Channel {
    socket: WebSocketStream<reqwest::Upgraded>,
}

impl TicketClient {
    /// Opens this machine's channel.
    ///
    /// # Errors
    /// [`TicketError`]; 401 for a certificate that does not count, 429 when it has too many channels.
    pub async fn open_channel(&self) -> Result<Channel, TicketError> {
        let key = generate_key();
        let request = self
            .request(Method::GET, "/ws/tickets")
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let answer = request.send().await?;
        if answer.status().as_u16() != 101 {
            return Err(refusal(answer).await.into());
        }
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| {
            accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()
        }) {
            return Err(TicketError::Answer("WebSocket"));
        }
        let upgraded = answer.upgrade().await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(Channel { socket })
    }
}

impl Channel {
    /// Waits for the next word.
    ///
    /// # Errors
    /// [`TicketError::Unreachable`] once the channel is over, or the gateway is silent for 30 s.
    pub async fn next(&mut self) -> Result<Told, TicketError> {
        loop {
            let message = tokio::time::timeout(SILENT_FOR, self.socket.next()).await;
            let message = message.map_err(|_| over("the gateway is silent"))?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(|_| TicketError::Answer("message"));
                }
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    return Err(over(&format!("the gateway closed the channel: {reason}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(TicketError::Unreachable(error.into())),
                None => return Err(over("the channel was cut")),
            }
        }
    }

    /// Says that this machine waits for a ticket, of one source or of any.
    ///
    /// # Errors
    /// [`TicketError::Unreachable`].
    pub async fn want(&mut self, scope: &str, source: Option<&str>) -> Result<(), TicketError> {
        self.say(&Said::Want { scope, source }).await
    }

    /// Says that it waits no more.
    ///
    /// # Errors
    /// [`TicketError::Unreachable`].
    pub async fn enough(&mut self, scope: &str) -> Result<(), TicketError> {
        self.say(&Said::Enough { scope }).await
    }

    /// Says that this machine answers streams of its instance.
    ///
    /// # Errors
    /// [`TicketError::Unreachable`].
    pub async fn offer(&mut self, scope: &str) -> Result<(), TicketError> {
        self.say(&Said::Offer { scope }).await
    }

    /// Closes the channel.
    pub async fn close(mut self) {
        // A gateway that is gone needs no farewell.
        let _ = self.socket.send(Message::Ping(Bytes::new())).await;
        let _ = self.socket.close(None).await;
    }

    async fn say(&mut self, said: &Said<'_>) -> Result<(), TicketError> {
        let text = serde_json::to_string(said).map_err(|_| TicketError::Answer("message"))?;
        let sent = self.socket.send(Message::Text(text.into())).await;
        sent.map_err(|error| TicketError::Unreachable(error.into()))
    }
}

fn over(why: &str) -> TicketError {
    TicketError::Unreachable(why.to_owned().into())
}
