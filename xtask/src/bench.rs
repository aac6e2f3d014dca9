//! `cargo xtask bench`: measures the optimised binary with the program in `bench/`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::console;
use crate::workspace::Workspace;

/// Builds both, then becomes the measuring program.
pub fn run(workspace: &Workspace, role: &str, args: &[String]) -> Result<()> {
    console::build(workspace)?;
    let adit = workspace.build("adit", "quick")?;
    let bench = workspace.build("adit-bench", "quick")?;
    let error = Command::new(&bench).args([role, "--adit"]).arg(adit).args(args).exec();
    Err(error).with_context(|| format!("starting {}", bench.display()))
}
