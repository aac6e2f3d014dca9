//! How much of each there may be, and how long it lasts: at each limit and one past it.

use futures_util::future::join_all;
use serde_json::json;

use super::peer::{Peer, Reach, assign, hold, offer, scope};

#[tokio::test]
async fn a_source_gets_ten_tickets_a_minute_wherever_the_minute_begins() {
    // TIX-40, TKT-07
    let pair = Reach::start().await;
    for _ in 0..10 {
        pair.ticket().await;
    }
    let (status, refused) = pair.ask().await;
    assert_eq!((status, &refused["code"]), (429, &json!("ticket.rate")));
    pair.age(59_000);
    assert_eq!(pair.ask().await.0, 429, "the window slides");
    pair.source.delete(&format!("/api/tickets/instances/{}", pair.instance)).await;
    let again = offer(&pair.source).await;
    assign(&pair.operator, "beta", &again).await;
    let wish = json!({"scope": "shell:connect", "instanceId": again, "target": "beta"});
    assert_eq!(
        pair.source.post("/api/tickets", wish.clone()).await.0,
        429,
        "a new instance is no new minute"
    );
    pair.age(1_001);
    assert_eq!(pair.source.post("/api/tickets", wish).await.0, 201);
}

#[tokio::test]
async fn live_tickets_are_capped_and_no_source_has_more_than_a_tenth() {
    // TIX-40, TKT-09
    let pair = Reach::start_with("[tickets]\nper_minute = 0\nlive = 20\n").await;
    let gamma = Peer::named(&pair.gateway, "agent:gamma");
    hold(&pair.operator, "gamma", &["shell:connect"]).await;
    let other = offer(&gamma).await;
    assign(&pair.operator, "beta", &other).await;
    let first = pair.ticket().await;
    pair.ticket().await;
    let (status, full) = pair.ask().await;
    assert_eq!((status, &full["code"]), (503, &json!("ticket.limit")));
    let wish = json!({"scope": "shell:connect", "instanceId": other, "target": "beta"});
    assert_eq!(gamma.post("/api/tickets", wish).await.0, 201, "another source is not kept from it");
    assert_eq!(pair.validate(&first).await.0, 200);
    pair.ticket().await;
    pair.age(30_001);
    pair.ticket().await;
    pair.ticket().await;
    assert_eq!(pair.ask().await.0, 503);
}

#[tokio::test]
async fn instances_and_sessions_are_capped() {
    // TIX-20, TIX-50, TIX-54, TKT-09
    let pair =
        Reach::start_with("[tickets]\nper_minute = 0\ninstances = 20\nsessions = 20\n").await;
    pair.operator.post("/api/tickets/scopes", scope("files", &["files:read", "files:write"])).await;
    hold(&pair.operator, "alpha", &["files:read", "files:write", "shell:connect"]).await;
    let body = |scope: &str| json!({"scope": scope, "transport": {"strategies": ["relay"]}});
    assert_eq!(pair.source.post("/api/tickets/instances", body("files:read")).await.0, 201);
    let (status, full) = pair.source.post("/api/tickets/instances", body("files:write")).await;
    assert_eq!((status, &full["code"]), (503, &json!("instance.limit")));
    assert_eq!(
        pair.source.post("/api/tickets/instances", body("files:read")).await.0,
        200,
        "again is no more"
    );
    let first = pair.session().await;
    pair.session().await;
    let ticket = pair.ticket().await;
    pair.validate(&ticket).await;
    let open = json!({"ticketId": ticket});
    let (status, full) = pair.target.post("/api/tickets/sessions", open.clone()).await;
    assert_eq!((status, &full["code"]), (503, &json!("ticket.sessions")));
    pair.operator.delete(&format!("/api/tickets/sessions/{first}")).await;
    assert_eq!(pair.target.post("/api/tickets/sessions", open).await.0, 201);
}

