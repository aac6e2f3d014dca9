//! What is taken away ends what rests on it, with the reason.

use serde_json::json;

use super::peer::{Reach, hold};

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
