//! The session core through its public way in: tokens, sealed messages, nonces and limits.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_session::{
    Capabilities, Draft, MachineSecret, MemoryAccess, MemoryClock, MemoryEvents, MemoryStore,
    MessageType, NonceHistory, NonceLimits, Opener, Receiver, Refusal, SecretKey, SessionService,
    Settings, Validation, seal,
};
use uuid::Uuid;

mod events;
mod limits;
mod messages;
mod nonces;
mod shape;
mod tokens;
mod vectors;

const USER: Uuid = Uuid::from_u128(0x0a1b_2c3d_4e5f_4061_8273_8495_a6b7_c8d9);
const SESSION: Uuid = Uuid::from_u128(0x8d3c_0a4e_6a57_4f2b_9f10_1c2d_3e4f_5a6b);
const OTHER_SESSION: Uuid = Uuid::from_u128(0x77aa_0a4e_6a57_4f2b_9f10_1c2d_3e4f_5a6b);
const MACHINE: Uuid = Uuid::from_u128(0x1f2e_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9);
const OTHER_MACHINE: Uuid = Uuid::from_u128(0x99ee_3d4c_5b6a_4978_8695_a4b3_c2d1_e0f9);
const MACHINE_SECRET: &str = "5f0c6a1be2d94378a6c1f20e9b7d5483";
/// 2026-11-22T11:20:30Z.
const NOW_SECONDS: u64 = 1_795_346_430;

type Service =
    SessionService<Arc<MemoryAccess>, Arc<MemoryClock>, Arc<MemoryStore>, Arc<MemoryEvents>>;

/// A service in memory, and the hands on its world.
struct World {
    service: Service,
    access: Arc<MemoryAccess>,
    clock: Arc<MemoryClock>,
    store: Arc<MemoryStore>,
    events: Arc<MemoryEvents>,
}

impl World {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let world = Parts::default();
        world.access.grant(USER, MACHINE, all());
        Self {
            service: SessionService::new(
                settings,
                Arc::clone(&world.access),
                Arc::clone(&world.clock.0),
                Arc::clone(&world.store),
                Arc::clone(&world.events),
            ),
            access: world.access,
            clock: world.clock.0,
            store: world.store,
            events: world.events,
        }
    }

    /// Validates a message of [`MACHINE`], as it came from anywhere.
    async fn check(&self, message: &str) -> Validation {
        self.service.validate_secure_message(message.as_bytes(), MACHINE, &secret()).await
    }

    /// Receives a message on the connection of a session.
    async fn receive(&self, session: Uuid, message: &str) -> Result<(), Refusal> {
        let (message, secret) = (message.as_bytes(), secret());
        let opened =
            self.service.receive_secure_message(session, Receiver::Machine, message, &secret);
        opened.await.map(drop)
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.take().iter().map(adit_session::Event::name).collect()
    }
}

#[derive(Default)]
struct Parts {
    access: Arc<MemoryAccess>,
    clock: ClockAtNow,
    store: Arc<MemoryStore>,
    events: Arc<MemoryEvents>,
}

struct ClockAtNow(Arc<MemoryClock>);

impl Default for ClockAtNow {
    fn default() -> Self {
        Self(Arc::new(MemoryClock::at(NOW_SECONDS)))
    }
}

fn all() -> Capabilities {
    use adit_session::Capability as C;
    Capabilities::new([C::SPAWN, C::INPUT, C::RESIZE, C::EXEC, C::VIEW]).unwrap()
}

fn settings() -> Settings {
    let secret = "8f4c2b9e6d1a7035c8e2f94b5a6d0c3e17f82a9b4d5c6e0f3a1b7c8d9e2f4051";
    Settings::new(SecretKey::from_hex(secret).unwrap())
}

fn secret() -> MachineSecret {
    MachineSecret::new(MACHINE_SECRET).unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECONDS)
}

fn history() -> NonceHistory {
    NonceHistory::new(NonceLimits::from_settings(&settings()))
}

fn opener() -> Opener {
    Opener::new(Receiver::Machine, MACHINE, secret(), history())
}

fn draft(kind: MessageType, payload: &str) -> Draft<'_> {
    Draft { kind, session_id: SESSION, machine_id: MACHINE, payload, session_token: None }
}

/// A good message of [`SESSION`], made now.
fn sealed(payload: &str) -> String {
    seal(&draft(MessageType::TerminalInput, payload), &secret(), now()).unwrap()
}
