//! What may be done in a session is asked for again while it lives.

use adit_testkit::{TestGateway, TestViewer, eventually, is_there};
use adit_wire::terminal::v1 as pb;
use pb::from_gateway::Message as Down;
use serde_json::{Value, json};

use crate::sessions::raw::RawViewer;

/// A command that says its own process id, and waits.
const WAITS: [&str; 3] = ["sh", "-c", "echo pid $$.; exec sleep 600"];

/// A command that says each line that it reads, once.
pub const REPEATS: [&str; 3] = ["sh", "-c", "stty -echo; echo ready; cat"];

pub async fn pid_of(viewer: &mut TestViewer) -> u32 {
    viewer.until("pid", |v| v.text().contains('.')).await;
    let text = viewer.text();
    text.split_once("pid ").unwrap().1.split('.').next().unwrap().parse().unwrap()
}

async fn gone(pid: u32) {
    eventually("end of the process", async || (!is_there(pid)).then_some(())).await;
}

#[tokio::test]
async fn a_viewer_watches_and_cannot_type() {
    // SES-12, TOK-18
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let mut owner = gateway.open(&gateway.admin, &REPEATS).await;
    let ticket = json!({"session": owner.session(), "mode": "view"});
    let ticket = gateway.ticket(&bob.api, ticket).await;
    let mut watcher = RawViewer::redeem(&gateway, &ticket).await;
    watcher.type_frame(b"from the watcher\r").await;
    let notice = |message: &Down| match message {
        Down::Notice(notice) => Some(notice.code.clone()),
        _ => None,
    };
    assert_eq!(watcher.until(notice).await, "frame.forbidden");
    owner.write(b"from the owner\r");
    owner.until_text("from the owner\r\n").await;
    watcher.until_text("from the owner\r\n").await;
    assert!(!owner.text().contains("watcher"), "{}", owner.text());
}

#[tokio::test]
async fn who_may_only_watch_gets_no_ticket_to_type() {
    // SES-12
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let owner = gateway.open(&gateway.admin, &REPEATS).await;
    let wish = json!({"session": owner.session(), "mode": "control"});
    let refused = bob.api.post("/api/v1/tickets", wish).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.capability_missing"));
}

#[tokio::test]
async fn a_session_without_the_right_to_resize_keeps_its_size() {
    // SES-12
    let gateway = TestGateway::start();
    let wish = json!({"machine": gateway.machine, "capabilities": ["spawn", "input", "view"]});
    let ticket = gateway.ticket(&gateway.admin, wish).await;
    let mut viewer = TestViewer::admitted(gateway.redeem(&ticket, None).await.unwrap()).await;
    viewer.resize(100, 30);
    viewer.write(b"stty size; echo do\"\"ne\r");
    viewer.until_text("\ndone").await;
    assert!(!viewer.text().contains("30 100"), "{}", viewer.text());
    assert!(viewer.sizes.iter().all(|size| *size != (100, 30)), "{:?}", viewer.sizes);
}

fn milliseconds(event: &Value) -> i64 {
    let at = event["at"].as_str().unwrap();
    let (_, time) = at.split_once('T').unwrap();
    let digits = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    ((digits(0..2) * 60 + digits(3..5)) * 60 + digits(6..8)) * 1000 + digits(9..12)
}

