//! `adit machine token` and `adit machine tokens`: how machines may join.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::client::{Client, read, read_all};
use crate::cli::{Ended, when};
use crate::output::{Output, Table, escape};

/// More tokens than a person has.
const MAX_LISTED: usize = 1000;

/// Makes an enrolment token.
#[derive(Args, Debug)]
pub struct Make {
    /// The label that the machine will have, or a pattern such as web-* [default: its host name]
    #[arg(long)]
    label: Option<String>,
    /// How long the token counts, such as 15m
    #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
    expires: Option<u64>,
    /// How many machines it lets in [default: 1]
    #[arg(long, value_name = "COUNT")]
    uses: Option<u32>,
    /// A tag that those machines get
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Give its place to a machine that was installed anew: the keys of the one before die
    #[arg(long, requires = "label")]
    replace: bool,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("{text:?} is no tag: write it as env=prod"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Works on the tokens that can still be used.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// List them, without their secrets
    Ls,
    /// Take one back: it lets nobody in any more
    Revoke {
        /// Its id, of `adit machine tokens ls`
        id: String,
    },
}

impl Make {
    /// Makes the token.
    pub async fn run(self, client: &Client, output: Output) -> Ended {
        let tags: BTreeMap<String, String> = self.tags.into_iter().collect();
        let mut body = json!({ "tags": tags, "replace": self.replace });
        if let Some(label) = self.label {
            body["label"] = Value::from(label);
        }
        if let Some(seconds) = self.expires {
            body["expiresInSeconds"] = Value::from(seconds);
        }
        if let Some(uses) = self.uses {
            body["uses"] = Value::from(uses);
        }
        let value = client.create(&["enrolment-tokens"], &body).await?;
        let made: Made = read(value.clone())?;
        if output.is_json() {
            output.json(&value)?;
            return Ok(ExitCode::SUCCESS);
        }
        output.line(&made.token)?;
        let until = when::ago(&made.expires_at, when::now());
        let whom = match self.uses {
            None | Some(1) => "one machine join".to_owned(),
            Some(uses) => format!("{uses} machines join"),
        };
        eprintln!(
            "It lets {whom}, and ends {}. On that machine run:\n  {}",
            escape(&until),
            escape(&made.command)
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Tokens {
    /// Works on tokens.
    pub async fn run(self, client: &Client, output: Output) -> Ended {
        match self {
            Self::Ls => list(client, output).await,
            Self::Revoke { id } => {
                client.remove(&["enrolment-tokens", &id]).await?;
                output.done(&json!({ "revoked": id }), "The token lets nobody in any more.")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["enrolment-tokens"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["TOKEN", "LABEL", "TAGS", "USED", "MADE", "BY", "ENDS", "ID"]);
    let now = when::now();
    for token in read_all::<Listed>(&items)? {
        let tags: Vec<String> = token.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let label = token.name.or(token.label).unwrap_or_default();
        table.row([
            format!("{}…", token.prefix).into(),
            if token.replace { format!("{label} (replaces)") } else { label }.into(),
            tags.join(" ").into(),
            format!("{} of {}", token.used, token.uses).into(),
            when::ago(&token.created_at, now).into(),
            token.made_by.unwrap_or_default().into(),
            when::ago(&token.expires_at, now).into(),
            (&token.id).into(),
        ]);
    }
    output.list(&items, &table, "No enrolment tokens. Make one with `adit machine token`.")?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    token: String,
    expires_at: String,
    #[serde(default)]
    command: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    prefix: String,
    label: Option<String>,
    name: Option<String>,
    tags: BTreeMap<String, String>,
    uses: u32,
    used: u32,
    replace: bool,
    made_by: Option<String>,
    created_at: String,
    expires_at: String,
}
