//! A process that writes and is killed, and the copies of its folder at any instant.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use adit_domain::TenantId;
use adit_store::StoreConfig;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

use super::database::{Database, sqlite3};
use super::world::{GATEWAY, World, new_user, open, told};

/// The folder in which the process below writes; without it the process ends at once.
const FOLDER: &str = "ADIT_TEST_WRITER_FOLDER";

/// How many write at once in the process below: `many` or `alone`; or `reach`, where one makes tickets between machines and uses them.
const MANNER: &str = "ADIT_TEST_WRITER_MANNER";

/// Not a test: the process that other tests here start and kill. It adds principals and says which ones were acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "other tests start it"]
async fn the_process_that_writes() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let path = PathBuf::from(folder).join("adit.db");
    let store = open(StoreConfig::Sqlite { path }, GATEWAY).await.unwrap();
    if std::env::var(MANNER).as_deref() == Ok("reach") {
        return super::reach::cycle_for_ever(&store).await;
    }
    let writers = if std::env::var(MANNER).as_deref() == Ok("many") { 8 } else { 1 };
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let tenant = store.tenant(TenantId::SEED);
            tokio::spawn(async move {
                loop {
                    let name = format!("u{}", Uuid::now_v7().simple());
                    let new = new_user(&name);
                    match tenant.create_principal(new, told("user.added")).await {
                        Ok(()) => println!("acked {name}"),
                        Err(_) => println!("refused {name}"),
                    }
                }
            })
        })
        .collect();
    futures_util::future::join_all(tasks).await;
}

/// The process that writes, and what it said.
pub struct Writer {
    child: Child,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
    listener: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(folder: &Path, manner: &str) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()), folder, manner)
    }

    /// Starts it under a program that takes a command.
    pub fn start_under(mut program: Command, folder: &Path, manner: &str) -> Self {
        program.arg(std::env::current_exe().unwrap());
        Self::spawn(program, folder, manner)
    }

    fn spawn(mut command: Command, folder: &Path, manner: &str) -> Self {
        let inside = module_path!().split_once("::").map_or("", |(_, inside)| inside);
        command.args(["--exact", &format!("{inside}::the_process_that_writes")]);
        command.args(["--ignored", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, folder).env(MANNER, manner);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("a program is missing: apt-get install strace");
        let out = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let heard = said.clone();
        let listener = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                heard.0.lock().unwrap().push(line);
                heard.1.notify_all();
            }
        });
        Self { child, said, listener: Some(listener) }
    }

    /// Waits until it has said that much.
    pub fn wait_for(&self, lines: usize) {
        let said = self.said.0.lock().unwrap();
        let enough = self.said.1.wait_while(said, |said| said.len() < lines).unwrap();
        drop(enough);
    }

    pub fn acknowledged(&self) -> Vec<String> {
        self.heard("acked ")
    }

    pub fn refused(&self) -> Vec<String> {
        self.heard("refused ")
    }

    fn heard(&self, before: &str) -> Vec<String> {
        let said = self.said.0.lock().unwrap();
        said.iter().filter_map(|line| line.strip_prefix(before)).map(str::to_owned).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Kills it, and the process under it, with -9 and hears its last words.
    pub fn end(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        self.child.kill().unwrap();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // It may be gone with its tracer.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        self.child.wait().unwrap();
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.end();
        }
    }
}

/// Checks that everything acknowledged is there, and that every change has its event and every event its change.
pub async fn acknowledged_is_there(world: &World, acknowledged: &[String]) {
    let principals = world.database.tamper("SELECT name FROM principals");
    let principals: HashSet<&str> = principals.lines().collect();
    for name in acknowledged {
        assert!(principals.contains(name.as_str()), "{name} was acknowledged and is not there");
    }
    assert_eq!(world.verified().await.len(), principals.len());
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_instant() {
    // R03 N3
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut database = Database::Sqlite(folder);
    for round in 0..8 {
        let Database::Sqlite(folder) = &database else { panic!("not SQLite") };
        let mut writer = Writer::start(folder.path(), "many");
        writer.wait_for(2 + round * 13);
        writer.end();
        acknowledged.extend(writer.acknowledged());
        assert_eq!(sqlite3(&folder.path().join("adit.db"), "PRAGMA integrity_check"), "ok");
        let world = World::on(database).await;
        acknowledged_is_there(&world, &acknowledged).await;
        world.store.close().await;
        database = world.database;
    }
}

#[tokio::test]
async fn a_copy_of_the_folder_at_any_instant_is_whole() {
    // R06
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), "many");
    for sample in 0..50 {
        let heard = writer.acknowledged().len();
        writer.wait_for(heard + 5 + sample % 7 * 11);
        writer.signal(Signal::STOP);
        let acknowledged = writer.acknowledged();
        let copy = copy_of(folder.path());
        assert_eq!(sqlite3(&copy.path().join("adit.db"), "PRAGMA integrity_check"), "ok");
        let world = World::on(Database::Sqlite(copy)).await;
        acknowledged_is_there(&world, &acknowledged).await;
        world.store.close().await;
        writer.signal(Signal::CONT);
    }
    writer.end();
}

/// Copies a folder as a power cut might leave it: the files that the database keeps on the disk, without the index that it rebuilds.
fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["adit.db", "adit.db-wal"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}
