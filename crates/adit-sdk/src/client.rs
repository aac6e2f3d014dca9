//! One method a route, over mutual TLS and HTTP/1.1.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::TicketHttpError;
use crate::{Identity, TicketError};

/// How long a request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(35);

/// Where the gateway is, and who asks.
#[derive(Clone, Debug)]
pub struct TicketClientOptions {
    /// The address of the machine listener: `https://gateway.example:7892`.
    pub panel_url: String,
    /// Who asks.
    pub identity: Identity,
}

/// Asks the gateway about tickets. Cheap to clone; all clones show the same certificate, also once it was renewed.
#[derive(Clone, Debug)]
pub struct TicketClient {
    url: String,
    shown: Arc<RwLock<Shown>>,
}

#[derive(Debug)]
struct Shown {
    http: reqwest::Client,
    identity: Identity,
}

/// Where an instance is dialled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Direct {
    /// A public host.
    pub host: String,
    /// Its port, 1024 to 65535.
    pub port: u16,
}

/// How an instance is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Transport {
    /// `tunnel`, `relay`, `direct`; from the gateway with the one to try first in front.
    pub strategies: Vec<String>,
    /// The one to try first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred: Option<String>,
    /// Where it is dialled, for `direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Direct>,
    /// Networks that the gateway's operator allows to dial though they are not public.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<String>,
}

/// An instance that was registered.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Its id.
    pub instance_id: String,
    /// `scope:instanceId`, as assignments name it.
    pub instance_scope: String,
}

/// A ticket. Its id is its secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// What its target presents.
    pub id: String,
    /// For what.
    pub scope: String,
    /// To which instance.
    pub instance_id: String,
    /// Who offers.
    pub source: String,
    /// Who is let in.
    pub target: String,
    /// Until when, RFC 3339.
    pub expires_at: String,
    /// How the instance is reached; in an inbox.
    #[serde(default)]
    pub transport: Option<Transport>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({} of {} for {})", self.scope, self.source, self.target)
    }
}

/// What a used ticket lets in to.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatedTicket {
    /// Always true.
    pub valid: bool,
    /// For what.
    pub scope: String,
    /// To which instance.
    pub instance_id: String,
    /// Who offers.
    pub source: String,
    /// Who is let in.
    pub target: String,
    /// How the instance is reached.
    pub transport: Transport,
}

/// A session.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id.
    pub session_id: String,
    /// For what.
    pub scope: String,
    /// To which instance.
    pub instance_id: String,
    /// Who offers.
    pub source: String,
    /// Who was let in.
    pub target: String,
    /// `active`, `grace` or `dead`.
    pub status: String,
    /// How long it may be in `grace`, in seconds.
    pub reconnect_grace_seconds: u64,
}

/// What a heartbeat of a session is answered.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Heartbeat {
    /// Whether it may go on.
    pub authorized: bool,
    /// Why not.
    #[serde(default)]
    pub reason: Option<String>,
    /// SHA-256 of the certificates that the other end may show, in hexadecimal, where it was asked for.
    #[serde(default, rename = "peerCertificates")]
    pub peer_certificates: Vec<String>,
}

#[derive(Deserialize)]
struct Issued {
    ticket: Ticket,
}

#[derive(Deserialize)]
struct Inbox {
    tickets: Vec<Ticket>,
}

#[derive(Deserialize)]
struct OneSession {
    session: Session,
}

impl TicketClient {
    /// Makes a client.
    ///
    /// # Errors
    /// [`TicketError::Identity`] when the certificate and the key do not fit.
    pub fn new(options: TicketClientOptions) -> Result<Self, TicketError> {
        let shown = Shown { http: options.identity.http()?, identity: options.identity };
        let url = options.panel_url.trim_end_matches('/').to_owned();
        Ok(Self { url, shown: Arc::new(RwLock::new(shown)) })
    }

