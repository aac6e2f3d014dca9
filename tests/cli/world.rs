//! `adit up` in a folder of its own, and commands against it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up: far more than it takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A gateway and an agent on this machine; both end with it.
pub struct World {
    up: Child,
    pub url: String,
    pub token: String,
    pub machine: String,
    dir: TempDir,
}

impl World {
    /// Starts `adit up` on free ports and waits until everything answers.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts `adit up` with settings, as lines of its `adit.toml`.
    pub fn start_with(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&data, private).unwrap();
        std::fs::write(data.join("adit.toml"), settings).unwrap();
        let mut up = Command::new(binary())
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("adit up tells where it is");
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Self { up, url: text("url"), token: text("token"), machine: text("machine"), dir }
    }

    /// Gives a folder for a test's own files.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a command of the administrator's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&self.token, arguments)
    }

    /// Makes a command of whoever has a token.
    pub fn command_of(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("ADIT_URL", &self.url)
            .env("ADIT_TOKEN", token)
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the administrator's to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed, and gives its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("--json gives JSON")
    }

    /// Asks until an answer is as wanted.
    pub fn wait_for(&self, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let value = self.json(arguments);
            if wanted(&value) {
                return value;
            }
            assert!(began.elapsed() < LIMIT, "{arguments:?} still says {value}");
        }
    }

    /// Waits until a gateway that was killed is there again.
    pub fn wait_until_up(&self) {
        let began = Instant::now();
        while !self.run(&["sessions", "ls"]).status.success() {
            assert!(began.elapsed() < LIMIT, "the gateway does not come back");
        }
    }

    /// Gives the sessions of a state.
    pub fn sessions(&self, state: &str) -> Vec<Value> {
        let listed = self.json(&["sessions", "ls", "--state", state]);
        listed["items"].as_array().unwrap().clone()
    }

    /// Kills the gateway with SIGKILL; `adit up` starts another.
    pub fn kill_gateway(&self) {
        self.kill("serve");
    }

    /// Kills the agent with SIGKILL; `adit up` starts another.
    pub fn kill_agent(&self) {
        self.kill("agent");
    }

    fn kill(&self, role: &str) {
        let found = children(self.up.id()).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
        });
        send(found.expect("it is a child of adit up"), "KILL");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        send(self.up.id(), "TERM");
        let _already_gone = self.up.wait();
    }
}

fn children(of: u32) -> Vec<u32> {
    let told = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
    match told {
        Ok(told) => told.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => every_process().into_iter().filter(|pid| parent(*pid) == Some(of)).collect(),
    }
}

fn every_process() -> Vec<u32> {
    let names = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal to one process.
pub fn send(pid: u32, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -s {signal} {pid}");
}

/// Finds the program under test: `ADIT_BIN`, or the one that was built with the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ADIT_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("adit");
    assert!(path.exists(), "build it first: cargo build -p adit (or set ADIT_BIN)");
    path
}

/// Gives what a command said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Gives what a command said on standard output.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Gives a command its whole input, and gives what it said.
pub fn feed(command: &mut Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().expect("the command reads all its input");
    output
}

/// A command whose output is read line by line while it runs.
pub struct Running {
    pub child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for the next line of output; none is the end.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("no line within the limit"),
        }
    }

    /// Waits for a line that holds a text.
    pub fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("it ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the end; gives the exit status and what was said on standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}
