//! `adit token`: API tokens.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::options::ClientOptions;
use super::{Ended, user, when};
use crate::output::{Output, Table, escape};

/// More tokens than a person has.
const MAX_LISTED: usize = 1000;

/// Works on API tokens.
#[derive(Args, Debug)]
pub struct Token {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with API tokens.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; it is shown this once
    Add {
        /// What it is for
        name: String,
        /// Whose it is [default: yours]
        #[arg(long)]
        user: Option<String>,
        /// How long it counts, such as 30d [default: the gateway's]
        #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
        expires: Option<u64>,
    },
    /// List tokens, without their secrets
    Ls {
        /// Whose [default: yours]
        #[arg(long)]
        user: Option<String>,
    },
    /// Revoke a token: it stops counting within a second
    Rm {
        /// Its id, of `adit token ls`
        id: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    name: String,
    created_at: Option<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl Token {
    /// Works on API tokens.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { name, user, expires } => {
                add(&client, output, &name, user.as_deref(), expires).await
            }
            Action::Ls { user } => list(&client, output, user.as_deref()).await,
            Action::Rm { id } => {
                client.remove(&["tokens", &id]).await?;
                output.done(&json!({ "removed": id }), "The token is revoked.")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn owner(client: &Client, user: Option<&str>) -> Result<String, super::Failure> {
    match user {
        Some(name) => user::find(client, name).await,
        None => Ok(client.read::<Me>(&["me"], &[]).await?.id),
    }
}

async fn add(
    client: &Client,
    output: Output,
    name: &str,
    user: Option<&str>,
    expires: Option<u64>,
) -> Ended {
    let owner = owner(client, user).await?;
    let mut body = json!({ "name": name });
    if let Some(seconds) = expires {
        body["expiresInSeconds"] = Value::from(seconds);
    }
    let value = client.create(&["users", &owner, "tokens"], &body).await?;
    let made: Made = read(value.clone())?;
    if output.is_json() {
        output.json(&value)?;
    } else {
        output.line(&made.token)?;
        let until = match made.expires_at {
            Some(at) => format!("It ends {}.", when::ago(&at, when::now())),
            None => "It counts until it is revoked.".to_owned(),
        };
        eprintln!("Keep it now: it is not shown again. {}", escape(&until));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: Output, user: Option<&str>) -> Ended {
    let owner = owner(client, user).await?;
    let items = client.list(&["users", &owner, "tokens"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["NAME", "MADE", "ENDS", "LAST USED", "ID"]);
    let told = |at: Option<String>, otherwise: &str| {
        at.map_or(otherwise.to_owned(), |at| when::ago(&at, when::now()))
    };
    for token in read_all::<Listed>(&items)? {
        table.row([
            (&token.name).into(),
            told(token.created_at, "").into(),
            told(token.expires_at, "never").into(),
            told(token.last_used_at, "never").into(),
            (&token.id).into(),
        ]);
    }
    output.list(&items, &table, "No tokens. Make one with `adit token add NAME`.")?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Me {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    token: String,
    expires_at: Option<String>,
}
