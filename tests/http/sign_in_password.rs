//! Signing in with a name and a password, and setting one.

use adit_testkit::{Answer, Api, TestGateway, User};
use serde_json::{Value, json};

/// A password that nobody guesses.
pub const PASSWORD: &str = "correct horse battery staple";

/// Settings under which a password costs next to nothing, for tests that look at something else.
pub const CHEAP: &str = "[sign_in]\nargon2_memory_kib = 64\nargon2_passes = 1\n";

/// Adds an operator with a password.
pub async fn somebody(gateway: &TestGateway, name: &str) -> User {
    let user = gateway.user(name, "operator", None).await;
    user.api.remember(PASSWORD);
    set_password(&user.api, json!({"password": PASSWORD})).await.ok();
    user
}

pub async fn set_password(api: &Api, body: Value) -> Answer {
    api.post("/api/v1/me/password", body).await
}

/// Signs in as a browser does.
pub async fn sign_in(api: &Api, name: &str, password: &str) -> Answer {
    let url = format!("{}/api/v1/sign-in/password", api.url);
    let request = api.client.post(url).header("origin", &api.url);
    api.send(request.json(&json!({"name": name, "password": password}))).await
}

/// Gives the `Cookie` header that an answer sets.
pub fn cookie_of(answer: &Answer) -> String {
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// Asks who a cookie belongs to.
pub async fn me(api: &Api, cookie: &str) -> Answer {
    api.send(api.client.get(format!("{}/api/v1/me", api.url)).header("cookie", cookie)).await
}

#[tokio::test]
async fn a_user_sets_a_password_and_signs_in_with_it() {
    // DESK-6
    let gateway = TestGateway::start();
    somebody(&gateway, "ann").await;
    let answer = sign_in(&gateway.admin, "ann", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["done"], true);
    assert!(answer.json().get("token").is_none(), "a browser gets a cookie alone");
    assert_eq!(me(&gateway.admin, &cookie_of(&answer)).await.ok()["name"], "ann");
    let events = gateway.events("sign_in").await;
    assert_eq!(events[0]["details"]["method"], "password", "{}", events[0]);
}

#[tokio::test]
async fn a_command_line_gets_a_token_for_a_password() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    somebody(&gateway, "ann").await;
    let body = json!({"name": "ann", "password": PASSWORD, "wanted": "client"});
    let answer = gateway.api("").post("/api/v1/sign-in/password", body).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    let token = answer.ok()["token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.api(&token).get("/api/v1/me").await.ok()["name"], "ann");
}

#[tokio::test]
async fn what_guessers_try_first_is_not_taken() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = gateway.user("ann.smith", "operator", None).await;
    for bad in
        ["short", "Summer2026!!!!", "qwertyuiop12", "the ann.smith line", &"long ".repeat(30)]
    {
        let answer = set_password(&ann.api, json!({"password": bad})).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (400, "request.invalid"), "{bad}");
        assert!(!answer.text.contains(bad), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let new = "seven trains to nowhere";
    for wrong in
        [json!({"password": new}), json!({"password": new, "current": "wrong wrong wrong"})]
    {
        let answer = set_password(&ann.api, wrong).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (403, "auth.proof_refused"));
    }
    set_password(&ann.api, json!({"password": new, "current": PASSWORD})).await.ok();
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.status, 401);
    assert_eq!(sign_in(&gateway.admin, "ann", new).await.status, 200);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sign_ins_and_keeps_its_own() {
    // BRW-57
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let first = sign_in(&gateway.admin, "ann", PASSWORD).await;
    let second = sign_in(&gateway.admin, "ann", PASSWORD).await;
    let (first, second) = (cookie_of(&first), cookie_of(&second));
    assert_ne!(first, second, "each sign-in has a cookie of its own");
    let url = format!("{}/api/v1/me/password", ann.api.url);
    let request = ann.api.client.post(url).header("cookie", &first).header("origin", &ann.api.url);
    let body = json!({"password": "seven trains to nowhere", "current": PASSWORD});
    let answer = ann.api.send(request.json(&body)).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(me(&gateway.admin, &first).await.status, 200);
    assert_eq!(me(&gateway.admin, &second).await.status, 401);
    assert_eq!(ann.api.get("/api/v1/me").await.status, 200, "a program's token stays");
}

#[tokio::test]
async fn a_link_lets_a_forgotten_password_be_replaced() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let path = format!("/api/v1/users/{}/sign-in-links", ann.id);
    let link = gateway.admin.post(&path, json!({})).await.ok();
    let code = link["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    let answer = gateway.admin.post("/api/v1/sign-in", json!({"code": code})).await;
    let cookie = cookie_of(&answer);
    let url = format!("{}/api/v1/me/password", ann.api.url);
    let request = ann.api.client.post(url).header("cookie", &cookie).header("origin", &ann.api.url);
    let answer = ann.api.send(request.json(&json!({"password": "seven trains to nowhere"}))).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(sign_in(&gateway.admin, "ann", "seven trains to nowhere").await.status, 200);
}

#[tokio::test]
async fn a_hash_of_older_parameters_is_made_anew_at_sign_in() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    somebody(&gateway, "ann").await;
    let hash = || gateway.sql("SELECT hash FROM passwords");
    assert!(hash().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", hash());
    std::fs::write(gateway.data().join("adit.toml"), "[sign_in]\nargon2_memory_kib = 128\n")
        .unwrap();
    gateway.kill_gateway();
    gateway.answers().await;
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.status, 200);
    assert!(hash().starts_with("$argon2id$v=19$m=128,t=2,p=1$"), "{}", hash());
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.status, 200);
}
