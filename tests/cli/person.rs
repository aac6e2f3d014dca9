//! A second person, who may do what the role allows and no more.

use crate::cli::connect::Terminal;
use crate::cli::world::{World, stderr, stdout};

/// Adds somebody with a role on this machine and gives their token.
pub fn add(world: &World, name: &str, role: &str) -> String {
    world.json(&["user", "add", name]);
    let principal = format!("user:{name}");
    world.json(&["grant", "add", &principal, role, "--machine", &world.machine]);
    let made = world.json(&["token", "add", "for the test", "--user", name]);
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_viewer_watches_and_cannot_type_and_leaves_when_the_role_goes() {
    // SES-12
    let world = World::start();
    let token = add(&world, "bob", "viewer");
    let refused = world.command_of(&token, &["connect", &world.machine]).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("[access."), "{}", stderr(&refused));

    let mut own = Terminal::start(&world, &["connect", &world.machine]);
    own.wait_for_prompt();
    let id = world.sessions("live")[0]["id"].as_str().unwrap().to_owned();
    let mut watching = Terminal::start_as(&world, &token, &["sessions", "join", "--watch", &id]);
    own.write("echo to be se\"en\"\r");
    watching.wait_for("to be seen");
    watching.write("echo typed by a vie\"wer\"\r");
    own.write("echo the end of it a\"ll\"\r");
    let seen = watching.wait_for("the end of it all");
    assert!(!seen.contains("typed by"), "{seen}");

    let grants = world.json(&["grant", "ls"]);
    let grant =
        grants["items"].as_array().unwrap().iter().find(|g| g["principal"]["name"] == "bob");
    let grant = grant.unwrap()["id"].as_str().unwrap();
    assert!(world.run(&["grant", "rm", grant]).status.success());
    assert_eq!(watching.end(), Some(125));
    assert!(watching.everything().contains("[access.revoked]"), "{}", watching.everything());
    own.write("exit\r");
    assert_eq!(own.end(), Some(0));
}

#[test]
fn why_says_by_what_somebody_may() {
    let world = World::start();
    add(&world, "ann", "operator");
    let may = world.run(&["why", "user:ann", "terminal:spawn", &world.machine]);
    assert_eq!(may.status.code(), Some(0), "{}", stderr(&may));
    assert!(stdout(&may).starts_with("Allowed"), "{}", stdout(&may));
    let may_not = world.run(&["why", "user:ann", "audit:read", &world.machine]);
    assert_eq!(may_not.status.code(), Some(1), "{}", stderr(&may_not));
    assert!(stdout(&may_not).starts_with("Denied"), "{}", stdout(&may_not));
}

#[test]
fn a_token_that_is_revoked_opens_nothing() {
    let world = World::start();
    let token = add(&world, "eve", "viewer");
    let list = || world.command_of(&token, &["ls"]).output().unwrap();
    assert!(list().status.success());
    let tokens = world.json(&["token", "ls", "--user", "eve"]);
    let id = tokens["items"][0]["id"].as_str().unwrap();
    assert!(world.run(&["token", "rm", id]).status.success());
    let refused = list();
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("[auth."), "{}", stderr(&refused));
}

#[test]
fn somebody_who_is_removed_is_gone() {
    let world = World::start();
    let token = add(&world, "dan", "viewer");
    assert!(world.run(&["user", "rm", "dan"]).status.success());
    assert_eq!(world.command_of(&token, &["ls"]).status().unwrap().code(), Some(125));
    assert!(!stdout(&world.run(&["user", "ls"])).contains("dan"));
}
