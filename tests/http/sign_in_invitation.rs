//! The first administrator by a setup token, everybody else by an invitation.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use adit_testkit::{Answer, Api, TestGateway};
use serde_json::{Value, json};

use crate::http::sign_in_password::{CHEAP, PASSWORD, cookie_of, me, sign_in};

/// `adit serve` on a folder where nobody was yet.
struct New {
    serve: Child,
    url: String,
    token: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

fn secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

impl New {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = folder.path().join("adit.toml");
        let listen = "listen = \"127.0.0.1:0\"\nmachines_listen = \"127.0.0.1:0\"\n";
        let text = format!("data = {data:?}\n{listen}{CHEAP}");
        std::fs::write(&config, text).unwrap();
        let mut serve = Command::new(adit_testkit::binary())
            .args(["serve", "--config"])
            .arg(&config)
            .env("SESSION_TOKEN_SECRET", secret())
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("out")).unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(serve.stderr.take().unwrap());
        let line = stderr.lines().map(Result::unwrap).find(|line| line.contains("/ui/setup#code="));
        let line = line.expect("a setup token is printed").trim().to_owned();
        let (url, token) = line.split_once("/ui/setup#code=").unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
        Self {
            serve,
            url: url.to_owned(),
            token: token.to_owned(),
            client: client.build().unwrap(),
            _folder: folder,
        }
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client.post(format!("{}{path}", self.url)).json(body).send().await.unwrap()
    }

    async fn set_up(&self, token: &str, name: &str) -> u16 {
        let body = json!({"token": token, "name": name, "password": PASSWORD});
        self.post("/api/v1/setup", &body).await.status().as_u16()
    }

    async fn is_needed(&self) -> bool {
        let url = format!("{}/api/v1/setup", self.url);
        let answer = self.client.get(url).send().await.unwrap().json::<Value>().await.unwrap();
        answer["needed"].as_bool().unwrap()
    }
}

impl Drop for New {
    fn drop(&mut self) {
        adit_testkit::signal(self.serve.id(), "TERM");
        let _already_gone = self.serve.wait();
    }
}

#[tokio::test]
async fn the_first_administrator_needs_the_printed_token() {
    // BRW-40
    let new = New::start().await;
    assert!(new.is_needed().await);
    let wrong = format!("asu_{}", "A".repeat(43));
    for token in ["", "x", &wrong] {
        assert_eq!(new.set_up(token, "ann").await, 401, "{token}");
    }
    let without = new.post("/api/v1/setup", &json!({"name": "ann"})).await;
    assert_eq!(without.status(), 401);
    let body = json!({"token": new.token, "name": "ann", "password": "password1234"});
    assert_eq!(
        new.post("/api/v1/setup", &body).await.status(),
        400,
        "a bad password spends nothing"
    );
    let body = json!({"token": new.token, "name": "ann", "password": PASSWORD});
    let answer = new.post("/api/v1/setup", &body).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("set-cookie"));
    assert!(!new.is_needed().await);
    let body = json!({"name": "ann", "password": PASSWORD});
    let answer = new.post("/api/v1/sign-in/password", &body).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["done"], true);
    assert_eq!(new.set_up(&new.token, "eve").await, 401);
}

#[tokio::test]
async fn of_two_who_race_with_the_token_one_becomes_the_administrator() {
    // BRW-40
    let new = New::start().await;
    let tries = ["ann", "ben", "cat", "dan"].map(|name| new.set_up(&new.token, name));
    let [a, b, c, d] = tries;
    let mut statuses: [u16; 4] = tokio::join!(a, b, c, d).into();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401]);
}

pub async fn accept(api: &Api, body: Value) -> Answer {
    let url = format!("{}/api/v1/sign-in/invitation", api.url);
    api.send(api.client.post(url).header("origin", &api.url).json(&body)).await
}

pub async fn invitation(gateway: &TestGateway, user: &str) -> String {
    let path = format!("/api/v1/users/{user}/invitations");
    let link = gateway.admin.post(&path, json!({})).await.ok();
    let url = link["url"].as_str().unwrap();
    assert!(url.contains("/ui/welcome#code=ain_"), "the code is in the fragment");
    url.split_once("#code=").unwrap().1.to_owned()
}

#[tokio::test]
async fn an_invitation_leads_to_a_password_once() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    gateway.admin.remember(PASSWORD);
    let ann = gateway.user("ann", "operator", None).await;
    let code = invitation(&gateway, &ann.id).await;
    let bad = accept(&gateway.admin, json!({"code": code, "password": "password1234"})).await;
    assert_eq!(bad.status, 400, "a bad password spends nothing");
    let answer = accept(&gateway.admin, json!({"code": code, "password": PASSWORD})).await;
    assert_eq!(me(&gateway.admin, &cookie_of(&answer)).await.ok()["name"], "ann");
    let again = accept(&gateway.admin, json!({"code": code, "password": PASSWORD})).await;
    assert_eq!((again.status.as_u16(), &*again.code()), (401, "auth.sign_in_refused"));
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], true);
}

#[tokio::test]
async fn an_invitation_opens_nothing_else_and_ends_with_its_user() {
    // BEY-16
    let gateway = TestGateway::start_with(CHEAP);
    let ann = gateway.user("ann", "operator", None).await;
    let code = invitation(&gateway, &ann.id).await;
    let as_link = gateway.admin.post("/api/v1/sign-in", json!({"code": code})).await;
    assert_eq!(as_link.status, 401);
    assert_eq!(gateway.api(&code).get("/api/v1/me").await.status, 401);
    gateway.admin.delete(&format!("/api/v1/users/{}", ann.id)).await;
    let late = accept(&gateway.admin, json!({"code": code, "password": PASSWORD})).await;
    assert_eq!(late.status, 401);
    assert_eq!(ann.api.post("/api/v1/users/x/invitations", json!({})).await.status, 401);
}
