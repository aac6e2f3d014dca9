//! A machine with a certificate, its requests on the machine listener, and two machines of which one may reach the other.

use adit_testkit::TestGateway;
use reqwest::Method;
use serde_json::{Value, json};

use super::names::Names;
use crate::machines::holder::Holder;

/// A machine, an operator or whoever speaks for one, with its certificate.
pub struct Peer {
    pub holder: Holder,
    client: reqwest::Client,
    url: String,
}

impl Peer {
    /// Makes one of a name.
    pub fn named(gateway: &TestGateway, name: &str) -> Self {
        Self::of(gateway, Holder::named(gateway, name))
    }

    /// Makes one of a certificate.
    pub fn of(gateway: &TestGateway, holder: Holder) -> Self {
        let client = holder.client();
        Self { holder, client, url: gateway.machines.clone() }
    }

    /// Sends a request; gives the status and the body.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path);
        let request = body.iter().fold(request, |request, body| request.json(body));
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(Method::DELETE, path, None).await
    }
}

/// A scope as an operator registers it.
pub fn scope(name: &str, actions: &[&str]) -> Value {
    let actions: Vec<Value> = actions
        .iter()
        .map(|action| json!({"name": action, "description": "for a test", "instanceScoped": true}))
        .collect();
    json!({
        "name": name, "version": "1.0.0", "description": "for a test", "scopes": actions,
        "transport": {"strategies": ["tunnel", "relay", "direct"], "preferred": "relay", "port": 0, "protocol": "tcp"},
    })
}

/// Two machines: the source offers `shell:connect`, and the target is assigned to it.
pub struct Pair {
    pub operator: Peer,
    pub source: Peer,
    pub target: Peer,
    pub instance: String,
}

/// Two machines and their gateway.
pub struct Reach {
    pub gateway: TestGateway,
    pair: Pair,
}

impl std::ops::Deref for Reach {
    type Target = Pair;
    fn deref(&self) -> &Pair {
        &self.pair
    }
}

impl Reach {
    /// Starts a gateway and makes two machines.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Does the same with settings.
    pub async fn start_with(settings: &str) -> Self {
        let gateway = TestGateway::start_with(settings);
        let pair = Pair::of(&gateway).await;
        Self { gateway, pair }
    }

    /// Does the same with a gateway that asks a name server of the test's.
    pub async fn asking(names: &Names) -> Self {
        let gateway = TestGateway::start_resolving(&names.resolv_conf());
        let pair = Pair::of(&gateway).await;
        Self { gateway, pair }
    }

    /// Asks for a ticket and gives its id.
    pub async fn ticket(&self) -> String {
        self.pair.ticket(&self.gateway).await
    }

    /// Opens a session all the way; gives its id.
    pub async fn session(&self) -> String {
        self.pair.session(&self.gateway).await
    }

    /// Makes everything older by moving every time in the tables of machines that reach each other.
    pub fn age(&self, ms: i64) {
        for (table, columns) in [
            ("instances", &["heard_at", "created_at"][..]),
            ("machine_tickets", &["issued_at", "expires_at", "redeemed_at"][..]),
            ("machine_sessions", &["created_at", "heard_at", "grace_at", "ended_at"][..]),
        ] {
            let set: Vec<String> = columns.iter().map(|c| format!("{c} = {c} - {ms}")).collect();
            self.gateway.sql(&format!("UPDATE {table} SET {}", set.join(", ")));
        }
    }
}

impl Pair {
    /// Makes two machines at a gateway.
    pub async fn of(gateway: &TestGateway) -> Self {
        let operator = Peer::named(gateway, "admin");
        let (status, registered) =
            operator.post("/api/tickets/scopes", scope("shell", &["shell:connect"])).await;
        assert_eq!((status, &registered["registered"]), (201, &json!(["shell:connect"])));
        let source = Peer::named(gateway, "agent:alpha");
        let target = Peer::named(gateway, "agent:beta");
        for label in ["alpha", "beta"] {
            hold(&operator, label, &["shell:connect"]).await;
        }
        let instance = offer(&source).await;
        assign(&operator, "beta", &instance).await;
        Self { operator, source, target, instance }
    }

    /// Asks for a ticket and gives its id.
    pub async fn ticket(&self, gateway: &TestGateway) -> String {
        let (status, issued) = self.ask().await;
        assert_eq!(status, 201, "{issued}");
        let id = issued["ticket"]["id"].as_str().unwrap().to_owned();
        gateway.remember(&id);
        id
    }

    /// Asks for a ticket.
    pub async fn ask(&self) -> (u16, Value) {
        self.source.post("/api/tickets", self.wish("beta")).await
    }

    /// What a source asks for.
    pub fn wish(&self, target: &str) -> Value {
        json!({"scope": "shell:connect", "instanceId": self.instance, "target": target})
    }

    /// Uses a ticket as its target.
    pub async fn validate(&self, id: &str) -> (u16, Value) {
        self.target.post("/api/tickets/validate", json!({"ticketId": id})).await
    }

    /// Opens a session all the way; gives its id.
    pub async fn session(&self, gateway: &TestGateway) -> String {
        let ticket = self.ticket(gateway).await;
        let (status, valid) = self.validate(&ticket).await;
        assert_eq!(status, 200, "{valid}");
        let (status, opened) =
            self.target.post("/api/tickets/sessions", json!({"ticketId": ticket})).await;
        assert_eq!(status, 201, "{opened}");
        opened["session"]["sessionId"].as_str().unwrap().to_owned()
    }

    /// Sends a heartbeat of a session.
    pub async fn heartbeat(&self, session: &str) -> (u16, Value) {
        self.target.post(&format!("/api/tickets/sessions/{session}/heartbeat"), json!({})).await
    }
}

/// Registers a scope as the administrator.
pub async fn register(gateway: &TestGateway, name: &str, actions: &[&str]) {
    gateway.admin.post("/api/tickets/scopes", scope(name, actions)).await.ok();
}

/// Gives a machine capabilities.
pub async fn hold(operator: &Peer, label: &str, capabilities: &[&str]) {
    let path = format!("/api/tickets/capabilities/{label}");
    let (status, held) = operator.put(&path, json!({"capabilities": capabilities})).await;
    assert_eq!((status, &held["capabilities"]), (200, &json!(capabilities)), "{held}");
}

/// Offers `shell:connect` by relay.
pub async fn offer(source: &Peer) -> String {
    let body = json!({"scope": "shell:connect", "transport": {"strategies": ["relay"]}});
    let (status, offered) = source.post("/api/tickets/instances", body).await;
    assert_eq!(status, 201, "{offered}");
    offered["instanceId"].as_str().unwrap().to_owned()
}

/// Assigns a machine to an instance of `shell:connect`.
pub async fn assign(operator: &Peer, label: &str, instance: &str) {
    let scope = format!("shell:connect:{instance}");
    let body = json!({"agentLabel": label, "instanceScope": scope});
    let (status, assigned) = operator.post("/api/tickets/assignments", body).await;
    assert_eq!(status, 201, "{assigned}");
}
