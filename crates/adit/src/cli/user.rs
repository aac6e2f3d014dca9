//! `adit user`: people.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use super::when;
use crate::output::{Output, Table, escape};

/// More people than a person reads.
const MAX_LISTED: usize = 10_000;

/// Works on people.
#[derive(Args, Debug)]
pub struct User {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with people.
#[derive(Debug, Subcommand)]
enum Action {
    /// Add somebody; they may do nothing until `adit grant add` gives them a role
    Add {
        /// The name, in a-z 0-9 . _ @ + -
        name: String,
        /// The e-mail address, for the audit log
        #[arg(long)]
        email: Option<String>,
    },
    /// List people
    Ls,
    /// Remove somebody: tokens and sign-ins stop counting, live sessions end
    Rm {
        /// The name or id
        user: String,
    },
    /// Make a link with which somebody signs in to the console once
    Link {
        /// The name or id
        user: String,
    },
}

/// A person as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    name: String,
    email: Option<String>,
    created_at: Option<String>,
}

impl User {
    /// Works on people.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Add { name, email } => add(&client, output, name, email).await,
            Action::Ls => list(&client, output).await,
            Action::Rm { user } => {
                let id = find(&client, &user).await?;
                client.remove(&["users", &id]).await?;
                let sentence = format!("{user} is removed, and every session of theirs ended.");
                output.done(&json!({ "removed": id }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Link { user } => link(&client, output, &user).await,
        }
    }
}

/// Finds the id of a person by name, `user:NAME` or id.
///
/// # Errors
/// Nobody has that name, or the gateway refused.
pub async fn find(client: &Client, user: &str) -> Result<String, Failure> {
    let name = user.strip_prefix("user:").unwrap_or(user);
    let items = client.list(&["users"], &[], MAX_LISTED).await?;
    let people: Vec<Listed> = read_all(&items)?;
    let found = people.into_iter().find(|person| {
        person.id == name || person.name.strip_prefix("user:").unwrap_or(&person.name) == name
    });
    found.map(|person| person.id).ok_or_else(|| Failure::Found {
        sentence: format!("there is nobody called {name}; `adit user ls` lists everybody"),
        code: "client.user_unknown",
    })
}

async fn add(client: &Client, output: Output, name: String, email: Option<String>) -> Ended {
    let mut body = json!({ "name": name });
    if let Some(email) = email {
        body["email"] = Value::from(email);
    }
    let value = client.create(&["users"], &body).await?;
    let sentence = format!(
        "{name} is added. Give a role with `adit grant add user:{name} ROLE`, \
         then let them sign in with `adit user link {name}`."
    );
    output.done(&value, &sentence)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, output: Output) -> Ended {
    let items = client.list(&["users"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["NAME", "E-MAIL", "ADDED", "ID"]);
    for person in read_all::<Listed>(&items)? {
        table.row([
            (&person.name).into(),
            person.email.unwrap_or_default().into(),
            person.created_at.map(|at| when::ago(&at, when::now())).unwrap_or_default().into(),
            (&person.id).into(),
        ]);
    }
    output.list(&items, &table, "Nobody yet. Add somebody with `adit user add NAME`.")?;
    Ok(ExitCode::SUCCESS)
}

async fn link(client: &Client, output: Output, user: &str) -> Ended {
    let id = find(client, user).await?;
    let value = client.create(&["users", &id, "sign-in-links"], &json!({})).await?;
    let link: Link = read(value.clone())?;
    if output.is_json() {
        output.json(&value)?;
    } else {
        output.line(&link.url)?;
        let until = when::ago(&link.expires_at, when::now());
        eprintln!("It signs {} in once, and ends {}.", escape(user), escape(&until));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    url: String,
    expires_at: String,
}
