//! What an issuer says later: refresh, an account that is gone, back-channel logout.

use std::time::Instant;

use adit_testkit::{TestViewer, eventually};
use serde_json::json;

use super::browser::Browser;
use super::provider::{Session, World, ann};

/// A shell that says when it is there.
const SHELL: [&str; 3] = ["sh", "-c", "echo ready; exec cat"];

/// Gives ann a role, and opens a terminal by her browser's cookie.
async fn terminal(world: &World, session: &Session) -> TestViewer {
    let grant = json!({"principal": format!("user:{}", session.name().await), "role": "operator"});
    world.gateway.admin.post("/api/v1/grants", grant).await.ok();
    let wish = json!({"machine": world.gateway.machine, "pty": true, "command": SHELL});
    let ticket = session.post("/api/v1/tickets", wish).await.ok();
    let ticket = ticket["ticket"].as_str().unwrap();
    let terminal = world.gateway.redeem(ticket, None).await.unwrap();
    let mut viewer = TestViewer::admitted(terminal).await;
    viewer.until_text("ready").await;
    viewer
}

#[tokio::test]
async fn an_account_that_the_issuer_forgot_ends_its_sign_ins_and_its_terminals() {
    // BRW-25
    let world = World::start("refresh_every_seconds = 1").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let mut viewer = terminal(&world, &session).await;
    world.provider.control("forget", json!({"sub": "ann"})).await;
    let (ended, code) = viewer.end().await;
    assert_eq!((ended.code.as_str(), code), ("auth.ended", Some(1008)));
    assert_eq!(session.get("/api/v1/me").await.status, 401);
    let event = &world.gateway.events("identity.end").await[0];
    assert_eq!(event["details"]["signIns"], 1, "{event}");
    assert!(event["details"]["reason"].as_str().unwrap().contains("invalid_grant"), "{event}");
}

#[tokio::test]
async fn who_leaves_the_groups_that_may_sign_in_is_sent_away() {
    let world = World::start("refresh_every_seconds = 1\nallowed_groups = [\"eng\"]").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let mut claims = ann();
    claims["groups"] = json!(["sales"]);
    world.provider.account("ann", claims).await;
    let status = async || {
        let status = session.get("/api/v1/me").await.status;
        (status == 401).then_some(())
    };
    eventually("end of the sign-in", status).await;
    let event = &world.gateway.events("identity.end").await[0];
    assert!(event["details"]["reason"].as_str().unwrap().contains("groups"), "{event}");
}

#[tokio::test]
async fn an_issuer_is_asked_again_and_again_with_tokens_that_turn() {
    let world = World::start("refresh_every_seconds = 1").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let kept = || world.gateway.sql("SELECT hex(refresh) FROM external_identities");
    let mut before = kept();
    assert!(before.len() > 64);
    // A third token comes only if the second was kept.
    for _ in 0..2 {
        let turned = async || Some(kept()).filter(|now| *now != before);
        before = eventually("a new refresh token", turned).await;
    }
    assert_eq!(session.name().await, "ann.lee");
    assert_eq!(world.gateway.events("identity.end").await.len(), 0);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_sends_nobody_away() {
    let world = World::start("refresh_every_seconds = 1").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let asked = || world.gateway.sql("SELECT asked_at FROM external_identities");
    let mut before = asked();
    drop(world.provider);
    for _ in 0..3 {
        let again = async || Some(asked()).filter(|now| *now != before);
        before = eventually("another try", again).await;
    }
    assert_eq!(session.name().await, "ann.lee");
}

#[tokio::test]
async fn a_logout_at_the_issuer_ends_a_live_terminal_at_once() {
    // BRW-25, DESK-3
    let world = World::start("").await;
    let mut browser = Browser::new();
    let session = world.signed_in(&mut browser).await;
    let mut viewer = terminal(&world, &session).await;
    let other = world.signed_in(&mut Browser::new()).await;
    let page = browser.visit(&format!("{}/session/end", world.provider.url)).await;
    let value = |name: &str| {
        let found =
            page.text.split(&format!("{name}=\"")).nth(1).unwrap_or_else(|| panic!("{page:?}"));
        found.split('"').next().unwrap().to_owned()
    };
    let xsrf = page.text.split("name=\"xsrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let began = Instant::now();
    browser.send(&value("action"), &[("xsrf", xsrf), ("logout", "yes")]).await;
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "auth.ended");
    // A wide limit, because the issuer sends its word when it gets to it; what follows takes some milliseconds.
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(session.get("/api/v1/me").await.status, 401);
    assert_eq!(other.name().await, "ann.lee", "another session of the issuer goes on");
    let event = &world.gateway.events("identity.logout").await[0];
    assert_eq!(
        (&event["outcome"], &event["details"]["signIns"]),
        (&json!("ok"), &json!(1)),
        "{event}"
    );
}

#[tokio::test]
async fn a_logout_that_no_issuer_signed_ends_nothing() {
    let world = World::start("").await;
    let session = world.signed_in(&mut Browser::new()).await;
    let client = &world.gateway.admin.client;
    let url = world.url("/auth/company/work/logout");
    let forged = "eyJhbGciOiJub25lIiwidHlwIjoibG9nb3V0K2p3dCJ9.eyJzdWIiOiJhbm4ifQ.";
    for body in
        [vec![("logout_token", forged)], vec![("logout_token", "x")], vec![], vec![("x", "y")]]
    {
        let answer = client.post(&url).form(&body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body:?}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    let other = client.post(world.url("/auth/company/other/logout"));
    assert_eq!(other.form(&[("logout_token", forged)]).send().await.unwrap().status(), 404);
    assert_eq!(session.name().await, "ann.lee");
    // The connection ends with this one, because nobody reads the rest of it.
    let huge = "a".repeat(100_000);
    let answer = client.post(&url).form(&[("logout_token", huge)]).send().await.unwrap();
    assert_eq!(answer.status(), 413);
}
