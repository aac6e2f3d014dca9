//! SQLite: how its files are made and its connections set.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::StoreError;

/// How long a connection waits for a lock that somebody outside holds.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How long a read waits for a connection.
const ACQUIRE_WAIT: Duration = Duration::from_secs(2);

/// Connections for reading: each has a thread and up to 2 MiB of pages, and reads are short.
const READERS: u32 = 4;

/// The log is cut back to this after a long reader let it grow.
const LOG_BYTES: &str = "67108864";

/// Makes a file that only its owner may read or write; one that is there is made so.
///
/// A file that is there is not opened: closing it again would drop the locks that this process's connections hold on it (POSIX.1
/// fcntl: a process's locks go with the first descriptor that it closes).
pub(crate) fn make_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let settled = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        other => other.map(|_| ()),
    };
    settled.map_err(|error| sqlx::Error::Io(error).into())
}

/// Opens the file whose lock keeps a second process out.
pub(crate) fn lock_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| sqlx::Error::Io(error).into())
}

/// Gives the settings of every connection. The database's log and index files take over its permissions.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_WAIT)
        .pragma("trusted_schema", "OFF")
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", LOG_BYTES)
}

pub(crate) fn readers(options: &SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE_WAIT)
        .connect_lazy_with(options.clone().pragma("query_only", "ON"))
}
