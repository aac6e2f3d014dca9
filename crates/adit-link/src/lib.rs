//! The connections between an agent and a gateway, and the viewer's end of a terminal.
//!
//! A message of a session goes: [`resume`] (which bytes may or must be sent) → [`seal`] (Noise) → [`connection`] (one WebSocket) on
//! one side, and the same files backwards on the other. [`dial`] is how an agent gets its connection, [`viewer`] how a client
//! does. `keys`, `seal`, `resume` and the core of `viewer` do no I/O; the others are thin drivers around them.

mod backoff;
pub mod connection;
pub mod dial;
#[cfg(test)]
mod fixture;
pub mod keys;
pub mod lanes;
mod noise;
pub mod pulse;
pub mod resume;
pub mod seal;
pub mod socket;
mod transport;
pub mod viewer;

pub use connection::Connection;
pub use dial::Dialer;
pub use keys::{Keypair, PublicKey};
