//! The terminal's WebSocket against Autobahn's conformance suite: an echo with the caps and the end of a viewer's connection.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_core::tasks::Tasks;
use axum::Router;
use axum::routing::any;
use serde_json::{Value, json};

/// The version whose cases the verdicts below stand on. It is the last one, for the last Python 2.
const VERSION: &str = "25.10.1";

/// Each case with a message over 64 KiB, of which the suite takes nothing but its echo for an answer.
const OVER_THE_CAP: &[&str] = &["9.1.", "9.2.", "9.3.", "9.4.", "9.5.", "9.6."];

/// Runs the suite from a folder that pip filled, as a site's folder: some of its packages are namespaces.
const RUN: &str = "import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()";

fn packages(python: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("autobahn-{VERSION}"));
    if !folder.join("bin/wstest").exists() {
        let output = Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(&folder)
            .arg(format!("autobahntestsuite=={VERSION}"))
            .output();
        let done = output.as_ref().is_ok_and(|output| output.status.success());
        assert!(done, "Autobahn's suite cannot be installed with {}: {output:?}", python.display());
    }
    folder
}

async fn echo_server() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/", any(adit_http::websocket::echo));
    tokio::spawn(adit_http::listen::serve(listener, None, app, 8, Tasks::default()));
    port
}

/// Whether a case ended as it must here.
fn holds(case: &str, verdict: &Value) -> bool {
    let behavior = verdict["behavior"].as_str().unwrap();
    let how_closed = verdict["behaviorClose"].as_str().unwrap();
    let refused = verdict["remoteCloseCode"] == json!(1009);
    let over_the_cap = OVER_THE_CAP.iter().any(|prefix| case.starts_with(prefix));
    match behavior {
        "OK" | "INFORMATIONAL" => matches!(how_closed, "OK" | "INFORMATIONAL"),
        // Said later than where it first could have been seen, which the suite allows.
        "NON-STRICT" => how_closed == "OK",
        "UNIMPLEMENTED" => case.starts_with("12.") || case.starts_with("13."),
        _ => over_the_cap && refused,
    }
}

#[tokio::test]
async fn the_websocket_of_a_terminal_ends_each_case_of_autobahn_as_the_rfc_says() {
    // RES-01, RES-02
    let Some(python) = std::env::var_os("PYTHON27").map(PathBuf::from) else {
        eprintln!(
            "SKIPPED: PYTHON27 names no Python 2.7; `cargo xtask test` looks for one and says so"
        );
        return;
    };
    let packages = packages(&python);
    let port = echo_server().await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = json!({
        "outdir": folder.path(),
        "servers": [{"agent": "adit", "url": format!("ws://127.0.0.1:{port}/")}],
        "cases": ["*"],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    std::fs::write(folder.path().join("cases.json"), wanted.to_string()).unwrap();
    let mut command = Command::new(python);
    command
        .args(["-c", RUN])
        .arg(packages)
        .args(["--mode", "fuzzingclient", "--spec", "cases.json"])
        .current_dir(folder.path());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let index = std::fs::read(folder.path().join("index.json")).expect("a report");
    let index: Value = serde_json::from_slice(&index).unwrap();
    let cases = index["adit"].as_object().unwrap();
    assert!(cases.len() > 500, "the suite ran {} cases", cases.len());
    let wrong: Vec<_> = cases.iter().filter(|(case, verdict)| !holds(case, verdict)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
