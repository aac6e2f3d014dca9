//! The HTTP plane, from outside: a gateway of its own for each test.

mod autobahn;
mod browsers;
mod document;
pub mod oauth;
mod operations;
pub mod planes;
mod requests;
mod schemathesis;
mod sign_in;
mod sign_in_invitation;
mod sign_in_limits;
pub mod sign_in_password;
pub mod sign_in_second_factor;
mod sign_ins;
mod slow;
mod tenants;
