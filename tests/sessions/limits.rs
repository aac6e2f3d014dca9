//! How many sessions, and how long.

use adit_link::viewer::Event;
use adit_testkit::{TestGateway, TestViewer, within};
use serde_json::json;

#[tokio::test]
async fn a_fourth_session_is_refused_with_the_list_of_the_three() {
    // TERM-6
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut live = Vec::new();
    for _ in 0..3 {
        live.push(gateway.open(&ann.api, &["cat"]).await);
    }
    let ticket = gateway.ticket(&ann.api, json!({"machine": gateway.machine})).await;
    let refused = gateway.refused(&ticket).await;
    assert_eq!(refused.code, "session.limit");
    for viewer in &live {
        assert!(refused.sentence.contains(&viewer.session()), "{}", refused.sentence);
    }
    let first = live.remove(0).session();
    ann.api.delete(&format!("/api/v1/sessions/{first}")).await;
    gateway.session_when(&first, |session| session["state"] == "ended").await;
    gateway.open(&ann.api, &["cat"]).await;
}

#[tokio::test]
async fn ten_that_open_at_once_come_to_three() {
    // TERM-6
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let tries = (0..10).map(|_| async {
        let ticket = gateway.ticket(&ann.api, json!({"machine": gateway.machine})).await;
        let mut terminal = gateway.redeem(&ticket, None).await.unwrap();
        let event = within("answer", terminal.next()).await.unwrap();
        (event, terminal)
    });
    let tries = futures_util::future::join_all(tries).await;
    let admitted = tries.iter().filter(|(event, _)| matches!(event, Event::Admitted(_))).count();
    assert_eq!(admitted, 3);
    for (event, _) in &tries {
        if let Event::Ended(ended) = event {
            assert_eq!(ended.code, "session.limit");
        }
    }
}

#[tokio::test]
async fn the_cap_is_a_setting() {
    // TERM-6
    let gateway = TestGateway::start_with("[session]\nper_user = 1\n");
    let _one = gateway.open(&gateway.admin, &["cat"]).await;
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    assert_eq!(gateway.refused(&ticket).await.code, "session.limit");
}

#[tokio::test]
async fn a_user_has_so_many_terminals_open_at_once() {
    // RES-12, DESK-4
    let gateway = TestGateway::start_with("[session]\nviewers_per_user = 2\n");
    let mut first = gateway.open(&gateway.admin, &["cat"]).await;
    let second = gateway.join(&gateway.admin, &first.session(), "view").await;
    let wish = json!({"session": first.session()});
    let ticket = gateway.ticket(&gateway.admin, wish.clone()).await;
    let ended = gateway.refused(&ticket).await;
    assert_eq!(ended.code, "too_many");
    assert!(ended.sentence.contains("2 terminals open"), "{}", ended.sentence);
    let opening = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    assert_eq!(gateway.refused(&opening).await.code, "too_many");
    let denied = gateway.events("access.denied").await;
    assert_eq!(denied.len(), 2, "{denied:?}");
    let other = gateway.user("ben", "operator", None).await;
    let theirs = gateway.open(&other.api, &["cat"]).await;
    theirs.detach().await;
    second.detach().await;
    let session = first.session();
    gateway.session_when(&session, |s| s["viewers"].as_array().unwrap().len() == 1).await;
    adit_testkit::eventually("a place that was given back", async || {
        let ticket = gateway.ticket(&gateway.admin, wish.clone()).await;
        let mut terminal = gateway.redeem(&ticket, None).await.ok()?;
        matches!(terminal.next().await, Ok(Event::Admitted(_))).then_some(())
    })
    .await;
    first.write(b"still here\n");
    first.until_text("still here").await;
}

#[tokio::test]
async fn a_session_ends_at_its_longest_length() {
    // TERM-5, TOK-20
    let gateway = TestGateway::start_with("[session]\nmax_length_seconds = 3\n");
    let mut viewer = gateway.open(&gateway.admin, &["cat"]).await;
    let (ended, code) = viewer.end().await;
    assert_eq!((ended.code.as_str(), code), ("session.expired", Some(1008)));
    assert_warned(&viewer, "session.ending_soon");
    let shown = gateway.session_when(&viewer.session(), |s| s["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.expired");
    let wish = json!({"session": viewer.session()});
    let refused = gateway.admin.post("/api/v1/tickets", wish).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (410, "session.expired"));
}

