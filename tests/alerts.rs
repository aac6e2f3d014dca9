//! Alerts about the audit log, from real acts to a receiver of the webhook.

mod receiver;

use adit_testkit::{Api, TestGateway, User, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use receiver::{Receiver, SECRET};

/// Learns nothing first, so that a test need not last a week.
const EAGER: &str = "[alerts]\nrefusals = 3\nfailures = 2\nmachines = 1\nlearn_commands_seconds = 0\nlearn_days = 0\n";

/// Finds only what a test asks for.
const REFUSALS: &str = "[alerts]\nrefusals = 3\n";

async fn alert(api: &Api, kind: &str) -> Value {
    eventually(kind, async || {
        let request = api.request(reqwest::Method::GET, "/api/v1/alerts");
        let listed = api.try_send(request).await.ok()?.json();
        listed["items"].as_array()?.iter().find(|one| one["kind"] == kind).cloned()
    })
    .await
}

async fn count(gateway: &TestGateway) -> usize {
    let listed = gateway.admin.get("/api/v1/alerts").await.ok();
    listed["items"].as_array().unwrap().len()
}

/// Has somebody refused so often.
async fn be_refused(user: &User, times: usize) {
    for _ in 0..times {
        assert_eq!(user.api.get("/api/v1/audit").await.status, 403);
    }
}

async fn run(gateway: &TestGateway, api: &Api, command: &str, machine: &str) {
    let body = json!({"command": command, "parameters": {}, "target": machine});
    let answer = api.post("/execute", body).await;
    assert_eq!(answer.status, 202, "{} {}", answer.text, gateway.machine);
}

/// Enrols a machine that never comes; a job for it waits.
async fn absent_machine(gateway: &TestGateway) -> String {
    let token = gateway.admin.post("/api/v1/enrolment-tokens", json!({"label": "absent"})).await;
    let token = token.ok()["token"].as_str().unwrap().to_owned();
    let body = json!({"token": token, "linkKey": STANDARD.encode([9; 32]), "hostname": "absent"});
    assert_eq!(gateway.admin.post("/api/enroll", body).await.status, 201);
    "absent".to_owned()
}

/// Tells whether each of an alert's events is one of the log, and gives their names.
async fn names_of(gateway: &TestGateway, alert: &Value) -> Vec<String> {
    let log = gateway.admin.get("/api/v1/audit?limit=200").await.ok();
    let log = log["items"].as_array().unwrap().clone();
    let name = |id: &Value| {
        let event = log.iter().find(|event| event["id"] == *id).expect("an event of the log");
        event["event"].as_str().unwrap().to_owned()
    };
    alert["events"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn refusals_make_an_alert_that_says_which_events_made_it() {
    // CMD-41
    let gateway = TestGateway::start_with(REFUSALS);
    let ann = gateway.user("ann", "operator", None).await;
    be_refused(&ann, 3).await;
    let found = alert(&gateway.admin, "refusals").await;
    assert_eq!(found["actor"]["name"], "ann");
    assert_eq!(names_of(&gateway, &found).await, ["access.denied"; 3]);
    assert_eq!(found["webhook"]["state"], "none");
    let told = gateway.events("alert.raised").await;
    assert_eq!(told[0]["details"]["events"], found["events"]);
    assert_eq!(told[0]["details"]["kind"], "refusals");
    let shown = format!("/api/v1/alerts/{}", found["id"].as_str().unwrap());
    assert_eq!(gateway.admin.get(&shown).await.ok(), found);
    // More of the same cause is the same alert.
    be_refused(&ann, 9).await;
    let bob = gateway.user("bob", "operator", None).await;
    be_refused(&bob, 3).await;
    eventually("the other's alert", async || (count(&gateway).await == 2).then_some(())).await;
}

#[tokio::test]
async fn who_may_not_read_the_log_sees_no_alerts_and_tries_no_webhook() {
    // CMD-41
    let gateway = TestGateway::start();
    let ann = gateway.user("ann", "operator", None).await;
    assert_eq!(ann.api.get("/api/v1/alerts").await.status, 403);
    let unknown = "/api/v1/alerts/0190f5fe-0000-7000-8000-000000000000";
    assert_eq!(ann.api.get(unknown).await.status, 403);
    assert_eq!(gateway.admin.get(unknown).await.code(), "alert.unknown");
    assert_eq!(ann.api.post("/api/v1/alerts/test", json!({})).await.status, 403);
    let none = gateway.admin.post("/api/v1/alerts/test", json!({})).await;
    assert_eq!(none.code(), "alert.no_webhook");
}

#[tokio::test]
async fn commands_hours_machines_and_failures_make_an_alert_each() {
    // CMD-41
    let gateway = TestGateway::start_with(EAGER);
    crate::jobs::put(&gateway, "templates:\n  fails:\n    command: /usr/bin/false\n");
    eventually("the template", async || {
        gateway.admin.get("/commands").await.text.contains("fails").then_some(())
    })
    .await;
    let machine = gateway.machine.clone();
    let new = async || alert(&gateway.admin, "new_command").await;
    run(&gateway, &gateway.admin, "fails", &machine).await;
    let found = new().await;
    assert_eq!(
        (&found["template"], names_of(&gateway, &found).await),
        (&json!("fails"), vec!["job.submit".to_owned()])
    );
    let found = alert(&gateway.admin, "unusual_hours").await;
    assert_eq!(found["events"].as_array().unwrap().len(), 1);
    run(&gateway, &gateway.admin, "fails", &machine).await;
    let found = alert(&gateway.admin, "failures").await;
    assert_eq!(names_of(&gateway, &found).await, ["job.end"; 2]);
    let absent = absent_machine(&gateway).await;
    run(&gateway, &gateway.admin, "fails", &absent).await;
    let found = alert(&gateway.admin, "fan_out").await;
    assert_eq!(names_of(&gateway, &found).await, ["job.submit"; 2]);
}

#[tokio::test]
async fn a_shell_on_one_machine_and_a_job_on_another_are_two_machines() {
    // CMD-41
    let gateway = TestGateway::start_with("[alerts]\nmachines = 1\n");
    let ann = gateway.user("ann", "operator", None).await;
    let _shell = gateway.open(&ann.api, &[]).await;
    let absent = absent_machine(&gateway).await;
    run(&gateway, &ann.api, "uptime", &absent).await;
    let found = alert(&gateway.admin, "fan_out").await;
    assert_eq!(found["actor"]["name"], "ann");
    assert_eq!(names_of(&gateway, &found).await, ["terminal_session_start", "job.submit"]);
}

#[tokio::test]
async fn a_restart_and_a_kill_raise_nothing_twice_and_miss_nothing() {
    // CMD-41
    let gateway = TestGateway::start_with(REFUSALS);
    let ann = gateway.user("ann", "operator", None).await;
    be_refused(&ann, 3).await;
    alert(&gateway.admin, "refusals").await;
    let bob = gateway.user("bob", "operator", None).await;
    be_refused(&bob, 3).await;
    gateway.kill_gateway();
    gateway.answers().await;
    eventually("the other's alert", async || (count(&gateway).await == 2).then_some(())).await;
    let gateway = gateway.restart();
    let carl = gateway.user("carl", "operator", None).await;
    be_refused(&carl, 3).await;
    eventually("the third's alert", async || (count(&gateway).await >= 3).then_some(())).await;
    assert_eq!(count(&gateway).await, 3);
    assert_eq!(gateway.events("alert.raised").await.len(), 3);
}

#[tokio::test]
async fn the_webhook_carries_an_alert_signed_once_its_receiver_is_back() {
    // CMD-41
    let receiver = Receiver::start().await;
    let gateway = TestGateway::start_with(&receiver.settings(REFUSALS));
    gateway.remember(SECRET);
    receiver.refuse();
    let ann = gateway.user("ann", "operator", None).await;
    be_refused(&ann, 3).await;
    let found = alert(&gateway.admin, "refusals").await;
    let refused = receiver.next().await;
    gateway.kill_gateway();
    gateway.answers().await;
    receiver.take();
    let delivered = eventually("the delivery", async || {
        let shown = alert(&gateway.admin, "refusals").await;
        (shown["webhook"]["state"] == "delivered").then_some(shown)
    })
    .await;
    let taken = receiver.last().await;
    for got in [&refused, &taken] {
        assert!(got.is_signed(), "{got:?}");
        assert_eq!(json!(got.id), found["id"]);
        assert_eq!(got.body["data"]["events"], found["events"]);
    }
    assert_eq!(delivered["webhook"]["answer"], "204 No Content");
    assert_eq!(count(&gateway).await, 1);
}

#[tokio::test]
async fn a_test_says_what_the_receiver_answered_and_follows_no_redirect() {
    // CMD-41
    let receiver = Receiver::start().await;
    let gateway = TestGateway::start_with(&receiver.settings(REFUSALS));
    let test = async || gateway.admin.post("/api/v1/alerts/test", json!({})).await.ok();
    assert_eq!(test().await, json!({"taken": true, "answer": "204 No Content"}));
    assert!(receiver.next().await.is_signed());
    receiver.redirect();
    assert_eq!(test().await, json!({"taken": false, "answer": "307 Temporary Redirect"}));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_dialled_unless_the_operator_says_so() {
    // CMD-41
    let receiver = Receiver::start().await;
    let settings = receiver.settings(REFUSALS).replace("webhook_allow_private = true\n", "");
    let gateway = TestGateway::start_with(&settings.replace("http://127", "https://127"));
    let answer = gateway.admin.post("/api/v1/alerts/test", json!({})).await.ok();
    assert_eq!(answer, json!({"taken": false, "answer": "the address is not public"}));
    let settings = settings.replace("http://127.0.0.1", "https://localhost");
    let gateway = TestGateway::start_with(&settings);
    let answer = gateway.admin.post("/api/v1/alerts/test", json!({})).await.ok();
    assert_eq!(answer, json!({"taken": false, "answer": "no connection"}));
}
