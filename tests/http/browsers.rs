//! What keeps another site's page out.

use adit_testkit::{Api, TestGateway};
use reqwest::Method;
use serde_json::json;

use crate::http::planes::upgrade;
use crate::http::sign_in::signed_in;

const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn a_page_of_another_site_opens_no_websocket() {
    // BRW-01
    let gateway = TestGateway::start();
    let cookie = signed_in(&gateway).await;
    for path in ["/ws/terminal"] {
        for origin in [EVIL, "null", "http://127.0.0.1", "http://127.0.0.1:1"] {
            let request = upgrade(&gateway.admin, path).header("cookie", &cookie);
            let answer = gateway.admin.send(request.header("origin", origin)).await;
            assert_eq!((answer.status.as_u16(), &*answer.code()), (403, "request.origin"));
        }
    }
    assert_eq!(gateway.events("ws.origin_denied").await.len(), 4);
    assert_eq!(gateway.admin.get("/api/v1/sessions").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_cookie_without_an_origin_opens_no_websocket() {
    // BRW-02
    let gateway = TestGateway::start();
    let cookie = signed_in(&gateway).await;
    let request = upgrade(&gateway.admin, "/ws/terminal").header("cookie", &cookie);
    assert_eq!(gateway.admin.send(request).await.status, 403);
}

#[tokio::test]
async fn our_own_page_and_a_client_without_a_cookie_open_one() {
    // BRW-01, BRW-02
    let gateway = TestGateway::start();
    let cookie = signed_in(&gateway).await;
    let page = upgrade(&gateway.admin, "/ws/terminal").header("cookie", &cookie);
    let page = page.header("origin", &gateway.admin.url).send().await.unwrap();
    assert_eq!(page.status(), 101);
    let client = upgrade(&gateway.admin, "/ws/terminal").send().await.unwrap();
    assert_eq!(client.status(), 101);
}

async fn add_user(api: &Api, cookie: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = api.client.request(Method::POST, format!("{}/api/v1/users", api.url));
    request = request.header("cookie", cookie).json(&json!({"name": "mallory"}));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request).await.status.as_u16()
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    // BRW-29
    let gateway = TestGateway::start();
    let (api, cookie) = (&gateway.admin, signed_in(&gateway).await);
    let own = api.url.clone();
    assert_eq!(add_user(api, &cookie, &[]).await, 403);
    assert_eq!(add_user(api, &cookie, &[("origin", EVIL)]).await, 403);
    assert_eq!(add_user(api, &cookie, &[("origin", "null")]).await, 403);
    assert_eq!(add_user(api, &cookie, &[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(add_user(api, &cookie, &[("sec-fetch-site", "same-site")]).await, 403);
    let mixed = [("sec-fetch-site", "cross-site"), ("origin", own.as_str())];
    assert_eq!(add_user(api, &cookie, &mixed).await, 403);
    assert!(!api.get("/api/v1/users").await.text.contains("mallory"));
    let ours = [("sec-fetch-site", "same-origin"), ("origin", own.as_str())];
    assert_eq!(add_user(api, &cookie, &ours).await, 201);
}

#[tokio::test]
async fn a_page_of_another_site_signs_nobody_in() {
    // BRW-26, BRW-29
    let gateway = TestGateway::start();
    let code = gateway.console.split_once("#code=").unwrap().1;
    let url = format!("{}/api/v1/sign-in", gateway.admin.url);
    let request = gateway.admin.client.post(url).json(&json!({"code": code}));
    assert_eq!(gateway.admin.send(request.header("origin", EVIL)).await.status, 403);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_bind_a_browser() {
    // BRW-38
    let gateway = TestGateway::start();
    for path in ["/ui/", "/docs/", "/api/v1/me", "/health", "/api/v1/nothing", "/ws/terminal"] {
        let answer = gateway.admin.get(path).await;
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-eval"), "{path}: {policy}");
        let scripts = policy.split(';').find(|part| part.contains("script-src"));
        assert!(scripts.is_none_or(|part| !part.contains("unsafe-inline")), "{path}: {policy}");
    }
}

#[tokio::test]
async fn no_other_site_is_allowed_to_read_an_answer() {
    // BRW-29
    let gateway = TestGateway::start();
    let url = format!("{}/api/v1/users", gateway.admin.url);
    let request = gateway.admin.client.request(Method::OPTIONS, url).header("origin", EVIL);
    let asked = request.header("access-control-request-method", "POST");
    let answer = gateway.admin.send(asked).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let request = gateway.admin.request(Method::GET, "/api/v1/me").header("origin", EVIL);
    let answer = gateway.admin.send(request).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
