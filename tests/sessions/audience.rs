//! Many in one session.

use adit_testkit::{TestGateway, within};
use serde_json::json;

use crate::sessions::access::REPEATS;
use crate::sessions::raw::{RawViewer, Told};
use adit_wire::terminal::v1::from_gateway::Message as Down;

/// Waits for a line, says four mebibytes, then waits for another.
const FLOOD: &str = "stty -echo; echo ready; read go; \
    i=0; while [ $i -lt 4096 ]; do printf '%01022d\\r\\n' $i; i=$((i+1)); done; echo flooded; read go; echo quiet";

#[tokio::test]
async fn a_viewer_that_does_not_read_holds_nobody_up() {
    // R34, RES-11
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let mut owner = gateway.open(&gateway.admin, &["sh", "-c", FLOOD]).await;
    owner.until_text("ready").await;
    let wish = json!({"session": owner.session(), "mode": "view"});
    let slow = gateway.ticket(&bob.api, wish).await;
    let mut slow = RawViewer::redeem(&gateway, &slow).await;
    let mut fast = gateway.join(&bob.api, &owner.session(), "view").await;
    owner.write(b"go\r");
    let (owned, watched) = (owner.until_text("flooded"), fast.until_text("flooded"));
    futures_util::future::join(owned, watched).await;
    let lines = owner.text().lines().filter(|line| line.starts_with("000")).count();
    assert_eq!(lines, 4096, "the one who types gets every byte");
    // Only now the slow one reads: it was dropped, or it is shown where the session stands.
    owner.write(b"go\r");
    owner.until_text("quiet").await;
    let resynced = async {
        loop {
            match slow.told().await {
                Told::Closed(_) | Told::Message(Down::Ended(_)) => break,
                Told::Message(Down::Snapshot(snapshot)) => {
                    let screen = String::from_utf8_lossy(&snapshot.screen).into_owned();
                    if screen.contains("quiet") || screen.contains("flooded") {
                        break;
                    }
                }
                _ => {}
            }
        }
    };
    within("end of the slow one's wait", resynced).await;
}

#[tokio::test]
async fn a_late_viewer_sees_the_screen_and_goes_on_without_a_gap() {
    // TERM-50, RES-11
    let gateway = TestGateway::start();
    let mut owner = gateway.open(&gateway.admin, &REPEATS).await;
    owner.write(b"early\r");
    owner.until_text("early\r\n").await;
    let mut late = gateway.join(&gateway.admin, &owner.session(), "view").await;
    late.until("snapshot", |viewer| !viewer.snapshots.is_empty()).await;
    assert!(String::from_utf8_lossy(&late.snapshots[0].screen).contains("early"));
    owner.write(b"later\r");
    owner.until_text("later\r\n").await;
    late.until_text("later\r\n").await;
}

#[tokio::test]
async fn ten_watchers_are_told_the_same() {
    // TERM-50
    let gateway = TestGateway::start();
    let mut owner = gateway.open(&gateway.admin, &REPEATS).await;
    let mut watchers = Vec::new();
    for _ in 0..10 {
        watchers.push(gateway.join(&gateway.admin, &owner.session(), "view").await);
    }
    owner.write(b"hear me\r");
    owner.until_text("hear me\r\n").await;
    for watcher in &mut watchers {
        watcher.until_text("hear me\r\n").await;
    }
}
