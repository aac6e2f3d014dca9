//! Signing in with a second factor: authenticators and recovery codes.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_testkit::{Answer, Api, TestGateway, User};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::http::sign_in_password::{CHEAP, PASSWORD, cookie_of, me, sign_in, somebody};

/// An authenticator app.
pub struct App {
    totp: Totp,
    now: u64,
}

impl App {
    fn new(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self { totp: Builder::new().with_secret(secret).build().unwrap(), now }
    }

    /// Gives the code of the time step before, of this one, or of the next; all three are taken, each once and in this order.
    pub fn code(&self, step: i64) -> String {
        let at = self.now.checked_add_signed(step * 30).unwrap();
        self.totp.generate(at).to_string()
    }
}

/// Gives somebody an authenticator, with the code of the step before; gives the recovery codes too.
pub async fn with_authenticator(user: &User) -> (App, Vec<String>) {
    let begun = user.api.post("/api/v1/me/authenticator", json!({})).await.ok();
    let app = App::new(begun["secret"].as_str().unwrap());
    let answer = confirm(&user.api, &app.code(-1)).await.ok();
    let codes = answer["recoveryCodes"].as_array().unwrap();
    (app, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

async fn confirm(api: &Api, code: &str) -> Answer {
    api.post("/api/v1/me/authenticator/confirm", json!({"code": code})).await
}

/// Gives the step of a right password.
pub async fn step(api: &Api, name: &str) -> String {
    let answer = sign_in(api, name, PASSWORD).await;
    assert!(!answer.headers.contains_key("set-cookie"), "a password alone opens nothing");
    let answer = answer.ok();
    assert_eq!(answer["done"], false);
    answer["step"].as_str().unwrap().to_owned()
}

pub async fn go_on(api: &Api, step: &str, code: &str) -> Answer {
    let url = format!("{}/api/v1/sign-in/second-factor", api.url);
    let request = api.client.post(url).header("origin", &api.url);
    api.send(request.json(&json!({"step": step, "code": code}))).await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

#[tokio::test]
async fn a_password_and_a_code_sign_in() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let (app, codes) = with_authenticator(&ann).await;
    assert_eq!(codes.len(), 10);
    let step = step(&gateway.admin, "ann").await;
    let answer = go_on(&gateway.admin, &step, &app.code(0)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(me(&gateway.admin, &cookie_of(&answer)).await.ok()["name"], "ann");
    let event = gateway.events("sign_in").await.remove(0);
    assert_eq!(event["details"]["secondFactor"], true, "{event}");
}

#[tokio::test]
async fn an_authenticator_counts_from_its_first_code_on() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let begun = ann.api.post("/api/v1/me/authenticator", json!({})).await.ok();
    assert!(begun["uri"].as_str().unwrap().starts_with("otpauth://totp/"), "{begun}");
    assert!(begun["picture"].as_str().unwrap().contains("<svg"), "{begun}");
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], true);
    let wrong = confirm(&ann.api, "000000").await;
    assert_eq!(refused(&wrong), (403, "auth.proof_refused".into()));
    let app = App::new(begun["secret"].as_str().unwrap());
    confirm(&ann.api, &app.code(0)).await.ok();
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], false);
    let again = ann.api.post("/api/v1/me/authenticator", json!({})).await;
    assert_eq!(refused(&again), (409, "conflict".into()));
}

#[tokio::test]
async fn a_code_signs_in_once() {
    // BRW-47
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let (app, _) = with_authenticator(&ann).await;
    let api = &gateway.admin;
    let (first, second) = (step(api, "ann").await, step(api, "ann").await);
    assert_eq!(go_on(api, &first, &app.code(0)).await.status, 200);
    let again = go_on(api, &second, &app.code(0)).await;
    assert_eq!(refused(&again), (403, "auth.proof_refused".into()));
    let older = go_on(api, &second, &app.code(-1)).await;
    assert_eq!(refused(&older), (403, "auth.proof_refused".into()));
    assert_eq!(go_on(api, &second, &app.code(1)).await.status, 200);
}

