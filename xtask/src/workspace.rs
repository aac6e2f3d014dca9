//! Where the repository is and where its builds go.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The repository's root and what `cargo metadata` says of it.
pub struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub root: PathBuf,
    /// The packages of this repository, without those they depend on.
    pub metadata: Value,
}

impl Workspace {
    /// Finds the repository that this program was built from.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the repository's root")?;
        let text = command::output(
            Command::new("cargo")
                .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
                .arg(root.join("Cargo.toml")),
        )?;
        let metadata =
            serde_json::from_str(&text).context("reading the answer of cargo metadata")?;
        Ok(Self { root: root.to_owned(), metadata })
    }

    /// A command that runs in the repository's root.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root);
        command
    }

    /// Builds one binary with a cargo profile and returns its path.
    pub fn build(&self, package: &str, profile: &str) -> Result<PathBuf> {
        command::run(
            &mut self.command("cargo", &["build", "--package", package, "--profile", profile]),
        )?;
        let target = self.metadata["target_directory"]
            .as_str()
            .context("cargo metadata names the target directory")?;
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(Path::new(target).join(folder).join(package))
    }
}