fn assert_warned(viewer: &TestViewer, code: &str) {
    assert!(viewer.notices.iter().any(|notice| notice == code), "{:?}", viewer.notices);
}

#[tokio::test]
async fn an_idle_session_ends() {
    // TERM-5
    let gateway = TestGateway::start_with("[session]\nidle_seconds = 2\n");
    let mut viewer = gateway.open(&gateway.admin, &["cat"]).await;
    assert_eq!(viewer.end().await.0.code, "session.idle");
    assert_warned(&viewer, "session.idle_soon");
}

#[tokio::test]
async fn a_session_that_nobody_may_type_into_lives_while_it_is_watched() {
    // TERM-5
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 1\n");
    let script = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done";
    let wish = json!({
        "machine": gateway.machine,
        "command": ["sh", "-c", script],
        "capabilities": ["terminal:spawn", "terminal:view"],
    });
    let ticket = gateway.ticket(&gateway.admin, wish).await;
    let mut watcher = TestViewer::admitted(gateway.redeem(&ticket, None).await.unwrap()).await;
    // Twice the grace, at the least.
    watcher.until_text("tick 20\n").await;
    let session = watcher.session();
    watcher.detach().await;
    gateway.session_when(&session, |s| s["viewers"].as_array().unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_session_that_nobody_comes_back_to_ends_after_the_grace() {
    // TERM-5, SES-15
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 2\n");
    let viewer = gateway.open(&gateway.admin, &["cat"]).await;
    let id = viewer.session();
    drop(viewer);
    let shown = gateway.session_when(&id, |session| session["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.abandoned");
}

#[tokio::test]
async fn a_session_that_was_left_on_purpose_outlives_the_grace() {
    // TERM-5
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 1\nmax_length_seconds = 8\n");
    let viewer = gateway.open(&gateway.admin, &["cat"]).await;
    let id = viewer.session();
    viewer.detach().await;
    let shown = gateway.session_when(&id, |session| session["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.expired");
}

#[tokio::test]
async fn a_session_that_was_left_on_purpose_outlives_a_watcher_that_is_sent_away() {
    // TERM-5, TOK-21
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 1\nmax_length_seconds = 8\n");
    let bob = gateway.user("bob", "viewer", None).await;
    let owner = gateway.open(&gateway.admin, &["cat"]).await;
    let id = owner.session();
    let mut watcher = gateway.join(&bob.api, &id, "view").await;
    owner.detach().await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", bob.grant)).await;
    assert_eq!(watcher.end().await.0.code, "access.revoked");
    let shown = gateway.session_when(&id, |session| session["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.expired");
}

#[tokio::test]
async fn a_session_that_was_left_on_purpose_outlives_a_watcher_that_leaves() {
    // TERM-5
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 1\nmax_length_seconds = 8\n");
    let bob = gateway.user("bob", "viewer", None).await;
    let owner = gateway.open(&gateway.admin, &["cat"]).await;
    let id = owner.session();
    let watcher = gateway.join(&bob.api, &id, "view").await;
    owner.detach().await;
    drop(watcher);
    let shown = gateway.session_when(&id, |session| session["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.expired");
}

#[tokio::test]
async fn a_session_whose_user_lost_the_sign_in_and_does_not_come_back_ends_after_the_grace() {
    // DESK-3, SES-15
    let gateway = TestGateway::start_with("[session]\ngrace_seconds = 2\n");
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &["cat"]).await;
    let tokens = gateway.admin.get(&format!("/api/v1/users/{}/tokens", ann.id)).await.ok();
    let token = tokens["items"][0]["id"].as_str().unwrap();
    gateway.admin.delete(&format!("/api/v1/tokens/{token}")).await;
    assert_eq!(viewer.end().await.0.code, "auth.ended");
    let ended = |session: &serde_json::Value| session["state"] == "ended";
    let shown = gateway.session_when(&viewer.session(), ended).await;
    assert_eq!(shown["reason"]["code"], "session.abandoned");
}
