//! How fast messages of the JSON form are sealed and opened, and tokens are checked.

use std::hint::black_box;
use std::time::SystemTime;

use adit_session::{
    Capabilities, Draft, MachineSecret, MemoryAccess, MemoryEvents, MemoryStore, MessageType,
    NonceHistory, NonceLimits, Opener, Receiver, Sealer, SecretKey, SessionService, Settings,
    SystemClock,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;

const SESSION: Uuid = Uuid::from_u128(0x8d3c_0a4e_6a57_4f2b_9f10_1c2d_3e4f_5a6b);
const MACHINE: Uuid = Uuid::from_u128(0x1f2e_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9);
/// One key, as the node script beside this file has it.
const PAYLOAD: &str = r#"{"data":"ls -la /var/log\r","seq":42}"#;

fn opener() -> Opener {
    let mut settings = Settings::new(SecretKey::generate().expect("the system has randomness"));
    settings.rate_limit_tokens = 1_000_000;
    let history = NonceHistory::new(NonceLimits::from_settings(&settings));
    Opener::new(Receiver::Machine, MACHINE, secret(), history)
}

fn secret() -> MachineSecret {
    MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483").expect("the secret is long enough")
}

fn draft() -> Draft<'static> {
    let (kind, session_id, machine_id) = (MessageType::TerminalInput, SESSION, MACHINE);
    Draft { kind, session_id, machine_id, payload: PAYLOAD, session_token: None }
}

fn json_form(c: &mut Criterion) {
    let mut group = c.benchmark_group("json_form");
    group.throughput(Throughput::Elements(MESSAGES_A_BATCH));
    let mut sealer = Sealer::new(secret());
    // A fresh opener for each batch, so that the nonce history does not grow to its limit.
    group.bench_function("seal_and_open", |b| {
        b.iter_batched_ref(
            opener,
            |opener| {
                for _ in 0..MESSAGES_A_BATCH {
                    let message = sealer.seal(&draft(), SystemTime::now()).expect("it is small");
                    black_box(
                        opener
                            .open(Some(SESSION), message.as_bytes(), SystemTime::now())
                            .expect("it is good"),
                    );
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group
        .bench_function("seal", |b| b.iter(|| black_box(sealer.seal(&draft(), SystemTime::now()))));
    group.finish();
}

fn tokens(c: &mut Criterion) {
    let (user, machine) = (Uuid::from_u128(1), MACHINE);
    let access = MemoryAccess::default();
    access.grant(user, machine, Capabilities::default());
    let settings = Settings::new(SecretKey::generate().expect("the system has randomness"));
    let service = SessionService::new(
        settings,
        access,
        SystemClock,
        MemoryStore::default(),
        MemoryEvents::default(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers starts");
    let issue =
        || runtime.block_on(service.issue_session_token(user, machine, Capabilities::default()));
    let token = issue().expect("access was granted");
    let json = token.to_json();

    let mut group = c.benchmark_group("token");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seen_before", |b| {
        b.iter(|| {
            runtime
                .block_on(service.validate_session_token_json(json.as_bytes()))
                .expect("it is valid")
        });
    });
    group.bench_function("first_sight", |b| {
        b.iter_batched(
            || issue().expect("access was granted").to_json(),
            |json| {
                runtime
                    .block_on(service.validate_session_token_json(json.as_bytes()))
                    .expect("it is valid")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Enough to make the opener's own making invisible.
const MESSAGES_A_BATCH: u64 = 10_000;

criterion_group!(benches, json_form, tokens);
criterion_main!(benches);
