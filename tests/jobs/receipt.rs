//! Receipts of jobs.

use std::process::Command;

use serde_json::json;

use super::{execute, job_when, run, start};

fn sha256(text: &str) -> String {
    adit_wire::digest::Digest::of(b"", &[text.as_bytes()]).to_string()
}

#[tokio::test]
async fn a_job_has_a_signed_receipt_whose_digest_is_in_the_log() {
    // BEY-7
    let gateway = start("").await;
    let job = run(&gateway, "say", json!({"text": "hello"})).await;
    let id = job["job_id"].as_str().unwrap();
    let answer = gateway.admin.get(&format!("/jobs/{id}/receipt")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let receipt = &answer.json()["receipt"];
    for (name, wanted) in [
        ("job", json!(id)),
        ("session", job["session_id"].clone()),
        ("template", json!("say")),
        ("version", job["version"].clone()),
        ("content", job["content"].clone()),
        ("argv", job["argv"].clone()),
        ("state", json!("succeeded")),
        ("exit", json!(0)),
    ] {
        assert_eq!(receipt[name], wanted, "{name}: {receipt}");
    }
    assert_eq!(
        receipt["stdout"],
        json!({"bytes": 5, "dropped": 0, "sha256": sha256("hello")}),
        "{receipt}"
    );
    assert_eq!(receipt["stderr"]["sha256"], sha256(""));
    assert_eq!(receipt["used"]["peak_bytes"], job["resources"]["peak_bytes"]);
    let finished = gateway.events("recording.finish").await;
    assert_eq!(receipt["recording"], finished[0]["details"]["hash"]);
    let line = answer.text.trim_end();
    let signed = adit_wire::receipt::SignedReceipt::parse(line).unwrap();
    let ended = &gateway.events("job.end").await[0];
    assert_eq!(ended["details"]["receipt"], signed.digest().to_string(), "{ended}");
}

#[tokio::test]
async fn a_receipt_is_verified_without_a_gateway_and_a_changed_one_does_not_hold() {
    // BEY-7
    let gateway = start("").await;
    let job = run(&gateway, "fails", json!({})).await;
    let path = format!("/jobs/{}/receipt", job["job_id"].as_str().unwrap());
    let receipt = gateway.admin.get(&path).await.text;
    let status = gateway.admin.get("/api/v1/status").await.json();
    let key = status["auditKey"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let verify = |text: &str, key: &str| {
        let file = folder.path().join("receipts.jsonl");
        std::fs::write(&file, text).unwrap();
        let done = Command::new(adit_testkit::binary())
            .args(["jobs", "verify"])
            .arg(&file)
            .args(["--key", key])
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    };
    let (holds, said) = verify(&receipt, key);
    assert!(holds && said.contains("ran fails on") && said.contains("exit status 1"), "{said}");
    let changed = receipt.replace("\"exit\":1", "\"exit\":0");
    assert_ne!(changed, receipt);
    let (holds, said) = verify(&changed, key);
    assert!(!holds && said.contains("not signed by a trusted key"), "{said}");
    assert!(!verify(&receipt, &"0".repeat(64)).0);
    assert!(!verify("", key).0, "nothing is no receipt");
}

#[tokio::test]
async fn what_is_not_over_and_what_never_began_have_no_receipt() {
    // BEY-7
    let gateway = start("").await;
    let running = execute(&gateway.admin, &gateway, "nap", json!({})).await;
    job_when(&gateway.admin, &running, |job| job["status"] == "running").await;
    let early = gateway.admin.get(&format!("/jobs/{running}/receipt")).await;
    assert_eq!(early.status, 409, "{}", early.text);
    gateway.admin.delete(&format!("/jobs/{running}")).await;
    job_when(&gateway.admin, &running, |job| job["status"] == "cancelled").await;
    let after = gateway.admin.get(&format!("/jobs/{running}/receipt")).await.json();
    assert_eq!(after["receipt"]["state"], "cancelled", "{after}");
    assert_eq!(after["receipt"]["reason"], "job.cancelled", "{after}");
    execute(&gateway.admin, &gateway, "once", json!({"seconds": 60})).await;
    let waiting = execute(&gateway.admin, &gateway, "once", json!({"seconds": 60})).await;
    gateway.admin.delete(&format!("/jobs/{waiting}")).await;
    job_when(&gateway.admin, &waiting, |job| job["status"] == "cancelled").await;
    let never = gateway.admin.get(&format!("/jobs/{waiting}/receipt")).await;
    assert_eq!(never.status, 409, "{}", never.text);
    assert!(never.text.contains("never given out"), "{}", never.text);
}
