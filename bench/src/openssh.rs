//! OpenSSH on a free loopback port, with keys made for the measurement.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::pty::Client;
use crate::terminal::{PATIENCE, pause};

/// sshd is called by its whole path: it starts itself again for each connection.
const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd; it ends with this value.
pub struct OpenSsh {
    server: Child,
    key: PathBuf,
    port: u16,
}

impl OpenSsh {
    /// Tells whether it is installed.
    pub fn is_installed() -> bool {
        Path::new(SSHD).exists()
    }

    /// Starts it with default ciphers.
    pub fn start(folder: &Path) -> Result<Self> {
        let (host_key, key) = (folder.join("host_key"), folder.join("user_key"));
        for path in [&host_key, &key] {
            make_key(path)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let home = folder.join("home");
        std::fs::create_dir(&home)?;
        let config = folder.join("sshd_config");
        std::fs::write(&config, server_config(&home, &host_key, &key, port))?;
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd")
                .context("making the folder that sshd confines itself to")?;
        }
        let server =
            Command::new(SSHD).args(["-D", "-f"]).arg(&config).spawn().context("starting sshd")?;
        let openssh = Self { server, key, port };
        openssh.wait()?;
        Ok(openssh)
    }

    /// The process that serves.
    pub fn roots(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    /// A shell by the command-line client.
    pub fn client(&self) -> Result<Client> {
        let (key, port) = (self.key.display().to_string(), self.port.to_string());
        let args = [
            ["-F", "none"],
            ["-i", &key],
            ["-p", &port],
            ["-o", "StrictHostKeyChecking=no"],
            ["-o", "UserKnownHostsFile=/dev/null"],
            ["-o", "LogLevel=ERROR"],
            ["-tt", "127.0.0.1"],
            ["exec", "/bin/sh -i"],
        ];
        Client::start("ssh", args.as_flattened(), &[])
    }

    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("sshd does not answer on port {}", self.port);
            }
            pause(Duration::from_millis(10))?;
        }
        Ok(())
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        if self.server.kill().is_ok() {
            drop(self.server.wait());
        }
    }
}

fn make_key(path: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .context("starting ssh-keygen")?;
    if !made.success() {
        bail!("ssh-keygen failed ({made})");
    }
    Ok(())
}

/// The home is an empty folder, so that the start files of a person's shell are no part of what is measured.
fn server_config(home: &Path, host_key: &Path, key: &Path, port: u16) -> String {
    format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 1000\nSetEnv HOME={}\n",
        host_key.display(),
        key.display(),
        home.display()
    )
}
