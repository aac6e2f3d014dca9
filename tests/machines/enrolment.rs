//! Enrolment: of many with one token, of identities without a link key, and of those that machines vouch for.

use std::process::{Command, Stdio};

use adit_testkit::{Api, TestGateway};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::hosts::Ends;

use super::holder::{Holder, adit, json as told, request};
use crate::tickets::peer::register;

async fn token(gateway: &TestGateway, wish: Value) -> Value {
    gateway.admin.post("/api/v1/enrolment-tokens", wish).await.ok()
}

fn link_key(number: u16) -> String {
    let mut key = [9; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    STANDARD.encode(key)
}

async fn enrol(api: &Api, token: &str, number: u16, more: Value) -> (u16, Value) {
    let mut body = json!({"token": token, "linkKey": link_key(number), "hostname": "clone"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = api.post("/api/enroll", body).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn a_token_for_three_lets_three_in_however_many_race() {
    // AGT-05
    let gateway = TestGateway::start();
    let made = token(&gateway, json!({"uses": 3, "label": "web-*", "tags": {"env": "prod"}})).await;
    let text = made["token"].as_str().unwrap();
    let attempts = (0..12).map(|number| enrol(&gateway.admin, text, number, json!({})));
    let outcomes = join_all(attempts).await;
    let statuses = |wanted: u16| outcomes.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!(statuses(201), 3, "{outcomes:?}");
    assert_eq!(statuses(401), 9, "{outcomes:?}");
    for (_, problem) in outcomes.iter().filter(|(status, _)| *status == 401) {
        assert_eq!(problem["code"], "auth.enrol_refused");
    }
    let machines = gateway.admin.get("/api/v1/machines?limit=200").await.ok();
    let tagged = |machine: &&Value| machine["tags"] == json!({"env": "prod"});
    let mut labels: Vec<String> = machines["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(tagged)
        .map(|machine| machine["label"].as_str().unwrap().to_owned())
        .collect();
    labels.sort();
    assert_eq!(labels, ["web-1", "web-2", "web-3"]);
    assert_eq!(gateway.events("machine.enrol_refused").await.len(), 9);
}

#[tokio::test]
async fn who_guesses_tokens_waits_and_a_good_token_still_works_later() {
    // AGT-05
    let gateway = TestGateway::start();
    let wrong = format!("aet_{}", "A".repeat(43));
    let mut statuses = Vec::new();
    for number in 0..14 {
        statuses.push(enrol(&gateway.admin, &wrong, number, json!({})).await.0);
    }
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    assert!(statuses[10..].contains(&429), "{statuses:?}");
    let made = token(&gateway, json!({})).await;
    let text = made["token"].as_str().unwrap();
    let enrolled = adit_testkit::eventually("a try that is left", async || {
        let (status, body) = enrol(&gateway.admin, text, 99, json!({})).await;
        (status == 201).then_some(body)
    });
    assert!(enrolled.await["agentKey"].is_string());
}

#[tokio::test]
async fn a_token_is_listed_without_its_secret_and_can_be_taken_back() {
    let gateway = TestGateway::start();
    let mut make = adit(&gateway, &["machine", "token", "--uses", "5", "--label", "db-*"]);
    let made = told(make.args(["--tag", "env=prod", "--expires", "2h"]));
    let listed = told(&mut adit(&gateway, &["machine", "tokens", "ls"]));
    let [one] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&one["id"], &one["uses"], &one["used"]), (&made["id"], &json!(5), &json!(0)));
    assert_eq!((&one["label"], &one["tags"]), (&json!("db-*"), &json!({"env": "prod"})));
    assert_eq!(one["madeBy"], gateway.admin.get("/api/v1/me").await.ok()["name"]);
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()));
    told(&mut adit(&gateway, &["machine", "tokens", "revoke", made["id"].as_str().unwrap()]));
    let (status, _) = enrol(&gateway.admin, made["token"].as_str().unwrap(), 1, json!({})).await;
    assert_eq!(status, 401);
    let listed = told(&mut adit(&gateway, &["machine", "tokens", "ls"]));
    assert_eq!(listed["items"], json!([]));
    assert_eq!(gateway.events("enrolment_token.revoke").await.len(), 1);
}

#[tokio::test]
async fn what_a_token_may_not_say_is_refused() {
    let gateway = TestGateway::start();
    let long = "x".repeat(65);
    for wish in [
        json!({"uses": 0}),
        json!({"uses": 1001}),
        json!({"label": "Web"}),
        json!({"label": "a*b*c"}),
        json!({"replace": true}),
        json!({"replace": true, "label": "web-*"}),
        json!({"replace": true, "label": "web-1", "uses": 2}),
        json!({"tags": {"env": ""}}),
        json!({"tags": {"e\u{202e}nv": "prod"}}),
        json!({"tags": {"env": long}}),
        json!({"capabilities": ["files:read"]}),
    ] {
        let answer = gateway.admin.post("/api/v1/enrolment-tokens", wish.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "request.invalid"),
            "{wish}"
        );
    }
}

