//! `adit alerts`: what was out of the ordinary in the audit log.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, grant, when};
use crate::output::{Output, Table};

/// How many alerts are listed unless told otherwise.
const LISTED: usize = 100;

/// Works on alerts.
#[derive(Args, Debug)]
pub struct Alerts {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with alerts.
#[derive(Debug, Subcommand)]
enum Action {
    /// List alerts, newest first
    Ls {
        /// At most this many
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
    /// Show an alert and the events that made it
    Show {
        /// The alert's id
        alert: String,
    },
    /// Post a test to the webhook, and say what the receiver answered
    Test,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Alert {
    id: String,
    kind: String,
    actor: Value,
    events: Vec<String>,
    sentence: String,
    raised_at: String,
    webhook: Delivery,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delivery {
    state: String,
    answer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tested {
    taken: bool,
    answer: String,
}

impl Alerts {
    /// Works on alerts.
    pub async fn run(self) -> Ended {
        let output = self.client.output.open();
        let client = Client::open(&self.client.gateway)?;
        match self.action {
            Action::Ls { limit } => list(&client, output, limit).await,
            Action::Show { alert } => show(&client, output, &alert).await,
            Action::Test => test(&client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output, limit: usize) -> Ended {
    let items = client.list(&["alerts"], &[], limit).await?;
    let mut table = Table::new(&["ID", "AT", "KIND", "WHO", "EVENTS", "WEBHOOK", "WHAT HAPPENED"]);
    for item in &items {
        let alert: Alert = read(item.clone())?;
        table.row([
            (&alert.id).into(),
            when::clock(&alert.raised_at).into(),
            (&alert.kind).into(),
            who(&alert.actor).into(),
            alert.events.len().to_string().into(),
            (&alert.webhook.state).into(),
            (&alert.sentence).into(),
        ]);
    }
    output.list(&items, &table, "Nothing was out of the ordinary.")?;
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, output: Output, id: &str) -> Ended {
    let value = client.fetch(&["alerts", id], &[]).await?;
    let alert: Alert = read(value.clone())?;
    let answer = alert.webhook.answer.map(|answer| format!(" ({answer})")).unwrap_or_default();
    let facts = [
        ("alert", alert.id),
        ("kind", alert.kind),
        ("who", who(&alert.actor)),
        ("raised", when::clock(&alert.raised_at)),
        ("what", alert.sentence),
        ("webhook", format!("{}{answer}", alert.webhook.state)),
        ("events", alert.events.join(" ")),
    ];
    output.facts(&value, &facts)?;
    Ok(ExitCode::SUCCESS)
}

async fn test(client: &Client, output: Output) -> Ended {
    let value = client.create(&["alerts", "test"], &json!({})).await?;
    let tested: Tested = read(value.clone())?;
    if !tested.taken {
        let sentence = format!("The receiver did not take the test: {}", tested.answer);
        return Err(Failure::Found { sentence, code: "alert.undelivered" });
    }
    output.done(&value, &format!("The receiver took the test: {}", tested.answer))?;
    Ok(ExitCode::SUCCESS)
}

/// Names who acted; the anonymous by their address, which is all that is known of them.
fn who(actor: &Value) -> String {
    match (actor["kind"].as_str(), actor["id"].as_str()) {
        (Some("anonymous"), Some(address)) => format!("anonymous:{address}"),
        _ => grant::name(actor),
    }
}
