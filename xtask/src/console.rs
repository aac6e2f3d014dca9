//! The console in `web/`: its packages from npm, its build in `web/dist`.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// The oldest Node that Vite 8 runs on.
const NODE_MAJOR: u32 = 20;

/// Files of `web/` that the build makes itself.
const MADE: &[&str] = &["dist", "node_modules", "coverage"];

/// Builds `web/dist` where one of its inputs is newer than it.
pub fn build(workspace: &Workspace) -> Result<()> {
    let web = workspace.root.join("web");
    let inputs = newest(&web)?.max(newest(&workspace.root.join("crates/adit-wire/proto"))?);
    if modified(&web.join("dist/index.html")).is_some_and(|built| built >= inputs) {
        return Ok(());
    }
    install_packages(workspace, "web")?;
    command::run(workspace.command("npm", &["run", "build"]).current_dir(web))
}

/// Runs `npm ci` in a folder whose `node_modules` is absent or older than its lock file.
pub fn install_packages(workspace: &Workspace, folder: &str) -> Result<()> {
    let path = workspace.root.join(folder);
    let locked = modified(&path.join("package-lock.json")).with_context(|| {
        format!("{folder}/package-lock.json is needed to install what was tested")
    })?;
    if modified(&path.join("node_modules/.package-lock.json"))
        .is_some_and(|installed| installed >= locked)
    {
        return Ok(());
    }
    check_node(&command::output(&mut workspace.command("node", &["--version"]))?)?;
    println!("Installing with npm: what {folder}/package-lock.json names");
    command::run(workspace.command("npm", &["ci", "--no-audit", "--no-fund"]).current_dir(path))
}

/// Refuses a Node that the console's build does not run on.
fn check_node(version: &str) -> Result<()> {
    let major: Option<u32> = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    match major {
        Some(major) if major >= NODE_MAJOR => Ok(()),
        _ => bail!(
            "Node {NODE_MAJOR} or newer builds the console, here is {}: see nodejs.org",
            version.trim()
        ),
    }
}

/// The time of the newest file below a folder, without what builds make.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?
    {
        let entry = entry?;
        if MADE.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let time = if entry.file_type()?.is_dir() {
            newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        latest = latest.max(time);
    }
    Ok(latest)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_old_node_is_refused_with_the_version_that_is_needed() {
        let error = check_node("v18.20.4\n").expect_err("18 is too old");
        assert_eq!(
            error.to_string(),
            "Node 20 or newer builds the console, here is v18.20.4: see nodejs.org"
        );
        assert!(check_node("v22.1.0\n").is_ok());
    }

    #[test]
    fn what_a_build_makes_does_not_count_as_its_input() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = folder.path().join("src");
        let packages = folder.path().join("node_modules");
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (parent, time) in [(&source, old), (&packages, old + Duration::from_secs(1))] {
            std::fs::create_dir(parent).expect("folder");
            File::create(parent.join("a.ts"))
                .and_then(|file| file.set_modified(time))
                .expect("file");
        }
        assert_eq!(newest(folder.path()).expect("listed"), old);
    }
}
