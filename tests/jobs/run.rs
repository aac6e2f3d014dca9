//! Jobs that run.

use adit_testkit::{eventually, within};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{execute, job_when, over, processes, put, run, start};

#[tokio::test]
async fn a_template_runs_on_a_machine_in_its_sandbox_and_tells_how() {
    // CMD-12, CMD-13, CMD-30
    let gateway = start("").await;
    let job = run(&gateway, "say", json!({"text": "hello"})).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(job["exit_code"], 0);
    assert_eq!(job["argv"], json!(["/usr/bin/printf", "%s", "hello"]));
    assert_eq!(job["output"]["stdout_bytes"], 5);
    assert!(job["resources"]["peak_bytes"].as_u64().unwrap() > 0, "{job}");
    let layers = job["layers"].as_array().unwrap();
    for name in ["user_namespace", "private_root", "seccomp", "no_new_privileges"] {
        let held =
            |layer: &&serde_json::Value| layer["name"] == name && layer["state"] == "enforced";
        assert!(layers.iter().any(|layer| held(&layer)), "{name}: {job}");
    }
    let path = format!("/jobs/{}/output", job["job_id"].as_str().unwrap());
    assert_eq!(gateway.admin.get(&path).await.text, "hello");
    let metrics = gateway.admin.get("/metrics").await.text;
    for line in [
        "adit_jobs_ended_total{state=\"succeeded\"} 1",
        "adit_job_wait_seconds_count 1",
        "adit_job_run_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let events = gateway.events("job.end").await;
    assert_eq!(events[0]["details"]["state"], "succeeded", "{}", events[0]);
    assert_eq!(gateway.events("job.submit").await[0]["details"]["argv"], job["argv"]);
}

#[tokio::test]
async fn a_value_is_one_argument_byte_by_byte_whatever_is_in_it() {
    // CMD-4, JOB-02
    let gateway = start("").await;
    for text in
        ["a; id", "$(id) `id`", "a|b && c > /tmp/x", "{a,b} * ~ !!", "'\"\\ \u{e9} \u{4e2d}"]
    {
        let job = run(&gateway, "say", json!({"text": text})).await;
        let path = format!("/jobs/{}/output", job["job_id"].as_str().unwrap());
        assert_eq!(gateway.admin.get(&path).await.text, text, "{job}");
    }
}

#[tokio::test]
async fn how_a_program_ends_is_how_its_job_ends() {
    // CMD-13
    let gateway = start("").await;
    let failed = run(&gateway, "fails", json!({})).await;
    assert_eq!((&failed["status"], &failed["exit_code"]), (&json!("failed"), &json!(1)));
    let missing = run(&gateway, "missing", json!({})).await;
    assert_eq!(missing["status"], "failed");
    assert_eq!(missing["reason"]["code"], "job.program_unavailable", "{missing}");
    let hungry = run(&gateway, "hungry", json!({})).await;
    assert_eq!(hungry["status"], "failed");
    assert_eq!(hungry["reason"]["code"], "job.resource_exceeded", "{hungry}");
    assert!(hungry["reason"]["sentence"].as_str().unwrap().contains("memory"), "{hungry}");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended_with_all_it_started() {
    // CMD-33
    let gateway = start("").await;
    let body = json!({"command": "nap", "parameters": {"seconds": 431}, "target": gateway.machine, "timeout": 1});
    let accepted = gateway.admin.post("/execute", body).await.ok();
    let job = over(&gateway.admin, accepted["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "timed_out", "{job}");
    assert_eq!(job["reason"]["code"], "job.timed_out");
    assert!(processes("/usr/bin/sleep 431").is_empty());
}

#[tokio::test]
async fn a_job_is_cancelled_with_all_it_started_and_once() {
    // CMD-13, JOB-26
    let gateway = start("").await;
    let id = execute(&gateway.admin, &gateway, "nap", json!({"seconds": 432})).await;
    eventually("the program", async || (!processes("/usr/bin/sleep 432").is_empty()).then_some(()))
        .await;
    assert_eq!(gateway.admin.delete(&format!("/jobs/{id}")).await.status, 202);
    let job = over(&gateway.admin, &id).await;
    assert_eq!(
        (&job["status"], &job["reason"]["code"]),
        (&json!("cancelled"), &json!("job.cancelled"))
    );
    assert!(processes("/usr/bin/sleep 432").is_empty());
    let again = gateway.admin.delete(&format!("/jobs/{id}")).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "job.over".to_owned()));
}

#[tokio::test]
async fn a_follower_sees_output_as_it_comes_and_then_the_end() {
    // CMD-13, CMD-23
    let gateway = start("").await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().join("log");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::fs::write(&path, "first\n").unwrap();
    let id = execute(&gateway.admin, &gateway, "slowly", json!({"path": path})).await;
    let request = gateway.admin.request(Method::GET, &format!("/jobs/{id}/output"));
    let mut response = request.header("accept", "text/event-stream").send().await.unwrap();
    let mut seen = String::new();
    let mut until = async |text: &str| {
        while !seen.contains(text) {
            let chunk = within("an event", response.chunk()).await.unwrap().expect("it goes on");
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    // "first\n" and "second\n" in base64.
    until("Zmlyc3QK").await;
    std::fs::write(&path, "first\nsecond\n").unwrap();
    until("c2Vjb25kCg").await;
    gateway.admin.delete(&format!("/jobs/{id}")).await;
    until("event: end").await;
    until("cancelled").await;
}

#[tokio::test]
async fn output_over_its_limit_is_counted_and_not_kept() {
    // CMD-23
    let gateway = start("").await;
    put(
        &gateway,
        "templates:\n  count:\n    command: /usr/bin/seq {n}\n    parameters: {n: {type: int}}\n    output: {max_size: 1k}\n  nap:\n    command: /usr/bin/sleep 1\n",
    );
    let version = |commands: &serde_json::Value| {
        let items = commands["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .find(|one| one["name"] == "count")
            .map(|one| one["limits"]["output_bytes"].clone())
    };
    eventually("the new limit", async || {
        let commands = gateway.admin.get("/commands").await.json();
        (version(&commands) == Some(json!(1024))).then_some(())
    })
    .await;
    let job = run(&gateway, "count", json!({"n": 1000})).await;
    // 9 numbers of one digit, 90 of two, 900 of three and one of four, each with its line end.
    assert_eq!(
        job["output"],
        json!({"stdout_bytes": 3893, "stdout_dropped": 2869, "stderr_bytes": 0, "stderr_dropped": 0})
    );
    let path = format!("/jobs/{}/output", job["job_id"].as_str().unwrap());
    assert_eq!(gateway.admin.get(&path).await.text.len(), 1024);
    let rest = gateway.admin.get(&format!("{path}?offset=1000")).await.text;
    assert_eq!(rest.len(), 24);
}

#[tokio::test]
async fn the_same_wish_with_the_same_key_is_one_job() {
    // CMD-12, JOB-32
    let gateway = start("").await;
    let body = json!({"command": "say", "parameters": {"text": "a"}, "target": gateway.machine, "idempotency_key": "k-1"});
    let asked = (0..10).map(|_| gateway.admin.post("/execute", body.clone()));
    let ids: Vec<String> =
        join_all(asked).await.into_iter().map(|answer| answer.ok()["job_id"].to_string()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let jobs = gateway.admin.get("/jobs").await.ok();
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    let other = json!({"command": "say", "parameters": {"text": "b"}, "target": gateway.machine, "idempotency_key": "k-1"});
    let refused = gateway.admin.post("/execute", other).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "job.idempotency_key".to_owned()));
}

#[tokio::test]
async fn of_a_template_no_more_run_at_a_time_than_it_says() {
    // CMD-22
    let gateway = start("").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(execute(&gateway.admin, &gateway, "once", json!({"seconds": 1})).await);
    }
    let mut spans = Vec::new();
    for id in &ids {
        let job = over(&gateway.admin, id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        spans.push((
            job["started_at"].as_str().unwrap().to_owned(),
            job["ended_at"].as_str().unwrap().to_owned(),
        ));
    }
    spans.sort();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{spans:?}");
    }
}

#[tokio::test]
async fn a_job_waits_for_its_machine() {
    // CMD-21
    let gateway = start("").await;
    gateway.kill_agent();
    let id = execute(&gateway.admin, &gateway, "say", json!({"text": "late"})).await;
    let job = over(&gateway.admin, &id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}

#[tokio::test]
async fn a_job_whose_machine_does_not_come_is_lost_with_a_reason() {
    // CMD-21, R57
    let gateway = start("[jobs]\nwait_seconds = 1\n").await;
    gateway.admin.post("/api/v1/enrolment-tokens", json!({"label": "away"})).await.ok();
    let tenant = "(SELECT id FROM tenants LIMIT 1)";
    gateway.sql(&format!(
        "INSERT INTO machines (id, tenant_id, label, hostname, os, arch, version, cores, memory_bytes, link_key, created_at) \
         VALUES (randomblob(16), {tenant}, 'away', 'away', 'linux', 'x86_64', '0', 1, 1, randomblob(32), 1)"
    ));
    let body = json!({"command": "say", "parameters": {"text": "x"}, "target": "away"});
    let accepted = gateway.admin.post("/execute", body).await.ok();
    let job = over(&gateway.admin, accepted["job_id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["reason"]["code"]), (&json!("lost"), &json!("job.expired")));
    assert!(job["started_at"].is_null());
}

#[tokio::test]
async fn a_file_with_an_error_leaves_the_templates_before_in_force_and_says_where() {
    // CMD-3, JOB-09
    let gateway = start("").await;
    put(&gateway, "templates:\n  nap:\n    comand: /usr/bin/true\n");
    let event = eventually("the error", async || {
        let events = gateway.events("template.load").await;
        events.into_iter().find(|event| event["outcome"] == "failed")
    })
    .await;
    let errors = event["details"]["errors"].as_array().unwrap().iter();
    let mut errors = errors.map(|error| error.as_str().unwrap());
    assert!(errors.any(|error| error.starts_with("own.yaml:3:5: ")), "{event}");
    let id = execute(&gateway.admin, &gateway, "nap", json!({"seconds": 0})).await;
    job_when(&gateway.admin, &id, |job| job["status"] == "succeeded").await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_as_it_begins_does_not_go_on() {
    // CMD-13, CMD-33
    let gateway = start("").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = execute(&gateway.admin, &gateway, "nap", json!({"seconds": 438})).await;
        assert_eq!(gateway.admin.delete(&format!("/jobs/{id}")).await.status, 202);
        ids.push(id);
    }
    for id in ids {
        assert_eq!(over(&gateway.admin, &id).await["status"], "cancelled");
    }
    // Its machine may not have begun when its end was told.
    eventually("the end of all", async || processes("/usr/bin/sleep 438").is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_follower_misses_nothing_of_what_is_written_fast() {
    // CMD-13
    let gateway = start("").await;
    let expected: String = (1..=150_000).map(|n| format!("{n}\n")).collect();
    for _ in 0..3 {
        let id = execute(&gateway.admin, &gateway, "count", json!({"n": 150_000})).await;
        let seen = gateway.admin.get(&format!("/jobs/{id}/output?follow=true")).await.text;
        assert_eq!(seen.len(), expected.len());
        assert!(seen == expected);
    }
}
