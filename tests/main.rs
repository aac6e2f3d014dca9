//! The integration tests, one binary. The store's own are a target of its crate.

mod cli;
mod link;
mod session;
