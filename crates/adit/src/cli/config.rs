//! `adit config`: what this client's commands will use.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::options::ClientOptions;
use super::{Ended, credentials};

/// Shows settings.
#[derive(Args, Debug)]
pub struct Config {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the gateway's address, where it comes from, and where the token comes from
    Show,
}

impl Config {
    /// Shows settings.
    pub fn run(self) -> Ended {
        let Action::Show = self.action;
        let access = self.client.gateway.find()?;
        let file = credentials::path().map(|path| path.display().to_string()).unwrap_or_default();
        let ca = access.ca.map_or("the system's".to_owned(), |path| path.display().to_string());
        let value = json!({
            "url": access.url,
            "urlFrom": access.url_source.as_str(),
            "tokenFrom": access.token_source.as_str(),
            "authorities": ca,
            "credentialsFile": file,
        });
        let facts = [
            ("gateway", format!("{} (from {})", access.url, access.url_source.as_str())),
            ("token", format!("from {}", access.token_source.as_str())),
            ("authorities", ca),
            ("credentials", file),
        ];
        self.client.output.open().facts(&value, &facts)?;
        Ok(ExitCode::SUCCESS)
    }
}
