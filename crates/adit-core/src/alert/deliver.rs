//! Posts alerts to the webhook, signed as Standard Webhooks 1.0 says: HMAC-SHA256 over `id.timestamp.body`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_domain::reach::address::is_public;
use adit_domain::{AlertId, Secret, Timestamp};
use adit_store::{Alert, AlertDelivery, Attempt, StoreError};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::WebhookSettings;
use crate::Gateway;
use crate::audit::{Actor, party};

/// The way to the receiver.
#[derive(Debug)]
pub(super) struct Hook {
    client: reqwest::Client,
    url: Secret<String>,
    key: Secret<String>,
    allow_private: bool,
}

/// What the receiver answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whether it took the delivery.
    pub taken: bool,
    /// A status, or why there was none.
    pub said: String,
}

impl Hook {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("adit/", env!("CARGO_PKG_VERSION")))
            // Who sends us elsewhere chooses where a signed alert goes.
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would look names up where nobody checks what they are.
            .no_proxy()
            .timeout(ANSWER_WITHIN);
        if !settings.allow_private {
            builder = builder.dns_resolver(Arc::new(PublicOnly));
        }
        Ok(Self {
            client: builder.build()?,
            url: settings.url.clone(),
            key: settings.secret.clone(),
            allow_private: settings.allow_private,
        })
    }

    pub(super) async fn test(&self, id: AlertId, now: Timestamp) -> Answer {
        let data = json!({"id": id.to_string(), "sentence": "This is a test of the webhook."});
        self.post(
            id,
            now,
            &json!({"type": "alert.test", "timestamp": now.to_string(), "data": data}),
        )
        .await
    }

    async fn post(&self, id: AlertId, now: Timestamp, body: &Value) -> Answer {
        if !self.allow_private && names_private_address(self.url.expose()) {
            return Answer { taken: false, said: "the address is not public".to_owned() };
        }
        let (at, body) = (now.seconds(), body.to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.expose().as_bytes());
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        let request = self
            .client
            .post(self.url.expose())
            .header("content-type", "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", at.to_string())
            .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag.as_ref())))
            .body(body);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                Answer { taken: status.is_success(), said: status.to_string() }
            }
            Err(error) => Answer { taken: false, said: why(&error).to_owned() },
        }
    }
}

/// Says why there was no answer; an error's own text may hold the address.
fn why(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "no answer"
    }
}

/// Tells whether the host is an address and not a public one; names are looked at when they are resolved.
fn names_private_address(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return true };
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|address| !is_public(address))
}

/// Resolves names to public addresses only.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|to| is_public(to.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl Gateway {
    /// Delivers alerts that wait, while this gateway is the one that watches, until it ends.
    pub(crate) async fn deliver_alerts(&self) {
        let Some(hook) = &self.alerts.hook else { return };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => {}
            }
            if !self.alerts.watches() {
                continue;
            }
            tokio::select! {
                () = self.tasks.ending() => return,
                done = self.deliver_due(hook) => if let Err(error) = done {
                    tracing::warn!(%error, "alerts wait to be delivered");
                }
            }
        }
    }

    async fn deliver_due(&self, hook: &Hook) -> Result<(), StoreError> {
        for alert in self.store.list_due_alerts(self.clock.now(), AT_ONCE).await? {
            let answer = hook.post(alert.id, self.clock.now(), &self.body(&alert)).await;
            self.note_answer(&alert, answer).await?;
        }
        Ok(())
    }

    async fn note_answer(&self, alert: &Alert, answer: Answer) -> Result<(), StoreError> {
        let now = self.clock.now();
        let delivery = match answer.taken {
            true => AlertDelivery::Delivered,
            false if now.since(alert.raised_at) >= GIVE_UP_AFTER => AlertDelivery::GivenUp,
            false => AlertDelivery::Waiting,
        };
        let sentence = format!("An alert was not delivered within a day: {}", answer.said);
        let event = self.event("alert.undelivered", &Actor::gateway(self), sentence).on(party(
            "alert",
            alert.id.0,
            alert.kind.as_str(),
        ));
        let event = adit_store::NewEvent { outcome: adit_store::Outcome::Failed, ..event.done() };
        let tell = move |noted: &bool| {
            let over = *noted && delivery == AlertDelivery::GivenUp;
            if over { vec![event] } else { vec![] }
        };
        let next_at = now + pause(alert.tries);
        let attempt = Attempt { delivery, at: now, next_at, answer: answer.said };
        self.store.tenant(alert.tenant).note_attempt(alert.id, attempt, tell).await.map(|_| ())
    }

    fn body(&self, alert: &Alert) -> Value {
        json!({
            "type": "alert.raised",
            "timestamp": alert.raised_at.to_string(),
            "data": {
                "id": alert.id.to_string(),
                "tenant": alert.tenant.to_string(),
                "kind": alert.kind.as_str(),
                "actor": {"kind": alert.actor.kind, "id": alert.actor.id, "name": alert.actor.name},
                "template": alert.subject,
                "events": alert.events,
                "sentence": alert.sentence,
                "at": alert.at.to_string(),
                "look": format!("{}/ui/audit?event=alert.raised", self.settings.url),
            },
        })
    }
}

/// Gives the pause after so many tries: a second, and twice as long each time, an hour at most.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.min(12)).min(MAX_PAUSE)
}

/// How often it looks for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many are looked at together.
const AT_ONCE: u32 = 16;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The longest pause between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);

/// After how long a delivery is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_no_further() {
        // CMD-41
        let seconds = [0, 1, 5, 11, 12, 99].map(|tries| pause(tries).as_secs());
        assert_eq!(seconds, [1, 2, 32, 2048, 3600, 3600]);
    }

    #[test]
    fn an_address_that_is_not_public_is_seen_in_every_form() {
        // CMD-41
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/",
        ] {
            assert!(names_private_address(url), "{url}");
        }
        assert!(!names_private_address("https://9.9.9.9/"));
    }
}
