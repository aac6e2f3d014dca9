//! `adit ticket`: what machines may reach each other for, and the two ends of it.

mod assignment;
mod carry;
mod list;
mod scope;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Ended;
use super::client::Client;
use super::options::ClientOptions;

/// Where the routes are.
const ROOT: &str = "api/tickets";

/// Works on tickets between machines.
#[derive(Args, Debug)]
pub struct Ticket {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with tickets between machines.
#[derive(Debug, Subcommand)]
enum Action {
    /// What machines may reach each other for
    #[command(subcommand)]
    Scope(scope::Action),
    /// List who holds which capability
    Holders,
    /// Give a machine capabilities, beside those that it holds
    Give(scope::Give),
    /// Take capabilities from a machine: what rests on them ends within a second
    Take(scope::Give),
    /// List what machines offer
    Instances,
    /// Remove what a machine offers, with its assignments and sessions
    Deregister {
        /// The instance's id, of `adit ticket instances`
        instance: String,
    },
    /// Let a machine be let in to what another offers
    Assign(assignment::Assign),
    /// Take that back: the session ends within a second
    Unassign(assignment::Assign),
    /// List who may be let in to what
    Assignments,
    /// List the tickets of the last hour
    Ls,
    /// Take a ticket back, and end its session
    Revoke {
        /// The ticket's handle, of `adit ticket ls`
        ticket: String,
    },
    /// List the sessions between machines
    Sessions,
    /// End a session between machines
    Kill {
        /// The session's id, of `adit ticket sessions`
        session: String,
    },
    /// Offer a port of this machine to the machines that are assigned, until Ctrl-C
    Offer(carry::Offer),
    /// Be let in to what another machine offers, and listen for programs that want it, until Ctrl-C
    Use(carry::Use),
}

impl Ticket {
    /// Works on tickets between machines.
    pub async fn run(self) -> Ended {
        let output = self.client.output.open();
        let action = match self.action {
            // These two come with a machine's certificate, and need no sign-in.
            Action::Offer(offer) => return offer.run(output).await,
            Action::Use(use_) => return use_.run(output).await,
            other => other,
        };
        let client = Client::open(&self.client.gateway)?.at(ROOT);
        match action {
            Action::Scope(action) => action.run(&client, output).await?,
            Action::Holders => list::holders(&client, output).await?,
            Action::Give(give) => give.run(&client, output, true).await?,
            Action::Take(give) => give.run(&client, output, false).await?,
            Action::Instances => list::instances(&client, output).await?,
            Action::Deregister { instance } => {
                let value = client.remove(&["instances", &instance]).await?;
                output.done(&value, "It is offered no more; what rested on it is over.")?;
            }
            Action::Assign(assign) => assign.add(&client, output).await?,
            Action::Unassign(assign) => assign.remove(&client, output).await?,
            Action::Assignments => list::assignments(&client, output).await?,
            Action::Ls => list::tickets(&client, output).await?,
            Action::Revoke { ticket } => {
                client.remove(&[&ticket]).await?;
                output.done(&json!({ "revoked": ticket }), "The ticket opens nothing more.")?;
            }
            Action::Sessions => list::sessions(&client, output).await?,
            Action::Kill { session } => {
                client.remove(&["sessions", &session]).await?;
                output.done(&json!({ "killed": session }), "The session is over.")?;
            }
            Action::Offer(_) | Action::Use(_) => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}
