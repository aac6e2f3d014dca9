//! `adit code`: support codes, and what became of them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::options::ClientOptions;
use super::{Ended, when};
use crate::output::{Cell, Output, Table, Tone, escape};

/// More codes than a person reads.
const MAX_LISTED: usize = 1000;

/// Works on support codes.
#[derive(Args, Debug)]
pub struct SupportCode {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with support codes.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a code to read out to somebody who needs help; it is shown this once
    Add {
        /// How long the help may last, such as 30m [default: 1h]
        #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
        length: Option<u64>,
    },
    /// List codes and what became of them
    Ls,
    /// Take a code back, or end what came of it
    Revoke {
        /// Its id, of `adit code ls`
        id: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    state: String,
    technician: Technician,
    access: String,
    created_at: Option<String>,
    expires_at: String,
    machine: Option<String>,
    ends_at: Option<String>,
    end: Option<End>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Technician {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct End {
    sentence: String,
}

impl SupportCode {
    /// Works on support codes.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { length } => add(&client, output, length).await,
            Action::Ls => list(&client, output).await,
            Action::Revoke { id } => {
                client.remove(&["support-codes", &id]).await?;
                output.done(&json!({ "revoked": id }), "The code opens nothing any more.")?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn add(client: &Client, output: Output, length: Option<u64>) -> Ended {
    let mut body = json!({});
    if let Some(seconds) = length {
        body["lengthSeconds"] = Value::from(seconds);
    }
    let value = client.create(&["support-codes"], &body).await?;
    let made: Made = read(value.clone())?;
    if output.is_json() {
        output.json(&value)?;
    } else {
        output.line(&made.support_code)?;
        let until = when::ago(&made.support.expires_at, when::now());
        eprintln!(
            "It lets one machine in, and ends {}. The person runs:\n  {}\nor reads {}. When they agree, `adit code ls` names the machine to connect to.",
            escape(&until),
            escape(&made.command),
            escape(&made.page),
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["support-codes"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["MADE", "BY", "STATE", "MACHINE", "ENDS", "ID"]);
    for code in read_all::<Listed>(&items)? {
        let ends = match (&code.end, &code.ends_at, code.state.as_str()) {
            (Some(end), _, _) => end.sentence.clone(),
            (None, Some(at), _) => when::ago(at, when::now()),
            (None, None, "open") => when::ago(&code.expires_at, when::now()),
            _ => String::new(),
        };
        table.row([
            code.created_at.map_or(String::new(), |at| when::ago(&at, when::now())).into(),
            format!("{} ({})", code.technician.name, code.access).into(),
            state(&code.state),
            code.machine.unwrap_or_default().into(),
            ends.into(),
            (&code.id).into(),
        ]);
    }
    output.list(&items, &table, "No support codes. Make one with `adit code add`.")?;
    Ok(ExitCode::SUCCESS)
}

fn state(state: &str) -> Cell {
    let tone = match state {
        "agreed" | "live" => Tone::Good,
        "open" | "asked" => Tone::Warning,
        _ => Tone::Faint,
    };
    Cell::toned(state, tone)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    support_code: String,
    page: String,
    command: String,
    support: Listed,
}
