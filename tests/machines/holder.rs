//! Somebody with a certificate, made by the command that users run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use adit_testkit::TestGateway;
use serde_json::Value;
use tempfile::TempDir;

/// A certificate and its key in a folder.
pub struct Holder {
    pub dir: TempDir,
    machines: String,
}

/// Runs a command of the administrator's.
pub fn adit(gateway: &TestGateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(adit_testkit::binary());
    command.args(arguments).env("ADIT_URL", &gateway.admin.url);
    command.env("ADIT_TOKEN", &gateway.admin.token);
    command
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// Runs a command that must succeed, and reads its JSON.
pub fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&run(command.arg("--json")).stdout).unwrap()
}

impl Holder {
    /// Gets a certificate of a name.
    pub fn named(gateway: &TestGateway, name: &str) -> Self {
        Self::with(gateway, name, &[])
    }

    /// Gets a certificate with more on the command line.
    pub fn with(gateway: &TestGateway, name: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut issue = adit(gateway, &["cert", "issue", name, "--out"]);
        run(issue.arg(dir.path()).args(more));
        Self { dir, machines: gateway.machines.clone() }
    }

    /// Takes a certificate and a key from elsewhere; the authority is the gateway's.
    pub fn of(gateway: &TestGateway, certificate: &str, key: &str, ca: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        fs::write(dir.path().join("key.pem"), key).unwrap();
        fs::write(dir.path().join("ca.pem"), ca).unwrap();
        Self { dir, machines: gateway.machines.clone() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Makes a client that shows the certificate.
    pub fn client(&self) -> reqwest::Client {
        let both = format!("{}{}", self.read("cert.pem"), self.read("key.pem"));
        let ca = reqwest::Certificate::from_pem(self.read("ca.pem").as_bytes()).unwrap();
        reqwest::Client::builder()
            .no_proxy()
            .identity(reqwest::Identity::from_pem(both.as_bytes()).unwrap())
            .tls_certs_only([ca])
            .build()
            .unwrap()
    }

    /// Posts JSON on the machine listener; `None` when TLS already refused. Gives the status and the body.
    pub async fn post(&self, path: &str, body: Value) -> Option<(u16, Value)> {
        let request = self.client().post(format!("{}{path}", self.machines)).json(&body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// Asks for something that any holder may ask, and gives the status; `None` when TLS already refused.
    pub async fn is_let_in(&self) -> Option<u16> {
        self.post("/api/machine/renew", serde_json::json!({"csr": "none"})).await.map(|a| a.0)
    }
}

/// Makes a request for a certificate with a new key; gives the request and the key, PEM.
pub fn request(dir: &Path) -> (String, String) {
    let (key, csr) = (dir.join("fresh-key.pem"), dir.join("fresh.csr"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt"]);
    openssl.args(["ec_paramgen_curve:P-256", "-subj", "/CN=admin"]);
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&csr));
    (fs::read_to_string(csr).unwrap(), fs::read_to_string(key).unwrap())
}

/// Gives the permissions of a file.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
