//! The root helper: the few things that need root, for a gateway that is not root.
//!
//! It listens on a Unix socket and does one of a fixed set of operations for each connection. The path of a request:
//!
//! 1. [`serve`]: takes the connection, asks the kernel who is there, sends away whoever is not on the list, reads within a time.
//! 2. [`request`]: bytes become a [`Request`] of typed names, or nothing.
//! 3. [`helper`]: what is named must be on the lists of the helper's own [`settings`], which root alone can write.
//! 4. [`audit`]: the request is written down and synced. Where that fails nothing is done.
//! 5. [`certificate`], [`folder`], [`program`], [`unit`]: it is done.
//! 6. [`audit`] again: how it went; then the answer.
//!
//! There is no runtime, no database and no network in it; `xtask/src/tidy/layers.rs` keeps them out.

pub mod audit;
pub mod certificate;
pub mod client;
pub mod folder;
pub mod helper;
pub mod name;
pub mod program;
pub mod request;
pub mod serve;
pub mod settings;
pub mod unit;

pub use client::Client;
pub use helper::{Helper, Peer};
pub use request::{Answer, Refusal, Request};
pub use settings::Settings;

/// Where the helper listens unless it is told otherwise.
pub const SOCKET: &str = "/run/adit-helper.sock";

/// Where its settings are unless it is told otherwise.
pub const SETTINGS: &str = "/etc/adit/helper.toml";
