//! `adit audit`.

use crate::cli::world::{Running, World, stderr, stdout};

fn exported(world: &World) -> (std::path::PathBuf, String) {
    let path = world.folder().join("audit.jsonl");
    let output = world.run(&["audit", "export", "-o", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let key = world.json(&["audit", "key"])["key"].as_str().unwrap().to_owned();
    (path, key)
}

#[test]
fn the_log_says_what_was_done_and_is_proven() {
    // AUD-01, SES-43
    let world = World::start();
    assert!(world.run(&["exec", &world.machine, "--", "true"]).status.success());
    let found = world.json(&["audit", "search", "--event", "terminal_session_start"]);
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let verdict = world.json(&["audit", "verify"]);
    assert_eq!(verdict["ok"], true, "{verdict}");
    assert!(stdout(&world.run(&["audit", "tail"])).contains("terminal_session_start"));
}

#[test]
fn an_exported_log_is_proven_without_a_gateway() {
    // AUD-02
    let world = World::start();
    let (path, key) = exported(&world);
    let file = path.to_str().unwrap();
    let verify = |file: &str, key: &str| {
        world.command_of("", &["audit", "verify", file, "--key", key]).output().unwrap()
    };
    let whole = verify(file, &key);
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    let other = verify(file, &"00".repeat(32));
    assert_eq!(other.status.code(), Some(125), "another key signed nothing");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = text.replacen("\"outcome\":\"ok\"", "\"outcome\":\"denied\"", 1);
    assert_ne!(edited, text);
    std::fs::write(&path, edited).unwrap();
    let edited = verify(file, &key);
    assert_eq!(edited.status.code(), Some(125));
    assert!(stderr(&edited).contains("event 1"), "{}", stderr(&edited));
}

#[test]
fn a_tail_goes_on_with_each_new_event() {
    let world = World::start();
    let mut following =
        Running::start(&mut world.command(&["audit", "tail", "--follow", "--json"]));
    following.line();
    assert!(world.run(&["user", "add", "bob"]).status.success());
    let line = following.line_with("bob");
    assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    following.child.kill().unwrap();
}
