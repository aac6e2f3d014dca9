//! A program that meets the data of a newer one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ANYWHERE: &str = "127.0.0.1:0";

/// Lets a gateway make its data in a folder, and ends it.
fn make_data(data: &Path) {
    let mut up = Command::new(adit_testkit::binary());
    up.args(["up", "--json", "--listen", ANYWHERE, "--data"]).arg(data);
    let mut up = up.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("url"), "adit up did not stand: {line}");
    adit_testkit::signal(up.id(), "TERM");
    up.wait().unwrap();
}

/// Lets the data be of a program that knows one step more of the schema.
fn raise_version(data: &Path) {
    let mut sqlite = Command::new("sqlite3");
    sqlite.arg("-bail").arg(data.join("adit.db"));
    sqlite.arg("INSERT INTO schema_steps SELECT max(number) + 1, 'of tomorrow' FROM schema_steps");
    let raised = sqlite.output().expect("sqlite3 is missing: apt-get install sqlite3");
    assert!(raised.status.success(), "{}", String::from_utf8_lossy(&raised.stderr));
}

fn start(arguments: &[&str], folder: &Path) -> Output {
    let mut start = Command::new(adit_testkit::binary());
    start.args(arguments).arg(folder).stdin(Stdio::null()).output().unwrap()
}

fn is_refused(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("the database is at version"), "{said}");
    assert!(said.contains("install a newer Adit"), "{said}");
}

#[test]
fn an_older_program_refuses_the_data_of_a_newer_one_and_says_what_to_do() {
    // R42
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make_data(&data);
    raise_version(&data);
    let before = fs::read(data.join("adit.db")).unwrap();
    is_refused(&start(&["up", "--listen", ANYWHERE, "--data"], &data));
    let config = folder.path().join("adit.toml");
    let lines = format!(
        "data = {data:?}\nlisten = {ANYWHERE:?}\nmachines_listen = {ANYWHERE:?}\n\
         [session]\ntoken_secret_file = {:?}\n",
        data.join("session_token_secret")
    );
    fs::write(&config, lines).unwrap();
    is_refused(&start(&["serve", "--config"], &config));
    assert!(fs::read(data.join("adit.db")).unwrap() == before, "the database is as it was");
}