    /// Gives who asks.
    pub fn identity(&self) -> Identity {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).identity.clone()
    }

    /// Shows a renewed certificate from now on, on every new connection.
    ///
    /// # Errors
    /// [`TicketError::Identity`] when the certificate and the key do not fit; the one before is shown then.
    pub fn renew(&self, identity: Identity) -> Result<(), TicketError> {
        let fresh = Shown { http: identity.http()?, identity };
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Begins a request to a path of the machine listener.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.http.request(method, format!("{}{path}", self.url))
    }

    /// Gives the same client for another gateway of the same authority: the certificate that it shows and the only authority that it
    /// trusts are the same.
    ///
    /// # Errors
    /// [`TicketError::Answer`] for an address that is not of the form `https://HOST:PORT`.
    pub(crate) fn at(&self, gateway: &str) -> Result<Self, TicketError> {
        let url = read_gateway(gateway).ok_or(TicketError::Answer("gateway's address"))?;
        Ok(Self { url: url.to_owned(), ..self.clone() })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        (method, path): (Method, String),
        body: Option<Value>,
        what: &'static str,
    ) -> Result<T, TicketError> {
        let request = self.request(method, &path).timeout(REQUEST_WITHIN);
        let request = body.iter().fold(request, |request, body| request.json(body));
        read(request.send().await?, what).await
    }

    /// Registers an instance, or brings the same up to date.
    ///
    /// # Errors
    /// [`TicketError`]; 403 without the capability, 404 for a scope that is not registered, 503 when there are too many.
    pub async fn register_instance(
        &self,
        scope: &str,
        transport: &Transport,
    ) -> Result<Registered, TicketError> {
        let own = Transport { allowed_networks: Vec::new(), ..transport.clone() };
        let body = json!({"scope": scope, "transport": own});
        self.ask((Method::POST, "/api/tickets/instances".to_owned()), Some(body), "registration")
            .await
    }

    /// Removes an instance with all that hangs on it.
    ///
    /// # Errors
    /// [`TicketError`]; 404 when it is not there or another's.
    pub async fn deregister_instance(&self, instance: &str) -> Result<(), TicketError> {
        let path = format!("/api/tickets/instances/{instance}");
        self.ask::<Value>((Method::DELETE, path), None, "removal").await.map(drop)
    }

    /// Says that the owner of an instance is there.
    ///
    /// # Errors
    /// [`TicketError`]; 404 when it has to be registered again.
    pub async fn send_instance_heartbeat(&self, instance: &str) -> Result<(), TicketError> {
        let path = format!("/api/tickets/instances/{instance}/heartbeat");
        self.ask::<Value>((Method::POST, path), Some(json!({})), "heartbeat").await.map(drop)
    }

    /// Asks for a ticket by which a target is let in.
    ///
    /// # Errors
    /// [`TicketError`]; 404 for whatever stands against it, 429, 503.
    pub async fn request_ticket(
        &self,
        scope: &str,
        instance: &str,
        target: &str,
    ) -> Result<Ticket, TicketError> {
        let body = json!({"scope": scope, "instanceId": instance, "target": target});
        let issued: Issued =
            self.ask((Method::POST, "/api/tickets".to_owned()), Some(body), "ticket").await?;
        Ok(issued.ticket)
    }

    /// Reads the live tickets whose target this machine is, the newest first.
    ///
    /// # Errors
    /// [`TicketError`].
    pub async fn fetch_inbox(&self) -> Result<Vec<Ticket>, TicketError> {
        let inbox: Inbox = self
            .ask((Method::GET, "/api/tickets/inbox".to_owned()), None, "list of tickets")
            .await?;
        Ok(inbox.tickets)
    }

    /// Uses a ticket. It is tried once more when the answer is lost, with the same `Idempotency-Key`, so that it is used once and not lost.
    ///
    /// # Errors
    /// [`TicketError`]; 401 for everything that can be wrong with it.
    pub async fn validate_ticket(&self, ticket: &str) -> Result<ValidatedTicket, TicketError> {
        let key = format!("{:032x}", rand::random::<u128>());
        let send = || {
            self.request(Method::POST, "/api/tickets/validate")
                .timeout(REQUEST_WITHIN)
                .header("idempotency-key", &key)
                .json(&json!({"ticketId": ticket}))
                .send()
        };
        let answer = match send().await {
            Ok(answer) => answer,
            Err(_) => send().await?,
        };
        read(answer, "validated ticket").await
    }

    /// Opens the session of a ticket that was validated within the last minute.
    ///
    /// # Errors
    /// [`TicketError`]; 400, 409 for a second, 503.
    pub async fn report_session_creation(&self, ticket: &str) -> Result<Session, TicketError> {
        let body = json!({"ticketId": ticket});
        let path = "/api/tickets/sessions".to_owned();
        let opened: OneSession = self.ask((Method::POST, path), Some(body), "session").await?;
        Ok(opened.session)
    }

    /// Says that this end of a session is there, and asks whether it may go on.
    ///
    /// # Errors
    /// [`TicketError`]; 404 for a session of others.
    pub async fn send_session_heartbeat(&self, session: &str) -> Result<Heartbeat, TicketError> {
        let path = format!("/api/tickets/sessions/{session}/heartbeat");
        self.ask((Method::POST, path), Some(json!({})), "heartbeat").await
    }

    /// Does the same, and asks which certificates the other end may show: for ends that meet without the gateway.
    ///
    /// # Errors
    /// [`TicketError`]; 404 for a session of others.
    pub async fn ask_about_peer(&self, session: &str) -> Result<Heartbeat, TicketError> {
        let path = format!("/api/tickets/sessions/{session}/heartbeat?peer=true");
        self.ask((Method::POST, path), Some(json!({})), "heartbeat").await
    }

    /// Says that this end of a session went for a moment (`grace`), or is back (`active`).
    ///
    /// # Errors
    /// [`TicketError`]; 409 when it is over.
    pub async fn update_session_status(
        &self,
        session: &str,
        status: &str,
    ) -> Result<Session, TicketError> {
        let path = format!("/api/tickets/sessions/{session}");
        let body = json!({"status": status});
        let changed: OneSession = self.ask((Method::PATCH, path), Some(body), "session").await?;
        Ok(changed.session)
    }
}

