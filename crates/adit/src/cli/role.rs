//! `adit role`: roles and what they allow.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Ended;
use super::client::{Client, read_all};
use super::options::ClientOptions;
use crate::output::Table;

/// More roles than there are.
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
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    capabilities: Vec<String>,
}

impl Role {
    /// Works on roles.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        let Action::Ls = self.action;
        let items = client.list(&["roles"], &[], MAX_LISTED).await?;
        let mut table = Table::new(&["ROLE", "ALLOWS"]);
        for role in read_all::<Listed>(&items)? {
            table.row([(&role.name).into(), role.capabilities.join(" ").into()]);
        }
        output.list(&items, &table, "The gateway knows no roles.")?;
        Ok(ExitCode::SUCCESS)
    }
}
