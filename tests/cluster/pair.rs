//! Two gateways on one database, with the same keys and a bus between them, each with an agent of its own.

use std::time::{Duration, Instant};

use adit_store::StoreConfig;
use adit_testkit::{Api, TestGateway, TestViewer, User, eventually};
use serde_json::{Value, json};

use super::bus::Redis;
use super::database::Database;

/// Two gateways.
pub struct Pair {
    pub a: TestGateway,
    pub b: TestGateway,
    pub redis: Redis,
}

/// The bar for what a bus carries.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// The look at the database, and the time that it takes.
pub const BY_LOOKING: Duration = Duration::from_millis(5_500);

impl Pair {
    /// Starts both and waits until each hears the bus.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Does the same with settings.
    pub async fn start_with(settings: &str) -> Self {
        let database = Database::postgres();
        let StoreConfig::Postgres { url } = database.config() else { panic!("not PostgreSQL") };
        let redis = Redis::start().await;
        let settings = format!(
            "{settings}\n[database]\nurl = \"{}\"\n[bus]\nurl = \"{}\"\n",
            url.expose(),
            redis.url()
        );
        let a = TestGateway::start_with(&settings);
        let b = TestGateway::start_beside(&a, &settings);
        let pair = Self { a, b, redis };
        for gateway in [&pair.a, &pair.b] {
            gateway.machine_online().await;
            bus_is(gateway, "ok").await;
        }
        pair
    }

    /// Opens a shell at B on the machine whose agent is at A.
    pub async fn open_across(&self, api: &Api, command: &[&str]) -> TestViewer {
        let mut wish = json!({"machine": self.a.machine, "pty": true});
        if !command.is_empty() {
            wish["command"] = json!(command);
        }
        let ticket = self.b.ticket(api, wish).await;
        TestViewer::admitted(self.b.redeem(&ticket, None).await.unwrap()).await
    }

    /// Adds a user at A who may use everything; its API is that of B.
    pub async fn user_at_b(&self, name: &str) -> User {
        let user = self.a.user(name, "operator", None).await;
        let api = self.b.api(&user.api.token);
        User { api, ..user }
    }
}

/// Waits until a gateway says how its bus stands.
pub async fn bus_is(gateway: &TestGateway, how: &str) {
    eventually("the bus as wanted", async || {
        health(gateway).await["checks"]["bus"].as_str().filter(|bus| bus.starts_with(how)).map(drop)
    })
    .await;
}

/// Gives what a gateway says of itself.
pub async fn health(gateway: &TestGateway) -> Value {
    gateway.admin.get("/health").await.json()
}

/// Gives the value of a metric.
pub async fn metric(gateway: &TestGateway, name: &str) -> f64 {
    let request = gateway.admin.request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Takes a role away at A and gives how long the viewer was still there.
pub async fn revoke(pair: &Pair, user: &User, viewer: &mut TestViewer) -> Duration {
    let asked = Instant::now();
    pair.a.admin.delete(&format!("/api/v1/grants/{}", user.grant)).await.ok();
    viewer.until("end of the session", |viewer| viewer.ended.is_some()).await;
    asked.elapsed()
}
