//! `adit user`: people.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, ask, when};
use crate::output::{Output, Table, escape};

mod sign_ins;

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
    /// Add somebody and make a link with which they choose a password or a passkey
    Invite {
        /// The name, in a-z 0-9 . _ @ + -; somebody who is there already is invited again
        name: String,
        /// The e-mail address, for the audit log
        #[arg(long)]
        email: Option<String>,
        /// A role on everything, given with the invitation
        #[arg(long)]
        role: Option<String>,
    },
    /// List where somebody is signed in, and end that
    SignIns(sign_ins::SignIns),
    /// Take somebody's second factors away, who lost them; their sign-ins end
    ResetFactors {
        /// The name or id
        user: String,
    },
    /// Set your password; every other sign-in of yours ends
    Password,
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
            Action::Invite { name, email, role } => {
                invite(&client, output, name, email, role).await
            }
            Action::SignIns(command) => command.run(&client, output).await,
            Action::ResetFactors { user } => {
                let id = find(&client, &user).await?;
                client.remove(&["users", &id, "factors"]).await?;
                let sentence = format!(
                    "{user} has no second factor any more. `adit user link {user}` lets them in to add one."
                );
                output.done(&json!({ "reset": id }), &sentence)?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Password => password(&client, output).await,
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

async fn invite(
    client: &Client,
    output: Output,
    name: String,
    email: Option<String>,
    role: Option<String>,
) -> Ended {
    let mut body = json!({ "name": name });
    if let Some(email) = email {
        body["email"] = Value::from(email);
    }
    let id = match client.create(&["users"], &body).await {
        Ok(value) => read::<Listed>(value)?.id,
        Err(Failure::Refused(problem)) if problem.code == "conflict" => find(client, &name).await?,
        Err(failure) => return Err(failure),
    };
    if let Some(role) = role {
        let grant = json!({ "principal": format!("user:{name}"), "role": role });
        client.create(&["grants"], &grant).await?;
    }
    let value = client.create(&["users", &id, "invitations"], &json!({})).await?;
    show_link(output, value, &format!("It works once: {name} chooses a password or a passkey."))
}

async fn link(client: &Client, output: Output, user: &str) -> Ended {
    let id = find(client, user).await?;
    let value = client.create(&["users", &id, "sign-in-links"], &json!({})).await?;
    show_link(output, value, &format!("It signs {user} in once."))
}

fn show_link(output: Output, value: Value, sentence: &str) -> Ended {
    let link: Link = read(value.clone())?;
    if output.is_json() {
        output.json(&value)?;
    } else {
        output.line(&link.url)?;
        let until = when::ago(&link.expires_at, when::now());
        eprintln!("{} It ends {}.", escape(sentence), escape(&until));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Factors {
    password: bool,
}

async fn password(client: &Client, output: Output) -> Ended {
    let factors: Factors = client.read(&["me", "factors"], &[]).await?;
    let mut body = json!({});
    if factors.password {
        body["current"] = Value::from(ask::secret("Your password until now: ")?.expose().clone());
    }
    let new = ask::secret("Your new password, 12 characters or more: ")?;
    if std::io::stdin().is_terminal() && ask::secret("Once more: ")?.expose() != new.expose() {
        return Err(Failure::Usage("the two are not alike; nothing was changed".to_owned()));
    }
    body["password"] = Value::from(new.expose().clone());
    client.create(&["me", "password"], &body).await?;
    let sentence = "Your password is set, and your other sign-ins ended.";
    output.done(&json!({ "set": true }), sentence)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    url: String,
    expires_at: String,
}
