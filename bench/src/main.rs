//! Measures Adit on this machine, beside OpenSSH and beside bare relays of the same shape: `cargo xtask bench`.
//!
//! Every round visits each target in turn, so that a drift of the machine falls on all of them; quote medians and ratios.

mod adit;
mod bulk;
mod connect;
mod echo;
mod far;
mod floor;
mod idle;
mod jobs;
mod many;
mod openssh;
mod processes;
mod pty;
mod sealing;
mod side;
mod soak;
mod table;
mod target;
mod terminal;
mod tickets;
mod tls;
mod viewer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

/// What this program is: it measures, and it also plays the other parts of what is measured.
#[derive(Subcommand)]
enum Role {
    /// Measures and prints a table.
    Measure(Options),
    /// Opens, uses and ends sessions for a long time, and fails when anything fails or grows.
    Soak(soak::Options),
    /// Runs at the far end of a measured session.
    #[command(hide = true)]
    Far {
        #[command(subcommand)]
        part: far::Part,
    },
    /// The bare relays.
    #[command(hide = true)]
    Floor {
        #[command(subcommand)]
        part: floor::Part,
    },
}

/// How long and what to measure.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// The `adit` to measure.
    #[arg(long, hide = true)]
    adit: PathBuf,
    /// What to measure; everything but `many` if not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Row>,
    /// Rounds over all targets.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Keys typed in each round on each target.
    #[arg(long, default_value_t = 250)]
    keys: usize,
    /// Connections made in each round to each target.
    #[arg(long, default_value_t = 3)]
    connects: usize,
    /// Millions of bytes of one bulk transfer.
    #[arg(long, default_value_t = 64)]
    megabytes: u64,
    /// Sessions that are open at once for the memory of one, and for `many`.
    #[arg(long, default_value_t = 100)]
    sessions: usize,
}

/// A group of rows of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// The time and the processor time of one key.
    Echo,
    /// The time of one key beside a session that floods.
    Load,
    /// Output in bulk.
    Bulk,
    /// The time to the first prompt.
    Connect,
    /// The memory of a session that waits.
    Idle,
    /// The rate of sealing and opening messages, without a server.
    Sealing,
    /// Very many sessions at ten keys a second each; only if asked for.
    Many,
    /// Tickets between machines, and their streams.
    Tickets,
    /// Jobs beside bubblewrap; only if asked for.
    Jobs,
}

impl Options {
    /// Tells whether a group of rows is asked for.
    fn wants(&self, row: Row) -> bool {
        (self.only.is_empty() && !matches!(row, Row::Many | Row::Jobs)) || self.only.contains(&row)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(role: Role) -> Result<()> {
    match role {
        Role::Measure(options) => measure(&options),
        Role::Soak(options) => soak::run(&options),
        Role::Far { part } => far::run(part),
        Role::Floor { part } => floor::run(part),
    }
}

fn measure(options: &Options) -> Result<()> {
    if options.only == [Row::Sealing] {
        return sealing::measure();
    }
    if options.only == [Row::Tickets] {
        return tickets::measure(options);
    }
    if options.only == [Row::Jobs] {
        return jobs::measure(options);
    }
    let bench = target::Bench::start(options)?;
    let mut table = table::Table::new(bench.targets.iter().map(|target| target.name));
    // First, while no server holds memory of sessions that were.
    if options.wants(Row::Idle) {
        idle::measure(&bench.targets, options, &mut table)?;
    }
    if options.wants(Row::Connect) {
        connect::measure(&bench.targets, options, &mut table)?;
    }
    if options.wants(Row::Echo) {
        echo::measure(&bench.targets, options, &mut table)?;
    }
    if options.wants(Row::Bulk) {
        bulk::measure(&bench.targets, options, &mut table)?;
    }
    // Last of the common ones, because the session of a client that was killed floods on for the grace.
    if options.wants(Row::Load) {
        echo::measure_beside_flood(&bench.targets, options, &mut table)?;
    }
    if options.wants(Row::Many) {
        many::measure(&bench.targets, options, &mut table)?;
    }
    println!("\n{table}");
    if options.wants(Row::Sealing) {
        sealing::measure()?;
    }
    drop(bench);
    if options.wants(Row::Tickets) {
        tickets::measure(options)?;
    }
    Ok(())
}
