//! What integration tests stand on: a gateway and an agent in a folder of their own, its API, viewers of its sessions, and a canary
//! for every secret that was handed out.
//!
//! A helper that fails fails its test, so nothing here returns an error that a test would only unwrap.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod api;
mod canary;
mod gateway;
mod process;
mod viewer;
mod wait;

pub use api::{Answer, Api};
pub use gateway::{TestGateway, User};
pub use process::{binary, children, is_there, signal};
pub use viewer::TestViewer;
pub use wait::{LIMIT, eventually, within};
