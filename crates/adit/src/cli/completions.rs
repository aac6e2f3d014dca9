//! `adit completions`: what a shell completes.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::{Context, Ended};

/// Writes completions; see `docs/cli.md` for where each shell wants them.
#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Writes completions.
    pub fn run(self, context: Context) -> Ended {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut (context.grammar)(), "adit", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
