//! The client commands: everything a person or a script asks a gateway for.
//!
//! A command reads top-down: its options, what it asks ([`client`]), how it shows the answer ([`crate::output`]). What goes wrong is a
//! [`failure::Failure`]: one sentence on standard error and an exit status. The way of a key is `connect.rs`.

mod alert;
mod ask;
mod attachment;
mod audit;
mod bearer;
mod cert;
mod client;
mod code;
mod completions;
mod config;
mod connect;
mod credentials;
mod doctor;
mod exec;
mod failure;
mod grant;
mod held;
mod job;
mod key;
mod login;
mod machine;
mod options;
mod play;
mod proof;
mod recording;
mod request;
mod role;
mod run;
mod service;
mod session;
mod stream;
mod team;
mod template;
mod tenant;
mod ticket;
mod token;
mod user;
mod what_ends;
mod when;
mod why;

use std::process::ExitCode;

use clap::Subcommand;

use failure::Failure;

/// What a command gets from the program that it is a part of.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Gives the whole command line's grammar, for completions.
    pub grammar: fn() -> clap::Command,
}

/// A command that asks a gateway.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the machines that you may use
    Ls(machine::Ls),
    /// Open a shell on a machine in this terminal
    Connect(connect::Connect),
    /// Run a command on a machine, with this command's streams and its exit status
    Exec(exec::Exec),
    /// Run a template on one machine or several, and follow what it writes
    Run(run::Run),
    /// List jobs, show one, read what it wrote, cancel it
    Jobs(job::Jobs),
    /// List the templates that you may run, and check files of templates
    Templates(template::Templates),
    /// List and end sessions, look at them and come back to them
    Sessions(session::Sessions),
    /// Play a recording in this terminal
    Play(play::Play),
    /// List, verify, export, search and delete recordings
    Recordings(recording::Recordings),
    /// Read, search, verify and export the audit log
    Audit(audit::Audit),
    /// List and show alerts about the audit log, and test their webhook
    Alerts(alert::Alerts),
    /// Show, remove and enrol machines
    Machine(machine::Machine),
    /// Get, list, renew and revoke certificates of machines and operators
    Cert(cert::Cert),
    /// Add, list and remove people, and make sign-in links
    User(user::User),
    /// Add, list, renew and remove services, which get tokens by OAuth2
    Service(service::Service),
    /// Renew, list and revoke the keys that sign access tokens
    Key(key::Key),
    /// Make, list and revoke API tokens
    Token(token::Token),
    /// Make, list and revoke support codes
    Code(code::SupportCode),
    /// Give roles to people and machines, list them, and take them away
    Grant(grant::Grant),
    /// List the roles and what they allow, make and change roles of your own
    Role(role::Role),
    /// Make teams, and take people into them
    Team(team::Team),
    /// Make, list and remove tenants
    Tenant(tenant::Tenant),
    /// Let one machine reach another: scopes, assignments, tickets, and both ends of a stream
    Ticket(ticket::Ticket),
    /// Ask for a role for a time, and decide about what others ask for
    Request(request::Request),
    /// Say whether somebody may do something, and by what
    Why(why::Why),
    /// Look for what is wrong, and say how to mend it
    Doctor(doctor::Doctor),
    /// Sign in, and keep a gateway's address and your token for later commands
    Login(login::Login),
    /// Show what this client's commands will use
    Config(config::Config),
    /// Write a shell's completions
    Completions(completions::Completions),
}

impl Command {
    /// Runs the command on a runtime of its own, with one thread: a key's way crosses no other.
    pub fn run_alone(self, context: Context) -> ExitCode {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let ended = runtime.block_on(self.run(context));
                // Nobody waits for a read of standard input that no one needs any more.
                runtime.shutdown_background();
                ended
            }
            Err(cause) => Failure::file("starting the runtime")(cause).report(),
        }
    }

    /// Runs the command, says what went wrong, and gives its exit status.
    pub async fn run(self, context: Context) -> ExitCode {
        let ended = match self {
            Self::Ls(command) => command.run().await,
            Self::Connect(command) => command.run().await,
            Self::Exec(command) => command.run().await,
            Self::Run(command) => command.run().await,
            Self::Jobs(command) => command.run().await,
            Self::Templates(command) => command.run().await,
            Self::Sessions(command) => command.run().await,
            Self::Play(command) => command.run().await,
            Self::Recordings(command) => command.run().await,
            Self::Audit(command) => command.run().await,
            Self::Alerts(command) => command.run().await,
            Self::Machine(command) => command.run().await,
            Self::Cert(command) => command.run().await,
            Self::User(command) => command.run().await,
            Self::Service(command) => command.run().await,
            Self::Key(command) => command.run().await,
            Self::Token(command) => command.run().await,
            Self::Code(command) => command.run().await,
            Self::Grant(command) => command.run().await,
            Self::Role(command) => command.run().await,
            Self::Team(command) => command.run().await,
            Self::Tenant(command) => command.run().await,
            Self::Ticket(command) => command.run().await,
            Self::Request(command) => command.run().await,
            Self::Why(command) => command.run().await,
            Self::Doctor(command) => command.run().await,
            Self::Login(command) => command.run().await,
            Self::Config(command) => command.run().await,
            Self::Completions(command) => command.run(context),
        };
        ended.unwrap_or_else(|failure| failure.report())
    }
}

/// How a command ends that did not fail.
type Ended = Result<ExitCode, Failure>;

#[cfg(test)]
#[path = "cli/tests.rs"]
mod tests;
