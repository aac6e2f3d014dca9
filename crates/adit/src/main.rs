//! Adit: one gate for every remote session. Gateway, agent and CLI in one binary.
//!
//! Read first: [`up`] (gateway and agent of this machine), [`serve`] (a gateway), [`agent`] (a machine), [`helper`] and [`unit`] (root's part),
//! `cli` (everything a person or a script asks a gateway for).

mod acme;
mod agent;
mod cli;
mod config;
mod helper;
mod log;
mod output;
mod parent;
mod serve;
mod tls;
mod traces;
mod unit;
mod up;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// One gate for every remote session.
#[derive(Debug, Parser)]
#[command(name = "adit", version, max_term_width = 100, propagate_version = true)]
struct Adit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a gateway and an agent for this machine
    Up(up::Up),
    /// Start a gateway by its configuration
    Serve(serve::Serve),
    /// Join a gateway as a machine, and serve it
    Agent(agent::Agent),
    /// Do the few things that need root, for a gateway that is not
    Helper(helper::Helper),
    /// Run gateway, agent and root helper as services of systemd, each with no more than it needs
    Unit(unit::Unit),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    // A shell's supervisor is this same binary; it must be small, so it comes before everything else.
    adit_agent::supervise::main();
    // So is what holds a vetted command: it must have one thread and nothing open.
    adit_sandbox::main();
    match Adit::parse().command {
        Command::Up(up) => told(up.run()),
        Command::Serve(serve) => told(serve.run()),
        Command::Agent(agent) => told(agent.run()),
        Command::Helper(helper) => told(helper.run()),
        Command::Unit(unit) => told(unit.run()),
        Command::Client(command) => command.run_alone(cli::Context { grammar: Adit::command }),
    }
}

/// Says what went wrong, with its causes, and gives the exit status.
fn told(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit: {error:#}");
            ExitCode::from(125)
        }
    }
}
