//! Tickets between machines, for programs: be the source that offers something, or the target that is let in.
//!
//! Three parts do the bookkeeping: [`TicketClient`] has a method a route, [`TicketInstanceManager`] keeps an instance registered for a
//! source, [`TicketSessionManager`] keeps a target's session alive. Two more carry bytes: [`offer::Offering`] serves a port of this
//! machine, [`reach::Reaching`] opens streams to another's. Everything is asked over mutual TLS with a machine's [`Identity`].
//!
//! Read first: `client.rs`, then `stream.rs` (how a stream is made of a session).

pub mod channel;
pub mod client;
mod error;
pub mod identity;
pub mod instance;
pub mod offer;
pub mod reach;
pub mod seal;
pub mod session;
pub mod stream;

pub use client::{
    Direct, Heartbeat, Session, Ticket, TicketClient, TicketClientOptions, Transport,
    ValidatedTicket,
};
pub use error::{TicketError, TicketHttpError};
pub use identity::Identity;
pub use instance::{TicketInstanceManager, TicketInstanceManagerOptions};
pub use session::{SessionState, TicketSessionManager, TicketSessionManagerOptions};
