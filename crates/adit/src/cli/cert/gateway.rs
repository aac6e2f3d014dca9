//! `adit cert gateway`: the certificates that the gateway's own listeners show.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;

use crate::cli::client::{Client, read, read_all};
use crate::cli::{Ended, when};
use crate::output::{Cell, Output, Table, Tone, escape};

/// What to do with the gateway's own certificates.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List them, with when the gateway gets the next
    Ls,
    /// Get another now; connections that live keep what they have
    Renew {
        /// Whose: the address of people, or of machines
        #[arg(value_enum, default_value_t = Listener::People)]
        listener: Listener,
    },
}

/// A listener of the gateway.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Listener {
    /// The console, the API and the CLI
    People,
    /// Agents
    Machines,
}

/// A certificate as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shown {
    listener: String,
    source: String,
    hosts: Vec<String>,
    issuer: String,
    serial: String,
    not_after: String,
    status: String,
    renew_at: Option<String>,
    renewing: bool,
    failure: Option<Failed>,
}

/// Why there is no newer one.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Failed {
    at: String,
    why: String,
    again_at: Option<String>,
}

impl Action {
    /// Works on them.
    pub async fn run(self, client: &Client, output: Output) -> Ended {
        match self {
            Self::Ls => list(client, output).await,
            Self::Renew { listener } => renew(client, output, listener).await,
        }
    }
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["gateway-certificates"], &[], 16).await?;
    let mut table =
        Table::new(&["LISTENER", "SOURCE", "STATUS", "ENDS", "RENEWED", "FOR", "SIGNED BY"]);
    let now = when::now();
    let all = read_all::<Shown>(&items)?;
    for one in &all {
        let tone = match one.status.as_str() {
            "valid" => Tone::Good,
            "expiring" => Tone::Warning,
            _ => Tone::Bad,
        };
        let renewed = match (&one.renew_at, one.renewing) {
            (_, true) => "now".to_owned(),
            (Some(at), false) => when::ago(at, now),
            (None, false) => "with its files".to_owned(),
        };
        table.row([
            (&one.listener).into(),
            (&one.source).into(),
            Cell::toned(&one.status, tone),
            when::ago(&one.not_after, now).into(),
            renewed.into(),
            one.hosts.join(" ").into(),
            (&one.issuer).into(),
        ]);
    }
    output.list(&items, &table, "No listener has a certificate.")?;
    if !output.is_json() {
        for one in &all {
            let Some(failed) = &one.failure else { continue };
            let again = failed.again_at.as_ref();
            let again = again
                .map_or(String::new(), |at| format!(" It is tried again {}.", when::ago(at, now)));
            let at = when::ago(&failed.at, now);
            eprintln!("{}: no new certificate {at}: {}.{again}", one.listener, escape(&failed.why));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn renew(client: &Client, output: Output, listener: Listener) -> Ended {
    let name = match listener {
        Listener::People => "people",
        Listener::Machines => "machines",
    };
    let value = client.create(&["gateway-certificates", name, "renew"], &json!({})).await?;
    let one: Shown = read(value.clone())?;
    let until = when::ago(&one.not_after, when::now());
    let sentence = if one.renewing {
        "A new certificate is asked for; `adit cert gateway ls` tells when it is there.".to_owned()
    } else {
        format!("{name} get certificate {} from now on; it ends {until}.", escape(&one.serial))
    };
    output.done(&value, &sentence)?;
    Ok(ExitCode::SUCCESS)
}
