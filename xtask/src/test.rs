//! `cargo xtask test`: installs what the tests need, then runs what CI runs.

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{ci, console, packages};

/// The folders with packages from npm.
const NPM_FOLDERS: &[&str] = &["web", "sdk/typescript", "tests/agent/xterm", "tests/company"];

/// Installs the missing parts, each kind in one call, and runs every check and test.
pub fn run(workspace: &Workspace) -> Result<()> {
    packages::install_missing(&[packages::BUILD, packages::TESTS].concat())?;
    packages::install_cargo_tool("nextest", "0.9.143")?;
    packages::install_cargo_tool("deny", "0.20.2")?;
    for folder in NPM_FOLDERS {
        if workspace.root.join(folder).join("package.json").exists() {
            console::install_packages(workspace, folder)?;
        }
    }
    ci::run(workspace)
}
