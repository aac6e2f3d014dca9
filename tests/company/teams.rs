//! Groups of the issuer, and the teams that follow them.

use adit_testkit::{TestViewer, eventually};
use serde_json::{Value, json};

use super::browser::Browser;
use super::provider::{Session, World, ann};

/// Changes ann's groups at the issuer.
async fn groups(world: &World, groups: &[&str]) {
    let mut claims = ann();
    claims["groups"] = json!(groups);
    world.provider.account("ann", claims).await;
}

/// Gives the names and sources of a team's members.
async fn members(world: &World, team: &str) -> Vec<(Value, Value)> {
    let listed = world.gateway.admin.get(&format!("/api/v1/teams/{team}/members")).await.ok();
    let items = listed["items"].as_array().unwrap();
    items.iter().map(|one| (one["principal"]["name"].clone(), one["source"].clone())).collect()
}

async fn names(world: &World, event: &str) -> Vec<Value> {
    let events = world.gateway.events(event).await;
    let of_provider = events.iter().filter(|event| event["details"]["provider"] == "work");
    of_provider.map(|event| event["details"]["team"].clone()).collect()
}

#[tokio::test]
async fn groups_become_teams_as_the_settings_say_at_each_sign_in() {
    // TERM-22
    let world = World::start("teams = { \"eng\" = \"engineers\" }\nmake_teams = true").await;
    groups(&world, &["eng", "other"]).await;
    world.signed_in(&mut Browser::new()).await;
    let here = (json!("ann.lee"), json!("work"));
    assert_eq!(members(&world, "engineers").await, [here]);
    assert_eq!(names(&world, "team.join").await, [json!("engineers")]);
    assert_eq!(world.gateway.admin.get("/api/v1/teams/other/members").await.status, 404);
    groups(&world, &[]).await;
    world.signed_in(&mut Browser::new()).await;
    assert_eq!(members(&world, "engineers").await, []);
    assert_eq!(names(&world, "team.leave").await, [json!("engineers")]);
}

#[tokio::test]
async fn a_team_that_is_not_there_is_not_made_unless_the_settings_say() {
    let world = World::start("teams_by_name = true").await;
    world.gateway.admin.post("/api/v1/teams", json!({"name": "eng"})).await.ok();
    groups(&world, &["eng", "ops", "Not A Name"]).await;
    world.signed_in(&mut Browser::new()).await;
    assert_eq!(members(&world, "eng").await.len(), 1);
    assert_eq!(world.gateway.admin.get("/api/v1/teams/ops/members").await.status, 404);
}

#[tokio::test]
async fn a_membership_that_people_made_stays_when_the_group_goes() {
    let world = World::start("teams_by_name = true\nmake_teams = true").await;
    world.signed_in(&mut Browser::new()).await;
    let body = json!({"principal": "user:ann.lee"});
    let added = world.gateway.admin.post("/api/v1/teams/eng/members", body).await;
    assert!(added.status.is_success(), "{}", added.text);
    groups(&world, &[]).await;
    world.signed_in(&mut Browser::new()).await;
    assert_eq!(members(&world, "eng").await, [(json!("ann.lee"), json!("local"))]);
}

/// Opens a terminal by the browser's cookie.
async fn terminal(world: &World, session: &Session) -> TestViewer {
    let command = ["sh", "-c", "echo ready; exec cat"];
    let wish = json!({"machine": world.gateway.machine, "pty": true, "command": command});
    let ticket = session.post("/api/v1/tickets", wish).await.ok();
    let terminal = world.gateway.redeem(ticket["ticket"].as_str().unwrap(), None).await.unwrap();
    let mut viewer = TestViewer::admitted(terminal).await;
    viewer.until_text("ready").await;
    viewer
}

#[tokio::test]
async fn who_leaves_a_group_loses_what_its_team_opened() {
    // BRW-25, BEY-3
    let world = World::start("teams_by_name = true\nrefresh_every_seconds = 1").await;
    world.gateway.admin.post("/api/v1/teams", json!({"name": "eng"})).await.ok();
    let grant = json!({"principal": "team:eng", "role": "operator"});
    world.gateway.admin.post("/api/v1/grants", grant).await.ok();
    let session = world.signed_in(&mut Browser::new()).await;
    let mut viewer = terminal(&world, &session).await;
    groups(&world, &["sales"]).await;
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "access.revoked");
    assert_eq!(session.name().await, "ann.lee", "the sign-in goes on");
}

#[tokio::test]
async fn an_account_that_is_gone_leaves_its_teams() {
    // BRW-25
    let world =
        World::start("teams_by_name = true\nmake_teams = true\nrefresh_every_seconds = 1").await;
    world.signed_in(&mut Browser::new()).await;
    assert_eq!(members(&world, "eng").await.len(), 1);
    world.provider.control("forget", json!({"sub": "ann"})).await;
    let left = async || members(&world, "eng").await.is_empty().then_some(());
    eventually("leaving of the team", left).await;
}
