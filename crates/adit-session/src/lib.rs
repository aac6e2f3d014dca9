//! Sessions: tokens, sealed messages and rate limits, as a library that needs no gateway.
//!
//! A *session* is the live right of one user to use one machine. This crate makes and checks the signed tokens of sessions, seals and opens
//! their messages in a JSON form that other languages write too, and limits how much may come in. It reads no clock, keeps no table and knows
//! no user by itself: [`AccessCheck`], [`Clock`], [`Store`] and [`Events`] are traits, each with an implementation in memory.
//!
//! # Issue
//!
//! ```
//! use adit_session::*;
//! use uuid::Uuid;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, db_1) = (Uuid::from_u128(1), Uuid::from_u128(2));
//! let access = MemoryAccess::default();
//! access.grant(alice, db_1, Capabilities::default());
//!
//! // In earnest: Settings::from_lookup(|name| std::env::var(name).ok())?
//! let settings = Settings::new(SecretKey::generate()?);
//! let (store, events) = (MemoryStore::default(), MemoryEvents::default());
//! let service = SessionService::new(settings, access, SystemClock, store, events);
//!
//! let token = service.issue_session_token(alice, db_1, Capabilities::default()).await?;
//! assert_eq!(token.expires_at - token.issued_at, 300);
//!
//! // Nobody gave Bob anything: nothing is made, and the refusal is an event.
//! let bob = Uuid::from_u128(9);
//! let refused = service.issue_session_token(bob, db_1, Capabilities::default()).await;
//! assert_eq!(refused, Err(IssueError::Access(AccessRefusal::InactiveUser)));
//! # Ok(())
//! # }
//! ```
//!
//! # Validate
//!
//! ```
//! use adit_session::*;
//! # use uuid::Uuid;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (alice, db_1) = (Uuid::from_u128(1), Uuid::from_u128(2));
//! # let access = MemoryAccess::default();
//! # access.grant(alice, db_1, Capabilities::default());
//! # let settings = Settings::new(SecretKey::generate()?);
//! # let (store, events) = (MemoryStore::default(), MemoryEvents::default());
//! # let service = SessionService::new(settings, access, SystemClock, store, events);
//! # let json = service.issue_session_token(alice, db_1, Capabilities::default()).await?.to_json();
//! let valid = service.validate_session_token_json(json.as_bytes()).await?;
//! assert_eq!(valid.session.user_id, alice);
//! let session = valid.session.session_id;
//!
//! // At every use: what may this session do, now?
//! assert!(service.check_capability(session, &Capability::INPUT).await.is_ok());
//! assert!(service.check_capability(session, &Capability::EXEC).await.is_err());
//!
//! let forged = json.replace("input", "exec");
//! let refused = service.validate_session_token_json(forged.as_bytes()).await;
//! assert_eq!(refused, Err(TokenRefusal::BadSignature));
//!
//! service.end_session(session, EndReason::Ended).await?;
//! let refused = service.validate_session_token_json(json.as_bytes()).await;
//! assert_eq!(refused, Err(TokenRefusal::NotLive));
//! # Ok(())
//! # }
//! ```
//!
//! A token near its end comes back as [`ValidSession::refreshed`], after the access was checked again; the session never outlives
//! [`Settings::session_length_max`]. Call [`SessionService::end_expired_sessions`] once a second.
//!
//! # Seal
//!
//! ```
//! use adit_session::*;
//! use std::time::SystemTime;
//! use uuid::Uuid;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483")?;
//! let draft = Draft {
//!     kind: MessageType::TerminalInput,
//!     session_id: Uuid::from_u128(3),
//!     machine_id: Uuid::from_u128(2),
//!     payload: r#"{"data":"ls\r"}"#,
//!     session_token: None,
//! };
//! let message = Sealer::new(secret).seal(&draft, SystemTime::now())?;
//! assert!(message.starts_with(r#"{"type":"terminal_input","sessionToken":null,"data":{"sessionId":"#));
//! # Ok(())
//! # }
//! ```
//!
//! # Open
//!
//! ```
//! use adit_session::*;
//! use std::time::SystemTime;
//! # use uuid::Uuid;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (session_id, machine_id) = (Uuid::from_u128(3), Uuid::from_u128(2));
//! # let secret = MachineSecret::new("5f0c6a1be2d94378a6c1f20e9b7d5483")?;
//! # let draft = Draft { kind: MessageType::TerminalInput, session_id, machine_id, payload: r#"{"data":"ls\r"}"#, session_token: None };
//! # let message = seal(&draft, &secret, SystemTime::now())?;
//! let settings = Settings::new(SecretKey::generate()?);
//! let history = NonceHistory::new(NonceLimits::from_settings(&settings));
//! let mut opener = Opener::new(Receiver::Machine, machine_id, secret, history);
//!
//! let opened = opener.open(Some(session_id), message.as_bytes(), SystemTime::now())?;
//! assert_eq!(opened.payload.to_text()?, r#"{"data":"ls\r"}"#);
//!
//! // The same message a second time, as {valid, reason}.
//! let again = opener.validate_secure_message(message.as_bytes(), SystemTime::now());
//! assert_eq!((again.valid, again.reason), (false, Some(Refusal::Replayed)));
//! # Ok(())
//! # }
//! ```
//!
//! A program that has a [`SessionService`] calls [`SessionService::receive_secure_message`] instead, which checks the session as well.
//! [`NonceFile`] keeps the nonces of a machine beyond the end of the process.
//!
//! # Rate limits
//!
//! ```
//! use adit_session::*;
//! use uuid::Uuid;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (alice, db_1) = (Uuid::from_u128(1), Uuid::from_u128(2));
//! # let access = MemoryAccess::default();
//! # access.grant(alice, db_1, Capabilities::default());
//! # let service = SessionService::new(Settings::new(SecretKey::generate()?), access, MemoryClock::at(1_795_000_000), MemoryStore::default(), MemoryEvents::default());
//! let token = service.issue_session_token(alice, db_1, Capabilities::default()).await?;
//! for _ in 0..120 {
//!     service.record_message(token.session_id, 1).await?;
//! }
//! // The 121st at once is refused, with the time after which it will be taken.
//! assert!(matches!(service.record_message(token.session_id, 1).await, Err(Refusal::RateLimited(RetryAfter(_)))));
//!
//! let info = service.get_rate_limit_info(token.session_id).await?.expect("the session is live");
//! assert_eq!((info.tokens_available, info.capacity, info.times_exceeded), (0, 120, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # What the JSON form lacks
//!
//! It proves who made a message, for which session and machine, that it is fresh and that it comes once. It does **not** hide what a message
//! says, and it has no counter: who sits on the way can hold a message back or swap two within the clock's tolerance, unseen. Adit's own link
//! to its agents does both; use this form inside TLS, for programs that cannot speak that link.
//!
//! # The way of a message
//!
//! 1. `service/messages.rs`: finds the session of the connection, live and unexpired.
//! 2. `message/open.rs`: size, then `json.rs` reads the shape, then `timestamp.rs` the time, then the HMAC over the text written anew.
//! 3. `nonces.rs`: says whether the nonce is fresh.
//! 4. `service/messages.rs`: the token that came along, the capability.
//! 5. `limiter.rs`: the limits of session, user and machine.
//! 6. `nonces.rs` spends the nonce and `nonce_file.rs` writes it; only then the message is accepted.
//! 7. `event.rs`: what was refused; after a run of it `service.rs` ends the session.

