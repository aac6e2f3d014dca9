//! What is taken away ends what rests on it within a second, with two hundred sessions live.

use std::time::{Duration, Instant};

use adit_testkit::{Api, TestGateway, TestViewer, User};
use serde_json::json;

/// As many as the requirement says.
const LIVE: usize = 200;

/// How many sessions each kind of revocation ends.
const EACH: usize = 6;

/// The promise: the last frame is here within this after the change was answered.
const WITHIN: Duration = Duration::from_secs(1);

/// A command that waits without a sound.
const QUIET: [&str; 2] = ["sleep", "600"];

struct Person {
    user: User,
    name: String,
}

/// Adds somebody whose only role comes through a team of their own.
async fn member(gateway: &TestGateway, name: &str) -> Person {
    let user = gateway.user(name, "viewer", None).await;
    gateway.admin.delete(&format!("/api/v1/grants/{}", user.grant)).await;
    let (admin, team) = (&gateway.admin, format!("t-{name}"));
    admin.post("/api/v1/teams", json!({"name": team})).await.ok();
    let grant = json!({"principal": format!("team:{team}"), "role": "operator"});
    admin.post("/api/v1/grants", grant).await.ok();
    let joined = json!({"principal": format!("user:{name}")});
    assert_eq!(admin.post(&format!("/api/v1/teams/{team}/members"), joined).await.status, 204);
    Person { user, name: name.to_owned() }
}

async fn person(gateway: &TestGateway, name: &str) -> Person {
    Person { user: gateway.user(name, "operator", None).await, name: name.to_owned() }
}

/// Takes something away and measures until the viewer has heard why.
async fn takes(admin: &Api, path: &str, viewer: &mut TestViewer, code: &str) -> Duration {
    let begun = Instant::now();
    let answer = admin.delete(path).await;
    assert_eq!(answer.status, 204, "{path}: {}", answer.text);
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, code, "{path}");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_taken_away_ends_within_a_second_beside_two_hundred_sessions() {
    // BEY-3, DESK-3
    let gateway =
        TestGateway::start_with("[session]\nper_user = 300\nviewers_per_user = 400\ntotal = 400\n");
    let crowd = person(&gateway, "crowd").await;
    let mut live = Vec::new();
    for _ in 0..LIVE {
        live.push(gateway.open(&crowd.user.api, &QUIET).await);
    }
    let mut took: Vec<(&str, Duration)> = Vec::new();
    let admin = &gateway.admin;
    for number in 0..EACH {
        let who = person(&gateway, &format!("grant-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let path = format!("/api/v1/grants/{}", who.user.grant);
        took.push(("grant", takes(admin, &path, &mut viewer, "access.revoked").await));

        let who = person(&gateway, &format!("user-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let path = format!("/api/v1/users/{}", who.user.id);
        took.push(("user", takes(admin, &path, &mut viewer, "access.inactive").await));

        let who = person(&gateway, &format!("token-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let tokens = admin.get(&format!("/api/v1/users/{}/tokens", who.user.id)).await.ok();
        let path = format!("/api/v1/tokens/{}", tokens["items"][0]["id"].as_str().unwrap());
        took.push(("token", takes(admin, &path, &mut viewer, "auth.ended").await));

        let who = member(&gateway, &format!("leaves-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let path = format!("/api/v1/teams/t-{0}/members/user:{0}", who.name);
        took.push(("membership", takes(admin, &path, &mut viewer, "access.revoked").await));

        let who = member(&gateway, &format!("team-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let path = format!("/api/v1/teams/t-{}", who.name);
        took.push(("team", takes(admin, &path, &mut viewer, "access.revoked").await));

        let who = person(&gateway, &format!("session-{number}")).await;
        let mut viewer = gateway.open(&who.user.api, &QUIET).await;
        let path = format!("/api/v1/sessions/{}", viewer.session());
        took.push(("session", takes(admin, &path, &mut viewer, "session.killed").await));
    }
    took.sort_by_key(|(_, time)| *time);
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    println!("median {:?}, p99 {:?} ({})", took[took.len() / 2].1, p99.1, p99.0);
    assert!(p99.1 <= WITHIN, "{took:?}");
    let machine = format!("/api/v1/machines/{}", gateway.machine);
    let begun = Instant::now();
    assert_eq!(admin.delete(&machine).await.status, 204);
    for viewer in &mut live {
        assert_eq!(viewer.end().await.0.code, "target.inactive");
    }
    println!("{LIVE} sessions of a removed machine ended after {:?}", begun.elapsed());
}