#[tokio::test]
async fn what_a_machine_claims_never_overrides_what_operators_say() {
    // AGT-13, AGT-14
    let gateway = TestGateway::start();
    let made = token(&gateway, json!({"label": "box", "tags": {"env": "test"}})).await;
    let text = made["token"].as_str().unwrap();
    for claim in [
        json!({"tags": {"env": "prod"}}),
        json!({"tenant": "other"}),
        json!({"capabilities": ["terminal:spawn"]}),
    ] {
        let (status, problem) = enrol(&gateway.admin, text, 1, claim.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("request.invalid")), "{claim}");
    }
    let hostname = format!("evil\u{1b}[31m\u{202e}{}", "x".repeat(100_000));
    let more = json!({"label": "database", "hostname": hostname});
    let (status, enrolled) = enrol(&gateway.admin, text, 1, more).await;
    assert_eq!((status, &enrolled["label"]), (201, &json!("box")));
    let shown = gateway.admin.get("/api/v1/machines/box").await.ok();
    assert_eq!(shown["tags"], json!({"env": "test"}));
    let kept = shown["hostname"].as_str().unwrap();
    assert!(kept.starts_with("evil\u{fffd}[31m\u{fffd}x") && kept.ends_with('…'), "{kept}");
    assert!(kept.chars().count() < 200);
    let event = &gateway.events("machine.enrol").await[0];
    assert_eq!(event["details"]["wished"], "database", "{event}");
}

