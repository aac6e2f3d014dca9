//! What only SQLite has to show: its files, foreign locks, copies, a disk that fails.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_store::{Paging, silent};
use futures_util::future::join_all;

use super::crash::{Writer, acknowledged_is_there};
use super::database::{Database, sqlite3};
use super::world::{World, event, new_user, told, verified};

fn folder(world: &World) -> &Path {
    let Database::Sqlite(folder) = &world.database else { panic!("not SQLite") };
    folder.path()
}

/// Gives the names and modes of a folder's files.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut modes: Vec<(String, u32)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort();
    modes
}

#[tokio::test]
async fn its_files_belong_to_their_owner_alone() {
    let world = World::sqlite().await;
    world.user("ann").await;
    world.store.backup_to(&folder(&world).join("copy.db")).await.unwrap();
    let names = ["adit.db", "adit.db-shm", "adit.db-wal", "adit.db.lock", "copy.db"];
    let expected: Vec<(String, u32)> =
        names.into_iter().map(|name| (name.to_owned(), 0o600)).collect();
    assert_eq!(modes(folder(&world)), expected);
}

#[tokio::test]
async fn a_file_that_others_could_read_is_closed_to_them() {
    let world = World::sqlite().await;
    world.store.close().await;
    let file = folder(&world).join("adit.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let world = World::on(world.database).await;
    assert_eq!(modes(folder(&world))[0], ("adit.db".to_owned(), 0o600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_many_write_opens_clean() {
    // R17
    let world = World::sqlite().await;
    let enough = Arc::new(AtomicBool::new(false));
    let writers = (0..8).map(|writer| {
        let (tenant, enough) = (world.tenant.clone(), enough.clone());
        tokio::spawn(async move {
            let mut written = 0;
            while !enough.load(Ordering::Relaxed) {
                let new = new_user(&format!("w{writer}-{written}"));
                tenant.create_principal(new, told("user.added")).await.unwrap();
                written += 1;
            }
            written
        })
    });
    let writers: Vec<_> = writers.collect();
    for number in 0..5 {
        let (ours, theirs) = (format!("ours{number}.db"), format!("theirs{number}.db"));
        let (ours, theirs) = (folder(&world).join(ours), folder(&world).join(theirs));
        world.store.backup_to(&ours).await.unwrap();
        let source = folder(&world).join("adit.db");
        let backup = format!(".backup '{}'", theirs.display());
        tokio::task::spawn_blocking(move || sqlite3(&source, &backup)).await.unwrap();
        for copy in [ours, theirs] {
            assert_eq!(sqlite3(&copy, "PRAGMA integrity_check"), "ok");
            let alike =
                "SELECT (SELECT count(*) FROM principals) = (SELECT count(*) FROM audit_events)";
            assert_eq!(sqlite3(&copy, alike), "1");
        }
    }
    enough.store(true, Ordering::Relaxed);
    let written: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(world.verified().await.len(), written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_lock_makes_writers_wait_and_readers_not() {
    // R17
    let world = World::sqlite().await;
    let mut holder = Command::new("sqlite3")
        .args(["-bail", "-interactive"])
        .arg(folder(&world).join("adit.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut say = holder.stdin.take().unwrap();
    let locked = folder(&world).join("locked");
    writeln!(say, "BEGIN IMMEDIATE;\n.shell touch {}", locked.display()).unwrap();
    while !locked.exists() {
        tokio::task::yield_now().await;
    }
    let new = new_user("ann");
    let id = new.id;
    let tenant = world.tenant.clone();
    let write = tokio::spawn(async move { tenant.create_principal(new, silent).await });
    for _ in 0..20 {
        assert_eq!(world.tenant.find_principal(id).await.unwrap(), None);
    }
    assert!(!write.is_finished());
    writeln!(say, "COMMIT;").unwrap();
    write.await.unwrap().unwrap();
    assert!(world.tenant.find_principal(id).await.unwrap().is_some());
    drop(say);
    holder.wait().unwrap();
}

#[tokio::test]
async fn a_sync_that_fails_once_is_never_acknowledged() {
    // R11
    for when in [30, 31, 37] {
        let database = Database::sqlite();
        World::on(database).await.reopen_with_failing_sync(when).await;
    }
}

impl World {
    /// Lets a process write whose `when`th sync fails, and looks at what it left.
    async fn reopen_with_failing_sync(self, when: u32) {
        self.store.close().await;
        let strace = |trace: &Path| {
            let mut strace = Command::new("strace");
            let inject = format!("inject=fdatasync,fsync:error=EIO:when={when}");
            strace.args(["-f", "-qq", "-e", "trace=fdatasync,fsync", "-e", &inject, "-o"]);
            strace.arg(trace);
            strace
        };
        let trace = folder(&self).join("trace");
        let mut writer = Writer::start_under(strace(&trace), folder(&self), "alone");
        writer.wait_for(60);
        writer.end();
        let failures = std::fs::read_to_string(&trace).unwrap().matches("EIO").count();
        assert!(failures >= 1, "no sync failed; strace is needed: apt-get install strace");
        let refused = writer.refused();
        assert!(
            refused.len() <= failures,
            "one failure refuses no more than one batch: {refused:?}"
        );
        assert_eq!(sqlite3(&folder(&self).join("adit.db"), "PRAGMA integrity_check"), "ok");
        let world = World::on(self.database).await;
        acknowledged_is_there(&world, &writer.acknowledged()).await;
        for name in refused {
            let sql = format!("SELECT count(*) FROM principals WHERE name = '{name}'");
            assert_eq!(world.database.tamper(&sql), "0", "{name} was refused");
        }
        world.store.close().await;
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    // R06 N3
    let world = World::sqlite().await;
    world.store.close().await;
    let trace = folder(&world).join("trace");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-y",
        "-s",
        "24",
        "-e",
        "trace=pwrite64,fdatasync,fsync,write",
        "-o",
    ]);
    strace.arg(&trace);
    let mut writer = Writer::start_under(strace, folder(&world), "alone");
    writer.wait_for(50);
    writer.end();
    let (mut unsynced, mut acknowledged) = (false, 0);
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        if line.contains("pwrite64(") && line.contains("adit.db-wal") {
            unsynced = true;
        } else if line.contains("sync(") && line.contains("adit.db-wal") {
            unsynced = false;
        } else if line.contains("write(1") && line.contains("acked ") {
            assert!(!unsynced, "acknowledged before the sync: {line}");
            acknowledged += 1;
        }
    }
    assert!(acknowledged >= 40, "strace is needed: apt-get install strace");
}

#[tokio::test]
async fn a_full_disk_refuses_and_then_goes_on() {
    let Some(disk) = SmallDisk::mount() else {
        panic!("a tmpfs cannot be mounted: run the tests as root");
    };
    let path = disk.folder.path().join("adit.db");
    let config = adit_store::StoreConfig::Sqlite { path };
    let store = super::world::open(config, super::world::GATEWAY).await.unwrap();
    let tenant = store.tenant(adit_domain::TenantId::SEED);
    let filler = disk.folder.path().join("filler");
    disk.fill(&filler);
    let (mut added, mut refused) = (0, 0);
    for number in 0..400 {
        match tenant.create_principal(new_user(&format!("user{number}")), told("user.added")).await
        {
            Ok(()) => added += 1,
            Err(_) => refused += 1,
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "the disk never was full");
    let page = tenant.list_principals(&Paging::first(1)).await.unwrap();
    assert_eq!(page.items.len(), 1, "what is there can be read");
    std::fs::remove_file(&filler).unwrap();
    tenant.append_events(vec![event("after")]).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(verified(&store).await.len(), added + 1);
    store.close().await;
}

/// A disk of a few megabytes.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"]).arg(folder.path());
        mount.status().ok()?.success().then_some(Self { folder })
    }

    /// Writes until nothing more goes on the disk, and leaves a little.
    fn fill(&self, filler: &Path) {
        let mut file = std::fs::File::create(filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(128 * 1024)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
