//! Whom the bus is to lead to, and who may come to it.

use std::process::Command;

use adit_testkit::{TestGateway, eventually};

use super::bus::Redis;
use super::pair::{bus_is, health};
use crate::machines::holder::Holder;

/// Makes an authority and a server's certificate for a name in a folder.
fn make_certificate(folder: &std::path::Path, name: &str) {
    let script = r#"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj "/CN=test" 2>/dev/null &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem -subj "/CN=$1" 2>/dev/null &&
        printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n' "$1" >extensions &&
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -days 2 -extfile extensions -out cert.pem 2>/dev/null
    "#;
    let made = Command::new("sh").args(["-ec", script, "sh", name]).current_dir(folder).status();
    assert!(made.expect("openssl is installed").success());
}

async fn server_named(name: &str) -> Redis {
    let folder = tempfile::tempdir().unwrap();
    make_certificate(folder.path(), name);
    Redis::start_with_tls(folder).await
}

fn settings(redis: &Redis, authorities: bool) -> String {
    let mut settings = format!("[bus]\nurl = \"{}\"\n", redis.secure_url("localhost"));
    if authorities {
        settings += &format!("authorities = \"{}\"\n", redis.path("ca.pem").display());
    }
    settings
}

/// Waits until a gateway has said in its log that the bus is away, and gives why.
async fn refused(gateway: &TestGateway) -> String {
    let found = eventually("word of the bus", async || {
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("the bus between gateways is away"))?;
        Some(line.to_owned())
    });
    found.await
}

#[tokio::test]
async fn a_bus_with_the_certificate_of_its_name_is_used() {
    // MNO-05
    let redis = server_named("localhost").await;
    let gateway = TestGateway::start_with(&settings(&redis, true));
    bus_is(&gateway, "ok").await;
    assert_eq!(health(&gateway).await["status"], "ok");
}

#[tokio::test]
async fn a_bus_with_the_certificate_of_another_name_is_refused() {
    // MNO-05
    let redis = server_named("elsewhere.example").await;
    let gateway = TestGateway::start_with(&settings(&redis, true));
    let why = refused(&gateway).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    bus_is(&gateway, "away").await;
}

#[tokio::test]
async fn a_bus_of_an_unknown_authority_is_refused() {
    // MNO-05
    let redis = server_named("localhost").await;
    let gateway = TestGateway::start_with(&settings(&redis, false));
    let why = refused(&gateway).await;
    assert!(why.to_lowercase().contains("certificate"), "{why}");
    bus_is(&gateway, "away").await;
}

#[tokio::test]
async fn a_machines_certificate_opens_no_way_to_the_bus() {
    // MNO-03: whoever has one has neither the server's password nor the key of messages.
    let redis = Redis::start().await;
    let gateway = TestGateway::start_with(&format!("[bus]\nurl = \"{}\"\n", redis.url()));
    bus_is(&gateway, "ok").await;
    let machine = Holder::named(&gateway, "agent:alpha");
    let all = std::fs::read_dir(machine.dir.path()).unwrap();
    let secret = std::fs::read_to_string(gateway.data().join("session_token_secret")).unwrap();
    for entry in all {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(secret.trim()));
    }
    let open = redis::Client::open(redis.url().replace("a%20password%20of%20the%20bus", "wrong"));
    assert!(open.unwrap().get_multiplexed_async_connection().await.is_err());
}