/// Reads an answer, or the refusal in it.
pub(crate) async fn read<T: DeserializeOwned>(
    answer: reqwest::Response,
    what: &'static str,
) -> Result<T, TicketError> {
    let status = answer.status();
    if !status.is_success() {
        return Err(refusal(answer).await.into());
    }
    let text = answer.text().await?;
    serde_json::from_str(&text).map_err(|_| TicketError::Answer(what))
}

/// Reads a refusal.
pub(crate) async fn refusal(answer: reqwest::Response) -> TicketHttpError {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    TicketHttpError {
        status_code: status.as_u16(),
        code: text("code").unwrap_or_default(),
        message: text("error").unwrap_or_else(|| status.to_string()),
    }
}

/// Reads a time of the gateway's as Unix milliseconds.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let at =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Gives Unix milliseconds now, by this machine's clock.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// Reads the address of a gateway: TLS, a host, and no more.
fn read_gateway(text: &str) -> Option<&str> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("https://").filter(|host| !host.is_empty())?;
    (!host.contains(['/', '@', '?', '#', '\\'])).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_host_behind_tls() {
        // MNO-03
        assert_eq!(read_gateway("https://gw.example:7892/"), Some("https://gw.example:7892"));
        for text in [
            "http://gw.example",
            "https://",
            "gw.example",
            "https://a@gw.example",
            "https://gw.example/x",
        ] {
            assert_eq!(read_gateway(text), None, "{text}");
        }
    }
}