#[tokio::test]
async fn a_machine_that_was_installed_anew_ends_what_its_old_keys_had_open() {
    // R38
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &["cat"]).await;
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    let wish = json!({"label": gateway.machine, "replace": true});
    let token = token(&gateway, wish).await["token"].as_str().unwrap().to_owned();
    gateway.remember(&token);
    let folder = tempfile::tempdir().unwrap();
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(adit_testkit::binary());
        command.args(["agent"]).args(arguments).arg("--dir").arg(folder.path().join("keys"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let join = ["join", &gateway.admin.url, "--token", &token, "--replace"];
    let joined = agent(&join).output().unwrap();
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));

    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "session.lost_agent");
    assert_eq!(gateway.refused(&ticket).await.code, "ticket.invalid");
    let old = gateway.admin.get("/api/v1/certificates?state=ended").await.ok();
    assert_eq!(old["items"][0]["status"], "revoked", "{old}");
    let run = Ends(agent(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    gateway.machine_online().await;
    let ancestors =
        "p=$$; while [ $p -gt 1 ]; do echo $p; p=$(ps -o ppid= -p $p | tr -d ' '); done";
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", ancestors]).await;
    viewer.until_text(&run.0.id().to_string()).await;
}

#[tokio::test]
async fn a_token_and_a_request_give_a_certificate_to_who_has_no_link_key() {
    // TIX-3
    let gateway = TestGateway::start();
    let made = token(&gateway, json!({"label": "script"})).await;
    let dir = tempfile::tempdir().unwrap();
    let (csr, key) = request(dir.path());
    let body = json!({"token": made["token"], "csr": csr});
    let enrolled = gateway.admin.post("/api/enroll", body.clone()).await.ok();
    assert_eq!((&enrolled["name"], &enrolled["agentKey"]), (&json!("agent:script"), &Value::Null));
    let text = |name: &str| enrolled[name].as_str().unwrap().to_owned();
    let holder = Holder::of(&gateway, &text("certificate"), &key, &text("ca"));
    assert_eq!(holder.is_let_in().await, Some(400));
    assert_eq!(gateway.admin.post("/api/enroll", body).await.code(), "auth.enrol_refused");
    let none = json!({"token": made["token"]});
    assert_eq!(gateway.admin.post("/api/enroll", none).await.code(), "request.invalid");
    let taken = token(&gateway, json!({"label": "script"})).await;
    let (status, _) = enrol(&gateway.admin, taken["token"].as_str().unwrap(), 1, json!({})).await;
    assert_eq!(status, 409, "the label is somebody's");
}

#[tokio::test]
async fn who_speaks_for_a_machine_carries_one_scope_and_no_more() {
    // TIX-3
    let gateway = TestGateway::start();
    register(&gateway, "files", &["files:read", "files:write"]).await;
    register(&gateway, "shell", &["shell:connect"]).await;
    let delegator = Holder::with(&gateway, "agent:box", &["--capability", "files"]);
    let ask = json!({"pluginAgentLabel": "backup", "scope": "files"});
    let path = "/api/certs/agent/enroll-delegated";
    let (status, delegated) = delegator.post(path, ask.clone()).await.unwrap();
    assert_eq!(status, 201, "{delegated}");
    let dir = tempfile::tempdir().unwrap();
    let (csr, key) = request(dir.path());
    let as_machine = json!({"token": delegated["token"], "linkKey": link_key(1), "csr": csr});
    let refused = gateway.admin.post("/api/enroll", as_machine).await;
    assert_eq!(refused.code(), "auth.enrol_refused", "it is for no machine");
    let body = json!({"token": delegated["token"], "csr": csr, "label": "admin-2"});
    let enrolled = gateway.admin.post("/api/enroll", body.clone()).await.ok();
    assert_eq!(enrolled["name"], "plugin-agent:box:backup");
    assert_eq!(gateway.admin.post("/api/enroll", body).await.code(), "auth.enrol_refused");
    let listed = gateway.admin.get("/api/v1/certificates?name=plugin-agent:box:backup").await.ok();
    assert_eq!(listed["items"][0]["capabilities"], json!(["files"]));
    let text = |name: &str| enrolled[name].as_str().unwrap().to_owned();
    let plugin = Holder::of(&gateway, &text("certificate"), &key, &text("ca"));
    assert_eq!(plugin.is_let_in().await, Some(400));
    let (status, _) = plugin.post(path, ask.clone()).await.unwrap();
    assert_eq!(status, 403, "who is spoken through vouches for nobody");
    let more = json!({"pluginAgentLabel": "backup", "scope": "shell:connect"});
    let (status, refused) = delegator.post(path, more).await.unwrap();
    assert_eq!(
        (status, &refused["code"]),
        (403, &json!("access.capability_missing")),
        "what it does not hold"
    );
    let holders = gateway.admin.get("/api/tickets/capabilities").await.ok();
    let held = json!({"agentLabel": "plugin-agent:box:backup", "capabilities": ["files:read", "files:write"]});
    assert!(holders["holders"].as_array().unwrap().contains(&held), "{holders}");
    let (status, _) = Holder::named(&gateway, "admin").post(path, ask.clone()).await.unwrap();
    assert_eq!(status, 403);
    for bad in [
        json!({"pluginAgentLabel": "../x", "scope": "files"}),
        json!({"pluginAgentLabel": "x", "scope": "*"}),
    ] {
        assert_eq!(delegator.post(path, bad).await.unwrap().0, 400);
    }
    let serial = gateway.admin.get("/api/v1/certificates?name=agent:box").await.ok();
    let id = serial["items"][0]["id"].as_str().unwrap().to_owned();
    gateway.admin.delete(&format!("/api/v1/certificates/{id}")).await;
    assert_eq!(plugin.is_let_in().await, Some(401), "it ends with the one that it speaks for");
}
