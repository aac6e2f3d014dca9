//! How a machine's key and certificate change while it works, and how they end.

use std::time::{Duration, Instant};

use adit_testkit::{TestGateway, eventually};
use serde_json::{Value, json};

use super::holder::{Holder, adit, json as told, request};
use crate::tickets::peer::register;

async fn certificates(gateway: &TestGateway) -> Vec<Value> {
    let path = format!("/api/v1/certificates?machine={}", gateway.machine);
    gateway.admin.get(&path).await.ok()["items"].as_array().unwrap().clone()
}

/// Makes the machine's certificate look older, so that it is time to renew it or too late.
fn age(gateway: &TestGateway, days: i64) {
    let ms = days * 86_400_000;
    gateway.sql(&format!(
        "UPDATE certificates SET created_at = created_at - {ms}, not_after = not_after - {ms}"
    ));
}

#[tokio::test]
async fn a_machine_renews_its_certificate_at_two_thirds_and_its_session_goes_on() {
    // TIX-4
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &[]).await;
    viewer.write(b"echo be''fore\n");
    viewer.until_text("before").await;
    let before = certificates(&gateway).await;
    assert_eq!(before.len(), 1);
    age(&gateway, 21);
    // The next gateway looks at the machine's certificate when the machine comes to it.
    gateway.kill_gateway();
    gateway.bring_back(&gateway.admin, &mut viewer).await;
    let renewed = eventually("renewed certificate", async || {
        let now = certificates(&gateway).await;
        (now.len() == 2 && now[0]["lastUsedAt"].is_string()).then_some(now)
    });
    let renewed = renewed.await;
    assert_ne!(renewed[0]["serial"], before[0]["serial"]);
    assert_eq!((&renewed[0]["name"], &renewed[1]["status"]), (&before[0]["name"], &json!("valid")));
    viewer.write(b"echo af''ter\n");
    viewer.until_text("after").await;
    let events = gateway.events("certificate.renew").await;
    assert_eq!(events.len(), 1);
    gateway.kill_agent();
    gateway.machine_online().await;
}

#[tokio::test]
async fn a_certificate_that_expired_is_renewed_by_the_keys_within_the_grace() {
    // R62
    let gateway = TestGateway::start();
    let before = certificates(&gateway).await;
    age(&gateway, 35);
    gateway.kill_agent();
    let renewed = eventually("renewed certificate", async || {
        let now = certificates(&gateway).await;
        (now.len() == 2 && now[0]["lastUsedAt"].is_string()).then_some(now)
    });
    let renewed = renewed.await;
    assert_ne!(renewed[0]["serial"], before[0]["serial"]);
    assert_eq!(renewed[1]["status"], "expired");
    gateway.machine_online().await;
}

#[tokio::test]
async fn beyond_the_grace_a_certificate_opens_nothing_and_the_agent_says_what_to_do() {
    // R62
    let gateway = TestGateway::start();
    age(&gateway, 65);
    gateway.kill_agent();
    let advice = eventually("advice in the agent's log", async || {
        gateway.log().lines().find(|line| line.contains("agent join --replace")).map(str::to_owned)
    });
    assert!(advice.await.contains("does not count any more"));
    assert_eq!(certificates(&gateway).await.len(), 1);
    assert!(!gateway.events("certificate.refused").await.is_empty());
}

#[tokio::test]
async fn a_revoked_certificate_ends_the_machines_live_links_within_a_second() {
    // AGT-02, TIX-4
    let gateway = TestGateway::start();
    let viewer = gateway.open(&gateway.admin, &["cat"]).await;
    gateway.session_when(&viewer.session(), |shown| shown["state"] == "live").await;
    let serial = certificates(&gateway).await[0]["serial"].as_str().unwrap().to_owned();
    let began = Instant::now();
    told(&mut adit(&gateway, &["cert", "revoke", &serial]));
    let path = format!("/api/v1/machines/{}", gateway.machine);
    eventually("machine offline", async || {
        let shown = gateway.admin.get(&path).await.ok();
        (shown["status"] != "online").then_some(())
    })
    .await;
    gateway.session_when(&viewer.session(), |shown| shown["state"] == "reconnecting").await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let refused = eventually("refusal of the machine", async || {
        gateway.events("certificate.refused").await.into_iter().next()
    });
    assert_eq!(refused.await["details"]["code"], "certificate.refused");
}

#[tokio::test]
async fn rotating_a_machine_ends_its_certificate_with_the_first_use_of_the_new_one() {
    // DESK-1
    for now in [false, true] {
        let gateway = TestGateway::start();
        let mut viewer = gateway.open(&gateway.admin, &[]).await;
        let mut rotate = adit(&gateway, &["machine", "key", "rotate", &gateway.machine]);
        let rotated = told(rotate.args(now.then_some("--now")));
        assert_eq!(rotated["changes"], "certificate");
        let after = eventually("old certificate revoked", async || {
            let now = certificates(&gateway).await;
            (now.len() == 2 && now[1]["status"] == "revoked").then_some(now)
        });
        assert_eq!(after.await[0]["status"], "valid");
        gateway.machine_online().await;
        viewer.write(b"echo af''ter\n");
        viewer.until_text("after").await;
    }
}

