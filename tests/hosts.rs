//! Two hosts: a gateway over TLS in one network namespace, a machine that joins it from another.
//!
//! The namespaces and the link between them are the test's own and go with it. Needs root and iproute2.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Two namespaces with a link; nothing else reaches either.
struct Network {
    gateway: String,
    machine: String,
}

impl Network {
    fn new() -> Self {
        let id = std::process::id();
        let network = Self { gateway: format!("adit-g{id}"), machine: format!("adit-m{id}") };
        for name in [&network.gateway, &network.machine] {
            run(Command::new("ip").args(["netns", "add", name]));
            run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]));
        }
        let (g, m) = (&network.gateway, &network.machine);
        run(Command::new("ip")
            .args(["link", "add", "adit0", "netns", g, "type", "veth", "peer", "name", "adit1"])
            .args(["netns", m]));
        for (name, link, address) in [(g, "adit0", "10.77.0.1/24"), (m, "adit1", "10.77.0.2/24")] {
            run(Command::new("ip").args(["-n", name, "addr", "add", address, "dev", link]));
            run(Command::new("ip").args(["-n", name, "link", "set", link, "up"]));
        }
        network
    }

    fn on(&self, name: &str, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program.into());
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.gateway, &self.machine] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "{command:?}: {error}; `apt-get install iproute2 openssl curl` brings what this needs"
        )
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Both hosts, with a folder of their files.
struct Hosts {
    network: Network,
    folder: TempDir,
    _gateway: Ends,
    code: String,
}

const URL: &str = "https://10.77.0.1:7800";

impl Hosts {
    fn start() -> Self {
        let network = Network::new();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args(["-days", "2", "-subj", "/CN=gateway", "-addext", "subjectAltName=IP:10.77.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("cert.pem")));
        let secret = run(Command::new("openssl").args(["rand", "-hex", "32"])).stdout;
        fs::write(path("secret"), secret).unwrap();
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "data = {data:?}\nlisten = \"10.77.0.1:7800\"\nmachines_listen = \"10.77.0.1:7892\"\n\
             [tls]\ncertificate = {cert:?}\nkey = {key:?}\n[session]\ntoken_secret_file = {secret:?}\n",
            data = path("gateway"),
            cert = path("cert.pem"),
            key = path("key.pem"),
            secret = path("secret"),
        );
        fs::write(path("adit.toml"), config).unwrap();
        let mut serve = network.on(&network.gateway, adit_testkit::binary());
        serve.args(["serve", "--config"]).arg(path("adit.toml"));
        let mut serve = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = serve.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let link = lines
            .find(|line| line.contains("#code="))
            .expect("the first start prints a sign-in link");
        let code = link.split_once("#code=").unwrap().1.to_owned();
        // Read on, so that the gateway's log never waits.
        std::thread::spawn(move || lines.for_each(drop));
        Self { network, folder, _gateway: Ends(serve), code }
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let jar = self.folder.path().join("jar");
        let mut command = self.network.on(&self.network.gateway, "curl");
        command
            .args(["-sS", "--fail-with-body", "--cacert"])
            .arg(self.folder.path().join("cert.pem"));
        command.arg("-b").arg(&jar).arg("-c").arg(&jar);
        command.args([
            "-H",
            "Content-Type: application/json",
            "-H",
            "Origin: https://10.77.0.1:7800",
        ]);
        run(command.args(arguments).arg(format!("{URL}{path}")))
    }

    /// Signs in by the printed link, over HTTP/2 as a browser does, and gives an API token.
    fn token(&self) -> String {
        self.curl(&["-d", &format!("{{\"code\":\"{}\"}}", self.code)], "/api/v1/sign-in");
        let me = json(&self.curl(&[], "/api/v1/me"));
        let path = format!("/api/v1/users/{}/tokens", me["id"].as_str().unwrap());
        let issued = json(&self.curl(&["-d", "{\"name\":\"test\"}"], &path));
        issued["token"].as_str().unwrap().to_owned()
    }

    fn adit(&self, token: &str) -> Command {
        let mut command = self.network.on(&self.network.gateway, adit_testkit::binary());
        command.env("ADIT_URL", URL).env("ADIT_TOKEN", token);
        command.env("ADIT_CA", self.folder.path().join("cert.pem"));
        command
    }

    fn join(&self, enrolment: &str) -> Ends {
        let agent = self.folder.path().join("agent");
        let mut join = self.network.on(&self.network.machine, adit_testkit::binary());
        join.args(["agent", "join", URL, "--token", enrolment, "--label", "box", "--dir"])
            .arg(&agent);
        run(join.arg("--ca").arg(self.folder.path().join("cert.pem")));
        let mut run = self.network.on(&self.network.machine, adit_testkit::binary());
        run.args(["agent", "run", "--dir"]).arg(&agent).stdout(Stdio::null()).stderr(Stdio::null());
        Ends(run.spawn().unwrap())
    }
}

#[tokio::test]
async fn a_machine_in_another_network_joins_over_tls_and_gives_a_shell() {
    // SES-45, DESK-1, BEY-4
    let hosts = Hosts::start();
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let _agent = hosts.join(enrolment["token"].as_str().unwrap());
    adit_testkit::eventually("the machine is online", async || {
        let machines = json(&run(hosts.adit(&token).args(["ls", "--json"])));
        (machines["items"][0]["status"] == "online").then_some(())
    })
    .await;
    let mut exec = hosts.adit(&token);
    exec.args(["exec", "box", "--", "sh", "-c", "ip -br addr show adit1; exit 3"]);
    let output = exec.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("10.77.0.2"));
    let key = fs::metadata(hosts.folder.path().join("agent")).unwrap().permissions().mode();
    assert_eq!(key & 0o077, 0, "the machine's keys are its own");
}

#[tokio::test]
async fn an_enrolment_token_joins_one_machine() {
    // AGT-05
    let hosts = Hosts::start();
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let _agent = hosts.join(enrolment["token"].as_str().unwrap());
    let mut again = hosts.network.on(&hosts.network.machine, adit_testkit::binary());
    again.args(["agent", "join", URL, "--token", enrolment["token"].as_str().unwrap(), "--dir"]);
    again
        .arg(hosts.folder.path().join("second"))
        .arg("--ca")
        .arg(hosts.folder.path().join("cert.pem"));
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("auth.enrol_refused"));
}
