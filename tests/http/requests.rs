//! Requests that are not well formed are refused with a problem document that says why.

use adit_testkit::{Answer, Api, TestGateway};
use reqwest::Method;
use serde_json::json;

fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:adit:problem:{code}"));
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
}

async fn post_text(api: &Api, path: &str, kind: &str, body: String) -> Answer {
    let request = api.request(Method::POST, path).header("content-type", kind).body(body);
    api.send(request).await
}

#[tokio::test]
async fn a_member_that_does_not_exist_is_refused() {
    // CMD-16
    let gateway = TestGateway::start();
    let body = json!({"machine": gateway.machine, "userId": "somebody"});
    is_problem(&gateway.admin.post("/api/v1/tickets", body).await, 400, "request.invalid");
    let listed = gateway.admin.get("/api/v1/sessions").await.ok();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    // CMD-16, RES-09
    let gateway = TestGateway::start();
    for body in
        ["", "{", "[]", "null", "{\"name\":1}", "{\"name\":\"a\",\"name\":\"b\"}", "\u{feff}{}"]
    {
        let answer = post_text(&gateway.admin, "/api/v1/users", "application/json", body.into());
        is_problem(&answer.await, 400, "request.invalid");
    }
}

#[tokio::test]
async fn a_body_that_is_nested_ten_thousand_deep_is_refused() {
    // RES-09, BRW-54
    let gateway = TestGateway::start();
    let body = "[".repeat(10_000) + &"]".repeat(10_000);
    let answer = post_text(&gateway.admin, "/api/v1/users", "application/json", body).await;
    is_problem(&answer, 400, "request.invalid");
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    // BRW-29
    let gateway = TestGateway::start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let body = json!({"name": "mallory"}).to_string();
        let answer = post_text(&gateway.admin, "/api/v1/users", kind, body).await;
        is_problem(&answer, 415, "request.media_type");
    }
    let users = gateway.admin.get("/api/v1/users").await;
    assert!(!users.text.contains("mallory"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    // RES-09
    let gateway = TestGateway::start();
    let body = json!({"name": "a".repeat(300 * 1024)}).to_string();
    let answer = post_text(&gateway.admin, "/api/v1/users", "application/json", body).await;
    is_problem(&answer, 413, "request.too_large");
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_a_problem_document() {
    // CMD-16
    let gateway = TestGateway::start();
    is_problem(&gateway.admin.get("/api/v1/nothing").await, 404, "not_found");
    let wrong = gateway.admin.send(gateway.admin.request(Method::PUT, "/api/v1/users")).await;
    is_problem(&wrong, 405, "request.method");
    is_problem(&gateway.admin.get("/api/v1/machines/nowhere").await, 404, "target.unknown");
}

#[tokio::test]
async fn a_websocket_that_is_asked_for_as_a_page_is_a_problem_document() {
    // CMD-16
    let gateway = TestGateway::start();
    is_problem(&gateway.admin.get("/ws/terminal").await, 400, "request.invalid");
}

#[tokio::test]
async fn a_page_that_no_list_gave_is_refused() {
    // BRW-54
    let gateway = TestGateway::start();
    for query in ["limit=0", "limit=201", "limit=-1", "limit=x", "cursor=__proto__", "cursor=AAAA"]
    {
        for list in ["machines", "sessions", "users", "grants", "audit", "recordings"] {
            let answer = gateway.admin.get(&format!("/api/v1/{list}?{query}")).await;
            assert_eq!(answer.status, 400, "{list}?{query}: {}", answer.text);
            assert_eq!(answer.code(), "request.invalid");
        }
    }
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let gateway = TestGateway::start();
    for name in ["ann", "bob", "carl"] {
        gateway.admin.post("/api/v1/users", json!({"name": name})).await.ok();
    }
    let (mut names, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = gateway.admin.get(&format!("/api/v1/users?{query}")).await.ok();
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    names.sort();
    assert_eq!(names, ["admin", "ann", "bob", "carl"]);
}

#[tokio::test]
async fn another_host_name_is_refused() {
    // BRW-50
    let gateway = TestGateway::start();
    for host in
        ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7800", "10.0.0.1"]
    {
        let request = gateway.admin.request(Method::GET, "/api/v1/me").header("host", host);
        let answer = gateway.admin.send(request).await;
        is_problem(&answer, 421, "request.host");
    }
    let request = gateway.admin.request(Method::GET, "/api/v1/me").header("host", "localhost:1");
    assert_eq!(gateway.admin.send(request).await.status, 200);
}

#[tokio::test]
async fn a_host_name_that_the_settings_name_is_answered() {
    // BRW-50
    let gateway = TestGateway::start_with("hosts = [\"adit.example\"]\n");
    let request = gateway.admin.request(Method::GET, "/api/v1/me").header("host", "adit.example");
    assert_eq!(gateway.admin.send(request).await.status, 200);
}

#[tokio::test]
async fn a_secret_in_the_address_is_refused_although_it_is_good() {
    // BRW-04
    let gateway = TestGateway::start();
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    let token = gateway.admin.token.clone();
    for query in
        [format!("token={token}"), format!("ticket={ticket}"), format!("access_token={token}")]
    {
        for path in ["/ws/terminal", "/api/v1/me"] {
            let answer = gateway.admin.get(&format!("{path}?{query}")).await;
            is_problem(&answer, 400, "ticket.in_url");
        }
    }
}

#[tokio::test]
async fn whoever_calls_is_taken_from_the_connection() {
    // BRW-41
    let gateway = TestGateway::start();
    let request =
        gateway.admin.request(Method::POST, "/api/v1/users").json(&json!({"name": "ann"}));
    let request =
        request.header("x-forwarded-for", "203.0.113.9").header("forwarded", "for=203.0.113.9");
    gateway.admin.send(request.header("x-forwarded-host", "evil.example")).await.ok();
    let log = gateway.admin.get("/api/v1/audit?limit=200").await.text;
    assert!(!log.contains("203.0.113.9") && log.contains("127.0.0.1"), "{log}");
}
