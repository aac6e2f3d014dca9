//! The OAuth2 server: how a client gets a token, what the token opens, and what it does not.

use adit_testkit::{Answer, Api, TestGateway};
use reqwest::Method;
use serde_json::{Value, json};

mod code;
mod device;
mod exchange;
mod keys;
mod service;

/// A service that a test made.
pub struct Client {
    pub id: String,
    pub secret: String,
    pub api: Api,
}

/// Adds a service with scopes.
pub async fn service(gateway: &TestGateway, name: &str, scopes: &[&str]) -> Client {
    let body = json!({"name": name, "scopes": scopes});
    let added = gateway.admin.post("/api/v1/services", body).await.ok();
    let text = |name: &str| added[name].as_str().unwrap().to_owned();
    Client { id: text("clientId"), secret: text("clientSecret"), api: gateway.api("") }
}

/// Gives a service a role on everything.
pub async fn grant(gateway: &TestGateway, name: &str, role: &str) {
    let grant = json!({"principal": format!("service:{name}"), "role": role});
    gateway.admin.post("/api/v1/grants", grant).await.ok();
}

/// Sends a form without any credential of its own.
pub async fn form(api: &Api, path: &str, fields: &[(&str, &str)]) -> Answer {
    api.send(api.client.post(format!("{}{path}", api.url)).form(fields)).await
}

impl Client {
    /// Sends a form with the secret in it.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_id", self.id.as_str()), ("client_secret", &self.secret)];
        all.extend_from_slice(fields);
        form(&self.api, path, &all).await
    }

    /// Asks for a token.
    pub async fn ask(&self, fields: &[(&str, &str)]) -> Answer {
        self.form("/auth/token", fields).await
    }

    /// Gets an access token for itself.
    pub async fn token(&self) -> String {
        let answer = self.ask(&[("grant_type", "client_credentials")]).await.ok();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

/// Checks that an answer is an error as RFC 6749 §5.2 has it.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["error"], error, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
    let sentence = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(sentence.ends_with('.') && !sentence.contains(['"', '\\']), "{sentence}");
}

/// Reads a part of a token without checking it.
pub fn part(token: &str, at: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(at).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Tells the status with which the API answers a token that asks who it is.
pub async fn status(gateway: &TestGateway, token: &str) -> u16 {
    let api = gateway.api(token);
    api.send(api.request(Method::GET, "/api/v1/me")).await.status.as_u16()
}

/// Signs a command line in for a user, and gives what it got.
pub async fn device_tokens(gateway: &TestGateway, user: &adit_testkit::User) -> Value {
    let id = ("client_id", "adit-cli");
    let begun = form(&gateway.admin, "/auth/device", &[id]).await.ok();
    let answer = json!({"userCode": begun["user_code"], "approve": true});
    let answered = user.api.post("/api/v1/device-request/answer", answer).await;
    assert_eq!(answered.status, 204);
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let code = ("device_code", begun["device_code"].as_str().unwrap());
    form(&gateway.admin, "/auth/token", &[id, grant, code]).await.ok()
}
