//! What a session leaves: a recording and events, and that nobody edited them.

use std::path::{Path, PathBuf};

use adit_testkit::TestGateway;
use serde_json::{Value, json};

async fn recorded(gateway: &TestGateway) -> String {
    let script = "i=0; while [ $i -lt 2000 ]; do echo \"line $i\"; i=$((i+1)); done";
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", script]).await;
    viewer.end().await;
    let id = viewer.session();
    gateway.session_when(&id, |session| session["recording"] == "complete").await;
    id
}

fn file_of(folder: &Path, id: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = file_of(&path, id) {
                return Some(found);
            }
        } else if path.to_string_lossy().contains(id) {
            return Some(path);
        }
    }
    None
}

async fn verify_recording(gateway: &TestGateway, id: &str) -> Value {
    gateway.admin.get(&format!("/api/v1/recordings/{id}/verify")).await.ok()
}

#[tokio::test]
async fn a_byte_that_was_changed_in_a_recording_is_found() {
    // AUD-12
    let gateway = TestGateway::start();
    let id = recorded(&gateway).await;
    assert_eq!(verify_recording(&gateway, &id).await["outcome"], "proven");
    let path = file_of(&gateway.data().join("recordings"), &id).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for place in [whole.len() / 3, whole.len() / 2, whole.len() - 10] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let verdict = verify_recording(&gateway, &id).await;
        assert_eq!(verdict["outcome"], "broken", "{verdict}");
        assert!(verdict["firstBadByte"].as_u64().unwrap() <= place as u64, "{verdict}");
        assert!(verdict["sentence"].as_str().unwrap().contains("chunk"), "{verdict}");
    }
}

#[tokio::test]
async fn a_recording_whose_tail_was_cut_is_found() {
    // AUD-12
    let gateway = TestGateway::start();
    let id = recorded(&gateway).await;
    let path = file_of(&gateway.data().join("recordings"), &id).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(verify_recording(&gateway, &id).await["outcome"], "broken");
}

#[tokio::test]
async fn a_recording_of_another_session_is_found() {
    // AUD-12
    let gateway = TestGateway::start();
    let (one, two) = (recorded(&gateway).await, recorded(&gateway).await);
    let folder = gateway.data().join("recordings");
    let (from, to) = (file_of(&folder, &one).unwrap(), file_of(&folder, &two).unwrap());
    std::fs::copy(from, to).unwrap();
    assert_eq!(verify_recording(&gateway, &two).await["outcome"], "broken");
}

#[tokio::test]
async fn a_deleted_recording_leaves_its_fingerprint() {
    // AUD-18
    let gateway = TestGateway::start();
    let id = recorded(&gateway).await;
    let path = format!("/api/v1/recordings/{id}");
    assert_eq!(gateway.admin.delete(&path).await.status, 204);
    assert_eq!(gateway.admin.get(&format!("{path}/cast")).await.status, 410);
    assert_eq!(verify_recording(&gateway, &id).await["outcome"], "deleted");
    assert_eq!(gateway.events("recording.delete").await.len(), 1);
}

#[tokio::test]
async fn a_download_is_a_file_to_keep_and_is_written_down() {
    // AUD-10, AUD-19
    let gateway = TestGateway::start();
    let id = recorded(&gateway).await;
    for format in ["cast", "raw"] {
        let answer = gateway
            .admin
            .client
            .get(format!("{}/api/v1/recordings/{id}/{format}", gateway.admin.url));
        let answer = answer.bearer_auth(&gateway.admin.token).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-disposition").starts_with("attachment"), "{format}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").contains("sandbox"));
    }
    let seen =
        gateway.admin.get(&format!("/api/v1/audit?target={id}&q=opened+the+recording")).await.ok();
    assert_eq!(seen["items"].as_array().unwrap().len(), 2, "{seen}");
}

async fn verify_log(gateway: &TestGateway) -> Value {
    gateway.admin.get("/api/v1/audit/verify").await.ok()
}

