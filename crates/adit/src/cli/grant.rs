//! `adit grant`: who has which role on what.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, read_all};
use super::options::ClientOptions;
use super::when;
use crate::output::{Cell, Output, Table, Tone};

/// More grants than a person reads.
const MAX_LISTED: usize = 10_000;

/// Works on grants.
#[derive(Args, Debug)]
pub struct Grant {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
enum Action {
    /// Give a role
    Add {
        /// To whom: user:NAME, service:NAME or machine:LABEL
        principal: String,
        /// Which role, of `adit role ls`
        role: String,
        /// On this machine; may be given again [default: all machines]
        #[arg(long = "machine", value_name = "LABEL")]
        machines: Vec<String>,
        /// For how long, such as 12h [default: until it is taken away]
        #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
        expires: Option<u64>,
    },
    /// List the roles that are given
    Ls,
    /// Take a role away: sessions that rest on it end within a second
    Rm {
        /// The grant's id, of `adit grant ls`
        id: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    principal: Value,
    role: String,
    machines: Option<Vec<Value>>,
    expires_at: Option<String>,
}

impl Grant {
    /// Works on grants.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { principal, role, machines, expires } => {
                let mut body = json!({ "principal": principal, "role": role });
                if !machines.is_empty() {
                    body["machines"] = Value::from(machines.clone());
                }
                if let Some(seconds) = expires {
                    body["expiresInSeconds"] = Value::from(seconds);
                }
                let value = client.create(&["grants"], &body).await?;
                let on = if machines.is_empty() {
                    "all machines".to_owned()
                } else {
                    machines.join(", ")
                };
                output.done(&value, &format!("{principal} has the role {role} on {on}."))?;
            }
            Action::Ls => list(&client, output).await?,
            Action::Rm { id } => {
                client.remove(&["grants", &id]).await?;
                let sentence = "The role is taken away, and sessions that rested on it ended.";
                output.done(&json!({ "removed": id }), sentence)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, output: Output) -> Result<(), super::Failure> {
    let items = client.list(&["grants"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["PRINCIPAL", "ROLE", "ON", "ENDS", "ID"]);
    for grant in read_all::<Listed>(&items)? {
        let machines = grant.machines.map(|list| list.iter().map(name).collect::<Vec<_>>());
        table.row([
            name(&grant.principal).into(),
            (&grant.role).into(),
            machines.map_or("all machines".to_owned(), |list| list.join(", ")).into(),
            match grant.expires_at {
                Some(at) => when::ago(&at, when::now()).into(),
                None => Cell::toned("never", Tone::Faint),
            },
            (&grant.id).into(),
        ]);
    }
    let empty = "Nobody has a role. Give one with `adit grant add user:NAME ROLE`.";
    output.list(&items, &table, empty)?;
    Ok(())
}

/// Gives the name of a principal or machine, which stands as a text or as an object.
pub fn name(value: &Value) -> String {
    let part = |key: &str| value.get(key).and_then(Value::as_str);
    match (value.as_str(), part("kind"), part("name").or(part("label"))) {
        (Some(text), ..) => text.to_owned(),
        (None, Some(kind), Some("")) => kind.to_owned(),
        (None, Some(kind), Some(name)) if !name.contains(':') => format!("{kind}:{name}"),
        (None, _, Some(name)) => name.to_owned(),
        (None, _, None) => String::new(),
    }
}
