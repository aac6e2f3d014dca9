//! The integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod acme;
mod alerts;
mod cli;
mod cluster;
mod company;
mod hosts;
mod http;
mod jobs;
mod link;
mod machines;
mod privileges;
mod restored;
mod session;
mod sessions;
mod tickets;
mod traces;
mod versions;
