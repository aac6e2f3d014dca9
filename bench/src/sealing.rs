//! How fast messages are sealed and opened: the binary form of our own link, and the JSON form beside plain Node.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use adit_domain::Ids;
use adit_link::Keypair;
use adit_link::seal::{Binding, Initiator, Responder, Sealed};
use adit_session::{
    Draft, MachineSecret, MessageType, NonceHistory, NonceLimits, Opener, Receiver, SecretKey,
    Settings, seal,
};
use adit_wire::agent::v1::Preamble;
use adit_wire::frame::{Kind, MAX_INPUT};
use anyhow::{Context, Result, bail};
use rand::Rng as _;
use serde_json::Value;
use uuid::Uuid;

/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(2);
/// Messages between two looks at the clock.
const BATCH: u32 = 1_000;
/// The same rule in another language, which the library's tests use too.
const NODE_RULE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/adit-session/benches/json_rule.mjs");

/// Measures and prints three rates.
pub fn measure() -> Result<()> {
    let binary = rate(binary_form()?)? * MAX_INPUT as f64 / 1e9;
    println!("binary form, seal and open, frames of 16 KiB: {binary:.2} GB/s on one core");
    let ours = rate(json_form)?;
    println!("JSON form, seal and open: {ours:.0} messages/s on one core");
    match node_rate() {
        Ok(node) => println!(
            "JSON form, the same rule in Node: {node:.0} messages/s, {:.1} times less",
            ours / node
        ),
        Err(error) => println!("JSON form in Node: not measured ({error:#})"),
    }
    Ok(())
}

/// Runs batches for a while; answers messages a second.
fn rate(mut batch: impl FnMut() -> Result<()>) -> Result<f64> {
    batch()?;
    let start = Instant::now();
    let mut batches = 0;
    while start.elapsed() < TIME {
        batch()?;
        batches += 1;
    }
    Ok(f64::from(batches * BATCH) / start.elapsed().as_secs_f64())
}

/// A channel between two ends in this process, and a batch of frames over it.
fn binary_form() -> Result<impl FnMut() -> Result<()>> {
    let (mut agent, mut gateway) = channel()?;
    let payload = vec![b'a'; MAX_INPUT];
    let mut position = 0;
    Ok(move || {
        for _ in 0..BATCH {
            let sealed = agent.seal_data(Kind::Output, position, &payload)?;
            gateway.open(&sealed)?;
            position += payload.len() as u64;
        }
        Ok(())
    })
}

fn channel() -> Result<(Sealed, Sealed)> {
    let (machine, service) = (Keypair::generate(&Random), Keypair::generate(&Random));
    let (initiator, first) =
        Initiator::start(Preamble::default(), &machine, service.public(), &Binding::None)?;
    let (gateway, reply) = Responder::read(&first, &service, &Binding::None)?.answer()?;
    Ok((initiator.finish(&reply)?, gateway))
}

/// The system's randomness, for keys that are used here and nowhere else.
struct Random;

impl Ids for Random {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// A batch of keys, with an empty history of nonces at its start.
fn json_form() -> Result<()> {
    let (session_id, machine_id) = (Uuid::from_u128(3), Uuid::from_u128(2));
    let secret = MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483")?;
    let history =
        NonceHistory::new(NonceLimits::from_settings(&Settings::new(SecretKey::generate()?)));
    let mut opener = Opener::new(Receiver::Machine, machine_id, secret.clone(), history);
    let payload = r#"{"data":"ls -la /var/log\r","seq":42}"#;
    let draft = Draft {
        kind: MessageType::TerminalInput,
        session_id,
        machine_id,
        payload,
        session_token: None,
    };
    for _ in 0..BATCH {
        let message = seal(&draft, &secret, SystemTime::now())?;
        opener.open(Some(session_id), message.as_bytes(), SystemTime::now())?;
    }
    Ok(())
}

fn node_rate() -> Result<f64> {
    let output = Command::new("node").args([NODE_RULE, "2"]).output().context("starting node")?;
    if !output.status.success() {
        bail!("node failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    answer["messagesPerSecond"].as_f64().context("the script answers with a rate")
}
