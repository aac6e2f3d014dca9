//! The HTTP plane: console, API, WebSockets of viewers and machines.
//!
//! Speaks protocols; holds no rule and no query. Read first: [`app::router`] (every route), `terminal.rs` (a key's first step).

pub mod agent;
pub mod api;
pub mod app;
pub mod auth;
pub mod challenge;
pub mod company;
pub mod console;
pub mod guard;
pub mod health;
mod jobs;
mod json_terminal;
pub mod listen;
mod machine_plane;
pub mod oauth;
pub mod problem;
pub mod terminal;
pub mod tickets;
pub mod tls;
mod trace;
#[doc(hidden)]
pub mod websocket;

pub use app::{App, AppSettings, openapi, router};
