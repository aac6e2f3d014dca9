//! `adit service`: OAuth2 clients.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, when};
use crate::output::{Output, Table};

/// More services than there are.
const MAX_LISTED: usize = 10_000;

/// Works on services.
#[derive(Args, Debug)]
pub struct Service {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with services.
#[derive(Debug, Subcommand)]
enum Action {
    /// Add a service; its secret is shown this once, and it may do nothing until `adit grant add` gives it a role
    Add {
        /// The name, in a-z 0-9 . _ @ + -
        name: String,
        /// What its tokens open at most, such as terminal:spawn
        #[arg(long = "scope", value_name = "SCOPE", num_args = 1.., value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// A program on users' own machines, which keeps no secret
        #[arg(long)]
        public: bool,
        /// Where users may be sent back to, compared byte for byte
        #[arg(long = "redirect", value_name = "URL")]
        redirects: Vec<String>,
    },
    /// List services
    Ls,
    /// Show a service and its secrets, without the secrets themselves
    Show {
        /// The name or client id
        service: String,
    },
    /// Make a new secret; those before it count for a day
    Rotate {
        /// The name or client id
        service: String,
    },
    /// Remove a service: its secrets, grants, tokens and live sessions end
    Rm {
        /// The name or client id
        service: String,
    },
}

/// A service as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    client_id: String,
    name: String,
    kind: String,
    scopes: Vec<String>,
    redirect_uris: Vec<String>,
    created_at: Option<String>,
    secrets: Vec<Secret>,
}

/// A secret as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Secret {
    prefix: String,
    expires_at: Option<String>,
}

impl Service {
    /// Works on services.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { name, scopes, public, redirects } => {
                let body = json!({ "name": name, "scopes": words(&scopes), "public": public,
                    "redirectUris": redirects });
                add(&client, output, &body).await
            }
            Action::Ls => list(&client, output).await,
            Action::Show { service } => show(&client, output, &service).await,
            Action::Rotate { service } => rotate(&client, output, &service).await,
            Action::Rm { service } => {
                let id = find(&client, &service).await?;
                client.remove(&["services", &id]).await?;
                let sentence = format!("{service} is removed, and every session of it ended.");
                output.done(&json!({ "removed": id }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// A scope may also come as one text with spaces, as it stands in tokens.
fn words(scopes: &[String]) -> Vec<&str> {
    scopes.iter().flat_map(|text| text.split_whitespace()).collect()
}

async fn find(client: &Client, service: &str) -> Result<String, Failure> {
    let name = service.strip_prefix("service:").unwrap_or(service);
    let items = client.list(&["services"], &[], MAX_LISTED).await?;
    let all: Vec<Listed> = read_all(&items)?;
    let found = all.into_iter().find(|one| one.client_id == name || one.name == name);
    found.map(|one| one.client_id).ok_or_else(|| Failure::Found {
        sentence: format!("there is no service {name}; `adit service ls` lists them"),
        code: "client.service_unknown",
    })
}

/// Prints what is shown once, under the names that OAuth2 gives it.
fn print_secret(output: Output, value: &Value, hint: &str) -> Result<(), Failure> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if output.is_json() {
        let mut shown = json!({ "client_id": text("clientId") });
        for (name, theirs) in [("client_secret", "clientSecret"), ("old_until", "oldUntil")] {
            if let Some(value) = value[theirs].as_str() {
                shown[name] = json!(value);
            }
        }
        output.json(&shown)?;
        return Ok(());
    }
    output.line(&format!("client_id      {}", text("clientId")))?;
    if value["clientSecret"].is_string() {
        output.line(&format!("client_secret  {}", text("clientSecret")))?;
        eprintln!("The secret is shown this once.");
    }
    eprintln!("{hint}");
    Ok(())
}

async fn add(client: &Client, output: Output, body: &Value) -> Ended {
    let value = client.create(&["services"], body).await?;
    let name = body["name"].as_str().unwrap_or_default();
    let hint = format!("Give it a role with `adit grant add service:{name} ROLE`.");
    print_secret(output, &value, &hint)?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(client: &Client, output: Output, service: &str) -> Ended {
    let id = find(client, service).await?;
    let value = client.create(&["services", &id, "secrets"], &json!({})).await?;
    let until = value["oldUntil"].as_str().unwrap_or_default();
    let hint = format!("The secret before it counts until {}.", when::ago(until, when::now()));
    print_secret(output, &value, &hint)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["services"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["NAME", "KIND", "SCOPES", "ADDED", "CLIENT ID"]);
    for one in read_all::<Listed>(&items)? {
        table.row([
            (&one.name).into(),
            (&one.kind).into(),
            one.scopes.join(" ").into(),
            one.created_at.map(|at| when::ago(&at, when::now())).unwrap_or_default().into(),
            (&one.client_id).into(),
        ]);
    }
    output.list(
        &items,
        &table,
        "No service yet. Add one with `adit service add NAME --scope S`.",
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, output: Output, service: &str) -> Ended {
    let id = find(client, service).await?;
    let value = client.fetch(&["services", &id], &[]).await?;
    let one: Listed = read(value.clone())?;
    let secret = |secret: &Secret| match &secret.expires_at {
        Some(until) => format!("{}… until {until}", secret.prefix),
        None => format!("{}…", secret.prefix),
    };
    let facts = [
        ("name", one.name),
        ("client id", one.client_id),
        ("kind", one.kind),
        ("scopes", one.scopes.join(" ")),
        ("redirects", one.redirect_uris.join(" ")),
        ("secrets", one.secrets.iter().map(secret).collect::<Vec<_>>().join(", ")),
        ("added", one.created_at.unwrap_or_default()),
    ];
    output.facts(&value, &facts)?;
    Ok(ExitCode::SUCCESS)
}
