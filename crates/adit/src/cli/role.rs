//! `adit role`: roles and what they allow.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::Ended;
use super::client::{Client, read_all};
use super::options::ClientOptions;
use super::what_ends::{self, DryRun};
use crate::output::{Output, Table};

/// More roles than a person reads.
const MAX_LISTED: usize = 1000;

/// Works on roles.
#[derive(Args, Debug)]
pub struct Role {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with roles.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the roles and what they allow
    Ls,
    /// Make a role
    Add {
        /// Its name
        name: String,
        /// What it allows, such as terminal:spawn
        #[arg(required = true)]
        capabilities: Vec<String>,
        /// A scope of templates that it holds, such as read:files; again for more
        #[arg(long = "template-scope", value_name = "SCOPE")]
        template_scopes: Vec<String>,
    },
    /// Replace what a role allows: what it no longer does ends within a second
    Set {
        /// Its name
        name: String,
        /// What it allows, all of it
        #[arg(required = true)]
        capabilities: Vec<String>,
        /// A scope of templates that it holds; again for all of them
        #[arg(long = "template-scope", value_name = "SCOPE")]
        template_scopes: Vec<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a role, and take it away from whoever has it
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    capabilities: Vec<String>,
    #[serde(rename = "templateScopes")]
    template_scopes: Vec<String>,
}

impl Role {
    /// Works on roles.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls => list(&client, output).await?,
            Action::Add { name, capabilities, template_scopes } => {
                let body = json!({ "name": name, "capabilities": capabilities, "templateScopes": template_scopes });
                let value = client.create(&["roles"], &body).await?;
                let sentence = format!(
                    "The role {name} is there. Give it with `adit grant add user:NAME {name}`."
                );
                output.done(&value, &sentence)?;
            }
            Action::Set { name, capabilities, dry, .. } if dry.dry_run => {
                let change =
                    json!({ "changeRole": { "role": name, "capabilities": capabilities } });
                what_ends::show(&client, output, &change).await?;
            }
            Action::Set { name, capabilities, template_scopes, .. } => {
                let body =
                    json!({ "capabilities": capabilities, "templateScopes": template_scopes });
                let value = client.replace(&["roles", &name], &body).await?;
                output.done(&value, &format!("The role {name} is changed."))?;
            }
            Action::Rm { name, dry } if dry.dry_run => {
                what_ends::show(&client, output, &json!({ "removeRole": name })).await?;
            }
            Action::Rm { name, .. } => {
                client.remove(&["roles", &name]).await?;
                let sentence = format!("The role {name} is removed, and nobody has it any more.");
                output.done(&json!({ "removed": name }), &sentence)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, output: Output) -> Result<(), super::Failure> {
    let items = client.list(&["roles"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["ROLE", "ALLOWS", "TEMPLATES"]);
    for role in read_all::<Listed>(&items)? {
        let scopes = role.template_scopes.join(" ");
        table.row([(&role.name).into(), role.capabilities.join(" ").into(), scopes.into()]);
    }
    output.list(&items, &table, "The gateway knows no roles.")?;
    Ok(())
}
