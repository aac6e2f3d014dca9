//! The JSON API, as one caller sees it.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::canary::Canary;

/// The API of a gateway for the bearer of a token.
#[derive(Clone, Debug)]
pub struct Api {
    /// The client, without any credential.
    pub client: Client,
    /// The gateway's address.
    pub url: String,
    /// The API token.
    pub token: String,
    pub(crate) canary: Canary,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl Answer {
    /// Gives the body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Gives the code of a problem document.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Gives the JSON of a success.
    ///
    /// # Panics
    /// When it is none.
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text);
        self.json()
    }
}

impl Api {
    /// Begins a request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// When the gateway does not answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request; an error when the gateway does not answer.
    ///
    /// # Errors
    /// What the client says.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await? };
        self.canary.remember_in(&answer.json());
        Ok(answer)
    }

    /// Gives the same API as it is met from another address of this machine, 127.0.1.`host`: limits that count addresses begin anew.
    pub fn from_address(&self, host: u8) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .local_address(std::net::IpAddr::from([127, 0, 1, host]))
            .build()
            .unwrap();
        let (url, token, canary) = (self.url.clone(), self.token.clone(), self.canary.clone());
        Self { client, url, token, canary }
    }

    /// Remembers a secret that no answer gave out: it must show up nowhere either.
    pub fn remember(&self, secret: &str) {
        self.canary.remember(secret);
    }

    /// Asks for a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }
}
