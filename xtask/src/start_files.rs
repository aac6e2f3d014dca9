//! The start files of whoever runs the tests, out of the tests' sight.
//!
//! The tests open login shells and kill them. What a person's start files do (locks, version managers) must neither slow nor break that, so
//! the tests run in a mount namespace of their own in which these files are empty. Outside of it nothing changes.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Says that the files are hidden already.
const HIDDEN: &str = "ADIT_START_FILES_HIDDEN";

/// Hides the files, then becomes the program that is given.
const HIDE: &str = r#"
for file in .bash_profile .bash_login .profile .bashrc; do
    if [ -e "$HOME/$file" ]; then mount --bind /dev/null "$HOME/$file" || exit 1; fi
done
exec "$@""#;

/// Starts this program again without the start files, where that can be done: as root. Returns where it cannot, or was done before.
pub fn hide() -> Result<()> {
    let may = || command::succeeds(Command::new("unshare").args(["--mount", "true"]));
    if env::var_os(HIDDEN).is_some() || !rustix::process::geteuid().is_root() || !may() {
        return Ok(());
    }
    let program = env::current_exe().context("finding this program")?;
    let mut again = Command::new("unshare");
    again.args(["--mount", "sh", "-c", HIDE, "sh"]).arg(program).args(env::args_os().skip(1));
    Err(again.env(HIDDEN, "1").exec()).context("starting again in a mount namespace")
}
