//! `cargo xtask up`: from a fresh clone to a running gateway.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{console, packages};

/// Builds the console and `adit`, then becomes `adit up`, so that every signal reaches it.
pub fn run(workspace: &Workspace, args: &[String]) -> Result<()> {
    packages::install_missing(packages::BUILD)?;
    console::build(workspace)?;
    let adit = workspace.build("adit", "quick")?;
    let error = Command::new(&adit).arg("up").args(args).exec();
    Err(error).with_context(|| format!("starting {}", adit.display()))
}