mod access;
mod bucket;
mod capability;
mod clock;
mod doctor;
mod event;
mod json;
mod limiter;
mod lower_hex;
mod message;
mod nonce_file;
mod nonces;
mod opener;
mod refusal;
mod secret;
mod service;
mod session;
mod settings;
mod timestamp;
mod token;

pub use access::{AccessCheck, AccessRefusal, MemoryAccess};
pub use bucket::{RetryAfter, TokenBucket};
pub use capability::{BadCapability, Capabilities, Capability};
pub use clock::{Clock, MemoryClock, SystemClock};
pub use doctor::{ClockOffset, Counts, Finding, Fingerprint, Symptoms, examine};
pub use event::{Event, EventLost, Events, MemoryEvents, MessageFacts};
pub use json::LoneSurrogate;
pub use limiter::{Exceeded, MessageLimiter, RateLimitInfo, Source};
pub use message::{
    Draft, MESSAGE_BYTES_MAX, MessageType, Payload, Receiver, SealError, Sealer, SecureMessage,
    seal, seal_with_nonce,
};
pub use nonce_file::{Durability, NonceFile, Recovered};
pub use nonces::{
    JSON_SESSIONS_PER_MACHINE, NoLog, NonceHistory, NonceLimits, NonceLog, Remembered, SpentNonce,
};
pub use opener::{BAD_RUN_MAX, BadRun, Opener};
pub use refusal::{Fault, Refusal, Validation};
pub use secret::{BadMachineSecret, MachineSecret, NoRandomness, SecretKey};
pub use service::{
    AnyNonceHistory, EndError, IssueError, SessionService, TokenRefusal, ValidSession,
};
pub use session::{EndReason, MemoryStore, SessionRecord, Store, StoreError};
pub use settings::{Settings, SettingsError};
pub use token::{BadToken, SessionToken, Signature};
