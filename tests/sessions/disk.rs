//! The disk of the recordings is full: who may go on does, marked as such, and who may not ends with the reason. Or it is slow.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use adit_testkit::{TestGateway, within};
use serde_json::json;

use crate::sessions::access::REPEATS;

/// Waits for a line, then says five mebibytes that do not compress, and that it is done.
const FLOOD: &str = "stty -echo; echo ready; read go; head -c 4000000 /dev/urandom | base64; echo fl\"\"ooded; read go";

/// The recordings' folder on a disk of its own, of eight mebibytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under_recordings_of(gateway: &TestGateway) -> Self {
        let folder = gateway.data().join("recordings");
        let options = "size=8m,mode=0700";
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder);
        assert!(mount.status().unwrap().success(), "a tmpfs is mounted as root only");
        Self(folder)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        fill(&self.filler());
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_lets_a_session_go_on_and_its_recording_says_what_it_lacks() {
    // R08, TERM-42
    let gateway = TestGateway::start();
    let disk = SmallDisk::under_recordings_of(&gateway);
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", FLOOD]).await;
    viewer.until_text("ready").await;
    disk.fill();
    viewer.write(b"go\r");
    viewer.until_text("flooded").await;
    viewer.write(b"go\r");
    assert_eq!(viewer.end().await.0.code, "session.exited");
    let shown = gateway.session_when(&viewer.session(), |s| s["state"] == "ended").await;
    assert_eq!(shown["recording"], "incomplete");
    assert_eq!(gateway.events("terminal_session_end").await.len(), 1, "the log is on another disk");

    disk.free();
    let mut again = gateway.open(&gateway.admin, &["echo", "space again"]).await;
    assert_eq!(again.end().await.0.code, "session.exited");
    let shown = gateway.session_when(&again.session(), |s| s["state"] == "ended").await;
    assert_eq!(shown["recording"], "complete");
}

#[tokio::test]
async fn a_full_disk_ends_a_session_that_must_be_recorded_and_opens_no_other() {
    // R08
    let gateway = TestGateway::start_with("[recording]\nstrict = true\n");
    let disk = SmallDisk::under_recordings_of(&gateway);
    let mut viewer = gateway.open(&gateway.admin, &["sh", "-c", FLOOD]).await;
    viewer.until_text("ready").await;
    disk.fill();
    viewer.write(b"go\r");
    let (ended, code) = within("end for want of a recording", viewer.end()).await;
    assert_eq!((ended.code.as_str(), code), ("session.recording_failed", Some(1011)));
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    assert_eq!(gateway.refused(&ticket).await.code, "session.recording_failed");
    disk.free();
    let mut again = gateway.open(&gateway.admin, &["echo", "space again"]).await;
    assert_eq!(again.end().await.0.code, "session.exited");
}

/// A disk on which each sync of a process takes half a minute.
struct SlowDisk {
    strace: Child,
    trace: PathBuf,
}

impl SlowDisk {
    async fn under(gateway: &TestGateway) -> Self {
        let trace = gateway.data().with_file_name("trace");
        let pid = gateway.gateway_pid().unwrap().to_string();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=fdatasync,fsync,syncfs", "-o"]).arg(&trace);
        strace.args(["-e", "inject=fdatasync,fsync,syncfs:delay_exit=30000000", "-p", &pid]);
        let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        // Read on to the end, or strace would wait for a reader.
        let attached = tokio::task::spawn_blocking(move || {
            let first = said.next().and_then(Result::ok).unwrap_or_default();
            std::thread::spawn(move || said.for_each(drop));
            first
        });
        let attached = within("strace, attached", attached).await.unwrap();
        assert!(attached.contains("attached"), "{attached}; strace needs root here");
        Self { strace, trace }
    }

    /// The threads of the syncs so far, in their order; a sync is told when its wait begins.
    fn syncs(&self) -> Vec<String> {
        let trace = std::fs::read_to_string(&self.trace).unwrap();
        let delayed = trace.lines().filter(|line| line.contains("(DELAYED)"));
        delayed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.strace);
        // Asked to, it lets the gateway go; killed, it would leave it stopped.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.strace.wait().unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_syncs_slowly_holds_up_no_key() {
    // R12
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let disk = SlowDisk::under(&gateway).await;
    viewer.write(b"to be synced\r");
    let waiting =
        adit_testkit::eventually("a sync that takes long", async || disk.syncs().first().cloned())
            .await;
    for line in 0..40 {
        viewer.write(format!("line {line}\r").as_bytes());
        viewer.until_text(&format!("line {line}\r\n")).await;
    }
    let of_that_thread = disk.syncs().into_iter().filter(|thread| *thread == waiting).count();
    assert_eq!(of_that_thread, 1, "40 lines came back while one sync lasted");
    drop(disk);
    viewer.write(b"the last\r");
    viewer.until_text("the last\r\n").await;
    let session = viewer.session();
    gateway.admin.delete(&format!("/api/v1/sessions/{session}")).await;
    gateway.session_when(&session, |s| s["recording"] == "complete").await;
}
