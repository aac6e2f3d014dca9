//! Signing in from a machine without a browser, and services.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cli::world::{World, binary, stderr, stdout};

/// A command of somebody who has nothing but the file of `adit login`.
fn alone(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("ADIT_URL").env_remove("ADIT_TOKEN").stdin(Stdio::null());
    command.env("XDG_CONFIG_HOME", world.folder().join("config"));
    command
}

fn file(world: &World) -> PathBuf {
    world.folder().join("config/adit/credentials.toml")
}

fn post(world: &World, path: &str, body: &Value) -> u16 {
    let url = format!("{}{path}", world.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).bearer_auth(&world.token).json(body);
    runtime.block_on(request.send()).unwrap().status().as_u16()
}

/// Signs in by a code, with an administrator who answers.
fn sign_in(world: &World, approve: bool) -> std::process::Output {
    let mut login = alone(world, &["login", &world.url, "--json"]);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let shown = BufReader::new(login.stderr.take().unwrap());
    let is_code = |line: &String| line.len() == 9 && line.as_bytes()[4] == b'-';
    let mut lines = shown.lines().map(|line| line.unwrap().trim().to_owned());
    let code = lines.find(is_code).expect("a code is shown");
    let answer = json!({"userCode": code, "approve": approve});
    assert_eq!(post(world, "/api/v1/device-request/answer", &answer), 204);
    let said: Vec<String> = lines.collect();
    let mut output = login.wait_with_output().unwrap();
    output.stderr = said.join("\n").into_bytes();
    output
}

/// Makes the kept token look as if it ended.
fn age(world: &World) -> String {
    let text = std::fs::read_to_string(file(world)).unwrap();
    let old = text.lines().map(|line| {
        if line.starts_with("ends_at") { "ends_at = 1".to_owned() } else { line.to_owned() }
    });
    let old: Vec<String> = old.collect();
    std::fs::write(file(world), old.join("\n")).unwrap();
    text
}

#[test]
fn a_command_line_signs_in_by_a_code_and_renews_itself() {
    // CMD-10
    let world = World::start();
    let output = sign_in(&world, true);
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["name"], &told["kind"]), (&json!("admin"), &json!("user")));
    assert!(stdout(&alone(&world, &["ls"]).output().unwrap()).contains(&world.machine));
    let before = age(&world);
    // Two that renew at once do not end each other's sign-in.
    let both: Vec<_> = (0..2)
        .map(|_| {
            alone(&world, &["ls"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for command in both {
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let after = std::fs::read_to_string(file(&world)).unwrap();
    assert!(before.contains("refresh = ") && before != after);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(file(&world)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // What was used before ends the sign-in, and the command says what to do.
    std::fs::write(file(&world), before).unwrap();
    age(&world);
    let output = alone(&world, &["ls"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let said = stderr(&output);
    assert!(said.contains("adit login") && said.contains("client.signed_out"), "{said}");
}

#[test]
fn a_command_line_hears_that_the_user_said_no() {
    let world = World::start();
    let output = sign_in(&world, false);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("access_denied"), "{}", stderr(&output));
    assert!(!file(&world).exists());
}

#[test]
fn a_service_is_added_listed_renewed_and_removed() {
    // CMD-10
    let world = World::start();
    let added = world.json(&["service", "add", "ci", "--scope", "machine:view", "terminal:spawn"]);
    let names: Vec<&String> = added.as_object().unwrap().keys().collect();
    assert_eq!(names, ["client_id", "client_secret"]);
    world.json(&["grant", "add", "service:ci", "viewer"]);
    let listed = world.json(&["service", "ls"]);
    assert_eq!(listed["items"][0]["scopes"], json!(["terminal:spawn", "machine:view"]));
    let shown = world.json(&["service", "show", "ci"]);
    assert_eq!(shown["secrets"].as_array().unwrap().len(), 1);
    let rotated = world.json(&["service", "rotate", "service:ci"]);
    assert_ne!(rotated["client_secret"], added["client_secret"]);
    assert!(stdout(&world.run(&["service", "ls"])).starts_with("NAME"));
    world.json(&["service", "rm", "ci"]);
    assert_eq!(world.json(&["service", "ls"])["items"], json!([]));
    let bad = world.run(&["service", "add", "ci", "--scope", "nothing:here"]);
    assert_eq!(bad.status.code(), Some(125), "{}", stderr(&bad));
}

#[test]
fn the_gateways_settings_are_shown() {
    // CMD-42
    let world = World::start_with("[oauth]\naccess_token_seconds = 600\n");
    let shown = world.json(&["config", "show"]);
    assert_eq!(shown["settings"]["oauth"]["accessTokenSeconds"], 600, "{shown}");
    let table = stdout(&world.run(&["config", "show"]));
    assert!(table.contains("oauth.accessTokenSeconds"), "{table}");
    let keys = world.json(&["key", "ls"]);
    assert_eq!(keys["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.json(&["key", "rotate", "--now"])["items"].as_array().unwrap().len(), 2);
}
