//! Jobs whose machine is at one gateway and which were asked for at another.

use adit_testkit::{Api, eventually, within};
use serde_json::{Value, json};

use super::pair::{Pair, bus_is};
use crate::jobs;

async fn ask(pair: &Pair, api: &Api) -> String {
    let body = json!({"command": "uptime", "target": pair.a.machine});
    api.post("/execute", body).await.ok()["job_id"].as_str().unwrap().to_owned()
}

async fn over(api: &Api, id: &str) -> Value {
    eventually("end of the job", async || {
        let job = api.get(&format!("/jobs/{id}")).await.json();
        job["ended_at"].is_string().then_some(job)
    })
    .await
}

#[tokio::test]
async fn a_job_runs_at_the_gateway_that_has_its_machine_whoever_took_it_in() {
    // CMD-20
    let pair = Pair::start().await;
    let id = ask(&pair, &pair.b.admin).await;
    let job = over(&pair.b.admin, &id).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let output = format!("/jobs/{id}/output");
    assert!(pair.a.admin.get(&output).await.text.contains("load average"));
    let elsewhere = pair.b.admin.get(&output).await;
    assert_eq!(
        (elsewhere.status.as_u16(), elsewhere.code()),
        (421, "session.elsewhere".to_owned())
    );
}

#[tokio::test]
async fn jobs_run_once_each_while_the_bus_is_away() {
    // CMD-20, CMD-21, R19
    let pair = Pair::start().await;
    pair.redis.kill();
    bus_is(&pair.b, "away").await;
    let mut ids = Vec::new();
    for api in [&pair.a.admin, &pair.b.admin, &pair.b.admin, &pair.a.admin] {
        ids.push(ask(&pair, api).await);
    }
    for id in &ids {
        let job = over(&pair.a.admin, id).await;
        assert_eq!(job["status"], "succeeded", "{job}");
    }
    let starts = pair.a.events("job.start").await;
    assert_eq!(starts.len(), ids.len());
}

#[tokio::test]
async fn a_console_at_another_gateway_hears_of_jobs() {
    // CMD-13, MNO-01
    let pair = Pair::start().await;
    let request = pair.b.admin.request(reqwest::Method::GET, "/api/v1/stream");
    let mut stream = request.send().await.unwrap();
    ask(&pair, &pair.a.admin).await;
    let mut heard = String::new();
    within("word of a job", async {
        while !heard.contains("\"jobs\"") {
            heard.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    })
    .await;
}

#[tokio::test]
async fn five_hundred_jobs_end_once_each_though_gateways_agent_and_bus_die() {
    // CMD-20, CMD-21, R19, R56, R57
    let pair = Pair::start().await;
    jobs::put(&pair.a, jobs::OWN);
    jobs::put(&pair.b, jobs::OWN);
    let hosts = [&pair.a, &pair.b];
    let mut ids = Vec::new();
    for round in 0..20 {
        let at = (round * 7) % 25;
        for one in 0..25 {
            if one == at {
                match round % 4 {
                    0 => pair.a.kill_gateway(),
                    1 => pair.a.kill_agent(),
                    2 => drop(pair.redis.command(&["FLUSHALL"]).await),
                    _ => pair.b.kill_gateway(),
                }
            }
            let turned = if one % 2 == 0 { hosts } else { [hosts[1], hosts[0]] };
            ids.push(jobs::crash::ask(&turned, &pair.a.machine, round * 25 + one).await);
        }
    }
    pair.a.machine_online().await;
    pair.b.answers().await;
    jobs::crash::each_ends_once(&pair.a, &ids).await;
}

#[tokio::test]
async fn a_job_is_cancelled_from_another_gateway_than_its_own() {
    // CMD-13
    let pair = Pair::start().await;
    let folder = pair.a.data().join("templates");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("own.yaml"),
        "templates:\n  nap:\n    command: /usr/bin/sleep 437\n",
    )
    .unwrap();
    let accepted = eventually("the template", async || {
        let body = json!({"command": "nap", "target": pair.a.machine});
        let answer = pair.a.admin.post("/execute", body).await;
        (answer.status == 202).then(|| answer.json())
    })
    .await;
    let path = format!("/jobs/{}", accepted["job_id"].as_str().unwrap());
    eventually("its start", async || {
        let job = pair.b.admin.get(&path).await.json();
        (job["status"] == "running").then_some(())
    })
    .await;
    assert_eq!(pair.b.admin.delete(&path).await.status, 202);
    let job = over(&pair.b.admin, accepted["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "cancelled", "{job}");
}
