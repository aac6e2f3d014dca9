//! `adit up` on a folder of its own, with sealing, policy, recording and audit as they are by default.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::pty::Client;
use crate::viewer::Viewer;

/// Limits that a measurement meets and a person does not, raised for it.
const SETTINGS: &str = "[session]\nrate_limit_tokens = 1_000_000\nrate_limit_burst = 1_000_000\n\
                        per_user = 5000\nviewers_per_user = 5000\ngrace_seconds = 2\n";

/// A running gateway and agent; they end with this value.
pub struct Adit {
    program: PathBuf,
    up: Child,
    url: String,
    token: String,
    machine: String,
    machines: String,
}

/// An operator of it, over one kept-alive connection.
pub struct Operator {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Operator {
    /// Asks for something.
    pub async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Ok(request.send().await?.error_for_status()?)
    }

    /// Makes something.
    pub async fn post(&self, path: &str, body: &Value) -> Result<reqwest::Response> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        Ok(request.json(body).send().await?.error_for_status()?)
    }

    /// Deletes something.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let request = self.http.delete(format!("{}{path}", self.url)).bearer_auth(&self.token);
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

impl Adit {
    /// Starts it on free ports and waits until everything answers.
    pub fn start(program: &Path, data: &Path) -> Result<Self> {
        Self::start_with(program, data, SETTINGS)
    }

    /// Does the same with other settings.
    pub fn start_with(program: &Path, data: &Path, settings: &str) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        std::fs::write(data.join("adit.toml"), settings)?;
        let mut up = Command::new(program)
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(up.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("adit up said {line:?}"))?;
        let field = |name: &str| {
            said[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {line}"))
        };
        let (url, token, machine) = (field("url")?, field("token")?, field("machine")?);
        let machines = field("machines")?;
        Ok(Self { program: program.to_owned(), up, url, token, machine, machines })
    }

    /// The binary.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The address of its machine listener.
    pub fn machines(&self) -> &str {
        &self.machines
    }

    /// An operator.
    pub fn operator(&self) -> Result<Operator> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Operator { http, url: self.url.clone(), token: self.token.clone() })
    }

    /// Asks the API for something that changes it.
    pub async fn api(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let operator = self.operator()?;
        let request = operator.http.request(method.parse()?, format!("{}{path}", self.url));
        request.bearer_auth(&self.token).json(body).send().await?.error_for_status()?;
        Ok(())
    }

    /// Runs a command of the client's, which must succeed.
    pub fn run(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(args).env("ADIT_URL", &self.url).env("ADIT_TOKEN", &self.token);
        let output = command.output()?;
        if !output.status.success() {
            anyhow::bail!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The processes that serve.
    pub fn roots(&self) -> Vec<u32> {
        vec![self.up.id()]
    }

    /// A shell by the command-line client.
    pub fn client(&self) -> Result<Client> {
        let args = ["exec", "--tty", &self.machine, "--", "/bin/sh", "-i"].map(OsString::from);
        Client::start(&self.program, &args, &[("ADIT_URL", &self.url), ("ADIT_TOKEN", &self.token)])
    }

    /// A shell by the WebSocket alone.
    pub fn viewer(&self) -> Result<Viewer> {
        Viewer::open(&self.url, &self.token, &self.machine)
    }
}

impl Drop for Adit {
    fn drop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.up);
        if rustix::process::kill_process(process, rustix::process::Signal::TERM).is_ok() {
            drop(self.up.wait());
        }
    }
}
