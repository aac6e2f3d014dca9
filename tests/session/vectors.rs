//! The JSON form against two other implementations of its rule: messages made there open here, and messages made here open there.
//!
//! `vectors/vectors.json` was written by `node vectors/rule.mjs vectors`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use adit_session::{
    Draft, MachineSecret, MessageType, NonceHistory, NonceLimits, Opener, SecureMessage,
    seal_with_nonce,
};
use serde_json::{Value, json};

use super::*;

const VECTORS: &str = include_str!("vectors/vectors.json");
/// The milliseconds of the vectors' timestamps.
const MADE_MS: u64 = NOW_SECONDS * 1000 + 123;

/// One vector: what to seal, with what, and the message that it makes.
struct Vector {
    name: String,
    secret: String,
    kind: MessageType,
    /// What to seal, in UTF-16, because some of it is no Rust string.
    payload: Vec<u16>,
    nonce: [u8; 16],
    message: String,
}

fn vectors() -> Vec<Vector> {
    // Lone surrogates cannot be read into a Rust string, so they are looked at as text.
    let lines: Vec<_> = VECTORS.split("\n {\n").skip(1).collect();
    lines.iter().map(|lines| vector(lines)).collect()
}

fn vector(lines: &str) -> Vector {
    let field = |name: &str| {
        let start = format!("  \"{name}\": ");
        let line = lines.lines().find_map(|line| line.strip_prefix(&start)).expect(name);
        line.trim_end_matches(',').to_owned()
    };
    let text = |name: &str| serde_json::from_str::<String>(&field(name)).expect(name);
    let nonce = u8::from_str_radix(&text("nonce")[..2], 16).unwrap();
    Vector {
        name: text("name"),
        secret: text("secret"),
        kind: MessageType::ALL.into_iter().find(|kind| kind.as_str() == text("type")).unwrap(),
        payload: utf16(&field("payload")),
        nonce: [nonce; 16],
        message: text("message"),
    }
}

/// Reads a JSON string that may hold lone surrogates.
fn utf16(json: &str) -> Vec<u16> {
    let mut units = Vec::new();
    let mut rest = &json[1..json.len() - 1];
    while let Some(at) = rest.find("\\u") {
        let literal = rest[..at].chars().rev().take_while(|sign| *sign == '\\').count() % 2 == 1;
        let end = if literal { at + 2 } else { at };
        let plain: String = serde_json::from_str(&format!("\"{}\"", &rest[..end])).unwrap();
        units.extend(plain.encode_utf16());
        if !literal {
            units.push(u16::from_str_radix(&rest[at + 2..at + 6], 16).unwrap());
        }
        rest = if literal { &rest[end..] } else { &rest[at + 6..] };
    }
    let plain: String = serde_json::from_str(&format!("\"{rest}\"")).unwrap();
    units.extend(plain.encode_utf16());
    units
}

fn made() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(MADE_MS)
}

fn open_here(message: &str, secret: &str, kind: MessageType) -> SecureMessage {
    let history = NonceHistory::new(NonceLimits::from_settings(&settings()));
    let secret = MachineSecret::new(secret).unwrap();
    let mut opener = Opener::new(kind.receiver(), MACHINE, secret, history);
    opener.open(Some(SESSION), message.as_bytes(), made()).expect(message)
}

fn seal_here(vector: &Vector, payload: &str) -> String {
    let draft = Draft {
        kind: vector.kind,
        session_id: SESSION,
        machine_id: MACHINE,
        payload,
        session_token: None,
    };
    let secret = MachineSecret::new(&vector.secret).unwrap();
    seal_with_nonce(&draft, &secret, made(), vector.nonce).unwrap()
}

// SES-21
#[test]
fn every_vector_opens_here_and_says_what_was_sealed() {
    for vector in vectors() {
        let opened = open_here(&vector.message, &vector.secret, vector.kind);
        assert_eq!(opened.payload.to_utf16(), vector.payload, "{}", vector.name);
        let text = String::from_utf16(&vector.payload).ok();
        assert_eq!(opened.payload.to_text().ok(), text, "{}", vector.name);
    }
}

// SES-21
#[test]
fn every_vector_is_sealed_here_byte_for_byte() {
    let sealed = vectors().into_iter().filter_map(|vector| {
        let payload = String::from_utf16(&vector.payload).ok()?;
        assert_eq!(seal_here(&vector, &payload), vector.message, "{}", vector.name);
        Some(())
    });
    assert_eq!(sealed.count(), 21);
}

// SES-21
#[test]
fn the_vectors_are_what_the_script_writes() {
    let output = Command::new("node").arg(script("rule.mjs")).arg("vectors").output();
    assert_eq!(String::from_utf8(output.expect("node runs").stdout).unwrap(), VECTORS);
}

// SES-21
#[test]
fn node_opens_what_is_sealed_here_and_the_other_way_round() {
    both_ways("node", "rule.mjs");
}

// SES-21
#[test]
fn python_opens_what_is_sealed_here_and_the_other_way_round() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3 on this machine");
        return;
    }
    both_ways("python3", "rule.py");
}

fn both_ways(program: &str, name: &str) {
    let cases: Vec<_> = payloads();
    let vector = &vectors()[0];
    let seals = cases.iter().map(|payload| {
        json!({"secret": vector.secret, "seal": {
            "type": vector.kind.as_str(), "sessionId": SESSION, "machineId": MACHINE,
            "payload": payload, "nonce": hex(&vector.nonce), "timestamp": "2026-11-22T11:20:30.123Z",
        }})
    });
    let opens = cases.iter().map(|payload| {
        json!({"secret": vector.secret, "open": seal_here(vector, payload), "now": MADE_MS})
    });
    let wrong = json!({"secret": "another", "open": seal_here(vector, "{}"), "now": MADE_MS});
    let answers = run(program, name, &seals.chain(opens).chain([wrong]).collect::<Vec<_>>());
    let (made_there, opened_there) = answers.split_at(cases.len());
    for (payload, message) in cases.iter().zip(made_there) {
        let opened = open_here(message, &vector.secret, vector.kind);
        assert_eq!(opened.payload.to_text().unwrap(), *payload);
        assert_eq!(*message, seal_here(vector, payload));
    }
    for (payload, answer) in cases.iter().zip(opened_there) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(answer, json!({"valid": true, "payload": payload}));
    }
    let refused: Value = serde_json::from_str(answers.last().unwrap()).unwrap();
    assert_eq!(refused, json!({"valid": false, "reason": "hmac"}));
}

/// Every sign up to U+07FF alone, and mixtures of what is special to JSON.
fn payloads() -> Vec<String> {
    let alone = (0..0x800).filter_map(char::from_u32).map(|sign| format!("a{sign}b"));
    let special = ['"', '\\', '/', '\u{8}', '\n', '\u{1f}', 'u', '0', '\u{2028}', '😀', '\u{ffff}'];
    let mixed = (0..2000usize).map(move |seed| {
        let pick =
            |place: usize| special[(seed * 7919 / 11usize.pow(place as u32)) % special.len()];
        (0..6).map(pick).collect()
    });
    alone.chain(mixed).collect()
}

fn run(program: &str, name: &str, requests: &[Value]) -> Vec<String> {
    let mut child = Command::new(program)
        .arg(script(name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} runs: {error}"));
    let mut input = child.stdin.take().unwrap();
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), requests.len());
    answers
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("session/vectors").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
