//! The programs that the helper runs: fixed ones with fixed arguments, an empty environment and a time.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::name::UnitName;
use crate::request::WebServer;

/// How much of what a program says is passed on, in bytes: some lines of a web server's complaint.
const MAX_OUTPUT: usize = 4096;

/// Where the programs are. Only tests have others than [`Programs::system`].
#[derive(Clone, Debug)]
pub struct Programs {
    /// `systemctl`.
    pub systemctl: PathBuf,
    /// `nginx`.
    pub nginx: PathBuf,
    /// `apache2ctl`.
    pub apache: PathBuf,
    /// `caddy`.
    pub caddy: PathBuf,
    /// How long one may run.
    pub within: Duration,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// `systemctl reload`.
    Reload(&'a UnitName),
    /// `systemctl restart`.
    Restart(&'a UnitName),
    /// `systemctl daemon-reload`, after a unit was written.
    DaemonReload,
    /// The web server's own test of its configuration.
    Test(WebServer),
}

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// Whether it says that all is well.
    pub is_good: bool,
    /// How it ended, in words.
    pub end: String,
    /// The first of what it said.
    pub output: String,
}

impl Programs {
    /// Where Debian and its like have them. A restart may take as long as systemd gives a service to end.
    pub fn system() -> Self {
        Self {
            systemctl: PathBuf::from("/usr/bin/systemctl"),
            nginx: PathBuf::from("/usr/sbin/nginx"),
            apache: PathBuf::from("/usr/sbin/apache2ctl"),
            caddy: PathBuf::from("/usr/bin/caddy"),
            within: Duration::from_secs(100),
        }
    }

    fn command(&self, call: Call<'_>) -> Command {
        let (program, arguments): (&PathBuf, &[&str]) = match call {
            Call::Reload(unit) => {
                (&self.systemctl, &["--no-ask-password", "reload", "--", unit.as_str()])
            }
            Call::Restart(unit) => {
                (&self.systemctl, &["--no-ask-password", "restart", "--", unit.as_str()])
            }
            Call::DaemonReload => (&self.systemctl, &["--no-ask-password", "daemon-reload"]),
            Call::Test(WebServer::Nginx) => (&self.nginx, &["-t", "-q"]),
            Call::Test(WebServer::Apache) => (&self.apache, &["configtest"]),
            Call::Test(WebServer::Caddy) => {
                (&self.caddy, &["validate", "--config", "/etc/caddy/Caddyfile"])
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        command
    }

    /// Runs one to its end, or ends it when its time is over.
    ///
    /// # Errors
    /// It cannot be started or waited for.
    pub fn run(&self, call: Call<'_>) -> io::Result<Ran> {
        let mut command = self.command(call);
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            io::Error::new(error.kind(), format!("{program}: {error}"))
        })?;
        let mut said = Vec::new();
        let waited = wait(&mut child, Instant::now() + self.within, &mut said);
        if !matches!(waited, Ok(Some(_))) {
            // What does not end, or cannot be waited for, must not go on behind the answer.
            if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
        }
        let output = String::from_utf8_lossy(&said).into_owned();
        let (is_good, end) = match waited? {
            Some(status) => (status.success(), status.to_string()),
            None => {
                (false, format!("it did not end within {} s and was killed", self.within.as_secs()))
            }
        };
        Ok(Ran { is_good, end, output })
    }
}

/// Nothing of the helper's or the caller's: a path of the system's own folders, and words that do not depend on a language.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];

/// Waits for the end and keeps the first of what is said; `None` when the time is over.
fn wait(child: &mut Child, until: Instant, said: &mut Vec<u8>) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let end = pidfd_open(pid, PidfdFlags::empty())?;
    let mut speaks = child.stderr.take();
    if let Some(stderr) = &speaks {
        rustix::io::ioctl_fionbio(stderr, true)?;
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = vec![PollFd::new(&end, PollFlags::IN)];
        fds.extend(
            speaks.as_ref().map(|stderr| PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN)),
        );
        let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        let silent = speaks.as_mut().is_some_and(|stderr| listen(stderr, said));
        if silent {
            speaks = None;
        }
        if ended {
            return child.wait().map(Some);
        }
    }
}

/// Reads what there is; tells whether nothing more will come.
fn listen(stderr: &mut impl io::Read, said: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 1024];
    // As often as it takes to fill what is kept: a program that talks without end must not hold this loop.
    for _ in 0..=MAX_OUTPUT / bytes.len() {
        match stderr.by_ref().read(&mut bytes) {
            Ok(0) => return true,
            Ok(read) => {
                let room = MAX_OUTPUT.saturating_sub(said.len()).min(read);
                said.extend(bytes.iter().take(room));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    false
}
