//! The child that becomes the shell or the command: its terminal, rights, environment and folder, then exec.

use super::Stdio;
use super::user::{Account, AccountError};
use nix::sys::signal::SigSet;
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the child is to become.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Empty: the account's login shell.
    pub(crate) command: Vec<String>,
    /// Variables beside the account's own, already held against the allow-list.
    pub(crate) env: Vec<(String, String)>,
    /// Empty: the agent's own account.
    pub(crate) run_as: String,
}

#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("the request can't be read: {0}")]
    Request(io::Error),
    #[error("the request is damaged: {0}")]
    Damaged(serde_json::Error),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("the terminal can't be made the shell's own: {0}")]
    Terminal(io::Error),
    #[error("{program}: {error}")]
    Exec { program: String, error: io::Error },
}

impl ChildError {
    /// Tells a refused account from anything else, as the report's first sign.
    fn mark(&self) -> char {
        match self {
            Self::Account(_) => REFUSED_ACCOUNT,
            Self::Request(_) | Self::Damaged(_) | Self::Terminal(_) | Self::Exec { .. } => FAILED,
        }
    }
}

/// Comes first, when nothing but exec can fail any more. With it alone the report says that the shell is there.
pub(crate) const READY: u8 = b'R';
/// Begins a report: the account can't be taken on.
pub(crate) const REFUSED_ACCOUNT: char = 'A';
/// Begins a report: anything else.
pub(crate) const FAILED: char = 'F';

/// Becomes the shell; when it can't, says so on the report socket and ends with status 127, as a shell does.
pub(super) fn become_shell(report: OwnedFd, stdio: Stdio) -> ! {
    let mut report = UnixStream::from(report);
    let Err(error) =
        read_request(&mut report).and_then(|request| exec(&request, stdio, &mut report));
    // The agent may be gone; then nobody is there to tell.
    let _ = write!(report, "{}{error}", error.mark());
    std::process::exit(127)
}

fn read_request(report: &mut UnixStream) -> Result<Request, ChildError> {
    let mut request = Vec::new();
    report.read_to_end(&mut request).map_err(ChildError::Request)?;
    serde_json::from_slice(&request).map_err(ChildError::Damaged)
}

fn exec(
    request: &Request,
    stdio: Stdio,
    report: &mut UnixStream,
) -> Result<std::convert::Infallible, ChildError> {
    let account = Account::find(&request.run_as)?;
    let has_terminal = matches!(stdio, Stdio::Terminal(_));
    rustix::process::setsid().map_err(|error| ChildError::Terminal(error.into()))?;
    match stdio {
        Stdio::Terminal(terminal) => take_terminal(&account, terminal)?,
        Stdio::Pipes([stdin, stdout, stderr]) => {
            use_stdio(&stdin, &stdout, &stderr).map_err(ChildError::Terminal)?
        }
    }
    account.take_on_rights()?;
    // The other end of a killed supervisor: its shell does not stay. Taking on rights would clear it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    if rustix::process::chdir(account.home()).is_err() {
        let _ = rustix::process::chdir("/");
    }
    // The spawner blocks the signal of its children; nothing is blocked in a shell.
    let _ = SigSet::empty().thread_set_mask();
    let mut command = program(request, &account);
    command.env_clear();
    command.envs(environment(&account, has_terminal));
    command.envs(request.env.iter().map(|(name, value)| (name, value)));
    report.write_all(&[READY]).map_err(ChildError::Request)?;
    let error = command.exec();
    Err(ChildError::Exec { program: command.get_program().to_string_lossy().into_owned(), error })
}

fn take_terminal(account: &Account, terminal: OwnedFd) -> Result<(), ChildError> {
    account.own_terminal(&terminal)?;
    rustix::process::ioctl_tiocsctty(&terminal)
        .map_err(|error| ChildError::Terminal(error.into()))?;
    use_stdio(&terminal, &terminal, &terminal).map_err(ChildError::Terminal)
}

fn use_stdio(stdin: impl AsFd, stdout: impl AsFd, stderr: impl AsFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    Ok(())
}

/// The command as it was asked for, or the login shell, told by the dash before its name that it is one.
fn program(request: &Request, account: &Account) -> Command {
    if let Some((program, arguments)) = request.command.split_first() {
        let mut command = Command::new(program);
        command.args(arguments);
        return command;
    }
    let shell = account.shell();
    let name = shell.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = Command::new(shell);
    command.arg0(format!("-{name}"));
    command
}

/// The environment of a fresh login; nothing of the agent's.
fn environment(account: &Account, has_terminal: bool) -> Vec<(&'static str, String)> {
    let path = if account.is_root() { PATH_ROOT } else { PATH_USER };
    let mut environment = vec![
        ("HOME", account.home().to_string_lossy().into_owned()),
        ("USER", account.name().to_owned()),
        ("LOGNAME", account.name().to_owned()),
        ("SHELL", account.shell().to_string_lossy().into_owned()),
        ("PATH", path.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    if has_terminal {
        environment.push(("TERM", "xterm-256color".to_owned()));
        environment.push(("COLORTERM", "truecolor".to_owned()));
    }
    environment
}

/// Debian's own, as `login` sets it.
const PATH_ROOT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Debian's own, as `login` sets it.
const PATH_USER: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games";
/// Debian's own: others may read.
const UMASK: u32 = 0o022;
