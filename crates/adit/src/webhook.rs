//! Tells an address of requests for access, so that somebody can decide from where they work.
//!
//! One POST a request, signed as Standard Webhooks 1.0 says: `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is
//! `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. Whoever gets it decides through the API, with a token of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_core::Gateway;
use adit_domain::Secret;
use adit_store::AccessRequest;
use anyhow::{Context, bail};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

/// How long one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often one is tried, with a longer wait each time; after that it stands in the list alone.
const TRIES: u32 = 4;

/// The shortest secret, in bytes: as long as the signature's hash.
const MIN_SECRET: usize = 32;

/// Where requests are told.
#[derive(Clone, Debug)]
pub struct Webhook {
    url: reqwest::Url,
    secret: Secret<String>,
}

impl Webhook {
    /// Reads where to tell requests.
    ///
    /// # Errors
    /// When the address is not HTTPS (or loopback), or the secret's file is missing or short.
    pub fn read(url: &str, secret: Option<&PathBuf>) -> anyhow::Result<Self> {
        let url: reqwest::Url =
            url.parse().with_context(|| format!("access.webhook `{url}` is no address"))?;
        let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() != "https" && !here {
            bail!("access.webhook is told in clear to another host; write it as https://…");
        }
        let path = secret.context("access.webhook needs access.webhook_secret_file")?;
        let secret = std::fs::read_to_string(path)
            .with_context(|| format!("reading the webhook's secret {}", path.display()))?;
        let secret = secret.trim().to_owned();
        if secret.len() < MIN_SECRET {
            bail!(
                "the webhook's secret in {} is under {MIN_SECRET} characters; make one with `openssl rand -hex 32`",
                path.display()
            );
        }
        Ok(Self { url, secret: Secret::new(secret) })
    }

    /// Tells requests as they are made, until the gateway ends.
    pub async fn run(self, gateway: Arc<Gateway>) {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let Ok(client) = client else {
            tracing::error!("the webhook's client could not be made");
            return;
        };
        let mut asked = gateway.asked.subscribe();
        loop {
            let request = tokio::select! {
                () = gateway.tasks.ending() => return,
                request = asked.recv() => request,
            };
            match request {
                Ok(request) => self.deliver(&gateway, &client, &request).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "requests for access were not told to the webhook");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn deliver(&self, gateway: &Gateway, client: &reqwest::Client, request: &AccessRequest) {
        let body = self.body(gateway, request);
        for attempt in 0..TRIES {
            let at = gateway.clock.now().seconds();
            let answer = self.post(client, request, at, body.clone()).await;
            match answer {
                Ok(status) if status.is_success() => return,
                Ok(status) => tracing::warn!(%status, attempt, "the webhook refused"),
                Err(error) => {
                    let error = error.without_url();
                    tracing::warn!(%error, attempt, "the webhook did not answer");
                }
            }
            tokio::select! {
                () = gateway.tasks.ending() => return,
                () = tokio::time::sleep(Duration::from_secs(1 << attempt)) => {}
            }
        }
    }

    fn body(&self, gateway: &Gateway, request: &AccessRequest) -> String {
        json!({
            "type": "access_request.add",
            "timestamp": request.created_at.to_string(),
            "data": {
                "id": request.id.to_string(),
                "principal": request.principal.name.to_string(),
                "role": request.role,
                "machines": request.labels,
                "reason": request.reason,
                "seconds": request.seconds,
                "expiresAt": request.expires_at.to_string(),
                "decide": format!("{}/ui/access/requests", gateway.settings.url),
            },
        })
        .to_string()
    }

    async fn post(
        &self,
        client: &reqwest::Client,
        request: &AccessRequest,
        at: i64,
        body: String,
    ) -> Result<reqwest::StatusCode, reqwest::Error> {
        let id = request.id.to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose().as_bytes());
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(tag.as_ref()));
        let answer = client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await?;
        Ok(answer.status())
    }
}
