//! Sign-in with a company's account, against an issuer that the tests start.

mod browser;
mod follow;
mod github;
mod link;
mod provider;
mod sign_in;
mod teams;
