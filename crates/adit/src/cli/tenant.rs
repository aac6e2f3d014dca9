//! `adit tenant`: whose data is whose, on a gateway of several.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, read, read_all};
use super::options::ClientOptions;
use super::{Ended, Failure, when};
use crate::output::{Output, Table, escape};

/// More tenants than a person reads.
const MAX_LISTED: usize = 1000;

/// Works on tenants.
#[derive(Args, Debug)]
pub struct Tenant {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with tenants.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the tenants
    Ls,
    /// Make a tenant, and a sign-in link for its first administrator
    Add {
        /// Its name
        name: String,
        /// The name of its first administrator
        #[arg(long, default_value = "admin")]
        admin: String,
    },
    /// Remove a tenant: what its people and machines hold opens nothing any more
    Rm {
        /// Its name
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: String,
    created_at: String,
}

#[derive(Deserialize)]
struct Made {
    url: String,
}

impl Tenant {
    /// Works on tenants.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls => list(&client, output).await?,
            Action::Add { name, admin } => {
                let body = json!({ "name": name, "admin": admin });
                let value = client.create(&["tenants"], &body).await?;
                if output.is_json() {
                    output.json(&value)?;
                } else {
                    output.line(&read::<Made>(value)?.url)?;
                    eprintln!("It signs {} of {} in once.", escape(&admin), escape(&name));
                }
            }
            Action::Rm { name } => {
                let items = client.list(&["tenants"], &[], MAX_LISTED).await?;
                let found = read_all::<Listed>(&items)?.into_iter().find(|one| one.name == name);
                let found = found.ok_or_else(|| Failure::Found {
                    sentence: format!("there is no tenant {name}; `adit tenant ls` lists them"),
                    code: "client.tenant_unknown",
                })?;
                client.remove(&["tenants", &found.id]).await?;
                output
                    .done(&json!({ "removed": name }), &format!("The tenant {name} is removed."))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let items = client.list(&["tenants"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["TENANT", "MADE", "ID"]);
    for one in read_all::<Listed>(&items)? {
        let made = when::ago(&one.created_at, when::now());
        table.row([one.name.into(), made.into(), one.id.into()]);
    }
    output.list(&items, &table, "There is one tenant, yours.")?;
    Ok(())
}
