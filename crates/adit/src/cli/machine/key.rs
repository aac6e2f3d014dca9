//! `adit machine key`: what admits a machine.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::cli::client::{Client, read, read_all};
use crate::cli::{Ended, when};
use crate::output::{Output, Table};

/// More keys than a machine has.
const MAX_LISTED: usize = 100;

/// Works on what admits a machine.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List the keys that a machine was given, without their secrets
    Ls {
        /// The machine's label or id
        machine: String,
    },
    /// Let a machine change its key, or the certificate that admits it, over its connection
    Rotate {
        /// The machine's label or id
        machine: String,
        /// End the old one at once, instead of with the first use of the new one
        #[arg(long)]
        now: bool,
    },
    /// Revoke a machine's keys: what they opened ends within a second
    Revoke {
        /// The machine's label or id
        machine: String,
    },
}

impl Key {
    /// Works on keys.
    pub async fn run(self, client: &Client, output: Output) -> Ended {
        match self {
            Self::Ls { machine } => list(client, output, &machine).await,
            Self::Rotate { machine, now } => {
                let path = ["machines", &machine, "keys", "rotate"];
                let value = client.create(&path, &json!({ "now": now })).await?;
                let rotated: Rotated = read(value.clone())?;
                let when = if now { "is dead" } else { "dies when the new one is used" };
                let sentence =
                    format!("{machine} changes its {}; the old one {when}.", rotated.changes);
                output.done(&value, &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Revoke { machine } => {
                client.remove(&["machines", &machine, "keys"]).await?;
                let sentence = format!("The keys of {machine} are revoked.");
                output.done(&json!({ "revoked": machine }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn list(client: &Client, output: Output, machine: &str) -> Ended {
    let items = client.list(&["machines", machine, "keys"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["KEY", "MADE", "FIRST USED", "ID"]);
    let now = when::now();
    for key in read_all::<Listed>(&items)? {
        table.row([
            format!("{}…", key.prefix).into(),
            when::ago(&key.created_at, now).into(),
            key.used_at.map_or("never".to_owned(), |at| when::ago(&at, now)).into(),
            (&key.id).into(),
        ]);
    }
    let none = "No keys. `adit cert ls --machine LABEL` lists the machine's certificates.";
    output.list(&items, &table, none)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Rotated {
    changes: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    prefix: String,
    created_at: String,
    used_at: Option<String>,
}
