//! The `adit` command, as a user runs it, against a gateway and an agent of its own.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod audit;
pub mod connect;
mod exec;
mod lists;
mod login;
mod person;
mod recording;
mod sign_in;
mod world;