#[tokio::test]
async fn a_new_issuing_authority_drops_nobody() {
    // TIX-4
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &[]).await;
    let early = Holder::named(&gateway, "agent:early");
    let made = told(&mut adit(&gateway, &["cert", "ca", "rotate"]));
    assert_eq!((&made["signs"], &made["name"]), (&json!(true), &json!("Adit machines 2")));
    let late = Holder::named(&gateway, "agent:late");
    assert_eq!(early.read("ca.pem"), late.read("ca.pem"), "all trust the root");
    for holder in [&early, &late] {
        assert_eq!(holder.is_let_in().await, Some(400));
    }
    viewer.write(b"echo af''ter\n");
    viewer.until_text("after").await;
    gateway.kill_agent();
    gateway.machine_online().await;
    let listed = told(&mut adit(&gateway, &["cert", "ca", "ls"]));
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.events("authority.rotate").await.len(), 1);
}

#[tokio::test]
async fn a_holder_renews_its_own_certificate_on_the_machine_listener() {
    // TIX-4
    let gateway = TestGateway::start();
    register(&gateway, "files", &["files:read"]).await;
    let holder = Holder::with(&gateway, "agent:box", &["--capability", "files:read"]);
    let dir = tempfile::tempdir().unwrap();
    let (csr, key) = request(dir.path());
    let renewed = holder.post("/api/machine/renew", json!({"csr": csr})).await.unwrap();
    assert_eq!((renewed.0, &renewed.1["name"]), (201, &json!("agent:box")));
    let text = |name: &str| renewed.1[name].as_str().unwrap().to_owned();
    let fresh = Holder::of(&gateway, &text("certificate"), &key, &text("ca"));
    assert_eq!(fresh.is_let_in().await, Some(400));
    assert_eq!(holder.is_let_in().await, Some(400), "the one before stays good until its end");
    let listed = gateway.admin.get("/api/v1/certificates?name=agent:box").await.ok();
    assert_eq!(listed["items"][0]["capabilities"], json!(["files:read"]));
    age(&gateway, 35);
    let delegate = json!({"pluginAgentLabel": "x", "scope": "files"});
    let (status, problem) =
        holder.post("/api/certs/agent/enroll-delegated", delegate).await.unwrap();
    assert_eq!((status, &problem["code"]), (401, &json!("certificate.expired")));
    let (csr, _) = request(dir.path());
    let renewed = holder.post("/api/machine/renew", json!({"csr": csr})).await.unwrap();
    assert_eq!(renewed.0, 201, "within the grace");
}

#[tokio::test]
async fn certificates_are_listed_by_how_they_stand() {
    // TIX-4
    let gateway = TestGateway::start();
    Holder::named(&gateway, "agent:old");
    age(&gateway, 25);
    Holder::named(&gateway, "agent:new");
    let listed = async |state: &str| {
        let found = gateway.admin.get(&format!("/api/v1/certificates?state={state}")).await.ok();
        let names = found["items"].as_array().unwrap().iter().map(|one| one["name"].clone());
        names
            .filter(|name| ["agent:old", "agent:new"].iter().any(|own| name == own))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("counts").await, ["agent:new", "agent:old"]);
    assert_eq!(listed("expiring").await, ["agent:old"]);
    age(&gateway, 10);
    assert_eq!(listed("counts").await, ["agent:new"]);
    assert_eq!(listed("ended").await, ["agent:old"]);
    assert_eq!(gateway.admin.get("/api/v1/certificates?state=good").await.status, 400);
}

#[tokio::test]
async fn an_operator_renews_a_certificate_and_is_warned_of_those_that_end_soon() {
    // TIX-4
    let gateway = TestGateway::start();
    Holder::named(&gateway, "agent:box");
    age(&gateway, 25);
    let output = adit(&gateway, &["cert", "ls", "--name", "agent:box"]).output().unwrap();
    let (table, warning) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("expiring") && warning.starts_with("1 end soon."), "{table}{warning}");
    let listed = told(&mut adit(&gateway, &["cert", "ls", "--name", "agent:box"]));
    let serial = listed["items"][0]["serial"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let renewed = told(adit(&gateway, &["cert", "renew", serial, "--out"]).arg(dir.path()));
    assert_eq!((&renewed["name"], &renewed["status"]), (&json!("agent:box"), &json!("valid")));
    assert!(dir.path().join("key.pem").exists());
    told(&mut adit(&gateway, &["cert", "revoke", serial]));
    let again =
        adit(&gateway, &["cert", "renew", serial, "--out"]).arg(dir.path()).output().unwrap();
    assert_eq!(again.status.code(), Some(125), "a revoked one is not renewed");
}