#[tokio::test]
async fn a_role_that_is_taken_away_ends_the_session_at_both_ends() {
    // TOK-21, DESK-3
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &WAITS).await;
    let pid = pid_of(&mut viewer).await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", ann.grant)).await;
    let (ended, code) = viewer.end().await;
    assert_eq!((ended.code.as_str(), code), ("access.revoked", Some(1008)));
    gone(pid).await;
    let shown = gateway.session_when(&viewer.session(), |s| s["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "access.revoked");
    let taken = milliseconds(&gateway.events("grant.remove").await[0]);
    let end = milliseconds(&gateway.events("terminal_session_end").await[0]);
    assert!((end - taken).rem_euclid(86_400_000) < 5000, "{taken} to {end}");
}

#[tokio::test]
async fn a_token_that_is_revoked_sends_its_viewer_away_and_the_shell_waits_for_its_user() {
    // DESK-3, TOK-18
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let tokens = gateway.admin.get(&format!("/api/v1/users/{}/tokens", ann.id)).await.ok();
    let id = tokens["items"][0]["id"].as_str().unwrap().to_owned();
    let other = gateway
        .admin
        .post(&format!("/api/v1/users/{}/tokens", ann.id), json!({"name": "other"}))
        .await
        .ok();
    let other = gateway.api(other["token"].as_str().unwrap());
    assert_eq!(gateway.admin.delete(&format!("/api/v1/tokens/{id}")).await.status, 204);
    let (ended, code) = viewer.end().await;
    assert_eq!((ended.code.as_str(), code), ("auth.ended", Some(1008)));
    let mut again = gateway.join(&other, &viewer.session(), "control").await;
    again.write(b"still here\r");
    again.until_text("still here\r\n").await;
}

#[tokio::test]
async fn a_ticket_opens_nothing_once_the_token_that_asked_for_it_was_revoked() {
    // TOK-18
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let ticket = gateway.ticket(&ann.api, json!({"machine": gateway.machine})).await;
    let tokens = gateway.admin.get(&format!("/api/v1/users/{}/tokens", ann.id)).await.ok();
    let id = tokens["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.admin.delete(&format!("/api/v1/tokens/{id}")).await.status, 204);
    assert_eq!(gateway.refused(&ticket).await.code, "auth.ended");
    let denied = gateway.events("access.denied").await;
    assert_eq!((denied.len(), &denied[0]["details"]["code"]), (1, &json!("auth.ended")));
}

#[tokio::test]
async fn a_removed_user_is_out_of_its_sessions() {
    // TOK-21, BRW-25
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &WAITS).await;
    let pid = pid_of(&mut viewer).await;
    let removed = gateway.admin.delete(&format!("/api/v1/users/{}", ann.id)).await;
    assert_eq!(removed.status, 204);
    let (ended, _) = viewer.end().await;
    assert!(ended.code.starts_with("access."), "{ended:?}");
    gone(pid).await;
}

#[tokio::test]
async fn a_removed_machine_takes_its_sessions_with_it() {
    // TOK-21
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &WAITS).await;
    let pid = pid_of(&mut viewer).await;
    let path = format!("/api/v1/machines/{}", gateway.machine);
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    let (ended, _) = viewer.end().await;
    assert!(ended.code.starts_with("access.") || ended.code == "target.inactive", "{ended:?}");
    gone(pid).await;
}

#[tokio::test]
async fn an_operator_ends_somebody_elses_session() {
    // SES-15
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &WAITS).await;
    let pid = pid_of(&mut viewer).await;
    let path = format!("/api/v1/sessions/{}", viewer.session());
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    let (ended, code) = viewer.end().await;
    assert_eq!((ended.code.as_str(), code), ("session.killed", Some(1008)));
    gone(pid).await;
    assert_eq!(gateway.admin.delete(&path).await.status, 204, "it is over already");
}

#[tokio::test]
async fn a_watcher_whose_role_is_taken_away_is_out_and_the_session_goes_on() {
    // TOK-21, DESK-3
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let mut owner = gateway.open(&gateway.admin, &REPEATS).await;
    let mut watcher = gateway.join(&bob.api, &owner.session(), "view").await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", bob.grant)).await;
    let (ended, _) = watcher.end().await;
    assert_eq!(ended.code, "access.revoked");
    owner.write(b"still here\r");
    owner.until_text("still here\r\n").await;
}

#[tokio::test]
async fn everybody_who_is_here_is_named() {
    // TERM-50
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let mut owner = gateway.open(&gateway.admin, &REPEATS).await;
    let mut watcher = gateway.join(&bob.api, &owner.session(), "view").await;
    let both = |viewer: &TestViewer| viewer.participants.len() == 2;
    owner.until("two participants", both).await;
    watcher.until("two participants", both).await;
    let me = watcher.participants.iter().find(|one| one.you).unwrap();
    assert!(me.name.contains("bob") && !me.can_type, "{me:?}");
    watcher.detach().await;
    owner.until("one participant", |viewer| viewer.participants.len() == 1).await;
}
