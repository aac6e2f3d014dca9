//! What a terminal rests on: the sign-in that asked for it, and the second factor that was shown with it.

use adit_testkit::{Answer, Api, TestGateway, TestViewer, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::oauth::device_tokens;
use crate::http::sign_in_password::{CHEAP, PASSWORD, cookie_of, set_password, sign_in, somebody};
use crate::http::sign_in_second_factor::{App, with_authenticator};
use crate::sessions::access::REPEATS;

/// Posts as a browser that is signed in does.
async fn post(api: &Api, cookie: &str, path: &str, body: Value) -> Answer {
    let request = api.client.request(Method::POST, format!("{}{path}", api.url));
    let request = request.header("cookie", cookie).header("origin", &api.url);
    api.send(request.json(&body)).await
}

async fn open(gateway: &TestGateway, cookie: &str) -> TestViewer {
    let wish = json!({"machine": gateway.machine, "pty": true, "command": REPEATS});
    let issued = post(&gateway.admin, cookie, "/api/v1/tickets", wish).await.ok();
    let ticket = issued["ticket"].as_str().unwrap();
    TestViewer::admitted(gateway.redeem(ticket, None).await.unwrap()).await
}

#[tokio::test]
async fn a_new_password_sends_away_who_came_with_another_sign_in() {
    // BRW-57
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let other = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let mut viewer = open(&gateway, &other).await;
    viewer.until_text("ready\r\n").await;
    let mut own = gateway.open(&ann.api, &REPEATS).await;
    own.until_text("ready\r\n").await;
    let body = json!({"password": "seven trains to nowhere", "current": PASSWORD});
    assert_eq!(set_password(&ann.api, body).await.status, 204);
    assert_eq!(viewer.end().await.0.code, "auth.ended");
    own.write(b"still here\r");
    own.until_text("still here\r\n").await;
}

#[tokio::test]
async fn ending_a_sign_in_sends_away_who_came_with_it() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let ann = somebody(&gateway, "ann").await;
    let cookie = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let mut viewer = open(&gateway, &cookie).await;
    viewer.until_text("ready\r\n").await;
    let path = format!("/api/v1/users/{}/sign-ins/end", ann.id);
    assert_eq!(ann.api.post(&path, json!({})).await.ok()["ended"], 1);
    assert_eq!(viewer.end().await.0.code, "auth.ended");
}

/// Adds somebody who may open sessions for ten minutes after a second factor; its token has just shown one, its cookie is from before.
async fn with_factor(gateway: &TestGateway) -> (User, App, String) {
    let account = gateway.admin.post("/api/v1/users", json!({"name": "ann"})).await.ok();
    let id = account["id"].as_str().unwrap();
    let conditions = json!({"secondFactorWithinSeconds": 600});
    let grant = json!({"principal": "user:ann", "role": "operator", "conditions": conditions});
    gateway.admin.post("/api/v1/grants", grant).await.ok();
    let token =
        gateway.admin.post(&format!("/api/v1/users/{id}/tokens"), json!({"name": "x"})).await;
    let api = gateway.api(token.ok()["token"].as_str().unwrap());
    api.remember(PASSWORD);
    set_password(&api, json!({"password": PASSWORD})).await;
    let cookie = cookie_of(&sign_in(&gateway.admin, "ann", PASSWORD).await);
    let ann = User { id: id.to_owned(), grant: String::new(), api };
    let (app, _) = with_authenticator(&ann).await;
    (ann, app, cookie)
}

#[tokio::test]
async fn a_session_that_wants_a_second_factor_opens_once_it_was_shown() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let (ann, app, cookie) = with_factor(&gateway).await;
    // The token has shown it by adding it; the browser that signed in before has not.
    let wish = json!({"machine": gateway.machine, "pty": true, "command": REPEATS});
    let refused = post(&gateway.admin, &cookie, "/api/v1/tickets", wish).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.second_factor"));
    let shown =
        post(&gateway.admin, &cookie, "/api/v1/step-up", json!({"code": app.code(0)})).await;
    assert_eq!(shown.status, 204, "{}", shown.text);
    let mut viewer = open(&gateway, &cookie).await;
    viewer.until_text("ready\r\n").await;
    let mut own = gateway.open(&ann.api, &REPEATS).await;
    own.until_text("ready\r\n").await;
}

#[tokio::test]
async fn a_client_that_acts_for_a_user_shows_the_second_factor_as_the_user_does() {
    // DESK-6
    let gateway = TestGateway::start_with(CHEAP);
    let (ann, app, _) = with_factor(&gateway).await;
    // What the user shows elsewhere is not the client's, and what the client showed is over after ten minutes.
    let tokens = device_tokens(&gateway, &ann).await;
    let client = gateway.api(tokens["access_token"].as_str().unwrap());
    let wish = json!({"machine": gateway.machine});
    for step in [0, 1] {
        let refused = client.post("/api/v1/tickets", wish.clone()).await;
        assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.second_factor"));
        let wrong = client.post("/api/v1/step-up", json!({"code": "000000"})).await;
        assert_eq!((wrong.status.as_u16(), &*wrong.code()), (403, "auth.proof_refused"));
        let shown = client.post("/api/v1/step-up", json!({"code": app.code(step)})).await;
        assert_eq!(shown.status, 204, "{}", shown.text);
        let mut viewer = gateway.open(&client, &REPEATS).await;
        viewer.until_text("ready\r\n").await;
        gateway.sql("UPDATE oauth_families SET second_factor_at = second_factor_at - 660000");
        // Somebody changes what decisions rest on, so that they are looked at again.
        gateway.user(&format!("carl{step}"), "viewer", None).await;
    }
}
