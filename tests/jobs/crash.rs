//! Jobs and the death of a gateway or an agent.

use adit_testkit::eventually;
use serde_json::json;

use super::{execute, over, processes, start};

#[tokio::test]
async fn a_job_whose_agent_is_killed_is_interrupted_and_leaves_nothing() {
    // R56, JOB-26
    let gateway = start("").await;
    let id = execute(&gateway.admin, &gateway, "nap", json!({"seconds": 436})).await;
    eventually("the program", async || (!processes("/usr/bin/sleep 436").is_empty()).then_some(()))
        .await;
    gateway.kill_agent();
    eventually("its end", async || processes("/usr/bin/sleep 436").is_empty().then_some(())).await;
    let job = over(&gateway.admin, &id).await;
    assert_eq!(
        (&job["status"], &job["reason"]["code"]),
        (&json!("lost"), &json!("job.interrupted")),
        "{job}"
    );
}

#[tokio::test]
async fn a_job_goes_on_through_the_death_of_its_gateway() {
    // R57, BEY-14
    let gateway = start("").await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "before\n").unwrap();
    let id = execute(&gateway.admin, &gateway, "slowly", json!({"path": path})).await;
    let mark = path.display().to_string();
    eventually("the program", async || (!processes(&mark).is_empty()).then_some(())).await;
    gateway.kill_gateway();
    std::fs::write(&path, "before\nbetween\n").unwrap();
    gateway.answers().await;
    gateway.machine_online().await;
    let output = format!("/jobs/{id}/output");
    eventually("what was written between", async || {
        let text = gateway.admin.get(&output).await.text;
        (text == "before\nbetween\n").then_some(())
    })
    .await;
    gateway.admin.delete(&format!("/jobs/{id}")).await;
    assert_eq!(over(&gateway.admin, &id).await["status"], "cancelled");
}

#[tokio::test]
async fn what_was_taken_in_runs_once_or_ends_with_a_reason_however_often_the_gateway_dies() {
    // CMD-21, R57
    let gateway = start("").await;
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let rounds = 5;
    let mut ids = Vec::new();
    for round in 0..rounds {
        for one in 0..10 {
            let text = format!("{}/{round}-{one}", folder.path().display());
            let body =
                json!({"command": "say", "parameters": {"text": text}, "target": gateway.machine});
            if let Ok(answer) = gateway
                .admin
                .try_send(gateway.admin.request(reqwest::Method::POST, "/execute").json(&body))
                .await
                && answer.status == 202
            {
                ids.push((answer.json()["job_id"].as_str().unwrap().to_owned(), text));
            }
        }
        gateway.kill_gateway();
        gateway.answers().await;
    }
    gateway.machine_online().await;
    assert_eq!(ids.len(), rounds * 10);
    for (id, text) in ids {
        let job = over(&gateway.admin, &id).await;
        let status = job["status"].as_str().unwrap();
        assert!(["succeeded", "lost"].contains(&status), "{job}");
        if status == "succeeded" {
            assert_eq!(gateway.admin.get(&format!("/jobs/{id}/output")).await.text, text);
        } else {
            assert!(job["reason"]["code"].is_string(), "{job}");
        }
        let starts = gateway.admin.get("/api/v1/audit?event=job.start&limit=200").await.ok();
        let of = starts["items"].as_array().unwrap().iter();
        let times = of.filter(|event| event["target"]["id"] == job["session_id"]).count();
        assert!(times <= 1, "{id} began {times} times");
    }
}
