//! Databases for tests: an SQLite file, or a database of a PostgreSQL server that the tests start from Debian's package.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use adit_domain::Secret;
use adit_store::StoreConfig;
use tempfile::TempDir;
use uuid::Uuid;

/// A database for one test.
pub enum Database {
    /// A folder with the file in it.
    Sqlite(TempDir),
    /// A database of this process's server.
    Postgres(String),
    /// The database `adit` of a server of its own.
    Server(Server),
}

impl Database {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Self {
        let name = format!("t{}", Uuid::now_v7().simple());
        Server::get().psql("postgres", &format!("CREATE DATABASE {name} OWNER adit"));
        Self::Postgres(name)
    }

    pub fn config(&self) -> StoreConfig {
        match self {
            Self::Sqlite(folder) => StoreConfig::Sqlite { path: folder.path().join("adit.db") },
            Self::Postgres(name) => Server::get().config(name),
            Self::Server(server) => server.config("adit"),
        }
    }

    /// Runs SQL past the store, as whoever has the database in their hands, and gives what it prints.
    pub fn tamper(&self, sql: &str) -> String {
        match self {
            Self::Sqlite(folder) => sqlite3(&folder.path().join("adit.db"), sql),
            Self::Postgres(name) => Server::get().psql(name, sql),
            Self::Server(server) => server.psql("adit", sql),
        }
    }
}

/// Runs SQL with Debian's sqlite3.
pub fn sqlite3(path: &Path, sql: &str) -> String {
    let run = Command::new("sqlite3").arg("-bail").arg(path).arg(sql).output();
    finished(run.expect("sqlite3 is missing: apt-get install sqlite3"))
}

/// A PostgreSQL server that ends with this process.
pub struct Server {
    port: u16,
    folder: PathBuf,
    _child: Child,
}

impl Server {
    /// Gives the one server of this process.
    pub fn get() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// Starts a server of its own for a test that ends or stops it.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("adit-pg-").tempdir().unwrap().keep();
        finished(Command::new("chmod").arg("0777").arg(&folder).output().unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The server ends, and its folder goes, when this process's end of the pipe does, however that comes about.
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("FOLDER", &folder)
            .env("PROGRAMS", programs())
            .env("SERVER_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(line, "ready\n", "PostgreSQL did not start: {}", log());
        let server = Self { port, folder, _child: child };
        server.psql("postgres", "CREATE ROLE adit LOGIN");
        server
    }

    fn config(&self, database: &str) -> StoreConfig {
        let url = format!("postgres://adit@127.0.0.1:{}/{database}", self.port);
        StoreConfig::Postgres { url: Secret::new(url) }
    }

    /// Ends the server as a crash does.
    pub fn stop(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    pub fn restart(&self) {
        self.control(&["start", "-l", &format!("{}/server.log", self.folder.display())]);
    }

    fn control(&self, what: &[&str]) {
        let root = rustix::process::geteuid().is_root();
        let mut command = Command::new(if root { "runuser" } else { "env" });
        if root {
            command.args(["-u", "postgres", "--"]);
        }
        command.current_dir("/").arg(programs().join("pg_ctl")).args(what).args(["-s", "-w", "-D"]);
        let ended = command.arg(self.folder.join("data")).stdout(Stdio::null()).status().unwrap();
        assert!(ended.success(), "pg_ctl {what:?}");
    }

    /// Runs SQL as the server's superuser, whom no row-level security binds.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_as("postgres", database, sql)
    }

    pub fn psql_as(&self, user: &str, database: &str, sql: &str) -> String {
        finished(self.run(user, database, sql))
    }

    /// Runs SQL that is refused, and gives the reason.
    pub fn refusal(&self, user: &str, database: &str, sql: &str) -> String {
        let output = self.run(user, database, sql);
        assert!(!output.status.success(), "not refused: {sql}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn run(&self, user: &str, database: &str, sql: &str) -> Output {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h"]).arg(&self.folder);
        psql.args(["-p", &self.port.to_string(), "-U", user, "-d", database, "-c", sql]);
        psql.output().unwrap()
    }
}

/// Finds Debian's programs of PostgreSQL.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).max();
    found.expect("PostgreSQL is missing: apt-get install postgresql")
}

/// Starts a server in a folder, says `ready`, and takes it away when its input ends. PostgreSQL refuses to run as root.
const SCRIPT: &str = r#"
cd /
if [ "$(id -u)" = 0 ]; then as() { runuser -u postgres -- "$@"; }; else as() { "$@"; }; fi
as "$PROGRAMS/initdb" -D "$FOLDER/data" -U postgres -A trust --no-sync --locale=C.UTF-8 >"$FOLDER/log" 2>&1 &&
cat >>"$FOLDER/data/postgresql.conf" <<END &&
port = $SERVER_PORT
listen_addresses = '127.0.0.1'
unix_socket_directories = '$FOLDER'
fsync = off
max_connections = 90
shared_buffers = 16MB
END
as "$PROGRAMS/pg_ctl" start -s -w -D "$FOLDER/data" -l "$FOLDER/server.log" >>"$FOLDER/log" 2>&1 &&
echo ready
cat >/dev/null
as "$PROGRAMS/pg_ctl" stop -s -m immediate -D "$FOLDER/data" >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

fn finished(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
