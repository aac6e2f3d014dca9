//! Roles, teams, conditions and requests, on the running gateway: what they let in, and what ends with them.

use std::io::Write as _;

use adit_testkit::{TestGateway, TestViewer, User, within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sessions::access::REPEATS;

async fn wish(gateway: &TestGateway, user: &User) -> (u16, String) {
    let wish = json!({"machine": gateway.machine, "command": ["true"]});
    let answer = user.api.post("/api/v1/tickets", wish).await;
    (answer.status.as_u16(), answer.code())
}

/// Adds a user who has no role.
async fn somebody(gateway: &TestGateway, name: &str) -> User {
    let user = gateway.user(name, "viewer", None).await;
    assert_eq!(gateway.admin.delete(&format!("/api/v1/grants/{}", user.grant)).await.status, 204);
    user
}

async fn grant(gateway: &TestGateway, body: Value) -> String {
    let made = gateway.admin.post("/api/v1/grants", body).await.ok();
    made["id"].as_str().unwrap().to_owned()
}

async fn why(gateway: &TestGateway, who: &str) -> Value {
    let query =
        format!("/api/v1/why?principal={who}&capability=terminal:spawn&target={}", gateway.machine);
    gateway.admin.get(&query).await.ok()
}

#[tokio::test]
async fn a_member_of_a_team_may_what_the_team_may_until_it_leaves() {
    // TERM-22, BEY-3
    let gateway = TestGateway::start();
    let ann = somebody(&gateway, "ann").await;
    gateway.admin.post("/api/v1/teams", json!({"name": "eng"})).await.ok();
    grant(&gateway, json!({"principal": "team:eng", "role": "operator"})).await;
    assert_eq!(wish(&gateway, &ann).await.0, 404);
    let member = json!({"principal": "user:ann"});
    assert_eq!(gateway.admin.post("/api/v1/teams/eng/members", member).await.status, 204);
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let told = why(&gateway, "user:ann").await;
    assert_eq!(told["sentence"], "Allowed, by the role operator of the team eng.");
    let change = json!({"leaveTeam": {"principal": "user:ann", "team": "eng"}});
    let ending = gateway.admin.post("/api/v1/what-ends", change).await.ok();
    assert_eq!(ending["items"][0]["session"], viewer.session());
    assert_eq!(gateway.admin.delete("/api/v1/teams/eng/members/user:ann").await.status, 204);
    assert_eq!(viewer.end().await.0.code, "access.revoked");
    assert_eq!(gateway.events("team.leave").await[0]["target"]["name"], "ann");
}

#[tokio::test]
async fn what_a_change_would_end_is_told_and_nothing_is_changed() {
    // BEY-15
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let admin = gateway.open(&gateway.admin, &REPEATS).await;
    for change in [json!({"removeGrant": ann.grant}), json!({"removePrincipal": "user:ann"})] {
        let ending = gateway.admin.post("/api/v1/what-ends", change).await.ok();
        let sessions: Vec<&Value> =
            ending["items"].as_array().unwrap().iter().map(|one| &one["session"]).collect();
        assert_eq!(sessions, [&Value::from(viewer.session())]);
    }
    let machine = json!({"removeMachine": gateway.machine});
    let ending = gateway.admin.post("/api/v1/what-ends", machine).await.ok();
    assert_eq!(ending["items"].as_array().unwrap().len(), 2);
    viewer.write(b"still here\r");
    viewer.until_text("still here\r\n").await;
    let both = json!({"removeGrant": ann.grant, "removeRole": "operator"});
    assert_eq!(gateway.admin.post("/api/v1/what-ends", both).await.code(), "request.invalid");
    let refused = ann.api.post("/api/v1/what-ends", json!({"removeGrant": ann.grant})).await;
    assert_eq!(refused.status, 403);
    drop(admin);
}

#[tokio::test]
async fn a_role_of_ones_own_allows_what_it_says_and_follows_its_changes() {
    let gateway = TestGateway::start();
    let ann = somebody(&gateway, "ann").await;
    let all =
        ["terminal:spawn", "terminal:input", "terminal:resize", "terminal:view", "terminal:exec"];
    let role = json!({"name": "deployer", "capabilities": all});
    gateway.admin.post("/api/v1/roles", role).await.ok();
    let on = json!({"principal": "user:ann", "role": "deployer", "machines": [gateway.machine]});
    grant(&gateway, on).await;
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let less = json!({"capabilities": ["terminal:view"]});
    let change = json!({"changeRole": {"role": "deployer", "capabilities": ["terminal:view"]}});
    let ending = gateway.admin.post("/api/v1/what-ends", change).await.ok();
    assert_eq!(ending["items"][0]["session"], viewer.session());
    let put = gateway.admin.request(reqwest::Method::PUT, "/api/v1/roles/deployer").json(&less);
    assert_eq!(gateway.admin.send(put).await.status, 200);
    assert_eq!(viewer.end().await.0.code, "access.revoked");
    assert_eq!(wish(&gateway, &ann).await, (403, "access.capability_missing".to_owned()));
    assert_eq!(gateway.admin.delete("/api/v1/roles/deployer").await.status, 204);
    assert_eq!(wish(&gateway, &ann).await.0, 404);
    assert_eq!(gateway.admin.delete("/api/v1/roles/admin").await.code(), "conflict");
    let odd = json!({"name": "king", "capabilities": ["castle:storm"]});
    assert_eq!(gateway.admin.post("/api/v1/roles", odd).await.code(), "request.invalid");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_says_which() {
    let gateway = TestGateway::start();
    for (name, conditions, code) in [
        ("anna", json!({"networks": ["192.0.2.0/24"]}), "access.network"),
        ("bert", json!({"secondFactorWithinSeconds": 600}), "access.second_factor"),
        ("cora", json!({"approval": true}), "access.approval"),
    ] {
        let user = somebody(&gateway, name).await;
        let principal = format!("user:{name}");
        let body = json!({"principal": principal, "role": "operator", "conditions": conditions});
        grant(&gateway, body).await;
        let (status, got) = wish(&gateway, &user).await;
        // Whoever may not even know of a machine from here is told that there is none.
        let expected = if code == "access.network" { (404, "target.unknown") } else { (403, code) };
        assert_eq!((status, got.as_str()), expected, "{name}");
        assert_eq!(why(&gateway, &principal).await["code"], code, "{name}");
    }
    let dora = somebody(&gateway, "dora").await;
    let home = json!({"networks": ["127.0.0.0/8", "::1"], "hours": "daily 00:00-24:00"});
    let body = json!({"principal": "user:dora", "role": "operator", "conditions": home});
    grant(&gateway, body).await;
    assert_eq!(wish(&gateway, &dora).await.0, 201);
    for odd in
        [json!({"hours": "sometimes"}), json!({"networks": ["10.0.0.1/8"]}), json!({"moon": 1})]
    {
        let body = json!({"principal": "user:dora", "role": "operator", "conditions": odd});
        assert_eq!(gateway.admin.post("/api/v1/grants", body).await.status, 400);
    }
}

#[tokio::test]
async fn a_machine_that_loses_its_tag_loses_who_came_by_it() {
    let gateway = TestGateway::start();
    let ann = somebody(&gateway, "ann").await;
    let path = format!("/api/v1/machines/{}", gateway.machine);
    let describe = async |body: Value| {
        let patch = gateway.admin.request(reqwest::Method::PATCH, &path).json(&body);
        gateway.admin.send(patch).await.status.as_u16()
    };
    assert_eq!(describe(json!({"tags": {"env": "test"}})).await, 204);
    let on = json!({"tags": {"env": "test"}, "label": "*"});
    let made = json!({"principal": "user:ann", "role": "operator", "matching": on});
    let made = gateway.admin.post("/api/v1/grants", made).await.ok();
    assert_eq!(made["on"], "machines called * with env=test");
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    assert_eq!(describe(json!({"tags": {"env": "prod"}})).await, 204);
    assert_eq!(viewer.end().await.0.code, "access.revoked");
    assert_eq!(wish(&gateway, &ann).await.0, 404);
    assert_eq!(describe(json!({"tags": {"a b": "c"}})).await, 400);
    let patch = ann.api.request(reqwest::Method::PATCH, &path).json(&json!({"tags": {}}));
    assert_eq!(ann.api.send(patch).await.status, 404);
}

#[tokio::test]
async fn access_that_somebody_else_approved_is_there_until_its_time_is_over() {
    let gateway = TestGateway::start();
    let ann = somebody(&gateway, "ann").await;
    let asked = json!({"role": "operator", "machines": [gateway.machine], "reason": "The preview is stuck.", "seconds": 3});
    let asked = ann.api.post("/api/v1/access-requests", asked).await.ok();
    let id = asked["id"].as_str().unwrap();
    let decision = format!("/api/v1/access-requests/{id}/decision");
    let refused = ann.api.post(&decision, json!({"decision": "approve"})).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.no_grant"));
    let yes = json!({"decision": "approve", "note": "Go on."});
    let approved = gateway.admin.post(&decision, yes.clone()).await.ok();
    assert_eq!((&approved["state"], &approved["decidedBy"]), (&json!("approved"), &json!("admin")));
    let mut viewer: TestViewer = gateway.open(&ann.api, &REPEATS).await;
    assert_eq!(viewer.end().await.0.code, "session.expired");
    assert_eq!(gateway.admin.post(&decision, yes).await.code(), "conflict");
    let listed = ann.api.get("/api/v1/access-requests").await.ok();
    assert_eq!(listed["items"][0]["note"], "Go on.");
    assert_eq!(gateway.events("access_request.approve").await.len(), 1);
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    // BEY-6
    let gateway = TestGateway::start();
    let asked = json!({"role": "admin", "reason": "Because.", "seconds": 60});
    let asked = gateway.admin.post("/api/v1/access-requests", asked).await.ok();
    let decision = format!("/api/v1/access-requests/{}/decision", asked["id"].as_str().unwrap());
    let refused = gateway.admin.post(&decision, json!({"decision": "approve"})).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (409, "conflict"));
    let others = somebody(&gateway, "bob").await;
    let seen = others.api.get("/api/v1/access-requests").await.ok();
    assert_eq!(seen["items"], json!([]), "one sees one's own");
    let withdraw = format!("/api/v1/access-requests/{}", asked["id"].as_str().unwrap());
    assert_eq!(others.api.delete(&withdraw).await.status, 404);
    assert_eq!(gateway.admin.delete(&withdraw).await.status, 204);
    let silent = json!({"role": "viewer", "reason": " ", "seconds": 60});
    assert_eq!(others.api.post("/api/v1/access-requests", silent).await.code(), "request.invalid");
}

#[tokio::test]
async fn who_may_only_approve_gives_no_role_that_gives_access() {
    // BEY-6: two who help each other would have everything.
    let gateway = TestGateway::start();
    let role = json!({"name": "lead", "capabilities": ["access:approve"]});
    gateway.admin.post("/api/v1/roles", role).await.ok();
    let lead = gateway.user("lead", "lead", None).await;
    let ann = somebody(&gateway, "ann").await;
    for (role, status) in [("admin", 403), ("lead", 403), ("operator", 200)] {
        let asked = json!({"role": role, "reason": "The preview is stuck.", "seconds": 60});
        let asked = ann.api.post("/api/v1/access-requests", asked).await.ok();
        let decision =
            format!("/api/v1/access-requests/{}/decision", asked["id"].as_str().unwrap());
        let decided = lead.api.post(&decision, json!({"decision": "approve"})).await;
        assert_eq!(decided.status, status, "{role}");
    }
}

/// Takes one POST and gives its headers and body.
async fn one_post(listener: tokio::net::TcpListener) -> (axum::http::HeaderMap, String) {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let take = move |headers: axum::http::HeaderMap, body: String| async move {
        told.send((headers, body)).await.unwrap();
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(take));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let request = within("the webhook", heard.recv()).await.unwrap();
    server.abort();
    request
}

fn signed(key: &str, text: &str) -> String {
    let mut openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-hmac", key])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    STANDARD.encode(openssl.wait_with_output().unwrap().stdout)
}

#[tokio::test]
async fn a_request_is_told_to_the_webhook_and_signed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let key = "0123456789abcdef0123456789abcdef";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key).unwrap();
    let settings = format!(
        "[access]\nwebhook = \"{url}\"\nwebhook_secret_file = \"{}\"\n",
        file.path().display()
    );
    let gateway = TestGateway::start_with(&settings);
    let ann = somebody(&gateway, "ann").await;
    let asked = json!({"role": "operator", "reason": "Stuck.", "seconds": 60});
    let asked = ann.api.post("/api/v1/access-requests", asked).await.ok();
    let (headers, body) = one_post(listener).await;
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), asked["id"].as_str().unwrap());
    let text = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    assert_eq!(header("webhook-signature"), format!("v1,{}", signed(key, &text)));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"]["principal"], "user:ann");
    assert!(!gateway.log().contains(key));
}
