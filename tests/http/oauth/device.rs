//! A device without a browser, and a user elsewhere (RFC 8628).

use adit_testkit::TestGateway;
use serde_json::{Value, json};

use super::{form, refused, service, status};

const CLI: (&str, &str) = ("client_id", "adit-cli");
const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");

async fn begin(gateway: &TestGateway) -> Value {
    form(&gateway.api(""), "/auth/device", &[CLI]).await.ok()
}

async fn poll(gateway: &TestGateway, begun: &Value) -> adit_testkit::Answer {
    let code = begun["device_code"].as_str().unwrap();
    form(&gateway.api(""), "/auth/token", &[GRANT, CLI, ("device_code", code)]).await
}

#[tokio::test]
async fn a_device_gets_its_tokens_when_a_user_says_yes_and_once() {
    // CMD-10
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let begun = begin(&gateway).await;
    assert_eq!((&begun["interval"], &begun["expires_in"]), (&json!(5), &json!(600)));
    assert_eq!(begun["verification_uri"], json!(format!("{}/ui/device", gateway.admin.url)));
    refused(&poll(&gateway, &begun).await, 400, "authorization_pending");
    refused(&poll(&gateway, &begun).await, 400, "slow_down");
    let typed = begun["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let seen = ann.api.post("/api/v1/device-request", json!({"userCode": typed})).await.ok();
    assert_eq!((&seen["client"], &seen["address"]), (&json!("adit"), &json!("127.0.0.1")));
    let answer = json!({"userCode": typed, "approve": true});
    assert_eq!(ann.api.post("/api/v1/device-request/answer", answer.clone()).await.status, 204);
    assert_eq!(ann.api.post("/api/v1/device-request/answer", answer).await.status, 404);
    let tokens = poll(&gateway, &begun).await.ok();
    let api = gateway.api(tokens["access_token"].as_str().unwrap());
    assert_eq!(api.get("/api/v1/me").await.ok()["name"], "ann");
    // The command line acts with all of its user's rights: it may make a token.
    let path = format!("/api/v1/users/{}/tokens", ann.id);
    api.post(&path, json!({"name": "more"})).await.ok();
    refused(&poll(&gateway, &begun).await, 400, "invalid_grant");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let fields = [CLI, ("grant_type", "refresh_token"), ("refresh_token", refresh)];
    form(&gateway.api(""), "/auth/token", &fields).await.ok();
}

#[tokio::test]
async fn a_device_hears_that_the_user_said_no() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let begun = begin(&gateway).await;
    let answer = json!({"userCode": begun["user_code"], "approve": false});
    assert_eq!(ann.api.post("/api/v1/device-request/answer", answer).await.status, 204);
    refused(&poll(&gateway, &begun).await, 400, "access_denied");
}

#[tokio::test]
async fn a_device_hears_that_its_time_is_over() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let begun = begin(&gateway).await;
    gateway.sql("UPDATE oauth_devices SET expires_at = created_at");
    refused(&poll(&gateway, &begun).await, 400, "expired_token");
    let answer = json!({"userCode": begun["user_code"], "approve": true});
    assert_eq!(ann.api.post("/api/v1/device-request/answer", answer).await.status, 404);
}

#[tokio::test]
async fn codes_of_devices_cannot_be_guessed_at_any_rate() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let begun = begin(&gateway).await;
    for _ in 0..5 {
        let wrong = ann.api.post("/api/v1/device-request", json!({"userCode": "BCDF-GHJK"})).await;
        assert_eq!(wrong.status, 404, "{}", wrong.text);
    }
    let right = json!({"userCode": begun["user_code"], "approve": true});
    let limited = ann.api.post("/api/v1/device-request/answer", right.clone()).await;
    assert_eq!((limited.status.as_u16(), limited.code().as_str()), (429, "auth.limited"));
    // Nobody else waits for it.
    let bob = gateway.user("bob", "operator", None).await;
    assert_eq!(bob.api.post("/api/v1/device-request/answer", right).await.status, 204);
}

#[tokio::test]
async fn only_a_person_with_a_whole_sign_in_answers_a_device() {
    let gateway = TestGateway::start();
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let begun = begin(&gateway).await;
    let answer = json!({"userCode": begun["user_code"], "approve": true});
    let api = gateway.api(&ci.token().await);
    assert_eq!(api.post("/api/v1/device-request/answer", answer.clone()).await.status, 403);
    let nobody = gateway.api("");
    assert_eq!(nobody.post("/api/v1/device-request/answer", answer).await.status, 401);
}

#[tokio::test]
async fn a_device_code_is_its_clients_own() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let ci = service(&gateway, "ci", &["machine:view"]).await;
    let begun = ci.form("/auth/device", &[]).await.ok();
    let code = begun["device_code"].as_str().unwrap();
    refused(&poll(&gateway, &begun).await, 400, "invalid_grant");
    let answer = json!({"userCode": begun["user_code"], "approve": true});
    assert_eq!(ann.api.post("/api/v1/device-request/answer", answer).await.status, 204);
    let tokens = ci.ask(&[GRANT, ("device_code", code)]).await.ok();
    assert_eq!(tokens["scope"], "machine:view");
    assert_eq!(status(&gateway, tokens["access_token"].as_str().unwrap()).await, 200);
    refused(&ci.ask(&[GRANT]).await, 400, "invalid_request");
    refused(&ci.form("/auth/device", &[("scope", "audit:read")]).await, 400, "invalid_scope");
}
