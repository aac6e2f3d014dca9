//! Passwords and second factors on the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use crate::cli::world::{World, feed, stderr, stdout};

const PASSWORD: &str = "correct horse battery staple";

/// Settings under which a password costs next to nothing.
const CHEAP: &str = "[sign_in]\nargon2_memory_kib = 64\nargon2_passes = 1\n";

/// Adds a user, and gives a token of theirs.
fn somebody(world: &World, name: &str) -> String {
    world.json(&["user", "add", name]);
    world.json(&["token", "add", "test", "--user", name])["token"].as_str().unwrap().to_owned()
}

fn set_password(world: &World, token: &str, lines: &str) -> (Option<i32>, String) {
    let output = feed(&mut world.command_of(token, &["user", "password"]), lines.as_bytes());
    (output.status.code(), stderr(&output))
}

/// Posts to the API as the bearer of a token.
fn post(world: &World, token: &str, path: &str, body: &Value) -> Value {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = request.post(format!("{}{path}", world.url)).bearer_auth(token).json(body);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { request.send().await.unwrap().json().await.unwrap() })
}

/// Gives somebody an authenticator; the code of the step before is used then.
fn authenticator(world: &World, token: &str) -> (Totp, u64) {
    let begun = post(world, token, "/api/v1/me/authenticator", &json!({}));
    let secret = Secret::try_from_base32(begun["secret"].as_str().unwrap()).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let code = totp.generate(now - 30).to_string();
    let confirmed = post(world, token, "/api/v1/me/authenticator/confirm", &json!({"code": code}));
    assert_eq!(confirmed["recoveryCodes"].as_array().map(Vec::len), Some(10), "{confirmed}");
    (totp, now)
}

/// Runs a command without a token of the environment, with lines for its standard input.
fn signed_in(world: &World, arguments: &[&str], lines: &str) -> std::process::Output {
    let mut command = world.command_of("", arguments);
    feed(command.env_remove("ADIT_TOKEN"), lines.as_bytes())
}

#[test]
fn a_user_signs_in_with_a_password_and_a_code() {
    // DESK-6
    let world = World::start_with(CHEAP);
    let token = somebody(&world, "ann");
    let (status, said) = set_password(&world, &token, &format!("{PASSWORD}\n"));
    assert_eq!(status, Some(0), "{said}");
    let login = ["login", &world.url, "--user", "ann"];
    let wrong = signed_in(&world, &login, "not the password\n");
    assert_eq!(wrong.status.code(), Some(125));
    assert!(stderr(&wrong).contains("[auth.password_refused]"), "{}", stderr(&wrong));
    let right = signed_in(&world, &login, &format!("{PASSWORD}\n"));
    assert!(stdout(&right).contains("You are ann"), "{}{}", stdout(&right), stderr(&right));
    let (totp, now) = authenticator(&world, &token);
    let code = totp.generate(now).to_string();
    let second = signed_in(&world, &login, &format!("{PASSWORD}\n000000\n{code}\n"));
    assert!(stdout(&second).contains("You are ann"), "{}{}", stdout(&second), stderr(&second));
    let listed = signed_in(&world, &["user", "sign-ins", "--json"], "");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["items"][0]["kind"], "client", "{listed}");
    assert_eq!(listed["items"][0]["current"], true, "{listed}");
}

#[test]
fn a_password_that_guessers_try_first_is_refused_with_the_reason() {
    // DESK-6
    let world = World::start_with(CHEAP);
    let token = somebody(&world, "ann");
    let (status, said) = set_password(&world, &token, "password1234\n");
    assert_eq!(status, Some(125));
    assert!(said.contains("guessers") && !said.contains("password1234"), "{said}");
    assert_eq!(set_password(&world, &token, &format!("{PASSWORD}\n")).0, Some(0));
    let (_, said) = set_password(&world, &token, "wrong wrong wrong\nseven trains to nowhere\n");
    assert!(said.contains("[auth.proof_refused]"), "{said}");
    let both = format!("{PASSWORD}\nseven trains to nowhere\n");
    assert_eq!(set_password(&world, &token, &both).0, Some(0));
}

#[test]
fn an_invitation_is_a_link_for_one_use() {
    // DESK-6
    let world = World::start_with(CHEAP);
    let invited = world.json(&["user", "invite", "ann", "--role", "operator"]);
    let (_, code) = invited["url"].as_str().unwrap().split_once("/ui/welcome#code=").unwrap();
    let again = world.run(&["user", "invite", "ann"]);
    assert!(stdout(&again).contains("/ui/welcome#code=ain_"), "{}", stderr(&again));
    let body = json!({"code": code, "password": PASSWORD});
    let taken = post(&world, "", "/api/v1/sign-in/invitation", &body);
    assert_eq!(taken["done"], true, "{taken}");
    let spent = post(&world, "", "/api/v1/sign-in/invitation", &body);
    assert_eq!(spent["code"], "auth.sign_in_refused", "{spent}");
}
