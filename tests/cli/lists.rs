//! The commands that list, show and diagnose.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::cli::world::{World, binary, feed, stderr, stdout};

#[test]
fn machines_are_listed_for_people_and_for_scripts() {
    let world = World::start();
    let listed = world.json(&["ls"]);
    assert_eq!(listed["items"][0]["label"], world.machine.as_str());
    assert_eq!(listed["items"][0]["status"], "online");
    let table = stdout(&world.run(&["ls"]));
    assert!(table.starts_with("MACHINE") && table.contains(&world.machine), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours outside a terminal");
}

#[test]
fn an_empty_list_says_what_to_do_next() {
    let world = World::start();
    let said = stdout(&world.run(&["sessions", "ls"]));
    assert!(said.contains("adit connect"), "{said}");
    assert_eq!(world.json(&["sessions", "ls"])["items"], serde_json::json!([]));
}

#[test]
fn a_doctor_finds_nothing_wrong_where_nothing_is() {
    // SES-44
    let world = World::start();
    let told = world.json(&["doctor"]);
    assert_eq!(told["ok"], true, "{told}");
    let states: Vec<&str> =
        told["findings"].as_array().unwrap().iter().map(|f| f["state"].as_str().unwrap()).collect();
    assert!(states.len() >= 8 && states.iter().all(|state| *state == "ok"), "{told}");
}

#[test]
fn a_doctor_says_what_is_wrong_and_how_to_mend_it() {
    // SES-44
    let world = World::start();
    let mut command = world.command_of("adt_wrong", &["doctor"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stdout(&output).contains("adit login"), "{}", stdout(&output));
    let unreachable = world.command(&["doctor", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(unreachable.status.code(), Some(125));
    assert!(stdout(&unreachable).contains("adit up"), "{}", stdout(&unreachable));
}

#[test]
fn a_doctor_finds_a_nonce_history_that_is_too_small() {
    // SES-44
    let world = World::start_with("[session]\nnonce_history_limit = 500\n");
    let told = world.json(&["doctor"]);
    let codes: Vec<&str> =
        told["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    assert_eq!(codes, ["nonces.small"], "{told}");
}

#[test]
fn a_login_is_kept_in_a_file_of_the_users_own() {
    // SSH-29
    let world = World::start();
    let config = world.folder().join("config");
    let alone = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).env_remove("ADIT_URL").env_remove("ADIT_TOKEN");
        command.env("XDG_CONFIG_HOME", &config);
        command
    };
    let output = feed(&mut alone(&["login", &world.url]), format!("{}\n", world.token).as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    let file = config.join("adit/credentials.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = alone(&["ls"]).output().unwrap();
    assert!(stdout(&listed).contains(&world.machine), "{}", stderr(&listed));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = alone(&["ls"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    assert!(stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
}

#[test]
fn a_wrong_token_is_not_kept() {
    let world = World::start();
    let mut command = world.command_of("", &["login", &world.url]);
    let output = feed(&mut command, b"adt_wrong\n");
    assert_eq!(output.status.code(), Some(125));
    assert!(!world.folder().join("config/adit/credentials.toml").exists());
}

#[test]
fn a_token_comes_from_a_file_or_a_pipe() {
    let world = World::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{}", world.token).unwrap();
    let place = format!("@{}", file.path().display());
    let from_file = world.command_of("", &["ls", "--token", &place]).output().unwrap();
    assert!(from_file.status.success(), "{}", stderr(&from_file));
    let mut piped = world.command_of("", &["ls", "--token", "-"]);
    assert!(feed(&mut piped, world.token.as_bytes()).status.success());
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(binary()).args(["completions", shell]).output().unwrap();
        let script = stdout(&output);
        for command in ["connect", "recordings", "doctor", "up"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
