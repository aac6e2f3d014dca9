//! Several gateways on one PostgreSQL, with a bus between them or without.

mod alerts;
mod bus;
#[path = "store/database.rs"]
#[allow(dead_code, reason = "the store's own tests use the rest")]
mod database;
mod doors;
mod jobs;
mod messages;
mod pair;
mod streams;
mod terminal;
