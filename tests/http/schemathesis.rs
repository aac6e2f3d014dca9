//! The running server does what its document says, for requests that a generator thinks of.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_testkit::TestGateway;

/// The version that the requests were bounded for.
const VERSION: &str = "4.32.5";

fn program() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{VERSION}"));
    let program = venv.join("bin/schemathesis");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        let wanted = format!("schemathesis=={VERSION}");
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", &wanted]));
    }
    program
}

fn run(command: &mut Command) {
    let output = command.output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        done,
        "schemathesis cannot be installed: apt-get install python3-venv, and let pip reach a package index: {output:?}"
    );
}

#[tokio::test]
async fn no_request_that_the_document_allows_is_answered_otherwise() {
    // CMD-15, BRW-54
    let program = program();
    let gateway = TestGateway::start();
    let settings = gateway.data().with_file_name("schemathesis.toml");
    let token = &gateway.admin.token;
    let text = format!("[auth.openapi.token]\nbearer = \"{token}\"\n");
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(&settings)
        .args(["run", &format!("{}/api/v1/openapi.json", gateway.admin.url)])
        .args(["--checks", CHECKS, "--max-examples", "10", "--phases", "examples,coverage,fuzzing"])
        // One never ends, the other ends the token that all of them stand on.
        .args(["--exclude-path", "/api/v1/stream", "--exclude-path", "/api/v1/sign-out"])
        .args(["--seed", "1", "--request-timeout", "30", "--no-color"])
        .current_dir(gateway.data().parent().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace(token, "adt_…");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// No 500, and no answer, media type or body that is not in the document.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
