//! A terminal whose machine is at one gateway and whose viewer is at another.

use std::time::{Duration, Instant};

use adit_testkit::{eventually, within};
use serde_json::json;

use super::pair::{AT_ONCE, BY_LOOKING, Pair, bus_is, health, metric, revoke};

#[tokio::test]
async fn a_viewer_at_one_gateway_has_a_shell_on_a_machine_at_another() {
    // MNO-01
    let pair = Pair::start().await;
    let mut viewer = pair.open_across(&pair.b.admin, &[]).await;
    viewer.write(b"echo $((6 * 7))-is-it\r");
    viewer.until_text("42-is-it").await;
    let shown = pair.a.admin.get(&format!("/api/v1/sessions/{}", viewer.session())).await.ok();
    assert_eq!(
        shown["machine"]["label"].as_str().or(shown["machine"].as_str()),
        Some(&*pair.a.machine)
    );
    viewer.write(b"exit 3\r");
    viewer.until("end of the session", |viewer| viewer.ended.is_some()).await;
    assert_eq!(viewer.ended.unwrap().code, "session.exited");
}

#[tokio::test]
async fn a_machine_at_one_gateway_is_online_at_every_other() {
    let pair = Pair::start().await;
    let shown = pair.b.admin.get(&format!("/api/v1/machines/{}", pair.a.machine)).await.ok();
    assert_eq!(shown["status"], "online");
}

#[tokio::test]
async fn a_role_taken_away_at_one_gateway_ends_the_terminal_at_another_within_a_second() {
    // MNO-01
    let pair = Pair::start().await;
    let ann = pair.user_at_b("ann").await;
    let mut viewer = pair.open_across(&ann.api, &["sleep", "600"]).await;
    let took = revoke(&pair, &ann, &mut viewer).await;
    assert_eq!(viewer.ended.unwrap().code, "access.revoked");
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn a_bus_that_was_flushed_carries_on() {
    // R19
    let pair = Pair::start().await;
    let ann = pair.user_at_b("ann").await;
    let mut viewer = pair.open_across(&ann.api, &["cat"]).await;
    pair.redis.command(&["FLUSHALL"]).await;
    viewer.write(b"still here\r");
    viewer.until_text("still here").await;
    let took = revoke(&pair, &ann, &mut viewer).await;
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn without_its_bus_a_role_taken_away_counts_within_five_seconds() {
    // MNO-01, R19
    let mut pair = Pair::start().await;
    let ann = pair.user_at_b("ann").await;
    let mut viewer = pair.open_across(&ann.api, &["cat"]).await;
    pair.redis.kill();
    bus_is(&pair.b, "away").await;
    assert_eq!(health(&pair.b).await["status"], "degraded");
    assert_eq!(metric(&pair.b, "adit_bus_up").await, 0.0);
    viewer.write(b"still here\r");
    viewer.until_text("still here").await;
    let took = revoke(&pair, &ann, &mut viewer).await;
    assert_eq!(viewer.ended.unwrap().code, "access.revoked");
    assert!(took < BY_LOOKING, "{took:?}");
    pair.redis.restart().await;
    bus_is(&pair.b, "ok").await;
    bus_is(&pair.a, "ok").await;
    assert_eq!(metric(&pair.b, "adit_bus_up").await, 1.0);
    let mut viewer = pair.open_across(&pair.b.admin, &["cat"]).await;
    viewer.write(b"and again\r");
    viewer.until_text("and again").await;
}

#[tokio::test]
async fn without_its_bus_a_machine_elsewhere_is_offline_and_one_here_is_not() {
    // R19
    let pair = Pair::start().await;
    pair.redis.kill();
    bus_is(&pair.b, "away").await;
    let wish = json!({"machine": pair.a.machine, "pty": true});
    let ticket = pair.b.ticket(&pair.b.admin, wish).await;
    assert_eq!(pair.b.refused(&ticket).await.code, "target.offline");
    let mut viewer = pair.b.open(&pair.b.admin, &["cat"]).await;
    viewer.write(b"here\r");
    viewer.until_text("here").await;
}

#[tokio::test]
async fn a_session_is_joined_at_its_own_gateway_and_ended_from_any() {
    let pair = Pair::start().await;
    let mut viewer = pair.open_across(&pair.b.admin, &["cat"]).await;
    let wish = json!({"session": viewer.session(), "mode": "control"});
    let refused = pair.a.admin.post("/api/v1/tickets", wish).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (421, "session.elsewhere"));
    assert!(refused.json()["detail"].as_str().unwrap().contains(&pair.b.admin.url), "{refused:?}");
    let path = format!("/api/v1/sessions/{}", viewer.session());
    pair.a.admin.delete(&path).await;
    viewer.until("end of the session", |viewer| viewer.ended.is_some()).await;
    assert_eq!(viewer.ended.unwrap().code, "session.closed");
}

#[tokio::test]
async fn the_death_of_a_gateway_costs_the_sessions_of_another_nothing() {
    // R19
    let pair = Pair::start().await;
    let mut viewer = pair.open_across(&pair.b.admin, &["cat"]).await;
    pair.a.kill_gateway();
    viewer.write(b"without A\r");
    viewer.until_text("without A").await;
    pair.a.answers().await;
    pair.a.machine_online().await;
    viewer.write(b"and with it\r");
    viewer.until_text("and with it").await;
    let shown = pair.b.session_when(&viewer.session(), |shown| shown["state"] == "live").await;
    assert_eq!(shown["id"].as_str(), Some(&*viewer.session()));
}

#[tokio::test]
async fn a_session_goes_on_when_its_own_gateway_comes_back() {
    let pair = Pair::start().await;
    let mut viewer = pair.open_across(&pair.b.admin, &["cat"]).await;
    viewer.write(b"one\r");
    viewer.until_text("one").await;
    pair.b.kill_gateway();
    while viewer.next().await.is_ok() {}
    pair.b.bring_back(&pair.b.admin, &mut viewer).await;
    viewer.write(b"two\r");
    viewer.until_text("two").await;
}

#[tokio::test]
async fn a_console_at_one_gateway_hears_what_changed_at_another() {
    // MNO-01
    let pair = Pair::start().await;
    let request = pair.b.admin.request(reqwest::Method::GET, "/api/v1/stream");
    let mut stream = request.send().await.unwrap();
    pair.a.user("ann", "viewer", None).await;
    let mut heard = String::new();
    within("word of a change", async {
        while !heard.contains("access") {
            heard.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_machine_says_of_a_session_elsewhere_is_heard_there() {
    let pair = Pair::start().await;
    let wish = json!({"machine": pair.a.machine, "command": ["/no/such/program"], "pty": true});
    let ticket = pair.b.ticket(&pair.b.admin, wish).await;
    let mut terminal = pair.b.redeem(&ticket, None).await.unwrap();
    let asked = Instant::now();
    let ended = within("end of the session", async {
        loop {
            if let Ok(adit_link::viewer::Event::Ended(ended)) = terminal.next().await {
                return ended;
            }
        }
    })
    .await;
    assert_eq!(ended.code, "target.failed");
    // Unheard, the session would wait for its machine for a minute.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    eventually("no session", async || {
        let list = pair.a.admin.get("/api/v1/sessions?state=live").await.ok();
        list["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
}
