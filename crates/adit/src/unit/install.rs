//! Writing the files of the installation, and what goes with them: accounts, folders, the session secret.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_core::random::SystemIds;
use adit_domain::{Ids as _, Secret};
use adit_helper::folder::{Content, Folder, Owners};
use adit_helper::unit::{GATEWAY_USER, Program};
use anyhow::{Context as _, bail};
use rustix::fs::Mode;

use super::{
    ADMINISTRATORS, GATEWAY_SETTINGS, Known, PACKAGED, PACKAGES, Planned, SESSION_SECRET, Wish,
    planned,
};

/// What makes the accounts.
const SYSUSERS: &str = "/usr/bin/systemd-sysusers";

/// What tells systemd.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// Is there while systemd runs. Source: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";

const SERVICES: [&str; 4] =
    ["adit-helper.socket", "adit-helper.service", "adit-agent.service", "adit-gateway.service"];

/// Writes what a package holds below a folder.
pub(super) fn into_folder(root: &Path, wish: &Wish) -> anyhow::Result<()> {
    readable_to_all();
    let root = root.canonicalize().with_context(|| format!("the folder {}", root.display()))?;
    let program = Program::new(wish.program.as_deref().unwrap_or(Path::new(PACKAGED)))?;
    for file in planned(wish, &program, PACKAGES, &Known::NOTHING)? {
        write(&root, &file)?;
        println!("{}", root.join(file.path().trim_start_matches('/')).display());
    }
    make_folder(&root.join("etc/adit/certificates"))
}

/// Installs on this machine.
pub(super) fn here(wish: &Wish) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "only root can install services; run it with sudo, look at what it would do with `adit unit show`, or write the files elsewhere with --root DIR"
        );
    }
    let program = program(wish)?;
    readable_to_all();
    for file in planned(wish, &program, ADMINISTRATORS, &Known::here()?)? {
        write(Path::new("/"), &file)?;
    }
    run(SYSUSERS, &["/etc/sysusers.d/adit.conf"])
        .context("making the accounts adit-gateway and adit-agent")?;
    make_folder(Path::new("/etc/adit/certificates"))?;
    make_secret()?;
    if Path::new(BOOTED).exists() {
        run(SYSTEMCTL, &["daemon-reload"])?;
    }
    println!(
        "The accounts, units and settings are there. Look at {GATEWAY_SETTINGS}, then:\n\n  \
         systemctl enable --now adit-helper.socket adit-gateway.service\n\n\
         A machine's agent joins first, as its own account, and then starts:\n\n  \
         {} agent join URL --token @FILE --dir /var/lib/adit-agent/keys\n  \
         systemctl enable --now adit-agent.service\n\n\
         `adit doctor --privileges` says what each of them may do.",
        agent_account(wish, &program)
    );
    Ok(())
}

fn agent_account(wish: &Wish, program: &Program) -> String {
    match wish.shells {
        super::Whose::Any => program.to_string(),
        super::Whose::Own => format!(
            "install -d -o adit-agent -g adit-agent -m 700 /var/lib/adit-agent\n  runuser -u adit-agent -- {program}"
        ),
    }
}

/// Stops the services and removes their units.
pub(super) fn remove() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can remove services; run it with sudo");
    }
    let folder = Path::new("/").join(ADMINISTRATORS.units);
    let there = SERVICES.iter().filter(|name| folder.join(name).exists());
    let there: Vec<&str> = there.copied().collect();
    if Path::new(BOOTED).exists() && !there.is_empty() {
        run(SYSTEMCTL, &[&["disable", "--now"], there.as_slice()].concat())?;
    }
    for name in &there {
        let path = folder.join(name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    if Path::new(BOOTED).exists() {
        run(SYSTEMCTL, &["daemon-reload"])?;
    }
    println!(
        "{} units are removed. The accounts adit-gateway and adit-agent, /etc/adit and /var/lib/adit-* are still there: remove them by hand when nobody needs them.",
        there.len()
    );
    Ok(())
}

/// Gives the program, which root will run and nobody else may be able to change.
fn program(wish: &Wish) -> anyhow::Result<Program> {
    let path = match &wish.program {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("finding this program")?,
    };
    let path = path.canonicalize().with_context(|| format!("the program {}", path.display()))?;
    if let Some(open) = first_open(&path)? {
        bail!(
            "root would run {}, and {} can be changed by others. Put it where only root writes, then start that: `install -m 755 {} /usr/local/bin/adit && /usr/local/bin/adit unit install`",
            path.display(),
            open.display(),
            path.display()
        );
    }
    Ok(Program::new(&path)?)
}

/// Gives the first part of a path that others than root can change.
fn first_open(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    for part in path.ancestors() {
        let about = fs::metadata(part).with_context(|| format!("looking at {}", part.display()))?;
        if about.uid() != 0 || about.mode() & 0o022 != 0 {
            return Ok(Some(part.to_owned()));
        }
    }
    Ok(None)
}

fn write(root: &Path, file: &Planned) -> anyhow::Result<()> {
    let folder = root.join(file.folder);
    make_folder(&folder)?;
    if file.is_settings() && folder.join(file.name).exists() {
        return Ok(());
    }
    let content =
        Content { name: file.name, bytes: file.text.as_bytes(), mode: Mode::from_raw_mode(0o644) };
    let folder = folder.canonicalize().context("the folder that was made")?;
    Ok(Folder::open(&folder)?.replace_file(&content, Owners::default())?)
}

/// Settings and units hold no secret, and gateway and agent read them; each file says its own mode.
fn readable_to_all() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("making the folder {}", path.display()))
}

/// Makes the gateway's session secret, where there is none: root's, and readable by the gateway.
fn make_secret() -> anyhow::Result<()> {
    let path = Path::new(SESSION_SECRET);
    let group = adit_helper::settings::group_of(GATEWAY_USER)?;
    let mut bytes = [0; 32];
    SystemIds.fill(&mut bytes);
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let digits = Secret::new(digits);
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("making {SESSION_SECRET}")),
    };
    file.write_all(digits.expose().as_bytes())?;
    std::os::unix::fs::fchown(&file, None, Some(group))?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    file.sync_all().with_context(|| format!("writing {SESSION_SECRET}"))
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("running {program}; is systemd installed?"))?;
    if !status.success() {
        bail!("`{program} {}` failed ({status}); its message is above", arguments.join(" "));
    }
    Ok(())
}
