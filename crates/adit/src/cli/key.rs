//! `adit key`: the keys that sign access tokens.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read_all};
use super::options::ClientOptions;
use super::{Ended, when};
use crate::output::{Output, Table};

/// More keys than there are.
const MAX_LISTED: usize = 1000;

/// Works on signing keys.
#[derive(Args, Debug)]
pub struct Key {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with signing keys.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the keys that sign access tokens, did, or will
    Ls,
    /// Make a new key; the one before it is accepted until its last token has expired
    Rotate {
        /// Sign with it at once, and not after everybody has had the time to read it
        #[arg(long)]
        now: bool,
    },
    /// Revoke a key that somebody may have stolen: every token that it signed is refused at once
    Rm {
        /// Its id, of `adit key ls`
        id: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    signs_from: String,
    accepted_until: Option<String>,
}

impl Key {
    /// Works on signing keys.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls => {
                let items = client.list(&["signing-keys"], &[], MAX_LISTED).await?;
                show(output, &items)
            }
            Action::Rotate { now } => {
                let made = client.create(&["signing-keys"], &json!({ "now": now })).await?;
                show(output, made["items"].as_array().map_or(&[], Vec::as_slice))
            }
            Action::Rm { id } => {
                client.remove(&["signing-keys", &id]).await?;
                output.done(
                    &json!({ "removed": id }),
                    "The key is revoked, and every token that it signed.",
                )?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn show(output: Output, items: &[Value]) -> Ended {
    let mut table = Table::new(&["ID", "SIGNS FROM", "ACCEPTED UNTIL"]);
    for key in read_all::<Listed>(items)? {
        let told = |text: &str| when::ago(text, when::now());
        table.row([
            (&key.id).into(),
            told(&key.signs_from).into(),
            key.accepted_until.as_deref().map(told).unwrap_or_default().into(),
        ]);
    }
    output.list(items, &table, "No key yet.")?;
    Ok(ExitCode::SUCCESS)
}
