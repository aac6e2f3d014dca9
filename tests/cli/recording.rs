//! `adit recordings` and `adit play`.

use serde_json::Value;

use crate::cli::world::{World, stderr, stdout};

fn recorded(world: &World) -> String {
    let script = "echo a line to find; printf '\\033]0;a title\\007'; exit 0";
    let ran = world.run(&["exec", &world.machine, "-t", "--", "sh", "-c", script]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let complete = |listed: &Value| listed["items"][0]["state"] == "complete";
    let listed = world.wait_for(&["recordings", "ls"], complete);
    listed["items"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_recording_is_proven_played_and_searched() {
    // TERM-40, TERM-41, TERM-42
    let world = World::start();
    let id = recorded(&world);
    let verdict = world.json(&["recordings", "verify", &id]);
    assert_eq!(verdict["ok"], true, "{verdict}");
    let found = world.json(&["recordings", "search", &id, "to find"]);
    assert!(found["items"][0]["text"].as_str().unwrap().contains("a line to find"), "{found}");
    let played = stdout(&world.run(&["play", &id]));
    assert!(played.contains("a line to find\r\n"), "{played:?}");
    // TERM-7
    assert!(!played.contains("a title"), "a recording sets no title: {played:?}");
}

#[test]
fn an_exported_recording_is_played_from_its_file() {
    // TERM-41
    let world = World::start();
    let id = recorded(&world);
    for format in ["cast", "raw"] {
        let path = world.folder().join(format);
        let to = path.to_str().unwrap();
        let exported = world.run(&["recordings", "export", &id, "-o", to, "--format", format]);
        assert!(exported.status.success(), "{}", stderr(&exported));
        let played = world.command_of("", &["play", to]).output().unwrap();
        assert!(stdout(&played).contains("a line to find"), "{format}: {}", stderr(&played));
    }
}

#[test]
fn a_recording_that_was_changed_is_refused() {
    // TERM-42
    let world = World::start();
    let id = recorded(&world);
    let path = find(&world.folder().join("data"), &id).expect("the recording is a file");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = world.run(&["recordings", "verify", &id]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("does not hold"), "{}", stderr(&output));
}

fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.file_name()?.to_str()?.contains(name).then_some(path),
    })
}
