//! Two hosts: a gateway over TLS in one network namespace, a machine that joins it from another.
//!
//! The namespaces and the link between them are the test's own and go with it. Needs root and iproute2.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A network namespace with loopback and nothing else; it goes with the test.
pub struct Namespace(String);

impl Namespace {
    /// Makes one; of those of a process each has a letter of its own.
    pub fn new(letter: char) -> Self {
        let name = format!("adit-{letter}{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        run(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]));
        Self(name)
    }

    pub fn on(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program.into());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Two namespaces with a link; nothing else reaches either.
pub struct Network {
    gateway: Namespace,
    machine: Namespace,
}

impl Network {
    fn new() -> Self {
        let network = Self { gateway: Namespace::new('g'), machine: Namespace::new('m') };
        let (g, m) = (&network.gateway.0, &network.machine.0);
        run(Command::new("ip")
            .args(["link", "add", "adit0", "netns", g, "type", "veth", "peer", "name", "adit1"])
            .args(["netns", m]));
        for (name, link, address) in [(g, "adit0", "10.77.0.1/24"), (m, "adit1", "10.77.0.2/24")] {
            run(Command::new("ip").args(["-n", name, "addr", "add", address, "dev", link]));
            run(Command::new("ip").args(["-n", name, "link", "set", link, "up"]));
        }
        network
    }
}

/// A process that ends with the test.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "{command:?}: {error}; `apt-get install iproute2 openssl curl` brings what this needs"
        )
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Both hosts, with a folder of their files.
pub struct Hosts {
    pub network: Network,
    pub folder: TempDir,
    gateway: Ends,
    code: String,
}

/// Sets the wall clock of one program alone, to what a file says; `apt-get install faketime` brings it.
pub const FAKETIME: &str = "/usr/$LIB/faketime/libfaketime.so.1";

const URL: &str = "https://10.77.0.1:7800";

/// Lets a command have the wall clock that a file says.
fn has_clock(command: &mut Command, file: PathBuf) {
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

impl Hosts {
    pub fn start() -> Self {
        Self::start_with("", "")
    }

    /// Starts with more lines at the top and in the table `[session]`.
    fn start_with(top: &str, session: &str) -> Self {
        let network = Network::new();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // A day old, as a certificate is that machines with a clock behind must take.
        run(Command::new("openssl")
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME", "-1d")
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
            "data = {data:?}\nlisten = \"10.77.0.1:7800\"\nmachines_listen = \"10.77.0.1:7892\"\n{top}\
             [tls]\ncertificate = {cert:?}\nkey = {key:?}\n[session]\ntoken_secret_file = {secret:?}\n{session}",
            data = path("gateway"),
            cert = path("cert.pem"),
            key = path("key.pem"),
            secret = path("secret"),
        );
        fs::write(path("adit.toml"), config).unwrap();
        fs::write(path("clock"), "+0").unwrap();
        fs::write(path("machine-clock"), "+0").unwrap();
        let (gateway, code) = serve(&network, &folder, &[]);
        Self { network, folder, gateway, code }
    }

    /// Kills the gateway, does something to its folder, starts it again with a sign-in link, and gives a token of the administrator.
    pub fn restart(&mut self, more: &[&str], meanwhile: impl FnOnce(&Path)) -> String {
        self.gateway.0.kill().unwrap();
        self.gateway.0.wait().unwrap();
        meanwhile(&self.folder.path().join("gateway"));
        let more = [&["--sign-in-link"], more].concat();
        let (gateway, code) = serve(&self.network, &self.folder, &more);
        self.gateway = gateway;
        self.curl(&["-d", &format!("{{\"code\":\"{code}\"}}")], "/api/v1/sign-in");
        self.issued_token()
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let jar = self.folder.path().join("jar");
        let mut command = self.network.gateway.on("curl");
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
    pub fn token(&self) -> String {
        let body = format!(
            "{{\"token\":\"{}\",\"name\":\"admin\",\"password\":\"four green llamas dance\"}}",
            self.code
        );
        self.curl(&["-d", &body], "/api/v1/setup");
        self.issued_token()
    }

    /// Gives an API token of whoever is signed in.
    fn issued_token(&self) -> String {
        let me = json(&self.curl(&[], "/api/v1/me"));
        let path = format!("/api/v1/users/{}/tokens", me["id"].as_str().unwrap());
        let issued = json(&self.curl(&["-d", "{\"name\":\"test\"}"], &path));
        issued["token"].as_str().unwrap().to_owned()
    }

    pub fn adit(&self, token: &str) -> Command {
        let mut command = self.network.gateway.on(adit_testkit::binary());
        command.env("ADIT_URL", URL).env("ADIT_TOKEN", token);
        command.env("ADIT_CA", self.folder.path().join("cert.pem"));
        command
    }

    pub fn join(&self, enrolment: &str) -> Ends {
        let agent = self.folder.path().join("agent");
        let mut join = self.network.machine.on(adit_testkit::binary());
        join.args(["agent", "join", URL, "--token", enrolment, "--label", "box", "--dir"])
            .arg(&agent);
        has_clock(&mut join, self.folder.path().join("machine-clock"));
        run(join.arg("--ca").arg(self.folder.path().join("cert.pem")));
        self.run_agent()
    }

    /// Starts the agent of the machine that joined.
    fn run_agent(&self) -> Ends {
        let agent = self.folder.path().join("agent");
        let mut run = self.network.machine.on(adit_testkit::binary());
        run.args(["agent", "run", "--dir"]).arg(&agent).stdout(Stdio::null()).stderr(Stdio::null());
        has_clock(&mut run, self.folder.path().join("machine-clock"));
        Ends(run.spawn().unwrap())
    }
}

/// Starts a gateway and gives the code of the link that it prints.
fn serve(network: &Network, folder: &TempDir, more: &[&str]) -> (Ends, String) {
    let path = |name: &str| folder.path().join(name);
    let mut serve = network.gateway.on(adit_testkit::binary());
    serve.args(["serve", "--config"]).arg(path("adit.toml")).args(more);
    has_clock(&mut serve, path("clock"));
    let mut serve = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = serve.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let link = lines.find(|line| line.contains("#code=")).expect("a link is printed");
    // Read on, so that the gateway's log never waits.
    std::thread::spawn(move || lines.for_each(drop));
    (Ends(serve), link.split_once("#code=").unwrap().1.to_owned())
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

/// Says numbered lines until a file is there, then how many they were; its process id is in another file.
pub const COUNTS: &str = "echo $$ > \"$0/pid\"; i=0; while [ ! -e \"$0/stop\" ]; do i=$((i+1)); echo $i; \
    case $i in *00) sleep 0.01;; esac; done; echo \"end $i\"";

/// A command on the machine in the other network, whose output must come whole.
struct Counting {
    hosts: Hosts,
    token: String,
    _agent: Ends,
    exec: Child,
    session: String,
}

impl Counting {
    async fn start(session: &str) -> Self {
        let hosts = Hosts::start_with("", session);
        let token = hosts.token();
        let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
        let agent = hosts.join(enrolment["token"].as_str().unwrap());
        adit_testkit::eventually("the machine is online", async || {
            let machines = json(&run(hosts.adit(&token).args(["ls", "--json"])));
            (machines["items"][0]["status"] == "online").then_some(())
        })
        .await;
        let mut exec = hosts.adit(&token);
        exec.args(["exec", "box", "--", "sh", "-c", COUNTS]).arg(hosts.folder.path());
        let output = fs::File::create(hosts.folder.path().join("output")).unwrap();
        let errors = fs::File::create(hosts.folder.path().join("errors")).unwrap();
        let exec = exec.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
        let mut counting = Self { hosts, token, _agent: agent, exec, session: String::new() };
        counting.says("1000").await;
        let list =
            json(&run(counting.hosts.adit(&counting.token).args(["sessions", "ls", "--json"])));
        counting.session = list["items"][0]["id"].as_str().unwrap().to_owned();
        counting
    }

    fn output(&self) -> String {
        fs::read_to_string(self.hosts.folder.path().join("output")).unwrap()
    }

    async fn says(&self, line: &str) {
        let came = async || self.output().lines().any(|said| said == line).then_some(());
        adit_testkit::eventually("output of the command", came).await;
    }

    fn shown(&self) -> Value {
        json(&run(self.hosts.adit(&self.token).args(["sessions", "show", &self.session, "--json"])))
    }

    async fn is(&self, state: &str) {
        let there = async || (self.shown()["state"] == state).then_some(());
        adit_testkit::eventually(state, there).await;
    }

    fn in_network(&self, name: &str, arguments: &[&str]) {
        run(Command::new("ip").args(["-n", name]).args(arguments));
    }

    /// Lets the command end, and holds what came against what it said.
    async fn comes_whole(mut self) {
        fs::write(self.hosts.folder.path().join("stop"), "").unwrap();
        let ended = async || self.exec.try_wait().unwrap();
        let status = adit_testkit::eventually("end of the command", ended).await;
        let errors = fs::read_to_string(self.hosts.folder.path().join("errors")).unwrap();
        assert!(status.success(), "{status}: {errors}");
        let output = self.output();
        let mut lines = output.lines();
        let last = lines.next_back().unwrap().strip_prefix("end ").unwrap().parse::<u64>().unwrap();
        let mut count = 0;
        for line in lines {
            count += 1;
            assert_eq!(line, count.to_string(), "each line once and in order");
        }
        assert_eq!(count, last);
    }
}

#[tokio::test]
async fn a_network_that_is_cut_both_ways_loses_and_repeats_nothing() {
    // R22, R24, N2
    let counting = Counting::start("").await;
    let gateway = counting.hosts.network.gateway.0.clone();
    counting.in_network(&gateway, &["link", "set", "adit0", "down"]);
    counting.is("reconnecting").await;
    counting.in_network(&gateway, &["link", "set", "adit0", "up"]);
    counting.is("live").await;
    counting.comes_whole().await;
}

#[tokio::test]
async fn a_gateway_whose_clock_is_set_forward_and_back_keeps_its_sessions() {
    // R28
    let counting = Counting::start("expiry_seconds = 61\n").await;
    let hour = |clock: &str| {
        fs::write(counting.hosts.folder.path().join("clock"), clock).unwrap();
        let issued = counting.hosts.curl(&["-d", "{\"machine\":\"box\"}"], "/api/v1/tickets");
        json(&issued)["expiresAt"].as_str().unwrap()[11..13].to_owned()
    };
    let mut hours = vec![hour("+0")];
    for (clock, way) in [("+3600", "forward"), ("-3600", "back")] {
        hours.push(hour(clock));
        let told = async || {
            let arguments = ["audit", "search", "--json", "--event", "clock.jump"];
            let found = json(&run(counting.hosts.adit(&counting.token).args(arguments)));
            let events = found["items"].as_array().unwrap();
            events.iter().any(|event| event["details"]["way"] == way).then_some(())
        };
        adit_testkit::eventually("the jump of the clock in the audit log", told).await;
        // A warrant of 61 seconds is renewed each second, so the session has been decided again a few times by then.
        let before = counting.output().lines().count();
        let later = async || (counting.output().lines().count() > before + 40_000).then_some(());
        adit_testkit::eventually("output after the clock was set", later).await;
        assert_eq!(counting.shown()["state"], "live", "{clock}");
    }
    assert!(
        hours[0] != hours[1] && hours[1] != hours[2],
        "{hours:?}; `apt-get install faketime` brings what sets the clock"
    );
    counting.comes_whole().await;
}

/// Waits until the audit log says how far a machine's clock is off, and checks by how much.
async fn clock_is_told(hosts: &Hosts, token: &str, way: &str) {
    let told = async || {
        let arguments = ["audit", "search", "--json", "--event", "machine.clock_skew"];
        let found = json(&run(hosts.adit(token).args(arguments)));
        let events = found["items"].as_array().unwrap();
        let event = events.iter().find(|event| event["details"]["way"] == way)?;
        event["details"]["seconds"].as_u64()
    };
    let seconds = adit_testkit::eventually("the clock of the machine in the audit log", told).await;
    assert!((590..=610).contains(&seconds), "{seconds} seconds {way}");
}

#[tokio::test]
async fn a_machine_whose_clock_is_ten_minutes_off_opens_sessions_and_is_told_of() {
    // R29
    let hosts = Hosts::start_with("", "expiry_seconds = 61\n");
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let enrolment = enrolment["token"].as_str().unwrap();
    let mut agent = None;
    for (clock, way) in [("-600", "behind"), ("+600", "ahead")] {
        fs::write(hosts.folder.path().join("machine-clock"), clock).unwrap();
        agent = match agent.take() {
            None => Some(hosts.join(enrolment)),
            Some(before) => {
                drop::<Ends>(before);
                Some(hosts.run_agent())
            }
        };
        clock_is_told(&hosts, &token, way).await;
        let said = async || {
            let output = hosts.adit(&token).args(["exec", "box", "--", "echo", "here"]).output();
            let output = output.unwrap();
            (output.status.success() && output.stdout == b"here\n").then_some(())
        };
        adit_testkit::eventually("an answer of a command", said).await;
    }
}

#[tokio::test]
async fn a_machine_whose_clock_is_set_keeps_its_sessions() {
    // R29
    let counting = Counting::start("expiry_seconds = 61\n").await;
    for clock in ["+600", "-600"] {
        fs::write(counting.hosts.folder.path().join("machine-clock"), clock).unwrap();
        if clock == "+600" {
            clock_is_told(&counting.hosts, &counting.token, "ahead").await;
        }
        // A warrant of 61 seconds is renewed each second, so the session has been decided again a few times by then.
        let before = counting.output().lines().count();
        let later = async || (counting.output().lines().count() > before + 40_000).then_some(());
        adit_testkit::eventually("output after the clock was set", later).await;
        assert_eq!(counting.shown()["state"], "live", "{clock}");
        let exec = ["exec", "box", "--", "echo", "here"];
        assert_eq!(run(counting.hosts.adit(&counting.token).args(exec)).stdout, b"here\n");
    }
    counting.comes_whole().await;
}

#[tokio::test]
async fn a_network_that_is_cut_one_way_is_noticed_and_loses_nothing() {
    // R23
    let counting = Counting::start("").await;
    let machine = counting.hosts.network.machine.0.clone();
    counting.in_network(&machine, &["route", "add", "blackhole", "10.77.0.1/32"]);
    counting.is("reconnecting").await;
    counting.in_network(&machine, &["route", "del", "blackhole", "10.77.0.1/32"]);
    counting.is("live").await;
    counting.comes_whole().await;
}

#[tokio::test]
async fn beyond_the_grace_the_shell_is_over_at_both_ends() {
    // R22
    let mut counting = Counting::start("grace_seconds = 10\n").await;
    let pid = fs::read_to_string(counting.hosts.folder.path().join("pid")).unwrap();
    let pid: u32 = pid.trim().parse().unwrap();
    let gateway = counting.hosts.network.gateway.0.clone();
    counting.in_network(&gateway, &["link", "set", "adit0", "down"]);
    counting.is("ended").await;
    let session = counting.shown();
    assert_eq!(session["reason"]["code"], "session.lost_link", "{session}");
    assert_eq!(session["recording"], "incomplete");
    let ended = async || counting.exec.try_wait().unwrap();
    let status = adit_testkit::eventually("end of the client", ended).await;
    assert_eq!(status.code(), Some(125));
    let gone = async || (!adit_testkit::is_there(pid)).then_some(());
    adit_testkit::eventually("end of the command on the machine", gone).await;
}

/// Opens WebSockets one after the other, says how each ended, then closes all and tries once more.
const OPENS: &str = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
def attempt():
    try:
        plain = socket.create_connection(("10.77.0.1", 7800), timeout=20)
        stream = context.wrap_socket(plain, server_hostname="10.77.0.1")
        stream.sendall(b"GET /ws/terminal HTTP/1.1\r\nHost: 10.77.0.1:7800\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: adit.terminal.v1\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        return stream, stream.recv(12)[9:].decode()
    except OSError:
        return None, "refused"
opened = [attempt() for _ in range(5)]
print(*[said for _, said in opened])
for stream, said in opened:
    if stream:
        # Reading to the end shows that the gateway has let go too: nothing came within the time for a ticket.
        while stream.recv(4096):
            pass
        stream.close()
print(attempt()[1])
"#;

#[tokio::test]
async fn one_address_has_so_many_connections_those_that_are_websockets_among_them() {
    // RES-12, DESK-4
    let hosts = Hosts::start_with("connections_per_address = 3\n", "");
    let mut opens = hosts.network.machine.on("python3");
    opens.args(["-c", OPENS]).arg(hosts.folder.path().join("cert.pem"));
    let output = run(&mut opens);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "101 101 101 refused refused\n101\n");
    hosts.token();
}

/// Opens thirty connections to the machines' listener that say nothing, tells how many of the last ten are closed, and holds the others.
const SILENT: &str = "import socket, sys\nheld = []\nfor _ in range(30):\n    s = socket.socket()\n    s.bind(('10.77.0.3', 0))\n    \
    s.settimeout(30)\n    s.connect(('10.77.0.1', 7892))\n    held.append(s)\nclosed = 0\nfor s in held[20:]:\n    try:\n        \
    closed += s.recv(1) == b''\n    except ConnectionResetError:\n        closed += 1\nprint(closed, flush=True)\nsys.stdin.read()\n";

#[tokio::test]
async fn strangers_who_fill_the_machines_listener_keep_no_machine_out() {
    // AGT-16
    let hosts = Hosts::start_with("connections_per_address = 20\n", "");
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let machine = &hosts.network.machine;
    run(Command::new("ip").args(["-n", &machine.0, "addr", "add", "10.77.0.3/24", "dev", "adit1"]));
    let mut silent = machine.on("python3");
    silent.args(["-c", SILENT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut silent = Ends(silent.spawn().unwrap());
    let mut closed = String::new();
    BufReader::new(silent.0.stdout.take().unwrap()).read_line(&mut closed).unwrap();
    assert_eq!(closed, "10\n");
    let _agent = hosts.join(enrolment["token"].as_str().unwrap());
    let said = adit_testkit::eventually("a command on the machine", async || {
        let output = hosts.adit(&token).args(["exec", "box", "--", "echo", "here"]).output();
        output.ok().filter(|output| output.status.success())
    });
    assert_eq!(said.await.stdout, b"here\n");
}

#[tokio::test]
async fn an_enrolment_token_joins_one_machine() {
    // AGT-05
    let hosts = Hosts::start();
    let token = hosts.token();
    let enrolment = json(&run(hosts.adit(&token).args(["machine", "token", "--json"])));
    let _agent = hosts.join(enrolment["token"].as_str().unwrap());
    let mut again = hosts.network.machine.on(adit_testkit::binary());
    again.args(["agent", "join", URL, "--token", enrolment["token"].as_str().unwrap(), "--dir"]);
    again
        .arg(hosts.folder.path().join("second"))
        .arg("--ca")
        .arg(hosts.folder.path().join("cert.pem"));
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("auth.enrol_refused"));
}
