//! `adit config`: what this client's commands will use and how the gateway is set, or what a gateway makes of its file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::failure::Failure;
use super::options::{Access, ClientOptions};
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
    /// Show the gateway's address and the token's place, where both come from, and the gateway's settings if it answers
    Show {
        /// Show what a gateway makes of its configuration file instead, without secrets
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

impl Config {
    /// Shows settings.
    pub async fn run(self) -> Ended {
        let Action::Show { config } = &self.action;
        match config {
            Some(path) => self.show_file(path),
            None => self.show_client().await,
        }
    }

    async fn show_client(&self) -> Ended {
        let access = self.client.gateway.find()?;
        let file = credentials::path().map(|path| path.display().to_string()).unwrap_or_default();
        let settings = settings(&access).await;
        let ca = access.ca.map_or("the system's".to_owned(), |path| path.display().to_string());
        let value = json!({
            "url": access.url,
            "urlFrom": access.url_source.as_str(),
            "tokenFrom": access.token_source.as_str(),
            "authorities": ca,
            "credentialsFile": file,
            "settings": settings,
        });
        let mut facts = vec![
            ("gateway", format!("{} (from {})", access.url, access.url_source.as_str())),
            ("token", format!("from {}", access.token_source.as_str())),
            ("authorities", ca),
            ("credentials", file),
        ];
        let lines = flat(&settings);
        facts.extend(lines.iter().map(|(name, value)| (name.as_str(), value.clone())));
        self.client.output.open().facts(&value, &facts)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Shows who vouches for company accounts, how the OAuth2 server is set, where traces go and what alerts are raised, as a gateway would take it from the file.
    fn show_file(&self, path: &Path) -> Ended {
        let read = config::Config::load(path).and_then(|config| {
            let shown = (config.shown_providers()?, config.shown_oauth()?);
            Ok((shown, config.shown_traces()?, config.alerts.shown()?))
        });
        let ((providers, oauth), traces, alerts) =
            read.map_err(|error| Failure::Usage(format!("{error:#}")))?;
        let rest = json!({"oauth": oauth, "traces": traces, "alerts": alerts});
        let mut value = rest.clone();
        value["signIn"] = json!({"providers": providers});
        let mut facts: Vec<(&str, String)> =
            providers.iter().map(|one| ("sign-in", sentence(one))).collect();
        let lines = flat(&rest);
        facts.extend(lines.iter().map(|(name, value)| (name.as_str(), value.clone())));
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

/// Asks the gateway for its settings; nothing where it does not answer, or does not say.
async fn settings(access: &Access) -> Value {
    let Ok(client) = Client::of(access) else { return Value::Null };
    let status = client.fetch(&["status"], &[]).await;
    status.map_or(Value::Null, |mut status| status["settings"].take())
}

/// Writes settings in settings as one line each: `oauth.accessTokenSeconds`.
fn flat(value: &Value) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
        let below =
            |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(all) => {
                all.iter().for_each(|(name, inner)| walk(&below(name), inner, into))
            }
            Value::Array(all) => {
                all.iter()
                    .enumerate()
                    .for_each(|(at, inner)| walk(&below(&at.to_string()), inner, into));
            }
            Value::Null => {}
            Value::String(text) => into.push((path.to_owned(), text.clone())),
            other => into.push((path.to_owned(), other.to_string())),
        }
    }
    let mut lines = Vec::new();
    walk("", value, &mut lines);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_settings_are_one_line_each() {
        let value = json!({"grace": 60, "oauth": {"trust": [{"name": "forge"}], "none": null}});
        let lines = flat(&value);
        let expected = [("grace", "60"), ("oauth.trust.0.name", "forge")];
        assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
