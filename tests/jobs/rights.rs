//! Who may run what, and that a right that is taken away ends what rests on it.

use adit_testkit::eventually;
use serde_json::{Value, json};

use super::{execute, job_when, over, processes, start};

fn names(commands: &Value) -> Vec<String> {
    let items = commands["items"].as_array().unwrap();
    items.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_template_shows_and_runs_for_whoever_holds_all_of_its_scopes() {
    // CMD-11, JOB-15
    let gateway = start("").await;
    let one = json!({"name": "one", "capabilities": ["job:run"], "templateScopes": ["read:this"]});
    let both = json!({"name": "both", "capabilities": ["job:run"], "templateScopes": ["read:this", "read:that"]});
    for role in [one, both] {
        gateway.admin.post("/api/v1/roles", role).await.ok();
    }
    let (ann, bob) =
        (gateway.user("ann", "both", None).await, gateway.user("bob", "one", None).await);
    assert!(names(&ann.api.get("/commands").await.ok()).contains(&"scoped".to_owned()));
    assert!(!names(&bob.api.get("/commands").await.ok()).contains(&"scoped".to_owned()));
    let body = json!({"command": "scoped", "target": gateway.machine});
    let refused = bob.api.post("/execute", body).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "access.scope_missing".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("read:that"), "{}", refused.text);
    let id = execute(&ann.api, &gateway, "scoped", json!({})).await;
    assert_eq!(over(&ann.api, &id).await["status"], "succeeded");
}

#[tokio::test]
async fn whoever_may_run_templates_opens_nothing_else() {
    let gateway = start("").await;
    let role = json!({"name": "runner", "capabilities": ["job:run"]});
    gateway.admin.post("/api/v1/roles", role).await.ok();
    let bob = gateway.user("bob", "runner", None).await;
    for wish in [
        json!({"machine": gateway.machine}),
        json!({"machine": gateway.machine, "command": ["id"]}),
    ] {
        let refused = bob.api.post("/api/v1/tickets", wish).await;
        assert_eq!(refused.code(), "access.capability_missing", "{}", refused.text);
    }
    let id = execute(&bob.api, &gateway, "nap", json!({"seconds": 433})).await;
    eventually("the program", async || (!processes("/usr/bin/sleep 433").is_empty()).then_some(()))
        .await;
    let job = job_when(&bob.api, &id, |job| job["status"] == "running").await;
    for mode in ["control", "view"] {
        let join = json!({"session": job["session_id"], "mode": mode});
        assert_eq!(bob.api.post("/api/v1/tickets", join).await.status, 403);
    }
    bob.api.delete(&format!("/jobs/{id}")).await;
    over(&bob.api, &id).await;
}

#[tokio::test]
async fn a_role_that_is_taken_away_ends_its_jobs_within_the_second() {
    // BEY-3
    let gateway = start("").await;
    let ann = gateway.user("ann", "operator", None).await;
    let id = execute(&ann.api, &gateway, "nap", json!({"seconds": 434})).await;
    eventually("the program", async || (!processes("/usr/bin/sleep 434").is_empty()).then_some(()))
        .await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", ann.grant)).await;
    let job = over(&gateway.admin, &id).await;
    assert_eq!(
        (&job["status"], &job["reason"]["code"]),
        (&json!("cancelled"), &json!("access.revoked")),
        "{job}"
    );
    assert!(processes("/usr/bin/sleep 434").is_empty());
}

#[tokio::test]
async fn a_job_that_waits_begins_only_if_whoever_asked_still_may() {
    // BEY-3, JOB-15
    let gateway = start("[jobs]\nper_user = 1\n").await;
    let ann = gateway.user("ann", "operator", None).await;
    let first = execute(&ann.api, &gateway, "nap", json!({"seconds": 435})).await;
    job_when(&ann.api, &first, |job| job["status"] == "running").await;
    let second = execute(&ann.api, &gateway, "say", json!({"text": "never"})).await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", ann.grant)).await;
    over(&gateway.admin, &first).await;
    let job = over(&gateway.admin, &second).await;
    assert_ne!(job["status"], "succeeded", "{job}");
    assert_eq!(job["output"]["stdout_bytes"], 0);
}
