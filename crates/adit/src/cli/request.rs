//! `adit request`: access for a time, asked for with a reason and decided by somebody else.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read_all};
use super::options::ClientOptions;
use super::{Ended, Failure, grant, when};
use crate::output::{Cell, Output, Table, Tone};

/// More requests than a person reads.
const MAX_LISTED: usize = 1000;

/// Asks for access, and decides about what others ask for.
#[derive(Args, Debug)]
pub struct Request {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with requests.
#[derive(Debug, Subcommand)]
enum Action {
    /// Ask for a role for a time
    Add {
        /// Which role, of `adit role ls`
        role: String,
        /// On this machine; may be given again [default: all machines]
        #[arg(long = "machine", value_name = "LABEL")]
        machines: Vec<String>,
        /// Why
        #[arg(long)]
        reason: String,
        /// For how long
        #[arg(long = "for", value_parser = when::parse_length, value_name = "LENGTH", default_value = "1h")]
        length: u64,
    },
    /// List requests: your own, or everybody's if you may decide about them
    Ls,
    /// Approve somebody's request: they have the role from now on, for the time that they asked for
    Approve {
        /// Its id, of `adit request ls`
        id: String,
        /// Something to tell them
        #[arg(long)]
        note: Option<String>,
    },
    /// Deny somebody's request
    Deny {
        /// Its id, of `adit request ls`
        id: String,
        /// Something to tell them
        #[arg(long)]
        note: Option<String>,
    },
    /// Take a request of your own back
    Withdraw {
        /// Its id, of `adit request ls`
        id: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    principal: Value,
    role: String,
    machines: Vec<String>,
    reason: String,
    seconds: u64,
    state: String,
    created_at: String,
}

impl Request {
    /// Works on requests.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { role, machines, reason, length } => {
                let body = json!({ "role": role, "machines": machines, "reason": reason, "seconds": length });
                let value = client.create(&["access-requests"], &body).await?;
                let sentence = "Asked. Somebody who may decide sees it now; `adit request ls` shows what became of it.";
                output.done(&value, sentence)?;
            }
            Action::Ls => list(&client, output).await?,
            Action::Approve { id, note } => decide(&client, output, &id, "approve", note).await?,
            Action::Deny { id, note } => decide(&client, output, &id, "deny", note).await?,
            Action::Withdraw { id } => {
                client.remove(&["access-requests", &id]).await?;
                output.done(&json!({ "withdrawn": id }), "The request is taken back.")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn decide(
    client: &Client,
    output: Output,
    id: &str,
    decision: &str,
    note: Option<String>,
) -> Result<(), Failure> {
    let body = json!({ "decision": decision, "note": note });
    let value = client.create(&["access-requests", id, "decision"], &body).await?;
    let told = match decision {
        "approve" => "Approved: they have the role from now on, until their time is over.",
        _ => "Denied.",
    };
    output.done(&value, told)?;
    Ok(())
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let items = client.list(&["access-requests"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["WHO", "ROLE", "ON", "FOR", "WHY", "STATE", "ASKED", "ID"]);
    for one in read_all::<Listed>(&items)? {
        let on =
            if one.machines.is_empty() { "everything".into() } else { one.machines.join(", ") };
        let tone = match one.state.as_str() {
            "pending" => Tone::Warning,
            "approved" => Tone::Good,
            _ => Tone::Faint,
        };
        table.row([
            grant::name(&one.principal).into(),
            one.role.into(),
            on.into(),
            when::length(i64::try_from(one.seconds).unwrap_or(i64::MAX)).into(),
            one.reason.into(),
            Cell::toned(&one.state, tone),
            when::ago(&one.created_at, when::now()).into(),
            one.id.into(),
        ]);
    }
    let empty = "Nobody asked for anything. Ask with `adit request add ROLE --reason WHY`.";
    output.list(&items, &table, empty)?;
    Ok(())
}
