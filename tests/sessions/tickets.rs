//! A ticket opens one session, once, in its time.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_link::viewer::Event;
use adit_testkit::{TestGateway, TestViewer, within};
use serde_json::json;

#[tokio::test]
async fn fifty_who_race_with_one_ticket_open_one_session() {
    // BRW-05, TKT
    let gateway = TestGateway::start();
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    let tries = (0..50).map(|_| async {
        let mut terminal = gateway.redeem(&ticket, None).await.unwrap();
        let event = within("answer", terminal.next()).await.unwrap();
        (matches!(event, Event::Admitted(_)), terminal)
    });
    let tries = futures_util::future::join_all(tries).await;
    assert_eq!(tries.iter().filter(|(admitted, _)| *admitted).count(), 1);
    let live = gateway.admin.get("/api/v1/sessions?state=live").await.ok();
    assert_eq!(live["items"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.events("ticket.refused").await.len(), 49);
    assert_eq!(gateway.events("ticket.redeem").await.len(), 1);
}

#[tokio::test]
async fn a_ticket_that_ran_out_opens_nothing() {
    let gateway = TestGateway::start();
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    gateway.sql("UPDATE tickets SET expires_at = issued_at + 1");
    assert_eq!(gateway.refused(&ticket).await.code, "ticket.invalid");
    assert_eq!(gateway.admin.get("/api/v1/sessions").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_ticket_of_somebody_whose_role_was_taken_away_opens_nothing() {
    // TOK-21
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let ticket = gateway.ticket(&ann.api, json!({"machine": gateway.machine})).await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", ann.grant)).await;
    let refused = gateway.refused(&ticket).await;
    assert!(refused.code.starts_with("access.") || refused.code == "ticket.invalid", "{refused:?}");
}

#[tokio::test]
async fn a_ticket_is_used_up_by_a_try_that_failed() {
    let gateway = TestGateway::start();
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    let viewer = TestViewer::admitted(gateway.redeem(&ticket, None).await.unwrap()).await;
    drop(viewer);
    assert_eq!(gateway.refused(&ticket).await.code, "ticket.invalid");
}

#[tokio::test]
async fn a_spawn_gives_a_token_that_opens_the_session() {
    // SES-40
    let gateway = TestGateway::start();
    let body = json!({"machineId": gateway.machine, "capabilities": ["spawn", "input", "view"]});
    let spawned = gateway.admin.post("/api/terminal/spawn", body).await.ok();
    assert_eq!(spawned["capabilities"], json!(["spawn", "input", "view"]));
    assert_eq!(spawned["wsUrl"], gateway.websocket("/ws/terminal"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let life = spawned["expiresAt"].as_u64().unwrap() - now;
    assert!((200..=301).contains(&life), "{life} s");
    let token = spawned["token"].as_str().unwrap();
    let viewer = TestViewer::admitted(gateway.redeem(token, None).await.unwrap()).await;
    assert_eq!(spawned["sessionId"], viewer.session());
}

#[tokio::test]
async fn a_spawn_without_access_is_refused_with_its_reason() {
    // SES-40
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let body = json!({"machineId": gateway.machine});
    let refused = bob.api.post("/api/terminal/spawn", body).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.code(), "access.capability_missing");
    let nowhere = gateway.admin.post("/api/terminal/spawn", json!({"machineId": "nowhere"})).await;
    assert_eq!((nowhere.status.as_u16(), &*nowhere.code()), (404, "target.unknown"));
}

#[tokio::test]
async fn administrators_see_every_live_session_and_others_their_own() {
    // SES-41
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "viewer", None).await;
    let bob = gateway.user("bob", "operator", Some(&[gateway.machine.as_str()])).await;
    let viewer = gateway.open(&bob.api, &["cat"]).await;
    for (api, expected) in [(&gateway.admin, 1), (&bob.api, 1), (&ann.api, 0)] {
        let shown = api.get("/api/terminal/sessions").await.ok();
        let sessions = shown["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), expected, "{shown}");
        if expected == 1 {
            assert_eq!(sessions[0]["sessionId"], viewer.session());
            assert_eq!(sessions[0]["userId"], bob.id);
            assert!(sessions[0]["since"].as_u64() < sessions[0]["expiresAt"].as_u64(), "{shown}");
        }
    }
}
