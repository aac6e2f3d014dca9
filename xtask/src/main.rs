//! The project's command runner, called as `cargo xtask COMMAND`.

mod bench;
mod ci;
mod command;
mod console;
mod packages;
mod reference;
mod start_files;
mod test;
mod tidy;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use workspace::Workspace;

/// Builds, runs and checks Adit.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
enum Task {
    /// Builds the console and the binary, then runs `adit up` with the arguments that follow.
    Up {
        /// What `adit up` is given, for example `--json` or `--data DIR`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Installs what the tests need, says what that is, then runs everything that CI runs.
    Test,
    /// Runs every check and every test; installs nothing.
    Ci,
    /// Checks the rules of the house: layers, ceilings, words, promises, paths.
    Tidy,
    /// Writes `docs/configuration.md` from the code that reads the configuration.
    Reference,
    /// Lets sessions come and go for a long time; fails when anything fails or grows.
    Soak {
        /// `--seconds N` and `--sessions N`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measures the optimised binary beside OpenSSH and beside bare relays of the same shape.
    Bench {
        /// What the measuring program is given; `--help` lists it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match task {
        Task::Up { args } => up::run(&workspace, &args),
        Task::Test => {
            start_files::hide()?;
            test::run(&workspace)
        }
        Task::Ci => {
            start_files::hide()?;
            ci::run(&workspace)
        }
        Task::Tidy => tidy::run(&workspace),
        Task::Reference => reference::run(&workspace.root),
        Task::Bench { args } => bench::run(&workspace, "measure", &args),
        Task::Soak { args } => bench::run(&workspace, "soak", &args),
    }
}
