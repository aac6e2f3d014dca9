//! What is left when a process dies: everything that was promised.

use adit_link::viewer::ViewerError;
use adit_testkit::{TestGateway, TestViewer, eventually, is_there, within};
use serde_json::{Value, json};

use crate::sessions::access::{REPEATS, pid_of};

/// Says numbered lines whose contents follow from their numbers, and repeats each line that it reads.
const STREAM: &str = "stty -echo; echo ready; \
    (i=0; while [ $i -lt 400 ]; do echo \"made $i $((i * 7919 % 10007))\"; i=$((i+1)); sleep 0.01; done; echo all made) & \
    n=0; while [ $n -lt 60 ]; do read line; echo \"read $line\"; n=$((n+1)); done; wait; echo finished";

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.split("\r\n").filter_map(|line| line.strip_prefix(start)).collect()
}

fn made() -> Vec<String> {
    (0..400).map(|i| format!("{i} {}", i * 7919 % 10007)).collect()
}

fn typed() -> Vec<String> {
    (0..60).map(|i| format!("typed {i}")).collect()
}

async fn verified(gateway: &TestGateway, id: &str) -> Value {
    gateway.admin.get(&format!("/api/v1/recordings/{id}/verify")).await.ok()
}

/// Gives everything that a recording shows.
async fn played(gateway: &TestGateway, id: &str) -> String {
    let cast = gateway.admin.get(&format!("/api/v1/recordings/{id}/cast")).await;
    assert_eq!(cast.status, 200, "{}", cast.text);
    let events = cast.text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let output = events.filter(|event| event[1] == "o");
    output.map(|event| event[2].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_stream_is_byte_exact_and_each_line_is_typed_once_when_the_gateway_dies() {
    // R01, BEY-14, TERM-5
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", STREAM]).await;
    viewer.until_text("ready").await;
    for (number, line) in typed().iter().enumerate() {
        viewer.write(format!("{line}\r").as_bytes());
        if number == 20 || number == 40 {
            viewer.until_text(&format!("made {} ", number * 3)).await;
            gateway.kill_gateway();
            let lost = viewer.until_lost().await;
            assert!(lost.may_resume(), "{lost}");
        }
        if number == 30 || number == 50 {
            gateway.bring_back(&gateway.admin, &mut viewer).await;
        }
    }
    viewer.until_text("finished").await;
    let text = viewer.text();
    assert_eq!(lines_with(&text, "made "), made());
    assert_eq!(lines_with(&text, "read "), typed());
    let (ended, _) = viewer.end().await;
    assert_eq!((ended.code.as_str(), ended.exit_status), ("session.exited", Some(0)));
    let shown = gateway.session_when(&viewer.session(), |s| s["recording"] == "complete").await;
    assert_eq!(shown["state"], "ended");
    assert_eq!(played(&gateway, &viewer.session()).await, text, "the recording is byte-exact too");
    let verdict = verified(&gateway, &viewer.session()).await;
    assert_eq!(verdict["ok"], true, "{verdict}");
}

#[tokio::test]
async fn a_shell_outlives_the_gateway_while_nobody_watches() {
    // R01, BEY-14
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &REPEATS).await;
    viewer.write(b"before\r");
    viewer.until_text("before\r\n").await;
    let id = viewer.session();
    viewer.detach().await;
    gateway.kill_gateway();
    gateway.answers().await;
    gateway.machine_online().await;
    let mut again = gateway.join(&gateway.admin, &id, "control").await;
    again.until("snapshot", |viewer| !viewer.snapshots.is_empty()).await;
    assert!(String::from_utf8_lossy(&again.snapshots[0].screen).contains("before"));
    again.write(b"after\r");
    again.until_text("after\r\n").await;
}

#[tokio::test]
async fn a_session_ends_with_its_agent_and_leaves_no_process() {
    // R02
    let gateway = TestGateway::start();
    let script = "(setsid sleep 600 & echo child $!,); echo pid $$.; exec sleep 600";
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", script]).await;
    let pid = pid_of(&mut viewer).await;
    let text = viewer.text();
    let child = text.split_once("child ").unwrap().1.split(',').next().unwrap().parse().unwrap();
    assert!(is_there(pid) && is_there(child));
    gateway.kill_agent();
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "session.lost_agent");
    for pid in [pid, child] {
        eventually("end of an orphan", async || (!is_there(pid)).then_some(())).await;
    }
    let id = viewer.session();
    let shown = gateway.session_when(&id, |session| session["recording"] == "incomplete").await;
    assert_eq!(shown["reason"]["code"], "session.lost_agent");
    assert!(played(&gateway, &id).await.contains("child "), "it plays as far as it goes");
    let verdict = verified(&gateway, &id).await;
    assert_ne!(verdict["outcome"], "broken", "{verdict}");
    gateway.machine_online().await;
    gateway.open(&gateway.admin, &REPEATS).await;
}

