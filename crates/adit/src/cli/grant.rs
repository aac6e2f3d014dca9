//! `adit grant`: who has which role on what.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, read, read_all};
use super::options::ClientOptions;
use super::what_ends::{self, DryRun};
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
        /// To whom: user:NAME, team:NAME or service:NAME
        principal: String,
        /// Which role, of `adit role ls`
        role: String,
        #[command(flatten)]
        terms: Box<Terms>,
    },
    /// List the roles that are given
    Ls,
    /// Take a role away: sessions that rest on it end within a second
    Rm {
        /// The grant's id, of `adit grant ls`
        id: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// On what a role is given, and when it counts.
#[derive(Args, Debug)]
struct Terms {
    /// On this machine; may be given again [default: all machines]
    #[arg(long = "machine", value_name = "LABEL")]
    machines: Vec<String>,
    /// On machines whose label fits, such as web-*
    #[arg(long, value_name = "PATTERN", conflicts_with = "machines")]
    label: Option<String>,
    /// On machines with this tag; may be given again, then all must be there
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_tag, conflicts_with = "machines")]
    tags: Vec<(String, String)>,
    /// On machines of this team
    #[arg(long, value_name = "TEAM", conflicts_with = "machines")]
    team: Option<String>,
    /// For how long, such as 12h [default: until it is taken away]
    #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
    expires: Option<u64>,
    /// Only on these days and hours, such as "mon-fri 08:00-18:00 +01:00"
    #[arg(long, value_name = "HOURS")]
    hours: Option<String>,
    /// Only from this network, such as 10.0.0.0/8; may be given again
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Only when the second factor was shown within this time, such as 10m
    #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
    second_factor: Option<u64>,
    /// Only after somebody approved a request, see `adit request`
    #[arg(long)]
    approval: bool,
}

/// Reads a tag as it is written.
pub fn parse_tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Terms {
    fn write(self, body: &mut Value) {
        if !self.machines.is_empty() {
            body["machines"] = Value::from(self.machines);
        }
        if self.label.is_some() || !self.tags.is_empty() || self.team.is_some() {
            let tags: serde_json::Map<String, Value> =
                self.tags.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
            body["matching"] = json!({ "tags": tags });
            for (key, value) in [("label", self.label), ("team", self.team)] {
                if let Some(value) = value {
                    body["matching"][key] = Value::from(value);
                }
            }
        }
        if let Some(seconds) = self.expires {
            body["expiresInSeconds"] = Value::from(seconds);
        }
        let always = self.hours.is_none()
            && self.networks.is_empty()
            && self.second_factor.is_none()
            && !self.approval;
        if !always {
            body["conditions"] = json!({
                "hours": self.hours,
                "networks": self.networks,
                "secondFactorWithinSeconds": self.second_factor,
                "approval": self.approval,
            });
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    principal: Value,
    role: String,
    on: String,
    conditions: Option<Conditions>,
    expires_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    hours: Option<String>,
    networks: Vec<String>,
    second_factor_within_seconds: Option<u64>,
    approval: bool,
}

impl Conditions {
    fn words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.hours.clone());
        if !self.networks.is_empty() {
            words.push(format!("from {}", self.networks.join(" or ")));
        }
        words.extend(self.second_factor_within_seconds.map(|seconds| {
            format!(
                "second factor within {}",
                when::length(i64::try_from(seconds).unwrap_or(i64::MAX))
            )
        }));
        words.extend(self.approval.then(|| "after approval".to_owned()));
        words.join(", ")
    }
}

impl Grant {
    /// Works on grants.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { principal, role, terms } => {
                let mut body = json!({ "principal": principal, "role": role });
                terms.write(&mut body);
                let value = client.create(&["grants"], &body).await?;
                let made: Listed = read(value.clone())?;
                let sentence = format!("{principal} has the role {role} on {}.", made.on);
                output.done(&value, &sentence)?;
            }
            Action::Ls => list(&client, output).await?,
            Action::Rm { id, dry } if dry.dry_run => {
                what_ends::show(&client, output, &json!({ "removeGrant": id })).await?;
            }
            Action::Rm { id, .. } => {
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
    let mut table = Table::new(&["PRINCIPAL", "ROLE", "ON", "WHEN", "ENDS", "ID"]);
    for grant in read_all::<Listed>(&items)? {
        let conditions = grant.conditions.as_ref().map(Conditions::words).unwrap_or_default();
        table.row([
            name(&grant.principal).into(),
            (&grant.role).into(),
            grant.on.into(),
            match conditions.as_str() {
                "" => Cell::toned("always", Tone::Faint),
                words => words.into(),
            },
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