#[tokio::test]
async fn a_ticket_lasts_thirty_seconds_and_opens_a_session_for_a_minute_after() {
    // TIX-44, TIX-50, TKT-12
    let pair = Reach::start().await;
    let ticket = pair.ticket().await;
    pair.age(29_000);
    assert_eq!(pair.validate(&ticket).await.0, 200);
    let late = pair.ticket().await;
    pair.age(30_001);
    assert_eq!(pair.validate(&late).await.0, 401);
    let open = |id: &str| json!({"ticketId": id});
    let path = "/api/tickets/sessions";
    let never = pair.ticket().await;
    let (status, refused) = pair.target.post(path, open(&never)).await;
    assert_eq!((status, &refused["code"]), (400, &json!("ticket.state")), "not validated");
    assert_eq!(pair.source.post(path, open(&ticket)).await.0, 400, "another's");
    pair.age(25_000);
    let all = join_all((0..50).map(|_| pair.target.post(path, open(&ticket)))).await;
    let opened = all.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!((opened, all.iter().filter(|(status, _)| *status == 409).count()), (1, 49));
    let slow = pair.ticket().await;
    assert_eq!(pair.validate(&slow).await.0, 200);
    pair.age(60_001);
    assert_eq!(pair.target.post(path, open(&slow)).await.0, 400);
}

#[tokio::test]
async fn an_instance_goes_stale_comes_back_and_is_removed_when_dead() {
    // TIX-23, TKT-22
    let pair = Reach::start().await;
    let session = pair.session().await;
    pair.age(300_001);
    let (status, stale) = pair.ask().await;
    assert_eq!((status, &stale["code"]), (503, &json!("instance.stale")));
    let (_, listed) = pair.operator.get("/api/tickets/scopes").await;
    assert_eq!(listed["instances"][0]["status"], "stale");
    let beat = format!("/api/tickets/instances/{}/heartbeat", pair.instance);
    assert_eq!(pair.source.post(&beat, json!({})).await.0, 200);
    assert_eq!(pair.ask().await.0, 201);
    assert_eq!(pair.heartbeat(&session).await.1, json!({"authorized": true}));
    pair.age(3_600_001);
    adit_testkit::eventually("removal of the dead instance", async || {
        let (_, listed) = pair.operator.get("/api/tickets/scopes").await;
        (listed["instances"] == json!([]) && listed["assignments"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(pair.heartbeat(&session).await.0, 404);
    assert_eq!(pair.ask().await.0, 404);
    assert_eq!(pair.operator.get("/api/tickets").await.1, json!({"tickets": []}));
    assert_eq!(pair.gateway.events("instance.dead").await.len(), 1);
}

#[tokio::test]
async fn a_session_ends_after_its_grace_and_after_ten_silent_minutes() {
    // TIX-52, TIX-53
    let pair = Reach::start().await;
    let session = pair.session().await;
    let path = format!("/api/tickets/sessions/{session}");
    let (status, left) = pair.target.patch(&path, json!({"status": "grace"})).await;
    assert_eq!((status, &left["session"]["status"]), (200, &json!("grace")));
    pair.age(50_000);
    // A second word of it begins no new grace.
    assert_eq!(pair.source.patch(&path, json!({"status": "grace"})).await.0, 200);
    let (_, back) = pair.target.patch(&path, json!({"status": "active"})).await;
    assert_eq!(back["session"]["status"], "active");
    for bad in [json!({"status": "dead"}), json!({"status": 1}), json!({})] {
        assert_eq!(pair.target.patch(&path, bad).await.0, 400);
    }
    pair.target.patch(&path, json!({"status": "grace"})).await;
    pair.age(60_001);
    let (status, over) = pair.target.patch(&path, json!({"status": "active"})).await;
    assert_eq!((status, &over["code"]), (409, &json!("ticket.session_over")));
    assert_eq!(
        pair.heartbeat(&session).await.1,
        json!({"authorized": false, "reason": "grace_expired"})
    );
    let second = pair.session().await;
    pair.gateway
        .sql("UPDATE machine_sessions SET heard_at = heard_at - 599000 WHERE status = 'active'");
    assert_eq!(pair.heartbeat(&second).await.1, json!({"authorized": true}));
    pair.gateway
        .sql("UPDATE machine_sessions SET heard_at = heard_at - 600001 WHERE status = 'active'");
    assert_eq!(pair.heartbeat(&second).await.1, json!({"authorized": false, "reason": "inactive"}));
    let stranger = Peer::named(&pair.gateway, "agent:gamma");
    assert_eq!(stranger.patch(&path, json!({"status": "active"})).await.0, 404);
    assert_eq!(stranger.post(&format!("{path}/heartbeat"), json!({})).await.0, 404);
    pair.gateway.sql("UPDATE machine_sessions SET ended_at = ended_at - 86400001");
    adit_testkit::eventually("removal of old sessions", async || {
        let (_, listed) = pair.operator.get("/api/tickets/sessions").await;
        (listed == json!({"sessions": []})).then_some(())
    })
    .await;
}