#[tokio::test]
async fn what_was_durable_is_there_when_gateway_and_agent_die_together() {
    // R03
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &REPEATS).await;
    viewer.write(b"remember me\r");
    viewer.until_text("remember me\r\n").await;
    let id = viewer.session();
    gateway.kill_agent();
    gateway.kill_gateway();
    viewer.until_lost_or_ended().await;
    gateway.answers().await;
    let shown = gateway.session_when(&id, |session| session["state"] == "ended").await;
    assert!(shown["reason"]["code"].as_str().unwrap().starts_with("session.lost_"), "{shown}");
    assert_eq!(gateway.events("terminal_session_start").await.len(), 1);
    assert_eq!(gateway.events("terminal_session_end").await.len(), 1);
    let log = gateway.admin.get("/api/v1/audit/verify").await.ok();
    assert_eq!(log["ok"], true, "{log}");
    let recording = gateway.session_when(&id, |session| session["recording"] != "recording").await;
    assert_eq!(recording["recording"], "incomplete");
    let verdict = verified(&gateway, &id).await;
    assert_ne!(verdict["outcome"], "broken", "{verdict}");
}

#[tokio::test]
async fn the_same_user_comes_back_to_what_its_client_left() {
    // R04, TERM-5
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &REPEATS).await;
    viewer.until_text("ready").await;
    viewer.write(b"one\r");
    viewer.until_text("one\r\n").await;
    let (id, resume) = (viewer.session(), viewer.resume());
    drop(viewer);
    gateway.session_when(&id, |session| session["state"] == "detached").await;
    let ticket = gateway.ticket(&ann.api, json!({"session": id})).await;
    let terminal = gateway.redeem(&ticket, Some(resume)).await.unwrap();
    let mut again = TestViewer::admitted(terminal).await;
    again.write(b"two\r");
    again.until_text("two\r\n").await;
    assert!(!again.text().contains("one"), "nothing comes twice: {}", again.text());
}

#[tokio::test]
async fn nobody_else_goes_on_as_the_one_who_left() {
    // R04
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let bob = gateway.user("bob", "operator", None).await;
    let carl = gateway.user("carl", "viewer", None).await;
    let viewer = gateway.open(&ann.api, &REPEATS).await;
    let (id, resume) = (viewer.session(), viewer.resume());
    drop(viewer);
    let refused = carl.api.post("/api/v1/tickets", json!({"session": id})).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let ticket = gateway.ticket(&bob.api, json!({"session": id})).await;
    let mut terminal = gateway.redeem(&ticket, Some(resume)).await.unwrap();
    let answer = within("answer", terminal.next()).await;
    assert!(matches!(answer, Err(ViewerError::Protocol(_))), "another writer: {answer:?}");
}

#[tokio::test]
async fn a_second_start_finds_everything_again() {
    // R03
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &["sh", "-c", "echo kept"]).await;
    viewer.end().await;
    let id = viewer.session();
    gateway.session_when(&id, |session| session["recording"] == "complete").await;
    let label = gateway.machine.clone();
    let token = ann.api.token.clone();
    let gateway = gateway.restart();
    assert_eq!(gateway.machine, label);
    assert_eq!(gateway.api(&token).get("/api/v1/me").await.ok()["name"], "ann");
    assert!(played(&gateway, &id).await.contains("kept"));
    let verdict = verified(&gateway, &id).await;
    assert_eq!(verdict["ok"], true, "{verdict}");
    assert_eq!(gateway.events("terminal_session_end").await.len(), 1);
    let log = gateway.admin.get("/api/v1/audit/verify").await.ok();
    assert_eq!(log["ok"], true, "{log}");
    let machines = gateway.admin.get("/api/v1/machines").await.ok();
    assert_eq!(machines["items"].as_array().unwrap().len(), 1, "{machines}");
}
