//! The disk of the recordings is full: who may go on does, marked as such, and who may not ends with the reason.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use adit_testkit::{TestGateway, within};
use serde_json::json;

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
