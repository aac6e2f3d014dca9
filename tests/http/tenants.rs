//! What is the gateway's own, as the people of another tenant than the first meet it.

use adit_testkit::{Api, TestGateway, within};
use futures_util::StreamExt as _;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// The first administrator of a second tenant, signed in.
struct Stranger {
    api: Api,
    cookie: String,
}

impl Stranger {
    async fn of(gateway: &TestGateway) -> Self {
        let wish = json!({"name": "umbrella", "admin": "eve"});
        let made = gateway.admin.post("/api/v1/tenants", wish).await.ok();
        let code = made["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
        let api = gateway.api("");
        let signed_in = api.post("/api/v1/sign-in", json!({"code": code})).await;
        let set = signed_in.headers["set-cookie"].to_str().unwrap().to_owned();
        Self { api, cookie: set.split(';').next().unwrap().to_owned() }
    }

    fn own(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("cookie", &self.cookie).header("origin", &self.api.url)
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.api.client.get(format!("{}{path}", self.api.url));
        self.api.send(self.own(request)).await.ok()
    }

    /// Makes an API token for itself.
    async fn token(&self) -> String {
        let me = self.get("/api/v1/me").await;
        let path = format!("{}/api/v1/users/{}/tokens", self.api.url, me["id"].as_str().unwrap());
        let request = self.own(self.api.client.post(path)).json(&json!({"name": "t"}));
        self.api.send(request).await.ok()["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn nobody_hears_when_something_changes_in_another_tenant() {
    // DESK-7, BRW-52
    let gateway = TestGateway::start();
    let eve = Stranger::of(&gateway).await;
    let url = format!("{}/api/v1/stream", eve.api.url);
    let stream = eve.own(eve.api.client.get(url)).send().await.unwrap();
    let mut events = stream.bytes_stream();
    // What changes first is the other tenant's, and of every kind that is easily changed.
    gateway.user("ann", "operator", None).await;
    let viewer = gateway.open(&gateway.admin, &[]).await;
    gateway.admin.post("/api/v1/enrolment-tokens", json!({})).await.ok();
    drop(viewer);
    let url = format!("{}/api/v1/support-codes", eve.api.url);
    eve.api.send(eve.own(eve.api.client.post(url)).json(&json!({}))).await.ok();
    let first = within("the first event", events.next()).await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains(r#"{"kind":"support"}"#), "{first}");
}

#[tokio::test]
async fn nobody_counts_the_sessions_of_another_tenant() {
    // DESK-7, BRW-52
    let gateway = TestGateway::start_with("open_metrics = false\n");
    let eve = Stranger::of(&gateway).await;
    let _viewer = gateway.open(&gateway.admin, &[]).await;
    assert_eq!(gateway.admin.get("/api/v1/status").await.ok()["liveSessions"], 1);
    assert_eq!(eve.get("/api/v1/status").await["liveSessions"], 0);
    // What the gateway counts, it counts of all together: an auditor of the first tenant may read it, and nobody else.
    let token = eve.token().await;
    assert_eq!(gateway.admin.get("/metrics").await.status, 200);
    let refused = gateway.api(&token).get("/metrics").await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (404, "target.unknown"));
}
