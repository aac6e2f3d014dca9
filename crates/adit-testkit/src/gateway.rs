//! `adit up` in a folder of its own; it ends with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use adit_domain::Secret;
use adit_link::dial::Trust;
use adit_link::viewer::{Event, Resume, Start, Terminal, ViewerError};
use adit_wire::terminal::v1 as pb;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::canary::Canary;
use crate::process::{binary, child_with, signal};
use crate::viewer::TestViewer;
use crate::wait::{eventually, within};

/// A gateway and an agent on this machine.
#[derive(Debug)]
pub struct TestGateway {
    up: Child,
    /// The sign-in link.
    pub console: String,
    /// The machine's label.
    pub machine: String,
    /// The address of the mutual-TLS listener.
    pub machines: String,
    /// The API for the administrator.
    pub admin: Api,
    canary: Canary,
    folder: TempDir,
}

/// A user that a test made.
#[derive(Debug)]
pub struct User {
    /// Its id.
    pub id: String,
    /// The id of its grant.
    pub grant: String,
    /// The API for it.
    pub api: Api,
}

/// How long a request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);

fn folder_with(settings: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(data.join("adit.toml"), settings).unwrap();
    folder
}

fn command(folder: &TempDir) -> Command {
    let mut up = Command::new(binary());
    up.args(["up", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .env("SHELL", "/bin/sh")
        .env_remove("ADIT_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    up
}

impl TestGateway {
    /// Starts on free ports and waits until everything answers.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts with settings, as lines of `adit.toml`.
    pub fn start_with(settings: &str) -> Self {
        Self::start_in(folder_with(settings), Canary::default())
    }

    /// Starts another gateway with the keys of one that stands, as several on one database have them.
    pub fn start_beside(other: &Self, settings: &str) -> Self {
        let folder = folder_with(settings);
        let data = folder.path().join("data");
        for entry in std::fs::read_dir(other.data()).unwrap() {
            let (path, name) = entry.map(|found| (found.path(), found.file_name())).unwrap();
            let text = name.to_string_lossy();
            let of_authority = text.starts_with("ca.") || text.starts_with("issuing-");
            let key = ["authority.key", "audit.key", "session-service.key", "session_token_secret"];
            if of_authority || key.contains(&&*text) {
                std::fs::copy(path, data.join(&name)).unwrap();
            }
        }
        Self::start_in(folder, other.canary.clone())
    }

    /// Starts with everything in the log, which goes into a pipe that nobody reads.
    pub fn start_unheard() -> Self {
        let folder = folder_with("");
        File::create(log_of(&folder)).unwrap();
        let mut up = command(&folder);
        up.env("ADIT_LOG", "trace").stderr(Stdio::piped());
        Self::run(up, folder, Canary::default())
    }

    /// Starts with a part of a session that panics at the word `fail-here`: `viewer`, `relay` or `recorder`.
    pub fn start_failing(part: &str) -> Self {
        let folder = folder_with("");
        let mut up = command(&folder);
        up.env("ADIT_FAILPOINT", part).stderr(File::create(log_of(&folder)).unwrap());
        Self::run(up, folder, Canary::default())
    }

    /// Starts with another `/etc/resolv.conf`, in a mount namespace of its own. Needs root.
    pub fn start_resolving(resolv_conf: &Path) -> Self {
        let folder = folder_with("");
        let up = command(&folder);
        let mut under = Command::new("unshare");
        under.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
        under.arg(resolv_conf).arg(up.get_program()).args(up.get_args());
        under.env("SHELL", "/bin/sh").env_remove("ADIT_TOKEN");
        under.stdin(Stdio::null()).stdout(Stdio::piped());
        under.stderr(File::create(log_of(&folder)).unwrap());
        Self::run(under, folder, Canary::default())
    }

    fn start_in(folder: TempDir, canary: Canary) -> Self {
        let log = File::options().create(true).append(true).open(log_of(&folder)).unwrap();
        let mut up = command(&folder);
        up.stderr(log);
        Self::run(up, folder, canary)
    }

    fn run(mut up: Command, folder: TempDir, canary: Canary) -> Self {
        let mut up = up.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("adit up did not stand: {}", std::fs::read_to_string(log_of(&folder)).unwrap())
        });
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        canary.remember_in(&told);
        canary.remember(text("console").split_once("#code=").unwrap().1);
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_WITHIN)
            .build()
            .unwrap();
        let admin = Api { client, url: text("url"), token: text("token"), canary: canary.clone() };
        let (console, machine, machines) = (text("console"), text("machine"), text("machines"));
        Self { up, console, machine, machines, admin, canary, folder }
    }

    /// Ends everything and starts it again on the same folder.
    pub fn restart(mut self) -> Self {
        self.stop();
        let (folder, canary) = (
            std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()),
            self.canary.clone(),
        );
        Self::start_in(folder, canary)
    }

    /// Remembers a secret that must be written nowhere; the end of the gateway looks for it.
    pub fn remember(&self, secret: &str) {
        self.canary.remember(secret);
    }

    /// Gives the folder that everything is kept in.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Gives what was written to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.folder)).unwrap_or_default()
    }

    /// Gives the API for the bearer of a token.
    pub fn api(&self, token: &str) -> Api {
        Api { token: token.to_owned(), ..self.admin.clone() }
    }

    /// Gives the address of a WebSocket.
    pub fn websocket(&self, path: &str) -> String {
        format!("{}{path}", self.admin.url.replacen("http", "ws", 1))
    }

    /// Adds a user with a role, on some machines or on everything, and a token for it.
    pub async fn user(&self, name: &str, role: &str, machines: Option<&[&str]>) -> User {
        self.user_of(json!({"name": name}), role, machines).await
    }

    /// Adds a user as [`Self::user`] does, from what the API is sent.
    pub async fn user_of(&self, account: Value, role: &str, machines: Option<&[&str]>) -> User {
        let name = account["name"].as_str().unwrap().to_owned();
        let user = self.admin.post("/api/v1/users", account).await.ok();
        let id = user["id"].as_str().unwrap().to_owned();
        let mut grant = json!({"principal": format!("user:{name}"), "role": role});
        if let Some(machines) = machines {
            grant["machines"] = json!(machines);
        }
        let grant = self.admin.post("/api/v1/grants", grant).await.ok();
        let path = format!("/api/v1/users/{id}/tokens");
        let token = self.admin.post(&path, json!({"name": "test"})).await.ok();
        let api = self.api(token["token"].as_str().unwrap());
        User { id, grant: grant["id"].as_str().unwrap().to_owned(), api }
    }

    /// Asks for a ticket.
    pub async fn ticket(&self, api: &Api, wish: Value) -> String {
        let issued = api.post("/api/v1/tickets", wish).await.ok();
        issued["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a shell or a command in a terminal.
    pub async fn open(&self, api: &Api, command: &[&str]) -> TestViewer {
        let mut wish = json!({"machine": self.machine, "pty": true});
        if !command.is_empty() {
            wish["command"] = json!(command);
        }
        let ticket = self.ticket(api, wish).await;
        TestViewer::admitted(self.redeem(&ticket, None).await.unwrap()).await
    }

    /// Comes to a session that lives, to type (`control`) or to watch (`view`).
    pub async fn join(&self, api: &Api, session: &str, mode: &str) -> TestViewer {
        let ticket = self.ticket(api, json!({"session": session, "mode": mode})).await;
        TestViewer::admitted(self.redeem(&ticket, None).await.unwrap()).await
    }

    /// Dials and sends a ticket; what the gateway says of it comes as events.
    ///
    /// # Errors
    /// When the gateway does not take the connection.
    pub async fn redeem(
        &self,
        ticket: &str,
        resume: Option<Resume>,
    ) -> Result<Terminal, ViewerError> {
        self.redeem_with(ticket, "", resume).await
    }

    /// Does the same with the proof of a key.
    ///
    /// # Errors
    /// When the gateway does not take the connection.
    pub async fn redeem_with(
        &self,
        ticket: &str,
        proof: &str,
        resume: Option<Resume>,
    ) -> Result<Terminal, ViewerError> {
        let (ticket, proof) = (Secret::new(ticket.to_owned()), proof.to_owned());
        let start = Start { ticket, cols: 80, rows: 24, resume, proof };
        Terminal::connect(&self.websocket("/ws/terminal"), &Trust::System, start).await
    }

    /// Presents a ticket that must not open anything; gives what the gateway says.
    ///
    /// # Panics
    /// When it opens a session.
    pub async fn refused(&self, ticket: &str) -> pb::Ended {
        let mut terminal = self.redeem(ticket, None).await.unwrap();
        match within("refusal", terminal.next()).await {
            Ok(Event::Ended(ended)) => ended,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Brings a viewer whose connection was lost back into its session, as soon as the gateway answers.
    pub async fn bring_back(&self, api: &Api, viewer: &mut TestViewer) {
        let wish = json!({"session": viewer.session(), "mode": "control"});
        let resume = viewer.resume();
        let terminal = eventually("way back", async || {
            let request = api.request(reqwest::Method::POST, "/api/v1/tickets").json(&wish);
            let answer = api.try_send(request).await.ok()?;
            let ticket = answer.json()["ticket"].as_str()?.to_owned();
            self.redeem(&ticket, Some(resume.clone())).await.ok()
        })
        .await;
        viewer.go_on(terminal).await;
    }

    /// Waits until a session is as wanted.
    pub async fn session_when(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/sessions/{id}");
        eventually("session as wanted", async || {
            let request = self.admin.request(reqwest::Method::GET, &path);
            let shown = self.admin.try_send(request).await.ok()?.json();
            wanted(&shown).then_some(shown)
        })
        .await
    }

    /// Gives the events of a name, the newest first.
    pub async fn events(&self, name: &str) -> Vec<Value> {
        let path = format!("/api/v1/audit?event={name}&limit=200");
        let found = self.admin.get(&path).await.ok();
        found["items"].as_array().unwrap().clone()
    }

    /// Waits until the gateway answers.
    pub async fn answers(&self) {
        eventually("answer of the gateway", async || {
            let request = self.admin.request(reqwest::Method::GET, "/health");
            let answer = self.admin.try_send(request).await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
    }

    /// Waits until the machine is online.
    pub async fn machine_online(&self) {
        let path = format!("/api/v1/machines/{}", self.machine);
        eventually("machine online", async || {
            let request = self.admin.request(reqwest::Method::GET, &path);
            let shown = self.admin.try_send(request).await.ok()?.json();
            (shown["status"] == "online").then_some(())
        })
        .await;
    }

    /// Changes the database behind the gateway's back.
    ///
    /// # Panics
    /// When `sqlite3` is not installed or does not take the statement.
    pub fn sql(&self, statement: &str) -> String {
        let output = Command::new("sqlite3")
            .arg("-cmd")
            .arg(".timeout 10000")
            .arg(self.data().join("adit.db"))
            .arg(statement)
            .output()
            .expect("sqlite3 runs (install it: apt-get install sqlite3)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives the gateway's process.
    pub fn gateway_pid(&self) -> Option<u32> {
        child_with(self.up.id(), "serve")
    }

    /// Gives the agent's process.
    pub fn agent_pid(&self) -> Option<u32> {
        child_with(self.up.id(), "agent")
    }

    /// Kills the gateway with SIGKILL; `adit up` starts another.
    pub fn kill_gateway(&self) {
        signal(self.gateway_pid().expect("the gateway is a child of adit up"), "KILL");
    }

    /// Kills the agent with SIGKILL; `adit up` starts another.
    pub fn kill_agent(&self) {
        signal(self.agent_pid().expect("the agent is a child of adit up"), "KILL");
    }

    fn stop(&mut self) {
        if let Ok(None) = self.up.try_wait() {
            signal(self.up.id(), "TERM");
        }
        let _already_gone = self.up.wait();
    }

    // AUD-06
    fn check_canary(&self) {
        let log = self.canary.found_in(self.log().as_bytes());
        assert!(log.is_empty(), "secrets in the log: {log:?}");
        for name in ["adit.db", "adit.db-wal"] {
            let mut content = Vec::new();
            if let Ok(mut file) = File::open(self.data().join(name)) {
                file.read_to_end(&mut content).unwrap();
            }
            let found = self.canary.found_in(&content);
            assert!(found.is_empty(), "secrets in {name}: {found:?}");
        }
        let found = self.canary.found_below(&self.data().join("recordings"));
        assert!(found.is_empty(), "secrets in recordings: {found:?}");
    }

    /// Gives the secrets that a text holds, by their first characters.
    pub fn secrets_in(&self, text: &str) -> Vec<String> {
        self.canary.found_in(text.as_bytes())
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("standard error of adit up:\n{}", self.log());
        } else {
            self.check_canary();
        }
    }
}

fn log_of(folder: &TempDir) -> PathBuf {
    Path::new(folder.path()).join("stderr")
}
