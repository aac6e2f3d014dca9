//! A log to try things on.

use std::collections::BTreeMap;

use adit_domain::id::{EventId, GatewayId, SessionId, TenantId};
use adit_domain::time::Timestamp;
use adit_wire::audit::{AuditEvent, BadRecord, Chain, ChainVerifier, Outcome, Party, Record};
use adit_wire::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_wire::digest::Digest;
use adit_wire::recording::PublicKey;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

pub fn gateway(id: u128) -> GatewayId {
    GatewayId::from_bytes(&(0x77_0000 + id).to_be_bytes()).unwrap()
}

pub fn session(id: u128) -> SessionId {
    SessionId::from_bytes(&(0x55_0000 + id).to_be_bytes()).unwrap()
}

pub fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn public(key: &Ed25519KeyPair) -> PublicKey {
    key.public_key().as_ref().try_into().unwrap()
}

pub fn event(number: u64, gateway: GatewayId) -> AuditEvent {
    AuditEvent {
        id: EventId::from_bytes(&(0x11_0000 + u128::from(number)).to_be_bytes()).unwrap(),
        at: Timestamp(1_795_000_000_000 + number as i64 * 1000),
        tenant: TenantId::SEED,
        gateway,
        event: "terminal_session_start".into(),
        actor: Party { kind: "user".into(), id: "u-1".into(), name: "ann".into() },
        target: number.is_multiple_of(2).then(|| Party {
            kind: "machine".into(),
            id: "m-1".into(),
            name: "db-1".into(),
        }),
        outcome: Outcome::Ok,
        details: BTreeMap::from([("number".into(), number.into())]),
        correlation: Some(format!("request-{number}")),
        client: Some("192.0.2.7:4711".into()),
    }
}

pub fn log(gateway: GatewayId, events: u64) -> Vec<Record> {
    let mut chain = Chain::EMPTY;
    (1..=events)
        .map(|number| chain.append(event(number, gateway).canonical().into_bytes()))
        .collect()
}

/// Checks a log from its first event on.
pub fn check(gateway: GatewayId, log: &[Record]) -> Result<Chain, BadRecord> {
    let mut verifier = ChainVerifier::new(gateway);
    for record in log {
        verifier.check(record)?;
    }
    Ok(verifier.chain())
}

/// Rewrites all hashes, as somebody does who can write the database.
pub fn rechain(log: &mut [Record]) {
    let mut chain = Chain::EMPTY;
    for record in log {
        *record = chain.append(std::mem::take(&mut record.bytes));
    }
}

/// One checkpoint after each of these events of one gateway's log.
pub fn checkpoints(log: &[Record], after: &[usize]) -> Vec<SignedCheckpoint> {
    let mut previous = Digest::ZERO;
    let mut all = Vec::new();
    for (at, seq) in after.iter().enumerate() {
        let head = Chain { seq: *seq as u64, hash: log[seq - 1].hash };
        let signed = Checkpoint {
            number: at as u64 + 1,
            at: Timestamp(1_795_000_900_000),
            previous,
            heads: BTreeMap::from([(gateway(1), head)]),
            recordings: BTreeMap::from([(session(at as u128), Digest([at as u8; 32]))]),
        }
        .sign(&key(1));
        previous = signed.hash();
        all.push(signed);
    }
    all
}
