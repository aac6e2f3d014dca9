//! `adit user sign-ins`: where somebody is signed in.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::super::client::{Client, read, read_all};
use super::super::{Ended, when};
use super::find;
use crate::output::{Output, Table};

/// More sign-ins than anybody has.
const MAX_LISTED: usize = 1000;

/// Lists where somebody is signed in, and ends that.
#[derive(Args, Debug)]
pub struct SignIns {
    /// Whose [default: yours]
    user: Option<String>,
    /// End this one, by its id
    #[arg(long, value_name = "ID", conflicts_with = "end_others")]
    end: Option<String>,
    /// End all but the one that asks
    #[arg(long)]
    end_others: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    kind: String,
    current: bool,
    method: Option<String>,
    address: Option<String>,
    agent: Option<String>,
    created_at: Option<String>,
    last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct Me {
    id: String,
}

#[derive(Deserialize)]
struct Count {
    ended: u64,
}

impl SignIns {
    /// Lists or ends.
    pub async fn run(self, client: &Client, output: Output) -> Ended {
        let id = match &self.user {
            Some(user) => find(client, user).await?,
            None => client.read::<Me>(&["me"], &[]).await?.id,
        };
        if let Some(one) = self.end {
            client.remove(&["users", &id, "sign-ins", &one]).await?;
            output.done(&json!({ "ended": one }), "It is ended, and every terminal of it.")?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.end_others {
            let value = client.create(&["users", &id, "sign-ins", "end"], &json!({})).await?;
            let Count { ended } = read(value.clone())?;
            output.done(&value, &format!("{ended} ended."))?;
            return Ok(ExitCode::SUCCESS);
        }
        list(client, output, &id).await
    }
}

async fn list(client: &Client, output: Output, user: &str) -> Ended {
    let items = client.list(&["users", user, "sign-ins"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["WHAT", "ADDRESS", "BY", "SINCE", "LAST USED", "ID"]);
    let ago = |at: Option<String>| at.map(|at| when::ago(&at, when::now())).unwrap_or_default();
    for one in read_all::<Listed>(&items)? {
        let what = one.agent.unwrap_or(one.kind);
        let what = if one.current { format!("{what} (this one)") } else { what };
        table.row([
            what.into(),
            one.address.unwrap_or_default().into(),
            one.method.unwrap_or_default().into(),
            ago(one.created_at).into(),
            ago(one.last_used_at).into(),
            (&one.id).into(),
        ]);
    }
    output.list(&items, &table, "Nowhere.")?;
    Ok(ExitCode::SUCCESS)
}
