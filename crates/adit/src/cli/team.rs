//! `adit team`: principals that hold roles together.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read_all};
use super::options::ClientOptions;
use super::what_ends::{self, DryRun};
use super::{Ended, Failure, grant, when};
use crate::output::{Output, Table};

/// More teams than a person reads.
const MAX_LISTED: usize = 1000;

/// Works on teams.
#[derive(Args, Debug)]
pub struct Team {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with teams.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the teams
    Ls,
    /// Say who is in a team
    Show {
        /// Its name
        team: String,
    },
    /// Make a team
    Add {
        /// Its name
        team: String,
    },
    /// Remove a team: what its roles allowed ends within a second
    Rm {
        /// Its name
        team: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Take somebody into a team
    Join {
        /// Which team
        team: String,
        /// Who: user:NAME or service:NAME
        principal: String,
    },
    /// Take somebody out of a team
    Leave {
        /// Which team
        team: String,
        /// Who: user:NAME or service:NAME
        principal: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    members: u64,
    created_at: String,
}

#[derive(Deserialize)]
struct Member {
    principal: Value,
    source: String,
}

impl Team {
    /// Works on teams.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls => list(&client, output).await?,
            Action::Show { team } => show(&client, output, &team).await?,
            Action::Add { team } => {
                let value = client.create(&["teams"], &json!({ "name": team })).await?;
                let next = format!("Take people in with `adit team join {team} user:NAME`.");
                output.done(&value, &format!("The team {team} is there. {next}"))?;
            }
            Action::Rm { team, dry } if dry.dry_run => {
                what_ends::show(&client, output, &json!({ "removeTeam": team })).await?;
            }
            Action::Rm { team, .. } => {
                client.remove(&["teams", &team]).await?;
                let sentence = format!("The team {team} is removed, and its roles with it.");
                output.done(&json!({ "removed": team }), &sentence)?;
            }
            Action::Join { team, principal } => {
                let body = json!({ "principal": principal });
                client.create(&["teams", &team, "members"], &body).await?;
                let value = json!({ "team": team, "principal": principal });
                output.done(&value, &format!("{principal} is in the team {team}."))?;
            }
            Action::Leave { team, principal, dry } if dry.dry_run => {
                let change = json!({ "leaveTeam": { "team": team, "principal": principal } });
                what_ends::show(&client, output, &change).await?;
            }
            Action::Leave { team, principal, .. } => {
                client.remove(&["teams", &team, "members", &principal]).await?;
                let value = json!({ "team": team, "principal": principal });
                output.done(&value, &format!("{principal} is out of the team {team}."))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let items = client.list(&["teams"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["TEAM", "MEMBERS", "MADE"]);
    for team in read_all::<Listed>(&items)? {
        let made = when::ago(&team.created_at, when::now());
        table.row([team.name.into(), team.members.to_string().into(), made.into()]);
    }
    output.list(&items, &table, "No team yet. Make one with `adit team add NAME`.")?;
    Ok(())
}

async fn show(client: &Client, output: Output, team: &str) -> Result<(), Failure> {
    let value = client.fetch(&["teams", team, "members"], &[]).await?;
    let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut table = Table::new(&["WHO", "BY"]);
    for member in read_all::<Member>(&items)? {
        table.row([grant::name(&member.principal).into(), member.source.into()]);
    }
    let empty =
        format!("Nobody is in {team}. Take people in with `adit team join {team} user:NAME`.");
    output.list(&items, &table, &empty)?;
    Ok(())
}
