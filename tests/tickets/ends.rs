//! The two ends of a stream as users run them: `adit ticket offer` and `adit ticket use`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use adit_testkit::{TestGateway, eventually, signal};
use serde_json::Value;

use crate::machines::holder::Holder;

/// One end, and what it told so far.
pub struct End {
    child: Child,
    told: Arc<Mutex<Vec<Value>>>,
}

impl End {
    /// Starts `adit ticket …` as a machine.
    pub fn start(gateway: &TestGateway, holder: &Holder, arguments: &[&str]) -> Self {
        Self::of(Self::command(gateway, holder, arguments))
    }

    /// Gives the command for that.
    pub fn command(gateway: &TestGateway, holder: &Holder, arguments: &[&str]) -> Command {
        let mut command = Command::new(adit_testkit::binary());
        command.args(["ticket", arguments[0], "--json"]).args(&arguments[1..]);
        command.arg("--identity").arg(holder.dir.path()).arg("--machines").arg(&gateway.machines);
        command
    }

    /// Starts any command that tells in lines of JSON.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                list.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, told }
    }

    /// Waits until it told something of a kind for the `n`th time.
    pub async fn nth(&self, event: &str, n: usize) -> Value {
        eventually(event, async || {
            let told = self.told.lock().unwrap();
            told.iter().filter(|one| one["event"] == event).nth(n - 1).cloned()
        })
        .await
    }

    /// Waits until it told something of a kind.
    pub async fn told(&self, event: &str) -> Value {
        self.nth(event, 1).await
    }

    /// Gives the address where it listens.
    pub async fn address(&self) -> SocketAddr {
        self.told("listening").await["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits until the program has ended; gives its status.
    pub async fn ended(&mut self) -> Option<i32> {
        eventually("end of the program", async || self.child.try_wait().unwrap()).await.code()
    }

    /// Gives its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.child.id(), "KILL");
        }
        let _already_gone = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{:#?}", self.told.lock().unwrap());
        }
    }
}
