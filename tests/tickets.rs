//! Tickets between machines, against a gateway over mutual TLS.

mod contract;
mod limits;
pub mod peer;
mod revocation;
