//! Scopes, and who holds their capabilities.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::client::{Client, read};
use super::super::failure::Failure;
use super::super::when;
use crate::output::{Output, Table};

/// What to do with scopes.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the scopes
    Ls,
    /// Register a scope: from then on its capabilities can be given
    Add(Add),
    /// Remove a scope: nobody holds its capabilities any more, and what rests on them ends
    Rm {
        /// Its name
        scope: String,
    },
}

/// A scope to register.
#[derive(Args, Debug)]
pub struct Add {
    /// Its name: 1 to 50 of a-z 0-9 -
    scope: String,
    /// What may be done, as many as there are: connect makes SCOPE:connect
    #[arg(long = "action", value_name = "ACTION", required = true)]
    actions: Vec<String>,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
    /// The version of whoever wrote it
    #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
    scope_version: String,
    /// How its streams may go: relay, tunnel, direct [default: all]
    #[arg(long = "strategy", value_name = "STRATEGY")]
    strategies: Vec<String>,
    /// The one that is tried first
    #[arg(long, default_value = "relay")]
    preferred: String,
}

/// Capabilities of a machine.
#[derive(Args, Debug)]
pub struct Give {
    /// The machine's label, or plugin-agent:LABEL:NAME
    machine: String,
    /// What, such as shell:connect
    #[arg(required = true)]
    capabilities: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Registry {
    pub(super) scopes: Vec<Value>,
    pub(super) instances: Vec<Value>,
    pub(super) assignments: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    version: String,
    scopes: Vec<ListedAction>,
    transport: ListedTransport,
    registered_at: String,
    registered_by: String,
}

#[derive(Deserialize)]
struct ListedAction {
    name: String,
}

#[derive(Deserialize)]
struct ListedTransport {
    strategies: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Holders {
    pub(super) holders: Vec<Holder>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Holder {
    pub(super) agent_label: String,
    pub(super) capabilities: Vec<String>,
}

impl Action {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        match self {
            Self::Ls => list(client, output).await,
            Self::Add(add) => add.run(client, output).await,
            Self::Rm { scope } => {
                let value = client.remove(&["scopes", &scope]).await?;
                let sentence = format!("The scope {scope} is gone, and all that rested on it.");
                Ok(output.done(&value, &sentence)?)
            }
        }
    }
}

impl Add {
    async fn run(self, client: &Client, output: Output) -> Result<(), Failure> {
        let every = ["relay", "tunnel", "direct"].map(str::to_owned).to_vec();
        let strategies = if self.strategies.is_empty() { every } else { self.strategies };
        let actions: Vec<Value> = self.actions.iter().map(|name| json!({ "name": name })).collect();
        let body = json!({
            "name": self.scope, "version": self.scope_version, "description": self.description, "scopes": actions,
            "transport": { "strategies": strategies, "preferred": self.preferred, "port": 0, "protocol": "tcp" },
        });
        let value = client.create(&["scopes"], &body).await?;
        let names: Vec<&str> = value["registered"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let first = names.first().copied().unwrap_or_default();
        let sentence = format!(
            "{} can be given now. Give it to two machines with `adit ticket give LABEL {first}`.",
            names.join(", ")
        );
        Ok(output.done(&value, &sentence)?)
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let registry: Registry = client.read(&["scopes"], &[]).await?;
    let mut table = Table::new(&["SCOPE", "VERSION", "CAPABILITIES", "BY", "REGISTERED", "WHO"]);
    for value in &registry.scopes {
        let scope: Listed = read(value.clone())?;
        let names: Vec<String> = scope.scopes.into_iter().map(|one| one.name).collect();
        table.row([
            scope.name.into(),
            scope.version.into(),
            names.join(" ").into(),
            scope.transport.strategies.join(" ").into(),
            when::ago(&scope.registered_at, when::now()).into(),
            scope.registered_by.into(),
        ]);
    }
    let empty = "No scope yet. Register one with `adit ticket scope add shell --action connect`.";
    Ok(output.list(&registry.scopes, &table, empty)?)
}

impl Give {
    /// Gives the capabilities, or takes them.
    pub(super) async fn run(
        self,
        client: &Client,
        output: Output,
        gives: bool,
    ) -> Result<(), Failure> {
        let all: Holders = client.read(&["capabilities"], &[]).await?;
        let own = all.holders.into_iter().find(|one| one.agent_label == self.machine);
        let mut held = own.map(|one| one.capabilities).unwrap_or_default();
        let meant = |one: &String| {
            let scope = one.split(':').next().unwrap_or_default();
            self.capabilities.iter().any(|given| given == one || given == scope)
        };
        held.retain(|one| !meant(one));
        if gives {
            held.extend(self.capabilities.iter().cloned());
        }
        let body = json!({ "capabilities": held });
        let value = client.replace(&["capabilities", &self.machine], &body).await?;
        let holds: Vec<&str> = value["capabilities"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let what = if holds.is_empty() { "nothing".to_owned() } else { holds.join(", ") };
        Ok(output.done(&value, &format!("{} holds {what} now.", self.machine))?)
    }
}
