//! A gateway whose database was put back from a backup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::hosts::{Ends, Hosts, json, run};

fn copy_of(database: &Path, to: &Path) {
    let into = format!("VACUUM INTO '{}'", to.display());
    run(Command::new("sqlite3").arg(database).args(["-cmd", ".timeout 10000", &into]));
}

fn sessions(hosts: &Hosts, token: &str) -> Vec<Value> {
    let list = json(&run(hosts.adit(token).args(["sessions", "ls", "--state", "all", "--json"])));
    list["items"].as_array().unwrap().clone()
}

async fn online(hosts: &Hosts, token: &str) {
    let is_online = async || {
        let machines = json(&run(hosts.adit(token).args(["ls", "--json"])));
        (machines["items"][0]["status"] == "online").then_some(())
    };
    adit_testkit::eventually("the machine is online", is_online).await;
}

/// Runs a command that writes its process id into a file and goes on.
fn open(hosts: &Hosts, token: &str, name: &str) -> (Ends, PathBuf) {
    let file = hosts.folder.path().join(name);
    let mut exec = hosts.adit(token);
    exec.args(["exec", "box", "--", "sh", "-c", "echo $$ > \"$0\"; exec cat"]).arg(&file);
    let client = exec.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    (Ends(client.spawn().unwrap()), file)
}

async fn pid(file: &Path) -> String {
    let written = async || fs::read_to_string(file).ok().filter(|pid| pid.ends_with('\n'));
    adit_testkit::eventually("the command's process id", written).await
}

#[tokio::test]
async fn after_a_backup_was_restored_nothing_counts_that_was_handed_out_before() {
    // R18
    let mut hosts = Hosts::start();
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let _agent = hosts.join(enrolment["token"].as_str().unwrap());
    online(&hosts, &token).await;
    // One session is in the backup, another is not; a token was revoked after it.
    let (mut before, file) = open(&hosts, &token, "before");
    let before_pid = pid(&file).await;
    let lost = json(&run(hosts.adit(&token).args(["token", "add", "lost", "--json"])));
    let spare = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let backup = hosts.folder.path().join("backup.db");
    copy_of(&hosts.folder.path().join("gateway/adit.db"), &backup);
    let (mut after, file) = open(&hosts, &token, "after");
    let after_pid = pid(&file).await;
    run(hosts.adit(&token).args(["token", "rm", lost["id"].as_str().unwrap()]));

    let fresh = hosts.restart(&["--restored"], |data| {
        for name in ["adit.db-wal", "adit.db-shm"] {
            // SQLite has removed them where nothing was left in them.
            let _ = fs::remove_file(data.join(name));
        }
        fs::copy(&backup, data.join("adit.db")).unwrap();
    });
    for stale in [token.as_str(), lost["token"].as_str().unwrap()] {
        let refused = hosts.adit(stale).arg("ls").output().unwrap();
        assert_eq!(refused.status.code(), Some(125));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("auth."), "{said}");
    }
    let tokens = json(&run(hosts.adit(&fresh).args(["machine", "tokens", "ls", "--json"])));
    let spare = spare["id"].as_str().unwrap();
    assert!(!tokens.to_string().contains(spare), "{tokens}");

    // The machine proves its key and is there again; what was open is over at both ends.
    online(&hosts, &fresh).await;
    for (client, pid) in [(&mut before, &before_pid), (&mut after, &after_pid)] {
        adit_testkit::eventually("the end of the client", async || client.0.try_wait().unwrap())
            .await;
        let there = async || (!Path::new("/proc").join(pid.trim()).exists()).then_some(());
        adit_testkit::eventually("the end of the command", there).await;
    }
    let ended = sessions(&hosts, &fresh);
    assert!(ended.iter().all(|session| session["state"] == "ended"), "{ended:?}");
    assert!(
        ended.iter().any(|session| session["reason"]["code"] == "session.restored"),
        "{ended:?}"
    );
    let told =
        run(hosts.adit(&fresh).args(["audit", "search", "--json", "--event", "gateway.restore"]));
    assert_eq!(json(&told)["items"].as_array().unwrap().len(), 1);
    let mut exec = hosts.adit(&fresh);
    let output = run(exec.args(["exec", "box", "--", "echo", "again"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "again\n");
}
