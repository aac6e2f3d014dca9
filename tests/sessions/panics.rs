//! A part of a session that panics takes nothing with it but what cannot be without it.

use adit_testkit::{TestGateway, TestViewer, eventually};

const WORD: &[u8] = b"fail-here\n";

/// Two sessions, of which the second meets the panic.
async fn meet(part: &str) -> (TestGateway, TestViewer, TestViewer) {
    let gateway = TestGateway::start_failing(part);
    let other = gateway.open(&gateway.admin, &["cat"]).await;
    let mut victim = gateway.open(&gateway.admin, &["cat"]).await;
    victim.write(b"before\n");
    victim.until_text("before\r\nbefore\r\n").await;
    victim.write(WORD);
    (gateway, other, victim)
}

/// The rest of the gateway is as it was, and the panic was counted.
async fn assert_unharmed(gateway: &TestGateway, other: &mut TestViewer) {
    other.write(b"still here\n");
    other.until_text("still here\r\nstill here\r\n").await;
    let mut third = gateway.open(&gateway.admin, &["echo", "a new session"]).await;
    third.until_text("a new session").await;
    let metrics = gateway.admin.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "adit_task_panics_total 1"), "{metrics}");
    third.end().await;
}

#[tokio::test]
async fn a_viewer_that_panics_comes_back_to_its_shell() {
    // R36
    let (gateway, mut other, mut victim) = meet("viewer").await;
    victim.until_lost().await;
    let session = victim.session();
    let alone = |s: &serde_json::Value| s["viewers"].as_array().is_some_and(Vec::is_empty);
    gateway.session_when(&session, alone).await;
    assert_unharmed(&gateway, &mut other).await;
    let mut again = gateway.join(&gateway.admin, &session, "control").await;
    again.write(b"after\n");
    again.until_text("after\r\nafter\r\n").await;
}

#[tokio::test]
async fn a_relay_that_panics_ends_its_own_session_alone() {
    // R36
    let (gateway, mut other, mut victim) = meet("relay").await;
    let (ended, code) = victim.end().await;
    assert_eq!((ended.code.as_str(), code), ("session.failed", Some(1011)));
    let shown = gateway.session_when(&victim.session(), |s| s["state"] == "ended").await;
    assert_eq!(shown["reason"]["code"], "session.failed");
    assert_unharmed(&gateway, &mut other).await;
}

#[tokio::test]
async fn a_recorder_that_panics_at_one_session_leaves_a_gap_in_that_recording_alone() {
    // R36
    let (gateway, mut other, mut victim) = meet("recorder").await;
    victim.until_text("fail-here\r\nfail-here\r\n").await;
    let counted = eventually("the recorder's panic", async || {
        let metrics = gateway.admin.get("/metrics").await.text;
        metrics.lines().find(|line| line.starts_with("adit_task_panics_total")).map(str::to_owned)
    });
    assert_eq!(counted.await, "adit_task_panics_total 1");
    victim.write(b"after\n");
    victim.until_text("after\r\nafter\r\n").await;
    assert_unharmed(&gateway, &mut other).await;
    for (viewer, whole) in [(victim, "incomplete"), (other, "complete")] {
        let session = viewer.session();
        let path = format!("/api/v1/sessions/{session}");
        gateway.admin.delete(&path).await;
        let ended = |s: &serde_json::Value| s["state"] == "ended" && s["recording"] != "recording";
        let shown = gateway.session_when(&session, ended).await;
        assert_eq!(shown["recording"], whole, "{shown}");
    }
}