#[tokio::test]
async fn of_many_who_race_with_one_code_one_signs_in() {
    // BRW-47
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let (app, _) = with_authenticator(&ann).await;
    let mut steps = Vec::new();
    for _ in 0..8 {
        steps.push(step(&gateway.admin, "ann").await);
    }
    let tries: Vec<_> = steps
        .into_iter()
        .map(|step| {
            let (api, code) = (gateway.admin.clone(), app.code(0));
            tokio::spawn(async move { go_on(&api, &step, &code).await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for one in tries {
        statuses.push(one.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn a_step_takes_its_own_users_code_only() {
    // BRW-49
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let ben = somebody(&gateway, "ben").await;
    let ((_, ann_codes), (ben_app, ben_codes)) =
        (with_authenticator(&ann).await, with_authenticator(&ben).await);
    let api = &gateway.admin;
    let anns = step(api, "ann").await;
    for foreign in [&ben_app.code(0), &ben_codes[0]] {
        let answer = go_on(api, &anns, foreign).await;
        assert_eq!(refused(&answer), (403, "auth.proof_refused".into()));
    }
    let named = json!({"step": anns, "code": ben_app.code(0), "name": "ben"});
    let answer = api.post("/api/v1/sign-in/second-factor", named).await;
    assert_eq!(answer.status, 400, "nobody is named in the second step: {}", answer.text);
    let answer = go_on(api, &anns, &ann_codes[0]).await;
    assert_eq!(me(api, &cookie_of(&answer)).await.ok()["name"], "ann");
    // The step is used.
    let again = go_on(api, &anns, &ann_codes[1]).await;
    assert_eq!(refused(&again), (401, "auth.step_refused".into()));
    // So is one that is nothing, and one that was tried too often.
    let nothing = go_on(api, "asp_x", &ann_codes[1]).await;
    assert_eq!(refused(&nothing), (401, "auth.step_refused".into()));
    let guessed = step(api, "ann").await;
    for _ in 0..5 {
        assert_eq!(go_on(api, &guessed, "000000").await.status, 403);
    }
    let over = go_on(api, &guessed, &ann_codes[1]).await;
    assert_eq!(refused(&over), (401, "auth.step_refused".into()));
}

#[tokio::test]
async fn a_recovery_code_signs_in_once_and_new_ones_end_the_old() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let (_, codes) = with_authenticator(&ann).await;
    let api = &gateway.admin;
    let sloppy = codes[0].to_uppercase().replace('-', " ");
    assert_eq!(go_on(api, &step(api, "ann").await, &sloppy).await.status, 200);
    let again = go_on(api, &step(api, "ann").await, &codes[0]).await;
    assert_eq!(refused(&again), (403, "auth.proof_refused".into()));
    let factors = ann.api.get("/api/v1/me/factors").await.ok();
    assert_eq!(factors["recoveryCodes"], 9);
    let fresh = ann.api.post("/api/v1/me/recovery-codes", json!({})).await.ok();
    let fresh = fresh["recoveryCodes"][0].as_str().unwrap().to_owned();
    let old = go_on(api, &step(api, "ann").await, &codes[1]).await;
    assert_eq!(refused(&old), (403, "auth.proof_refused".into()));
    assert_eq!(go_on(api, &step(api, "ann").await, &fresh).await.status, 200);
}

#[tokio::test]
async fn what_signs_in_is_changed_with_a_fresh_second_factor_only() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let (app, _) = with_authenticator(&ann).await;
    let token =
        ann.api.post(&format!("/api/v1/users/{}/tokens", ann.id), json!({"name": "x"})).await;
    let stale = gateway.api(token.ok()["token"].as_str().unwrap());
    let remove = async || stale.delete("/api/v1/me/authenticator").await;
    assert_eq!(refused(&remove().await), (403, "access.second_factor".into()));
    let codes = stale.post("/api/v1/me/recovery-codes", json!({})).await;
    assert_eq!(refused(&codes), (403, "access.second_factor".into()));
    let body = json!({"password": "seven trains to nowhere", "current": PASSWORD});
    let password = stale.post("/api/v1/me/password", body).await;
    assert_eq!(refused(&password), (403, "access.second_factor".into()));
    let shown = stale.post("/api/v1/step-up", json!({"code": app.code(0)})).await;
    assert_eq!(shown.status, 204, "{}", shown.text);
    let again = stale.post("/api/v1/step-up", json!({"code": app.code(0)})).await;
    assert_eq!(refused(&again), (403, "auth.proof_refused".into()));
    assert_eq!(remove().await.status, 204);
    assert_eq!(sign_in(&gateway.admin, "ann", PASSWORD).await.json()["done"], true);
}

#[tokio::test]
async fn the_database_holds_no_authenticators_secret() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let begun: Value = ann.api.post("/api/v1/me/authenticator", json!({})).await.ok();
    let secret = Secret::try_from_base32(begun["secret"].as_str().unwrap()).unwrap();
    let plain: String = secret.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    let stored = gateway.sql("SELECT hex(sealed) FROM authenticators");
    assert!(stored.trim().len() > plain.len(), "{stored}");
    assert!(!stored.contains(&plain));
}
