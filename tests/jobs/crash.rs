//! Jobs and the death of a gateway or an agent.

use std::collections::BTreeSet;
use std::io::Write as _;

use adit_testkit::{TestGateway, eventually};
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
    // Appended: a file that is short for a moment would be read anew.
    let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    log.write_all(b"between\n").unwrap();
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
async fn five_hundred_jobs_end_once_each_however_often_gateway_and_agent_die() {
    // CMD-21, R56, R57
    let gateway = start("").await;
    let hosts = [&gateway];
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        // One dies among the wishes, each time after another of them.
        let at = (round * 7) % A_ROUND;
        for one in 0..A_ROUND {
            if one == at && round % 2 == 0 {
                gateway.kill_gateway();
            } else if one == at {
                gateway.kill_agent();
            }
            ids.push(ask(&hosts, &gateway.machine, round * A_ROUND + one).await);
        }
    }
    gateway.machine_online().await;
    each_ends_once(&gateway, &ids).await;
}

/// How often something dies.
const ROUNDS: usize = 20;

/// Jobs between two deaths.
const A_ROUND: usize = 25;

/// Asks for a job, of each gateway in turn until one takes it in; a wish that is sent again is the same job. Gives the job's id.
pub async fn ask(gateways: &[&TestGateway], machine: &str, number: usize) -> String {
    let body = json!({
        "command": "say", "parameters": {"text": format!("job {number}")}, "target": machine,
        "idempotency_key": format!("wish-{number}"),
    });
    eventually("a gateway that takes the job in", async || {
        for gateway in gateways {
            let request = gateway.admin.request(reqwest::Method::POST, "/execute").json(&body);
            let answer = gateway.admin.try_send(request).await.ok();
            if let Some(answer) = answer.filter(|answer| answer.status == 202) {
                return Some(answer.json()["job_id"].as_str().unwrap().to_owned());
            }
        }
        None
    })
    .await
}

/// Waits until all are over, and holds that each ended in one state with a reason and began once at most.
pub async fn each_ends_once(gateway: &TestGateway, ids: &[String]) {
    let (mut succeeded, mut lost) = (0, 0);
    for id in ids {
        let job = over(&gateway.admin, id).await;
        match job["status"].as_str().unwrap() {
            "succeeded" => succeeded += 1,
            "lost" => {
                assert_eq!(job["reason"]["code"], "job.interrupted", "{job}");
                lost += 1;
            }
            other => panic!("{other}: {job}"),
        }
    }
    assert_eq!(succeeded + lost, ids.len());
    assert!(lost < ids.len() / 2, "{lost} of {} were lost", ids.len());
    let ends = whose(gateway, "job.end").await;
    let different: BTreeSet<_> = ends.iter().collect();
    assert_eq!((different.len(), ends.len()), (ids.len(), ids.len()), "each ends once");
    // A session that its machine was never told of is not a run.
    let (starts, untold) = (whose(gateway, "job.start").await, whose(gateway, "job.requeue").await);
    assert!(starts.len() <= ids.len() + untold.len(), "{starts:?} {untold:?}");
}

/// Lists what all events of a kind are about.
async fn whose(gateway: &TestGateway, event: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/audit?event={event}&limit=200{cursor}");
        let page = gateway.admin.get(&path).await.ok();
        let items = page["items"].as_array().unwrap().iter();
        all.extend(items.map(|event| event["target"]["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
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
