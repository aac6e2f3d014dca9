//! Tickets between machines, against a gateway over mutual TLS.

mod contract;
pub mod ends;
mod limits;
mod names;
pub mod peer;
mod revocation;
mod sshd;
mod streams;
