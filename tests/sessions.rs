//! Sessions, from the ticket to the audit log, against a gateway and an agent.

pub mod access;
mod audience;
mod bound_tickets;
mod crash;
mod disk;
mod frames;
mod input;
mod json;
mod limits;
mod machine;
mod panics;
mod policy;
mod proof;
mod raw;
mod revocation;
mod sign_in;
mod starved;
mod support;
mod tickets;
mod unwritable;
