//! `adit config`: what this client's commands will use, or what a gateway makes of its file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, credentials};
use crate::config;

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
    Show {
        /// Show what a gateway makes of its configuration file instead, without secrets
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

impl Config {
    /// Shows settings.
    pub fn run(self) -> Ended {
        let Action::Show { config } = &self.action;
        match config {
            Some(path) => self.show_file(path),
            None => self.show_client(),
        }
    }

    fn show_client(&self) -> Ended {
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

    /// Shows who vouches for company accounts, as a gateway would take it from the file.
    fn show_file(&self, path: &Path) -> Ended {
        let read = config::Config::load(path).and_then(|config| config.shown_providers());
        let providers = read.map_err(|error| Failure::Usage(format!("{error:#}")))?;
        let value = json!({"signIn": {"providers": providers}});
        let facts: Vec<(&str, String)> =
            providers.iter().map(|one| ("sign-in", sentence(one))).collect();
        self.client.output.open().facts(&value, &facts)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells a provider in a line.
fn sentence(one: &Value) -> String {
    let text = |name: &str| one[name].as_str().unwrap_or_default();
    format!(
        "{} ({}): {} at {}, client {}, secret {}",
        text("name"),
        text("title"),
        text("kind"),
        text("issuer"),
        text("clientId"),
        text("clientSecret"),
    )
}
