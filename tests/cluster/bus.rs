//! A Redis server in a folder of its own; it ends with the test.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use adit_testkit::{eventually, signal};
use tempfile::TempDir;

/// A server.
pub struct Redis {
    shell: Child,
    pid: u32,
    port: u16,
    /// What a test puts beside it: certificates.
    pub folder: TempDir,
    more: Vec<String>,
}

/// The password that gateways come with.
const PASSWORD: &str = "a password of the bus";

/// Starts a server, says its process id, and ends it when its input ends, however that comes about.
const SCRIPT: &str = r#"
redis-server "$@" >"$FOLDER/log" 2>&1 &
echo $!
cat >/dev/null
kill -9 $! 2>/dev/null
"#;

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let port = free_port();
        Self::start_with(
            port,
            tempfile::tempdir().unwrap(),
            vec!["--port".to_owned(), port.to_string()],
        )
        .await
    }

    /// Starts one that speaks TLS alone, with `cert.pem` and `key.pem` of its folder.
    pub async fn start_with_tls(folder: TempDir) -> Self {
        let port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut more: Vec<String> =
            ["--port", "0", "--tls-auth-clients", "no"].map(str::to_owned).into();
        more.extend(["--tls-port".to_owned(), port.to_string()]);
        more.extend(["--tls-cert-file".to_owned(), path("cert.pem")]);
        more.extend(["--tls-key-file".to_owned(), path("key.pem")]);
        more.extend(["--tls-ca-cert-file".to_owned(), path("ca.pem")]);
        Self::start_with(port, folder, more).await
    }

    async fn start_with(port: u16, folder: TempDir, more: Vec<String>) -> Self {
        let (shell, pid) = run(&folder, &more);
        let redis = Self { shell, pid, port, folder, more };
        redis.answers().await;
        redis
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) {
        signal(self.pid, "KILL");
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        (self.shell, self.pid) = run(&self.folder, &self.more);
        self.answers().await;
    }

    async fn answers(&self) {
        eventually("answer of redis-server", async || {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(!log.contains("Failed"), "{log}");
            let tcp = std::net::TcpStream::connect(("127.0.0.1", self.port));
            tcp.is_ok().then_some(())
        })
        .await;
    }

    /// Runs a command.
    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().fold(&mut command, |command, word| command.arg(*word));
        command.query_async(&mut connection).await.unwrap()
    }

    /// Publishes bytes on a channel; gives how many heard it.
    pub async fn publish(&self, channel: &str, bytes: &[u8]) -> usize {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(bytes).query_async(&mut connection).await.unwrap()
    }

    /// Hears everything that is published.
    pub async fn listen(&self) -> redis::aio::PubSubStream {
        let mut pubsub = redis::Client::open(self.url()).unwrap().get_async_pubsub().await.unwrap();
        pubsub.psubscribe("*").await.unwrap();
        pubsub.into_on_message()
    }

    /// Gives the address.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// Gives the address under a name, over TLS.
    pub fn secure_url(&self, host: &str) -> String {
        format!("rediss://:{}@{host}:{}", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// Gives a path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _already_gone = self.shell.wait();
    }
}

fn run(folder: &TempDir, more: &[String]) -> (Child, u32) {
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT, "redis"]);
    shell.args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--requirepass",
        PASSWORD,
    ]);
    shell.arg("--dir").arg(folder.path()).args(more).env("FOLDER", folder.path());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (shell, line.trim().parse().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