/// Makes some events, and gives the number of one in their midst.
async fn some_events(gateway: &TestGateway) -> u64 {
    for name in ["ann", "bob", "carl", "dora"] {
        gateway.admin.post("/api/v1/users", json!({"name": name})).await.ok();
    }
    assert_eq!(verify_log(gateway).await["ok"], true);
    let found = gateway.admin.get("/api/v1/audit?q=bob").await.ok();
    found["items"][0]["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn an_event_that_was_edited_is_named() {
    // AUD-01
    let gateway = TestGateway::start();
    let seq = some_events(&gateway).await;
    gateway.sql(&format!(
        "UPDATE audit_events SET body = replace(body, 'bob', 'eve') WHERE seq = {seq}"
    ));
    let verdict = verify_log(&gateway).await;
    assert_eq!(
        (&verdict["ok"], &verdict["firstBad"]["seq"]),
        (&json!(false), &json!(seq)),
        "{verdict}"
    );
    assert_eq!(
        gateway.admin.get("/api/v1/audit?limit=200").await.status,
        200,
        "the list still shows"
    );
}

#[tokio::test]
async fn an_event_whose_searchable_columns_were_edited_is_named() {
    // AUD-01
    let gateway = TestGateway::start();
    let seq = some_events(&gateway).await;
    gateway.sql(&format!("UPDATE audit_events SET actor_name = 'nobody' WHERE seq = {seq}"));
    let verdict = verify_log(&gateway).await;
    assert_eq!(
        (&verdict["ok"], &verdict["firstBad"]["seq"]),
        (&json!(false), &json!(seq)),
        "{verdict}"
    );
}

#[tokio::test]
async fn an_event_that_was_deleted_or_swapped_is_named() {
    // AUD-01
    for change in [
        "DELETE FROM audit_events WHERE seq = SEQ",
        "UPDATE audit_events SET at = at + 1000, body = replace(body, 'bob', 'b0b') WHERE seq = SEQ",
        "UPDATE audit_events SET seq = CASE seq WHEN SEQ THEN -1 ELSE seq END",
    ] {
        let gateway = TestGateway::start();
        let seq = some_events(&gateway).await;
        gateway.sql(&change.replace("SEQ", &seq.to_string()));
        let verdict = verify_log(&gateway).await;
        assert_eq!(verdict["ok"], false, "{change}: {verdict}");
        let named = verdict["firstBad"]["seq"].as_i64().unwrap();
        let seq = i64::try_from(seq).unwrap();
        assert!(named == seq || named == seq + 1 || named == -1, "{change}: {verdict}");
    }
}

#[tokio::test]
async fn newest_events_that_were_deleted_are_missed() {
    // AUD-02
    let gateway = TestGateway::start();
    some_events(&gateway).await;
    // An export ends with a checkpoint, and that is what the cut contradicts.
    assert_eq!(gateway.admin.get("/api/v1/audit/export").await.status, 200);
    gateway.sql("DELETE FROM audit_events WHERE seq > (SELECT max(seq) - 4 FROM audit_events)");
    let verdict = verify_log(&gateway).await;
    assert_eq!(verdict["ok"], false, "{verdict}");
}

#[tokio::test]
async fn a_session_is_in_the_log_with_who_where_and_why_and_without_its_keys() {
    // SES-43, TERM-52
    let gateway = TestGateway::start();
    let account = json!({"name": "ann", "email": "ann@example.com"});
    let ann = gateway.user_of(account, "operator", None).await;
    let mut viewer = gateway.open(&ann.api, &[]).await;
    viewer.until("prompt", |viewer| viewer.text().ends_with(['$', '#', ' '])).await;
    viewer.write(b": hunter2-as-typed; exit 4\r");
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.exit_status, Some(4));
    gateway.session_when(&viewer.session(), |session| session["state"] == "ended").await;
    let machine = gateway.admin.get("/api/v1/machines").await.ok()["items"][0]["id"].clone();
    for name in ["terminal_session_start", "terminal_session_end"] {
        let events = gateway.events(name).await;
        assert_eq!(events.len(), 1, "{name}");
        assert_eq!(events[0]["details"]["userId"], ann.id, "{name}");
        assert_eq!(events[0]["details"]["machineId"], machine, "{name}");
        assert_eq!(events[0]["target"]["id"], viewer.session(), "{name}");
        assert!(events[0]["at"].as_str().unwrap().ends_with('Z'), "{name}");
    }
    let end = &gateway.events("terminal_session_end").await[0];
    assert_eq!(end["details"]["reason"], "session.exited");
    assert_eq!(end["details"]["exitStatus"], 4);
    assert_eq!(end["details"]["email"], "ann@example.com");
    assert_eq!(end["details"]["client"], "127.0.0.1");
    let log = gateway.admin.get("/api/v1/audit/export").await.text;
    assert!(log.contains("terminal_session_end") && !log.contains("hunter2"));
}

#[tokio::test]
async fn no_secret_that_was_handed_out_is_in_the_log() {
    // AUD-06
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    gateway.open(&ann.api, &["true"]).await.end().await;
    gateway.admin.post("/api/v1/enrolment-tokens", json!({})).await.ok();
    gateway.admin.post(&format!("/api/v1/users/{}/sign-in-links", ann.id), json!({})).await.ok();
    let wrong = gateway.ticket(&ann.api, json!({"machine": gateway.machine})).await;
    assert_eq!(gateway.api(&wrong).get("/api/v1/me").await.status, 401);
    let log = gateway.admin.get("/api/v1/audit/export").await.text;
    let metrics = gateway.admin.get("/metrics").await.text;
    assert!(log.contains("token.issue") && metrics.contains("adit_"));
    assert_eq!(gateway.secrets_in(&log), Vec::<String>::new());
    assert_eq!(gateway.secrets_in(&metrics), Vec::<String>::new());
    assert_eq!(gateway.secrets_in(&wrong).len(), 1, "the canary sings");
}

#[tokio::test]
async fn an_auditor_reads_the_log_and_others_do_not() {
    // AUD-10
    let gateway = TestGateway::start();
    let eve = gateway.user("eve", "auditor", None).await;
    let oli = gateway.user("oli", "operator", None).await;
    for path in ["/api/v1/audit", "/api/v1/audit/verify", "/api/v1/audit/export"] {
        assert_eq!(eve.api.get(path).await.status, 200, "{path}");
        assert_eq!(oli.api.get(path).await.status, 403, "{path}");
    }
}
