//! Jobs that others must agree to before they run.

use adit_testkit::{Api, TestGateway};
use serde_json::{Value, json};

use super::{job_when, over, put, start};

const ASKS: &str = "
templates:
  nap: {command: /usr/bin/sleep 1}
  one:
    command: /usr/bin/printf %s {text}
    parameters: {text: {type: string}}
    approval: {others: 1}
  two:
    command: /usr/bin/printf %s {text}
    parameters: {text: {type: string}}
    approval: {others: 2}
  named:
    command: /usr/bin/true
    approval: {others: 1, by: ['user:cid']}
";

async fn world() -> (TestGateway, Api, Api, Api) {
    let gateway = start("").await;
    put(&gateway, ASKS);
    let role = json!({"name": "approver", "capabilities": ["access:approve"]});
    gateway.admin.post("/api/v1/roles", role).await.ok();
    let ann = gateway.user("ann", "operator", None).await.api;
    let bob = gateway.user("bob", "approver", None).await.api;
    let cid = gateway.user("cid", "approver", None).await.api;
    adit_testkit::eventually("the templates", async || {
        let commands = ann.get("/commands").await.json();
        let items = commands["items"].as_array()?;
        items.iter().any(|one| one["name"] == "named" && one["approvals"] == 1).then_some(())
    })
    .await;
    (gateway, ann, bob, cid)
}

async fn ask(gateway: &TestGateway, api: &Api, command: &str, parameters: Value) -> Value {
    let body = json!({"command": command, "parameters": parameters, "target": gateway.machine});
    let accepted = api.post("/execute", body).await.ok();
    assert_eq!(accepted["status"], "awaiting_consent");
    api.get(&format!("/jobs/{}", accepted["job_id"].as_str().unwrap())).await.ok()
}

async fn say(api: &Api, job: &Value, decision: &str) -> adit_testkit::Answer {
    let path = format!("/jobs/{}/consent", job["job_id"].as_str().unwrap());
    api.post(&path, json!({"content": job["content"], "decision": decision})).await
}

#[tokio::test]
async fn a_job_runs_when_as_many_others_agreed_as_must_and_not_before() {
    // BEY-6
    let (gateway, ann, bob, cid) = world().await;
    let job = ask(&gateway, &ann, "two", json!({"text": "agreed"})).await;
    let noted = say(&bob, &job, "approve").await.ok();
    assert_eq!(
        (&noted["status"], &noted["consents"]),
        (&json!("awaiting_consent"), &json!(["user:bob"]))
    );
    assert_eq!(say(&bob, &job, "approve").await.code(), "job.consent");
    assert_eq!(say(&cid, &job, "approve").await.ok()["consents"], json!(["user:bob", "user:cid"]));
    let id = job["job_id"].as_str().unwrap();
    let done = over(&ann, id).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(ann.get(&format!("/jobs/{id}/output")).await.text, "agreed");
    let words = gateway.events("job.approve").await;
    assert_eq!(words.len(), 2);
    assert_eq!(words[0]["details"]["content"], job["content"]);
}

#[tokio::test]
async fn nobody_agrees_to_a_job_of_their_own() {
    // BEY-6
    let (gateway, ..) = world().await;
    let job = ask(&gateway, &gateway.admin, "one", json!({"text": "mine"})).await;
    let refused = say(&gateway.admin, &job, "approve").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "job.consent".to_owned()));
}

#[tokio::test]
async fn a_word_is_about_what_was_seen_and_nothing_else() {
    // BEY-6
    let (gateway, ann, bob, _) = world().await;
    let seen = ask(&gateway, &ann, "one", json!({"text": "harmless"})).await;
    let mut swapped = ask(&gateway, &ann, "one", json!({"text": "other"})).await;
    assert_ne!(seen["content"], swapped["content"]);
    swapped["content"] = seen["content"].clone();
    let refused = say(&bob, &swapped, "approve").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "job.content".to_owned()));
    let id = swapped["job_id"].as_str().unwrap();
    assert_eq!(ann.get(&format!("/jobs/{id}")).await.ok()["status"], "awaiting_consent");
}

#[tokio::test]
async fn a_job_that_somebody_refused_does_not_run() {
    // BEY-6
    let (gateway, ann, bob, _) = world().await;
    let job = ask(&gateway, &ann, "one", json!({"text": "no"})).await;
    assert_eq!(say(&bob, &job, "deny").await.ok()["status"], "cancelled");
    let done = over(&ann, job["job_id"].as_str().unwrap()).await;
    assert_eq!(
        (&done["status"], &done["reason"]["code"]),
        (&json!("cancelled"), &json!("job.denied"))
    );
    assert_eq!(say(&bob, &job, "approve").await.code(), "job.unknown");
}

#[tokio::test]
async fn whoever_may_not_approve_or_is_not_named_does_not_count() {
    // BEY-6
    let (gateway, ann, bob, cid) = world().await;
    let job = ask(&gateway, &ann, "named", json!({})).await;
    let dan = gateway.user("dan", "operator", None).await.api;
    assert_eq!(say(&dan, &job, "approve").await.status, 403);
    let refused = say(&bob, &job, "approve").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "access.approval".to_owned()));
    say(&cid, &job, "approve").await.ok();
    let id = job["job_id"].as_str().unwrap();
    job_when(&ann, id, |job| job["status"] == "succeeded").await;
}

#[tokio::test]
async fn a_job_that_awaits_consent_is_cancelled_by_its_own_user() {
    // CMD-13
    let (gateway, ann, ..) = world().await;
    let job = ask(&gateway, &ann, "one", json!({"text": "x"})).await;
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(ann.delete(&format!("/jobs/{id}")).await.status, 202);
    assert_eq!(over(&ann, id).await["status"], "cancelled");
}

#[tokio::test]
async fn who_is_to_agree_lists_what_awaits_them_and_nothing_else() {
    // BEY-6, JOB-33
    let (gateway, ann, bob, _) = world().await;
    let before = super::run(&gateway, "nap", json!({})).await;
    let job = ask(&gateway, &ann, "one", json!({"text": "x"})).await;
    let after = super::run(&gateway, "nap", json!({})).await;
    let listed = bob.get("/jobs").await.ok();
    let ids: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["job_id"]).collect();
    assert_eq!(ids, [&job["job_id"]], "{} {}", before["job_id"], after["job_id"]);
}

#[tokio::test]
async fn a_job_of_a_role_that_wants_a_second_factor_runs_if_it_was_fresh_when_it_was_asked_for() {
    // BEY-3
    let (gateway, ..) = world().await;
    let name = json!({"name": "eve"});
    let eve =
        gateway.admin.post("/api/v1/users", name).await.ok()["id"].as_str().unwrap().to_owned();
    let grant = json!({"principal": "user:eve", "role": "operator", "conditions": {"secondFactorWithinSeconds": 600}});
    let granted = gateway.admin.post("/api/v1/grants", grant).await;
    assert!(granted.status.is_success(), "{}", granted.text);
    let token =
        gateway.admin.post(&format!("/api/v1/users/{eve}/tokens"), json!({"name": "t"})).await.ok();
    let api = gateway.api(token["token"].as_str().unwrap());
    let body = json!({"command": "nap", "target": gateway.machine});
    assert_eq!(api.post("/execute", body.clone()).await.code(), "access.second_factor");
    let shown = "UPDATE credentials SET second_factor_at = (SELECT max(created_at) FROM credentials) WHERE kind = 'api_token'";
    gateway.sql(shown);
    let accepted = api.post("/execute", body).await.ok();
    let done = over(&api, accepted["job_id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "succeeded", "{done}");
}
