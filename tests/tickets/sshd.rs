//! A real OpenSSH server for one key, and a client that has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_testkit::eventually;

use crate::hosts::{Ends, run};

/// A server on a port of loopback.
pub struct Sshd {
    pub port: u16,
    folder: PathBuf,
    _server: Ends,
}

impl Sshd {
    /// Starts one that keeps everything in a folder.
    pub fn start(folder: &Path) -> Self {
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name)));
        }
        std::fs::copy(folder.join("user.pub"), folder.join("authorized_keys")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
             StrictModes no\nPidFile none\nPasswordAuthentication no\nSetEnv HOME={0}\nPermitRootLogin yes\nUsePAM no\n",
            folder.display()
        );
        std::fs::write(folder.join("sshd_config"), config).unwrap();
        // The server drops its rights into this folder, which Debian makes when the service starts.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut server = Command::new("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stderr(Stdio::null());
        let server = Ends(server.spawn().expect("apt-get install openssh-server brings it"));
        Self { port, folder: folder.to_owned(), _server: server }
    }

    /// Runs a command through it until that works; gives what it said.
    pub async fn ssh(&self, arguments: &[&str]) -> String {
        eventually("answer of ssh", async || {
            let mut ssh = tokio::process::Command::new("ssh");
            ssh.args([
                "-F",
                "none",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ]);
            ssh.args(["-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-i"])
                .arg(self.folder.join("user"));
            let output = ssh.args(arguments).stdin(Stdio::null()).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success().then_some(said)
        })
        .await
    }
}
