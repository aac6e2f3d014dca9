//! What is refused, and that nothing comes of it.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use super::{over, run, start};

#[tokio::test]
async fn every_bad_parameter_is_named_at_once_and_nothing_is_queued() {
    // CMD-5, CMD-12, JOB-11
    let gateway = start("").await;
    let bad = json!({"seconds": "many", "extra": [1], "more": null});
    let body = json!({"command": "nap", "parameters": bad, "target": gateway.machine});
    let refused = gateway.admin.post("/execute", body).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "job.parameters".to_owned()));
    let problem = refused.json();
    let names: Vec<&str> = problem["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["seconds", "extra", "more"]);
    let jobs = gateway.admin.get("/jobs").await.ok();
    assert_eq!(jobs["items"], json!([]));
}

#[tokio::test]
async fn what_is_no_wish_is_refused_with_its_reason() {
    // CMD-12, CMD-16
    let gateway = start("").await;
    let machine = &gateway.machine;
    let cases = [
        (json!({"command": "nothing", "target": machine}), 404, "template.unknown"),
        (json!({"command": "nap", "target": "nowhere"}), 404, "target.unknown"),
        (json!({"command": "elsewhere", "target": machine}), 403, "template.target"),
        (
            json!({"command": "nap", "target": machine, "idempotency_key": ""}),
            400,
            "request.invalid",
        ),
        (json!({"command": "nap", "target": machine, "shell": "id"}), 400, "request.invalid"),
        (json!({"command": ["sh", "-c", "id"], "target": machine}), 400, "request.invalid"),
        (
            json!({"command": "nap", "parameters": "seconds=1", "target": machine}),
            400,
            "request.invalid",
        ),
    ];
    for (body, status, code) in cases {
        let refused = gateway.admin.post("/execute", body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{body}");
    }
    let twice = r#"{"command": "nap", "parameters": {"seconds": 1, "seconds": 2}}"#;
    let request = gateway.admin.request(reqwest::Method::POST, "/execute");
    let refused =
        gateway.admin.send(request.header("content-type", "application/json").body(twice)).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}

#[tokio::test]
async fn a_name_for_a_wish_that_is_no_text_is_refused_and_not_passed_over() {
    // CMD-12, JOB-32
    let gateway = start("").await;
    let body = json!({"command": "nap", "target": gateway.machine});
    let request = gateway.admin.request(Method::POST, "/execute").json(&body);
    let name = HeaderValue::from_bytes(b"nightly-\xe9").unwrap();
    let answer = gateway.admin.send(request.header("idempotency-key", name)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "request.invalid".to_owned()));
    assert_eq!(gateway.admin.get("/jobs").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_on_the_machine_is_not_followed() {
    // CMD-2
    let gateway = start("").await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let link = folder.path().join("log");
    std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
    let job = run(&gateway, "slowly", json!({"path": link})).await;
    assert_eq!(job["status"], "failed", "{job}");
    assert_eq!(job["reason"]["code"], "job.path_refused");
    assert_eq!(job["output"]["stdout_bytes"], 0);
}

#[tokio::test]
async fn a_job_of_somebody_else_is_not_there() {
    // JOB-33, CMD-13
    let gateway = start("").await;
    let done = run(&gateway, "say", json!({"text": "secret"})).await;
    let id = done["job_id"].as_str().unwrap();
    let role = json!({"name": "runner", "capabilities": ["job:run"]});
    gateway.admin.post("/api/v1/roles", role).await.ok();
    let bob = gateway.user("bob", "runner", None).await;
    for path in [
        format!("/jobs/{id}"),
        format!("/jobs/{id}/output"),
        format!("/jobs/{id}/output?follow=true"),
        format!("/jobs/{id}/receipt"),
    ] {
        let refused = bob.api.get(&path).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (404, "job.unknown".to_owned()),
            "{path}"
        );
    }
    let refused = bob.api.delete(&format!("/jobs/{id}")).await;
    assert_eq!(refused.code(), "job.unknown");
    assert_eq!(bob.api.get("/jobs").await.ok()["items"], json!([]));
    let viewer = gateway.user("eve", "viewer", None).await;
    assert_eq!(viewer.api.get(&format!("/jobs/{id}/output")).await.text, "secret");
    let cancel = viewer.api.delete(&format!("/jobs/{id}")).await;
    assert_eq!(cancel.status, 403, "{}", cancel.text);
}

#[tokio::test]
async fn more_than_may_wait_are_refused_and_told_to_come_back() {
    // CMD-22
    let settings = "[jobs]\nqueued_per_user = 2\nper_user = 1\n";
    let gateway = start(settings).await;
    let body = json!({"command": "nap", "parameters": {"seconds": 600}, "target": gateway.machine});
    let running = gateway.admin.post("/execute", body.clone()).await.ok();
    let running = running["job_id"].as_str().unwrap();
    super::job_when(&gateway.admin, running, |job| job["status"] == "running").await;
    for _ in 0..2 {
        assert_eq!(gateway.admin.post("/execute", body.clone()).await.status, 202);
    }
    let refused = gateway.admin.post("/execute", body).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "job.queue_full".to_owned()));
    assert!(refused.headers.contains_key("retry-after"));
    gateway.admin.delete(&format!("/jobs/{running}")).await;
    over(&gateway.admin, running).await;
}
