//! Signing in with a link, the cookie that it gives, and signing out.

use adit_testkit::{Answer, Api, TestGateway};
use serde_json::json;

/// Signs the administrator in; gives the `Cookie` header.
pub async fn signed_in(gateway: &TestGateway) -> String {
    let answer = sign_in(&gateway.admin, code_of(gateway)).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    cookie_of(&answer)
}

fn code_of(gateway: &TestGateway) -> &str {
    gateway.console.split_once("#code=").unwrap().1
}

async fn sign_in(api: &Api, code: &str) -> Answer {
    let url = format!("{}/api/v1/sign-in", api.url);
    api.send(api.client.post(url).header("origin", &api.url).json(&json!({"code": code}))).await
}

fn cookie_of(answer: &Answer) -> String {
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn me(api: &Api, cookie: &str) -> Answer {
    api.send(api.client.get(format!("{}/api/v1/me", api.url)).header("cookie", cookie)).await
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let gateway = TestGateway::start();
    let first = sign_in(&gateway.admin, code_of(&gateway)).await;
    assert_eq!(first.status, 204);
    assert_eq!(me(&gateway.admin, &cookie_of(&first)).await.ok()["name"], "admin");
    let second = sign_in(&gateway.admin, code_of(&gateway)).await;
    assert_eq!((second.status.as_u16(), &*second.code()), (401, "auth.sign_in_refused"));
    assert!(!second.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn fifty_who_race_with_one_link_sign_in_once() {
    let gateway = TestGateway::start();
    let tries = (0..50).map(|_| {
        let (api, code) = (gateway.admin.clone(), code_of(&gateway).to_owned());
        tokio::spawn(async move { sign_in(&api, &code).await.status.as_u16() })
    });
    let tries: Vec<_> = tries.collect();
    let mut statuses = Vec::new();
    for one in tries {
        statuses.push(one.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn a_wrong_code_is_refused_as_a_used_one_is() {
    // BRW-44
    let gateway = TestGateway::start();
    signed_in(&gateway).await;
    let used = sign_in(&gateway.admin, code_of(&gateway)).await;
    let wrong = format!("ads_{}", "A".repeat(43));
    for code in [wrong.as_str(), "", "ads_", "x"] {
        let answer = sign_in(&gateway.admin, code).await;
        assert_eq!((answer.status, &answer.text), (used.status, &used.text), "{code}");
    }
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    // BRW-38
    let gateway = TestGateway::start();
    let answer = sign_in(&gateway.admin, code_of(&gateway)).await;
    let set = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(flag), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
}

#[tokio::test]
async fn signing_out_ends_the_cookie_at_the_gateway() {
    // BRW-57
    let gateway = TestGateway::start();
    let cookie = signed_in(&gateway).await;
    let api = &gateway.admin;
    let url = format!("{}/api/v1/sign-out", api.url);
    let request = api.client.post(url).header("cookie", &cookie).header("origin", &api.url);
    let answer = api.send(request.json(&json!({}))).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(me(api, &cookie).await.status, 401);
}

#[tokio::test]
async fn a_link_gives_a_new_cookie_each_time() {
    // BRW-57
    let gateway = TestGateway::start();
    let first = signed_in(&gateway).await;
    let id = gateway.admin.get("/api/v1/me").await.ok()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/users/{id}/sign-in-links");
    let link = gateway.admin.post(&path, json!({})).await.ok();
    let code = link["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    let second = cookie_of(&sign_in(&gateway.admin, &code).await);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_removed_user_is_signed_out() {
    // BRW-25
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let path = format!("/api/v1/users/{}/sign-in-links", ann.id);
    let link = gateway.admin.post(&path, json!({})).await.ok();
    let code = link["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    let cookie = cookie_of(&sign_in(&gateway.admin, &code).await);
    assert_eq!(me(&gateway.admin, &cookie).await.status, 200);
    gateway.admin.delete(&format!("/api/v1/users/{}", ann.id)).await;
    assert_eq!(me(&gateway.admin, &cookie).await.status, 401);
    assert_eq!(ann.api.get("/api/v1/me").await.status, 401);
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let listed = ann.api.get(&format!("/api/v1/users/{}/tokens", ann.id)).await.ok();
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert!(!listed.to_string().contains(&ann.api.token), "a token is shown once");
    assert_eq!(ann.api.delete(&format!("/api/v1/tokens/{id}")).await.status, 204);
    assert_eq!(ann.api.get("/api/v1/me").await.status, 401);
}
