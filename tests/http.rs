//! The HTTP plane, from outside: a gateway of its own for each test.

mod autobahn;
mod browsers;
mod document;
mod oauth;
mod operations;
mod planes;
mod requests;
mod schemathesis;
mod sign_in;
mod slow;
