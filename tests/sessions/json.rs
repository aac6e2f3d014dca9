//! The JSON form of the terminal's WebSocket.

use adit_testkit::TestGateway;
use serde_json::{Value, json};

use crate::sessions::raw::{RawViewer, Told};

async fn said(viewer: &mut RawViewer) -> Value {
    match viewer.told().await {
        Told::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn spawn(gateway: &TestGateway, wish: Value) -> RawViewer {
    let mut viewer = RawViewer::connect(gateway, Some(&gateway.admin.token)).await;
    viewer.send_text(wish.to_string()).await;
    let token = said(&mut viewer).await;
    assert_eq!(token["type"], "session_token", "{token}");
    assert!(token["sessionId"].is_string() && token["expiresAt"].is_u64(), "{token}");
    viewer
}

/// Types, again whenever it is said to be too early, until the output holds a text.
async fn type_until(viewer: &mut RawViewer, data: &str, text: &str) {
    let input = json!({"type": "terminal_input", "data": data}).to_string();
    viewer.send_text(input.clone()).await;
    let mut output = String::new();
    while !output.contains(text) {
        let message = said(viewer).await;
        if message["type"] == "terminal_output" {
            output.push_str(message["data"].as_str().unwrap());
        } else if message["type"] == "error" {
            assert!(message["retryAfterMs"].is_u64(), "{message}");
            viewer.send_text(input.clone()).await;
        }
    }
}

#[tokio::test]
async fn a_shell_is_spawned_typed_into_resized_and_ended() {
    // SES-42
    let gateway = TestGateway::start();
    let wish = json!({"type": "terminal_spawn", "machineId": gateway.machine});
    let mut viewer = spawn(&gateway, wish).await;
    type_until(&mut viewer, "echo $((6*7))\r", "42\r\n").await;
    let size = json!({"type": "terminal_resize", "cols": 101, "rows": 31});
    viewer.send_text(size.to_string()).await;
    type_until(&mut viewer, "stty size\r", "31 101").await;
    viewer.send_text(json!({"type": "terminal_input", "data": "exit 3\r"}).to_string()).await;
    loop {
        let message = said(&mut viewer).await;
        if message["type"] == "terminal_end" {
            assert_eq!(message["exitStatus"], 3, "{message}");
            break;
        }
    }
    assert_eq!(viewer.closed().await, Some(1000));
}

#[tokio::test]
async fn nobody_is_somebody_because_a_message_says_so() {
    // TOK-23
    let gateway = TestGateway::start();
    let bob = gateway.user("bob", "viewer", None).await;
    let mut viewer = RawViewer::connect(&gateway, Some(&bob.api.token)).await;
    let wish = json!({"type": "terminal_spawn", "machineId": gateway.machine, "userId": "admin"});
    viewer.send_text(wish.to_string()).await;
    let refused = said(&mut viewer).await;
    assert_eq!(
        (&refused["type"], &refused["code"]),
        (&json!("error"), &json!("access.capability_missing"))
    );
    assert_eq!(viewer.closed().await, Some(1008));
}

#[tokio::test]
async fn a_connection_without_a_credential_spawns_nothing() {
    // SES-42
    let gateway = TestGateway::start();
    let mut viewer = RawViewer::connect(&gateway, None).await;
    let wish = json!({"type": "terminal_spawn", "machineId": gateway.machine});
    viewer.send_text(wish.to_string()).await;
    assert_eq!(said(&mut viewer).await["code"], "auth.required");
    assert_eq!(viewer.closed().await, Some(1008));
}

#[tokio::test]
async fn a_message_that_does_not_exist_is_an_error_and_the_session_goes_on() {
    // SES-42
    let gateway = TestGateway::start();
    let wish = json!({"type": "terminal_spawn", "machineId": gateway.machine, "command": ["sh", "-c", "stty -echo; cat"]});
    let mut viewer = spawn(&gateway, wish).await;
    viewer.send_text("{\"type\":\"terminal_dance\"}").await;
    loop {
        let message = said(&mut viewer).await;
        if message["type"] == "error" {
            assert_eq!(message["code"], "request.invalid");
            break;
        }
    }
    type_until(&mut viewer, "on\r", "on\r\n").await;
}

#[tokio::test]
async fn a_session_that_may_only_watch_refuses_input() {
    // SES-12, SES-42
    let gateway = TestGateway::start();
    let capabilities = ["spawn", "view", "exec"];
    let wish = json!({
        "type": "terminal_spawn", "machineId": gateway.machine, "command": ["sleep", "60"],
        "capabilities": capabilities,
    });
    let mut viewer = spawn(&gateway, wish).await;
    viewer.send_text(json!({"type": "terminal_input", "data": "x"}).to_string()).await;
    loop {
        let message = said(&mut viewer).await;
        if message["type"] == "error" {
            assert_eq!(message["code"], "frame.forbidden");
            break;
        }
    }
}
