//! A role that may only look changes nothing.

use adit_testkit::TestGateway;
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::document::operations;

/// Operations that everybody may call: they change nothing but the caller's own sign-in.
const OWN: [&str; 5] = [
    "POST /api/v1/sign-in",
    "POST /api/v1/sign-out",
    "POST /api/enroll",
    "POST /api/v1/me/identities",
    "DELETE /api/v1/me/identities/{identity}",
];

/// A provider whose accounts can be linked; nobody asks it anything here.
const PROVIDER: &str = "[[sign_in.provider]]\nname = \"work\"\nkind = \"oidc\"\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"adit\"\n";

const RECORDING: &str = "DELETE /api/v1/recordings/{recording}";

/// A good request for each operation that changes something, so that only policy can refuse it.
async fn good_requests(gateway: &TestGateway) -> Vec<(&'static str, String, Value)> {
    let other = gateway.user("ann", "operator", None).await;
    let viewer = gateway.open(&other.api, &[]).await;
    let (user, session) = (other.id.clone(), viewer.session());
    let tokens = gateway.admin.get(&format!("/api/v1/users/{user}/tokens")).await.ok();
    let token = tokens["items"][0]["id"].as_str().unwrap().to_owned();
    let identities = format!("/api/v1/users/{user}/identities");
    let account = |subject: &str| json!({"provider": "work", "subject": subject});
    assert_eq!(gateway.admin.post(&identities, account("ann")).await.status, 204);
    let linked = gateway.admin.get(&identities).await.ok();
    let linked = format!("{identities}/{}", linked["items"][0]["id"].as_str().unwrap());
    let machine = gateway.machine.clone();
    let shell = json!({"machine": machine});
    let spawn = json!({"machineId": machine});
    let grant = json!({"principal": "user:bob", "role": "admin"});
    let of_user = |what: &str| format!("/api/v1/users/{user}/{what}");
    vec![
        ("POST /api/v1/enrolment-tokens", "/api/v1/enrolment-tokens".into(), json!({})),
        ("POST /api/v1/tickets", "/api/v1/tickets".into(), shell),
        ("POST /api/terminal/spawn", "/api/terminal/spawn".into(), spawn),
        ("POST /api/v1/users", "/api/v1/users".into(), json!({"name": "new"})),
        ("POST /api/v1/users/{user}/sign-in-links", of_user("sign-in-links"), json!({})),
        ("POST /api/v1/users/{user}/tokens", of_user("tokens"), json!({"name": "another"})),
        ("POST /api/v1/users/{user}/identities", identities, account("ann-too")),
        ("DELETE /api/v1/users/{user}/identities/{identity}", linked, Value::Null),
        ("DELETE /api/v1/tokens/{token}", format!("/api/v1/tokens/{token}"), Value::Null),
        ("POST /api/v1/grants", "/api/v1/grants".into(), grant),
        ("DELETE /api/v1/grants/{grant}", format!("/api/v1/grants/{}", other.grant), Value::Null),
        ("DELETE /api/v1/sessions/{session}", format!("/api/v1/sessions/{session}"), Value::Null),
        (RECORDING, format!("/api/v1/recordings/{session}"), Value::Null),
        ("DELETE /api/v1/machines/{machine}", format!("/api/v1/machines/{machine}"), Value::Null),
        ("DELETE /api/v1/users/{user}", format!("/api/v1/users/{user}"), Value::Null),
    ]
}

#[tokio::test]
async fn a_role_that_may_look_may_change_nothing() {
    // BRW-55
    let gateway = TestGateway::start_with(PROVIDER);
    let bob = gateway.user("bob", "viewer", None).await;
    let requests = good_requests(&gateway).await;
    for operation in operations(&gateway.admin).await {
        let name = operation.to_string();
        if operation.method == Method::GET || OWN.contains(&name.as_str()) {
            continue;
        }
        let (_, path, body) = requests
            .iter()
            .find(|(known, ..)| *known == name)
            .unwrap_or_else(|| panic!("{name} changes something: add a good request to this test"));
        let request = bob.api.request(operation.method, path);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = bob.api.send(request).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text);
        assert!(answer.code().starts_with("access."), "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_administrator_may_do_all_of_that() {
    // BRW-55
    let gateway = TestGateway::start_with(PROVIDER);
    gateway.user("bob", "viewer", None).await;
    for (name, path, body) in good_requests(&gateway).await {
        // A recording is deleted when its session is over: `recording.rs` shows it.
        if name != RECORDING {
            let method: Method = name.split(' ').next().unwrap().parse().unwrap();
            let request = gateway.admin.request(method, &path);
            let request = if body.is_null() { request } else { request.json(&body) };
            let answer = gateway.admin.send(request).await;
            assert!(answer.status.is_success(), "{name}: {} {}", answer.status, answer.text);
        }
    }
}

#[tokio::test]
async fn a_session_of_somebody_else_is_as_unknown_as_none() {
    // BRW-52
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let viewer = gateway.open(&ann.api, &[]).await;
    let nobody = gateway.admin.post("/api/v1/users", json!({"name": "carl"})).await.ok();
    let path = format!("/api/v1/users/{}/tokens", nobody["id"].as_str().unwrap());
    let token = gateway.admin.post(&path, json!({"name": "t"})).await.ok();
    let carl = gateway.api(token["token"].as_str().unwrap());
    let there = carl.get(&format!("/api/v1/sessions/{}", viewer.session())).await;
    let not_there = carl.get("/api/v1/sessions/0190aaaa-0000-7000-8000-000000000000").await;
    assert_eq!((there.status.as_u16(), &there.text), (404, &not_there.text));
    assert_eq!(carl.get("/api/v1/sessions").await.ok()["items"], json!([]));
    assert_eq!(carl.get("/api/v1/machines").await.ok()["items"], json!([]));
}
