//! Gateway, agent and root helper as accounts of their own, as `adit unit install` makes them.
//!
//! The host has its own network, and its own `/etc`, `/run`, `/var/lib` and `/usr/local/bin`, so that installing changes nothing of
//! this machine. systemd does not run there: the test starts each process with the account and the rights that its unit gives.
//! Needs root, iproute2, openssl, curl and systemd's programs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hosts::{Ends, Namespace, run};

/// Nothing of root's is left to a process that is started like this, as `CapabilityBoundingSet=` and `NoNewPrivileges=yes` do it.
const WITHOUT_RIGHTS: [&str; 4] =
    ["--init-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"];

const SOCKET: &str = "/run/adit-helper.sock";

const URL: &str = "http://127.0.0.1:7800";

/// A host whose system folders are the test's own.
struct Host {
    namespace: Namespace,
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { namespace: Namespace::new('p'), folder: tempfile::tempdir().unwrap() };
        run(Command::new("cp").args(["-a", "/etc"]).arg(host.path("etc")));
        for name in ["run", "lib", "bin", "run/secrets"] {
            fs::create_dir(host.path(name)).unwrap();
        }
        let program = host.path("bin/adit");
        fs::copy(adit_testkit::binary(), &program).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        fs::set_permissions(host.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program of the host; the process that is started becomes it.
    fn on(&self, program: &str) -> Command {
        let mut command = self.namespace.on("unshare");
        command.args(["--mount", "sh", "-ec"]);
        command.arg(
            "mount --make-rprivate /; cd \"$0\"\n\
             for each in etc:/etc run:/run lib:/var/lib bin:/usr/local/bin; do mount --bind \"$0/${each%%:*}\" \"${each#*:}\"; done\n\
             cd /; exec \"$@\"",
        );
        command.arg(self.folder.path()).arg(program);
        command.env_remove("ADIT_TOKEN").env("ADIT_URL", URL).stdin(Stdio::null());
        command
    }

    fn adit(&self, arguments: &[&str]) -> Command {
        let mut command = self.on("/usr/local/bin/adit");
        command.args(arguments);
        command
    }

    /// Runs Adit as an account, without any right of root's.
    fn adit_as(&self, account: &str, arguments: &[&str]) -> Command {
        let mut command = self.on("setpriv");
        command.args([format!("--reuid={account}"), format!("--regid={account}")]);
        command.args(WITHOUT_RIGHTS).arg("/usr/local/bin/adit").args(arguments);
        command
    }

    /// Makes the folder that `StateDirectory=` makes.
    fn state(&self, account: &str) {
        let folder = format!("/var/lib/{account}");
        run(self.on("install").args(["-d", "-m", "700", "-o", account, "-g", account, &folder]));
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Value {
        let jar = self.path("jar");
        let mut command = self.on("curl");
        command.args(["-sS", "--fail-with-body", "-b"]).arg(&jar).arg("-c").arg(&jar);
        command.args(["-H", "Content-Type: application/json", "-H", &format!("Origin: {URL}")]);
        let output = run(command.args(arguments).arg(format!("{URL}{path}")));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Starts a gateway and waits for the code of its setup link.
    fn serves(&self, run: impl FnOnce(&[&str]) -> Command) -> (Ends, String) {
        self.state("adit-gateway");
        let mut serve = run(&["serve", "--config", "/etc/adit/gateway.toml"]);
        let mut serve = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines().map_while(Result::ok);
        let gateway = Ends(serve);
        let mut said = Vec::new();
        let code = lines.by_ref().find_map(|line| {
            let code = line.split_once("#code=").map(|(_, code)| code.to_owned());
            said.push(line);
            code
        });
        // Read on, so that the gateway's log never waits.
        std::thread::spawn(move || lines.for_each(drop));
        (gateway, code.unwrap_or_else(|| panic!("no setup link: {said:?}")))
    }

    /// Starts the gateway as its account and gives an API token of the first administrator.
    fn gateway(&self) -> (Ends, String) {
        let (gateway, code) = self.serves(|arguments| self.adit_as("adit-gateway", arguments));
        let first = json!({"token": code, "name": "admin", "password": "four green llamas dance"});
        self.curl(&["-d", &first.to_string()], "/api/v1/setup");
        let me = self.curl(&[], "/api/v1/me");
        let path = format!("/api/v1/users/{}/tokens", me["id"].as_str().unwrap());
        let issued = self.curl(&["-d", r#"{"name":"test"}"#], &path);
        (gateway, issued["token"].as_str().unwrap().to_owned())
    }

    /// Joins a machine as the agent's account and runs its agent.
    fn agent(&self, token: &str) -> Ends {
        self.state("adit-agent");
        let output = run(self.adit(&["machine", "token", "--json"]).env("ADIT_TOKEN", token));
        let enrolment: Value = serde_json::from_slice(&output.stdout).unwrap();
        let folder = "/var/lib/adit-agent/keys";
        let enrolment = enrolment["token"].as_str().unwrap();
        let join = ["agent", "join", URL, "--token", enrolment, "--label", "box", "--dir", folder];
        run(&mut self.adit_as("adit-agent", &join));
        let mut agent = self.adit_as("adit-agent", &["agent", "run", "--dir", folder]);
        Ends(agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Starts the helper as root, with the one capability that its unit leaves it for certificates.
    async fn helper(&self) -> Ends {
        let mut helper = self.on("setpriv");
        helper.args(["--no-new-privs", "--bounding-set=-all,+chown", "--inh-caps=-all"]);
        helper.args(["/usr/local/bin/adit", "helper", "run", "--socket", SOCKET]);
        run(self.on("install").args(["-d", "-m", "700", "/var/lib/adit-helper"]));
        let helper = Ends(helper.stderr(Stdio::null()).spawn().unwrap());
        let there = async || self.path("run/adit-helper.sock").exists().then_some(());
        adit_testkit::eventually("the helper's socket", there).await;
        helper
    }

    /// Asks the helper as an account.
    fn ask(&self, account: &str, arguments: &[&str]) -> Output {
        let arguments = [&["helper"], arguments].concat();
        self.adit_as(account, &arguments).output().unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn gateway_and_agent_are_accounts_of_their_own_and_ask_for_what_needs_root() {
    // TIX-72
    let host = Host::new();
    run(&mut host.adit(&["unit", "install", "--certificate", "web", "--service", "nginx.service"]));
    let secret = fs::metadata(host.path("etc/adit/session.secret")).unwrap();
    assert_eq!(
        (secret.uid(), secret.mode() & 0o777),
        (0, 0o640),
        "root's, and the gateway reads it"
    );
    let (gateway, token) = host.gateway();
    let agent = host.agent(&token);
    let helper = host.helper().await;

    let exec = |line: &str| {
        let mut exec = host.adit(&["exec", "box", "--", "sh", "-c", line]);
        exec.env("ADIT_TOKEN", &token).output().unwrap()
    };
    adit_testkit::eventually("the machine is online", async || {
        let ls = run(host.adit(&["ls", "--json"]).env("ADIT_TOKEN", &token));
        let machines: Value = serde_json::from_slice(&ls.stdout).unwrap();
        (machines["items"][0]["status"] == "online").then_some(())
    })
    .await;
    let who = exec("id -un");
    assert_eq!(String::from_utf8_lossy(&who.stdout), "adit-agent\n", "{}", stderr(&who));
    for others in
        ["/var/lib/adit-gateway/adit.db", "/etc/adit/session.secret", "/var/lib/adit-helper"]
    {
        let read = exec(&format!("cat {others}"));
        assert!(stderr(&read).contains("Permission denied"), "{others}: {read:?}");
    }

    certificates_are_installed_for_the_gateway_alone(&host);
    what_each_may_do_is_told(&host, [&gateway, &agent, &helper]);
}

fn certificates_are_installed_for_the_gateway_alone(host: &Host) {
    run(host
        .on("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=web", "-addext", "subjectAltName=DNS:web"])
        .args(["-keyout", "/run/secrets/key", "-out", "/run/secrets/chain"]));
    fs::set_permissions(host.path("run/secrets/key"), PermissionsExt::from_mode(0o644)).unwrap();
    let install =
        ["certificate", "web", "--chain", "/run/secrets/chain", "--key", "/run/secrets/key"];
    // The kernel keeps another account from the socket; the helper would ask who it is as well.
    let refused = host.ask("adit-agent", &install);
    assert!(!refused.status.success() && !host.path("etc/adit/certificates/web").exists());
    let done = host.ask("adit-gateway", &install);
    assert!(done.status.success(), "{}", stderr(&done));
    let key = fs::metadata(host.path("etc/adit/certificates/web/key.pem")).unwrap();
    assert_eq!((key.uid(), key.mode() & 0o777), (0, 0o600));

    let elsewhere = host.ask("adit-gateway", &["reload", "ssh.service"]);
    assert!(stderr(&elsewhere).contains("helper.not_listed"), "{}", stderr(&elsewhere));
    let option = host.ask("adit-gateway", &["reload", "--pre-hook=/bin/sh"]);
    assert!(!option.status.success());
    let failed = host.ask("adit-gateway", &["reload", "nginx.service"]);
    assert!(stderr(&failed).contains("helper.failed"), "{}", stderr(&failed));
    let verified = run(&mut host.adit(&["helper", "verify", "--json"]));
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified["events"].as_u64().unwrap() >= 5, "{verified}");
}

fn what_each_may_do_is_told(host: &Host, processes: [&Ends; 3]) {
    let told = host.adit(&["doctor", "--privileges", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let shown = |ends: &Ends| {
        let all = told["processes"].as_array().unwrap();
        all.iter().find(|one| one["process"]["pid"] == ends.0.id()).unwrap()
    };
    let [gateway, agent, helper] = processes.map(shown);
    for (shown, role, user) in [
        (gateway, "gateway", "adit-gateway"),
        (agent, "agent", "adit-agent"),
        (helper, "helper", "root"),
    ] {
        let process = &shown["process"];
        assert_eq!((&process["role"], &process["user"]), (&json!(role), &json!(user)));
        assert_eq!(process["noNewPrivileges"], true, "{process}");
        assert_ne!(shown["state"], "bad", "{shown}");
    }
    assert_eq!(gateway["process"]["effective"], json!([]));
    assert_eq!(gateway["process"]["bounding"], json!([]));
    assert_eq!(gateway["process"]["coreFiles"], false);
    assert_eq!(gateway["process"]["memoryPrivate"], true);
    assert_eq!(agent["process"]["memoryPrivate"], true);
    let listens = gateway["process"]["listens"].to_string();
    assert!(listens.contains("127.0.0.1:7800"), "{listens}");
    assert_eq!(helper["process"]["effective"], json!(["CAP_CHOWN"]));
    assert_eq!(helper["process"]["listens"], json!([SOCKET]));
}

#[test]
fn a_gateway_that_is_root_or_that_sudo_serves_is_told_to_be_too_much() {
    // TIX-72, SUP-03
    let host = Host::new();
    fs::create_dir_all(host.path("etc/sudoers.d")).unwrap();
    let rule = "adit-gateway ALL=(root) NOPASSWD: /usr/bin/certbot *\n";
    fs::write(host.path("etc/sudoers.d/adit"), rule).unwrap();
    run(&mut host.adit(&["unit", "install"]));
    let gateway = host.serves(|arguments| host.adit(arguments)).0;
    let told = host.adit(&["doctor", "--privileges"]).output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(!told.status.success());
    assert!(said.contains(&format!("gateway {}", gateway.0.id())), "{said}");
    assert!(said.contains("It is root: whoever finds a fault in it has the machine."), "{said}");
    assert!(said.contains("/etc/sudoers.d/adit lets one of Adit's accounts be root"), "{said}");
    assert!(stderr(&told).contains("client.privileges"), "{}", stderr(&told));
}

/// Each unit, and how exposed systemd may find it at most, on its scale of 0 to 100.
const UNITS: [(&str, u8); 3] =
    [("adit-gateway.service", 15), ("adit-agent.service", 25), ("adit-helper.service", 25)];

#[test]
fn the_units_are_right_and_have_no_more_than_they_need() {
    // TIX-72
    let folder = tempfile::tempdir().unwrap();
    let mut install = Command::new(adit_testkit::binary());
    install.args([
        "unit",
        "install",
        "--certificate",
        "web",
        "--program",
        "/usr/bin/env",
        "--root",
    ]);
    run(install.arg(folder.path()));
    let units = folder.path().join("usr/lib/systemd/system");
    for (name, exposure) in UNITS {
        let unit = units.join(name);
        let mut verify = analyze(&units);
        let verified = run(verify.args(["verify", "--man=no"]).arg(&unit));
        assert_eq!(stderr(&verified), "", "{name}");
        let mut security = analyze(&units);
        security.args(["security", "--offline=true", &format!("--threshold={exposure}")]);
        run(security.arg(&unit));
    }
    let root = fs::read_to_string(units.join("adit-agent.service")).unwrap();
    assert!(root.contains("User=adit-agent") && !root.contains("@PROGRAM@"));
}

fn analyze(units: &Path) -> Command {
    let mut command = Command::new("systemd-analyze");
    // A colon at the end: the machine's own units come after ours.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    command
}
