//! The bus between gateways: small sealed messages over Redis or Valkey.
//!
//! Whoever runs the server can read, drop, repeat, delay and reorder what passes, and can forge nothing. So a message is a hint at most:
//! whoever hears it looks at the database, which is the truth, and a bus that is away costs time and nothing else.
//!
//! 1. [`Bus::send`] hands a message to the driver, or says at once that the bus is away.
//! 2. `driver.rs` seals it (`envelope.rs`) and publishes it to one gateway or to all.
//! 3. The driver of another gateway opens it, and holds its number and time against what was heard before (`heard.rs`).
//!
//! The library that speaks to the server is seen in `server.rs` and nowhere else.

pub mod driver;
pub mod envelope;
pub mod heard;
mod server;

pub use driver::{Bus, Driver, NotSent, Settings, State};
pub use envelope::{MAX_BODY, Message, To};
pub use server::AddressError;
