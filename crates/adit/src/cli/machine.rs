//! `adit ls` and `adit machine`: machines, their state, and how they join.

mod key;
mod token;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, read, read_all};
use super::options::ClientOptions;
use super::when;
use crate::output::{Cell, Output, Table, Tone};

/// More machines than a person reads.
const MAX_LISTED: usize = 10_000;

const NONE_YET: &str = "No machines yet. Make an enrolment token with `adit machine token`, \
    then run `adit agent join URL --token @FILE` on the machine.";

/// Lists machines.
#[derive(Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    client: ClientOptions,
}

/// Works on machines.
#[derive(Args, Debug)]
pub struct Machine {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with machines.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the machines that you may use
    Ls,
    /// Show one machine
    Show {
        /// Its label or id
        machine: String,
    },
    /// Say anew what tags a machine has and which team it belongs to; roles that rest on them follow
    Describe {
        /// Its label or id
        machine: String,
        /// A tag; may be given again, and replaces all that there are
        #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = super::grant::parse_tag)]
        tags: Vec<(String, String)>,
        /// Take all its tags away
        #[arg(long, conflicts_with = "tags")]
        no_tags: bool,
        /// The team that it belongs to; empty for none
        #[arg(long, value_name = "TEAM")]
        team: Option<String>,
    },
    /// Remove a machine: its key stops counting and its sessions end
    Rm {
        /// Its label or id
        machine: String,
    },
    /// Make an enrolment token, with which machines may join
    Token(token::Make),
    /// The enrolment tokens that can still be used
    #[command(subcommand)]
    Tokens(token::Tokens),
    /// What admits a machine: its key, or its certificate
    #[command(subcommand)]
    Key(key::Key),
}

/// A machine as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its label.
    pub label: String,
    /// online, stale or offline.
    pub status: String,
    hostname: String,
    os: String,
    arch: String,
    version: String,
    cores: u32,
    memory_bytes: u64,
    tags: BTreeMap<String, String>,
    team: Option<String>,
    /// When its agent was last heard.
    pub last_seen_at: Option<String>,
    added_at: Option<String>,
    live_sessions: u64,
    capabilities: Vec<String>,
}

impl Ls {
    /// Lists machines.
    pub async fn run(self) -> Ended {
        list(&Client::open(&self.client.gateway)?, self.client.output.open()).await
    }
}

impl Machine {
    /// Works on machines.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls => list(&client, output).await,
            Action::Show { machine } => show(&client, output, &machine).await,
            Action::Rm { machine } => {
                client.remove(&["machines", &machine]).await?;
                let sentence =
                    format!("{machine} is removed; its agent is turned away from now on.");
                output.done(&json!({ "removed": machine }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Describe { machine, tags, no_tags, team } => {
                let mut body = json!({});
                if no_tags || !tags.is_empty() {
                    let tags: BTreeMap<String, String> = tags.into_iter().collect();
                    body["tags"] = json!(tags);
                }
                if let Some(team) = team {
                    body["team"] = Value::from(team);
                }
                client.change(&["machines", &machine], &body).await?;
                let sentence = format!("{machine} is described anew.");
                output.done(&json!({ "described": machine }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Token(make) => make.run(&client, output).await,
            Action::Tokens(tokens) => tokens.run(&client, output).await,
            Action::Key(key) => key.run(&client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["machines"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["MACHINE", "STATUS", "SYSTEM", "SESSIONS", "LAST SEEN"]);
    for machine in read_all::<Listed>(&items)? {
        let system = format!("{} {}", machine.os, machine.arch);
        table.row([
            (&machine.label).into(),
            status(&machine.status),
            system.trim().into(),
            machine.live_sessions.to_string().into(),
            machine
                .last_seen_at
                .map_or("never".to_owned(), |at| when::ago(&at, when::now()))
                .into(),
        ]);
    }
    output.list(&items, &table, NONE_YET)?;
    Ok(ExitCode::SUCCESS)
}

fn status(status: &str) -> Cell {
    let tone = match status {
        "online" => Tone::Good,
        "stale" => Tone::Warning,
        _ => Tone::Faint,
    };
    Cell::toned(status, tone)
}

async fn show(client: &Client, output: Output, name: &str) -> Ended {
    let value = client.fetch(&["machines", name], &[]).await?;
    let machine: Listed = read(value.clone())?;
    let tags: Vec<String> = machine.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let memory = Some(machine.memory_bytes).filter(|bytes| *bytes > 0).map(when::size);
    let facts = [
        ("machine", machine.label),
        ("id", machine.id),
        ("status", machine.status),
        ("host name", machine.hostname),
        ("system", format!("{} {}", machine.os, machine.arch)),
        ("cores", machine.cores.to_string()),
        ("memory", memory.unwrap_or_default()),
        ("agent", machine.version),
        ("tags", tags.join(" ")),
        ("team", machine.team.unwrap_or_default()),
        ("sessions", machine.live_sessions.to_string()),
        ("last seen", machine.last_seen_at.map_or("never".to_owned(), |at| when::clock(&at))),
        ("added", machine.added_at.map(|at| when::clock(&at)).unwrap_or_default()),
        ("you may", machine.capabilities.join(" ")),
    ];
    output.facts(&value, &facts)?;
    Ok(ExitCode::SUCCESS)
}
