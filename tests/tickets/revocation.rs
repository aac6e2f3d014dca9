//! What is taken away ends what rests on it, with the reason.

use serde_json::json;

use super::ends::End;
use super::peer::{Peer, Reach, hold};
use crate::machines::holder::{Holder, request};

async fn revoke(pair: &Reach, name: &str) {
    let listed = pair.gateway.admin.get(&format!("/api/v1/certificates?name={name}")).await.ok();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let answer = pair.gateway.admin.delete(&format!("/api/v1/certificates/{id}")).await;
    assert!(answer.status.is_success());
}

/// Waits until a session is over without anybody asking about it; gives why.
async fn ended(pair: &Reach, session: &str) -> String {
    adit_testkit::eventually("end of a session between machines", async || {
        let (_, listed) = pair.operator.get("/api/tickets/sessions").await;
        let all = listed["sessions"].as_array().unwrap();
        let one = all.iter().find(|one| one["sessionId"] == session)?;
        (one["status"] == "dead").then(|| one["reason"].as_str().unwrap().to_owned())
    })
    .await
}

#[tokio::test]
async fn each_condition_of_a_heartbeat_ends_a_session_with_its_reason() {
    // TIX-51, TKT-14
    for reason in [
        "admin_killed",
        "capability_removed",
        "target_capability",
        "assignment_removed",
        "source_revoked",
        "target_revoked",
        "ticket",
    ] {
        let pair = Reach::start().await;
        let session = pair.session().await;
        let scope = format!("shell:connect:{}", pair.instance);
        match reason {
            "admin_killed" => {
                let path = format!("/api/tickets/sessions/{session}");
                assert_eq!(pair.operator.delete(&path).await, (200, json!({"ok": true})));
            }
            "capability_removed" => hold(&pair.operator, "alpha", &[]).await,
            "target_capability" => hold(&pair.operator, "beta", &[]).await,
            "assignment_removed" => {
                let path = format!("/api/tickets/assignments/beta/{scope}");
                assert_eq!(pair.operator.delete(&path).await.0, 200);
            }
            "source_revoked" => revoke(&pair, "agent:alpha").await,
            "target_revoked" => revoke(&pair, "agent:beta").await,
            _ => {
                let (_, listed) = pair.operator.get("/api/tickets").await;
                let handle = listed["tickets"][0]["id"].as_str().unwrap();
                assert_eq!(handle.len(), 32, "a list has handles");
                assert_eq!(pair.operator.delete(&format!("/api/tickets/{handle}")).await.0, 200);
            }
        }
        let expected = match reason {
            "target_capability" => "capability_removed",
            "ticket" => "admin_killed",
            other => other,
        };
        assert_eq!(ended(&pair, &session).await, expected, "nobody had to ask");
        if reason != "target_revoked" {
            let said = json!({"authorized": false, "reason": expected});
            assert_eq!(pair.heartbeat(&session).await, (200, said));
            let path = format!("/api/tickets/sessions/{session}");
            assert_eq!(pair.target.patch(&path, json!({"status": "active"})).await.0, 409);
        }
        assert_eq!(pair.gateway.events("session.end").await.len(), 1);
    }
}

#[tokio::test]
async fn what_was_taken_away_after_a_ticket_was_used_opens_no_session() {
    // TIX-50, TIX-51
    let pair = Reach::start().await;
    let ticket = pair.ticket().await;
    assert_eq!(pair.validate(&ticket).await.0, 200);
    let path = format!("/api/tickets/assignments/beta/shell:connect:{}", pair.instance);
    assert_eq!(pair.operator.delete(&path).await.0, 200);
    let body = json!({"ticketId": ticket});
    let (status, refused) = pair.target.post("/api/tickets/sessions", body).await;
    assert_eq!((status, &refused["code"]), (400, &json!("ticket.state")));
}

#[tokio::test]
async fn a_machine_whose_certificate_is_revoked_is_told_and_its_programs_end() {
    // TIX-1, AGT-02
    let pair = Reach::start().await;
    let to = ["offer", "shell:connect", "--to", "127.0.0.1:9"];
    let mut offer = End::start(&pair.gateway, &pair.source.holder, &to);
    offer.told("registered").await;
    let listen = ["use", "shell:connect", "--listen", "127.0.0.1:0"];
    let mut target = End::start(&pair.gateway, &pair.target.holder, &listen);
    target.told("letIn").await;
    revoke(&pair, "agent:beta").await;
    assert_eq!(target.ended().await, Some(125), "it does not listen on for nothing");
    assert_eq!(offer.told("ended").await["reason"], "target_revoked");
    revoke(&pair, "agent:alpha").await;
    assert_eq!(offer.ended().await, Some(125));
}

#[tokio::test]
async fn whoever_spoke_for_a_machine_does_not_speak_for_the_next_of_its_label() {
    // TIX-3
    let pair = Reach::start().await;
    let ask = json!({"pluginAgentLabel": "backup", "scope": "shell:connect"});
    let (status, delegated) = pair.source.post("/api/certs/agent/enroll-delegated", ask).await;
    assert_eq!(status, 201, "{delegated}");
    let folder = tempfile::tempdir().unwrap();
    let (csr, key) = request(folder.path());
    let body = json!({"token": delegated["token"], "csr": csr});
    let enrolled = pair.gateway.admin.post("/api/enroll", body).await.ok();
    let text = |name: &str| enrolled[name].as_str().unwrap().to_owned();
    let holder = Holder::of(&pair.gateway, &text("certificate"), &key, &text("ca"));
    let plugin = Peer::of(&pair.gateway, holder);
    assert_eq!(plugin.get("/api/tickets/inbox").await.0, 200);
    revoke(&pair, "agent:alpha").await;
    assert_eq!(plugin.get("/api/tickets/inbox").await.0, 401, "it ends with its machine");
    let token = json!({"label": "alpha"});
    let token = pair.gateway.admin.post("/api/v1/enrolment-tokens", token).await.ok();
    let (csr, _) = request(folder.path());
    let body = json!({"token": token["token"], "csr": csr});
    let next = pair.gateway.admin.post("/api/enroll", body).await.ok();
    assert_eq!(next["name"], "agent:alpha");
    assert_eq!(
        plugin.get("/api/tickets/inbox").await.0,
        401,
        "and does not come back with the next"
    );
    let holders = pair.gateway.admin.get("/api/tickets/capabilities").await.ok();
    assert_eq!(
        holders["holders"],
        json!([{"agentLabel": "beta", "capabilities": ["shell:connect"]}])
    );
}
