//! The managers and the example programs against a gateway over mutual TLS.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_sdk::client::{Direct, Transport};
use adit_sdk::{
    Identity, SessionState, TicketClient, TicketClientOptions, TicketError, TicketInstanceManager,
    TicketInstanceManagerOptions, TicketSessionManager, TicketSessionManagerOptions,
};
use adit_testkit::{TestGateway, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCOPE: &str = "shell:connect";

/// A gateway with a registered scope and two machines that hold its capability.
struct Two {
    gateway: TestGateway,
    source: TempDir,
    target: TempDir,
}

impl Two {
    async fn start() -> Self {
        let gateway = TestGateway::start();
        let scope = json!({
            "name": "shell", "version": "1", "scopes": [{"name": SCOPE}],
            "transport": {"strategies": ["relay", "direct"], "preferred": "relay", "port": 0, "protocol": "tcp"},
        });
        gateway.admin.post("/api/tickets/scopes", scope).await.ok();
        let source = certificate(&gateway, "alpha");
        let target = certificate(&gateway, "beta");
        Self { gateway, source, target }
    }

    fn client(&self, folder: &TempDir) -> TicketClient {
        let file = |name: &str| folder.path().join(name);
        let identity =
            Identity::from_pem_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem")).unwrap();
        let panel_url = self.gateway.machines.clone();
        TicketClient::new(TicketClientOptions { panel_url, identity }).unwrap()
    }

    async fn assign(&self, instance: &str) {
        let body = json!({"agentLabel": "beta", "instanceScope": instance});
        self.gateway.admin.post("/api/tickets/assignments", body).await.ok();
    }

    async fn sessions(&self) -> Value {
        self.gateway.admin.get("/api/tickets/sessions").await.ok()["sessions"].clone()
    }
}

/// States and reasons, in their order.
type Seen = Arc<Mutex<Vec<(SessionState, Option<String>)>>>;

const PASSWORD: &str = "correct horse battery";

fn certificate(gateway: &TestGateway, label: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let mut issue = Command::new(adit_testkit::binary());
    issue.args(["cert", "issue", &format!("agent:{label}"), "--capability", SCOPE, "--out"]);
    issue.arg(folder.path()).arg("--p12-password-file").arg(&password);
    issue.env("ADIT_URL", &gateway.admin.url).env("ADIT_TOKEN", &gateway.admin.token);
    let made = issue.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn relay() -> Transport {
    Transport { strategies: vec!["relay".to_owned()], ..Transport::default() }
}

#[tokio::test]
async fn each_route_is_a_method_and_a_refusal_has_its_status() {
    // TIX-60
    let two = Two::start().await;
    let (source, target) = (two.client(&two.source), two.client(&two.target));
    let registered = source.register_instance(SCOPE, &relay()).await.unwrap();
    assert_eq!(registered.instance_scope, format!("{SCOPE}:{}", registered.instance_id));
    source.send_instance_heartbeat(&registered.instance_id).await.unwrap();
    let refused = source.request_ticket(SCOPE, &registered.instance_id, "beta").await.unwrap_err();
    assert_eq!(refused.status_code(), Some(404));
    let TicketError::Http(refused) = refused else { panic!("no refusal") };
    assert_eq!(refused.code, "ticket.unreachable");
    two.assign(&registered.instance_scope).await;
    let ticket = source.request_ticket(SCOPE, &registered.instance_id, "beta").await.unwrap();
    two.gateway.remember(&ticket.id);
    assert!(!format!("{ticket:?}").contains(&ticket.id), "it is not printed");
    assert_eq!(target.fetch_inbox().await.unwrap()[0].id, ticket.id);
    assert_eq!(target.validate_ticket(&ticket.id).await.unwrap().source, "alpha");
    let again = target.validate_ticket(&ticket.id).await.unwrap_err();
    assert_eq!(
        (again.status_code(), again.to_string().starts_with("Invalid ticket")),
        (Some(401), true)
    );
    let session = target.report_session_creation(&ticket.id).await.unwrap();
    assert!(target.send_session_heartbeat(&session.session_id).await.unwrap().authorized);
    let left = target.update_session_status(&session.session_id, "grace").await.unwrap();
    assert_eq!((left.status.as_str(), left.reconnect_grace_seconds), ("grace", 60));
    source.deregister_instance(&registered.instance_id).await.unwrap();
    assert!(source.deregister_instance(&registered.instance_id).await.unwrap_err().is_not_found());
    let direct = Direct { host: "127.0.0.1".to_owned(), port: 2222 };
    let private =
        Transport { strategies: vec!["direct".to_owned()], direct: Some(direct), ..relay() };
    let refused = source.register_instance(SCOPE, &private).await.unwrap_err();
    assert_eq!(refused.status_code(), Some(400));
}

#[test]
fn what_is_no_bundle_is_refused() {
    let refused = Identity::from_p12(b"no bundle", "x").unwrap_err();
    assert!(matches!(refused, TicketError::Identity(_)));
}

#[tokio::test]
async fn a_source_registers_again_and_cools_down_for_each_target() {
    // TIX-60
    let two = Two::start().await;
    let mut options = TicketInstanceManagerOptions::new(two.client(&two.source), SCOPE, relay());
    assert_eq!(options.instance_heartbeat_interval, Duration::from_secs(60));
    assert_eq!(options.ticket_cooldown, Duration::from_secs(120));
    options.instance_heartbeat_interval = Duration::from_millis(100);
    let manager = TicketInstanceManager::new(options);
    let first = manager.start().await.unwrap();
    two.assign(&first.instance_scope).await;
    assert!(manager.request_ticket_for_agent("beta", false).await.unwrap().is_some());
    assert!(manager.request_ticket_for_agent("beta", false).await.unwrap().is_none());
    assert!(manager.request_ticket_for_agent("beta", true).await.unwrap().is_some());
    let path = format!("/api/tickets/instances/{}", first.instance_id);
    two.gateway.admin.delete(&path).await.ok();
    let second = eventually("another registration", async || {
        manager.registered().filter(|now| now.instance_id != first.instance_id)
    })
    .await;
    manager.stop().await.unwrap();
    let listed = two.gateway.admin.get("/api/tickets/scopes").await.ok();
    assert_eq!(listed["instances"], json!([]), "{} is gone", second.instance_id);
}

#[tokio::test]
async fn a_target_finds_a_ticket_keeps_its_session_and_hears_why_it_is_over() {
    // TIX-60
    let two = Two::start().await;
    let source = two.client(&two.source);
    let registered = source.register_instance(SCOPE, &relay()).await.unwrap();
    two.assign(&registered.instance_scope).await;
    let seen: Seen = Arc::default();
    let list = Arc::clone(&seen);
    let mut options = TicketSessionManagerOptions::new(two.client(&two.target), SCOPE);
    let seconds = |n| Duration::from_secs(n);
    assert_eq!(
        (options.inbox_poll_interval, options.session_heartbeat_interval),
        (seconds(3), seconds(60))
    );
    assert_eq!((options.inbox_retry_delay, options.min_ticket_ttl), (seconds(10), seconds(5)));
    assert_eq!(options.max_consecutive_heartbeat_failures, 5);
    options.on_state_change = Some(Arc::new(move |state, reason| {
        list.lock().unwrap().push((state, reason.map(str::to_owned)));
    }));
    options.inbox_poll_interval = Duration::from_millis(50);
    options.session_heartbeat_interval = Duration::from_millis(5);
    options.max_consecutive_heartbeat_failures = 2;
    let manager = TicketSessionManager::new(options);
    assert!(!manager.is_authorized());
    manager.start();
    let ticket = source.request_ticket(SCOPE, &registered.instance_id, "beta").await.unwrap();
    two.gateway.remember(&ticket.id);
    let until = async |state: SessionState| {
        eventually("state of the session", async || (manager.state() == state).then_some(())).await;
    };
    until(SessionState::Authorized).await;
    let info = manager.session_info().unwrap();
    assert_eq!(
        (info.ticket.source.as_str(), Some(info.session.session_id.clone())),
        ("alpha", manager.session_id())
    );
    two.gateway.kill_gateway();
    eventually("grace, and the way back", async || {
        let seen = seen.lock().unwrap();
        let grace = seen.iter().position(|(state, _)| *state == SessionState::Grace)?;
        seen[grace..].iter().any(|(state, _)| *state == SessionState::Authorized).then_some(())
    })
    .await;
    assert!(manager.is_authorized());
    let path = format!("/api/tickets/sessions/{}", info.session.session_id);
    two.gateway.admin.delete(&path).await.ok();
    eventually("the reason", async || {
        let seen = seen.lock().unwrap();
        seen.contains(&(SessionState::Terminated, Some("admin_killed".to_owned()))).then_some(())
    })
    .await;
    manager.stop().await;
    let seen: Vec<SessionState> = seen.lock().unwrap().iter().map(|(state, _)| *state).collect();
    assert_eq!(seen.first(), Some(&SessionState::Waiting));
    assert_eq!(seen.last(), Some(&SessionState::Stopped));
}

/// An example program, and the lines that it said.
struct Example {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Example {
    fn start(name: &str, gateway: &TestGateway, identity: impl FnOnce(&mut Command)) -> Self {
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap().join("examples");
        let mut command = Command::new(folder.join(name));
        command.env("ADIT_MACHINES_URL", &gateway.machines).env("ADIT_HEARTBEAT", "1");
        identity(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                list.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    async fn says(&self, words: &str) -> String {
        eventually(words, async || {
            let said = self.said.lock().unwrap();
            said.iter().find(|line| line.starts_with(words)).cloned()
        })
        .await
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[tokio::test]
async fn the_example_programs_let_one_machine_in_to_another_by_pem_and_by_p12() {
    // TIX-60, TIX-4
    let two = Two::start().await;
    let pem = |folder: &TempDir| {
        let path = folder.path().to_owned();
        move |command: &mut Command| {
            command.env("ADIT_IDENTITY", path);
        }
    };
    let p12 = |folder: &TempDir| {
        let path = folder.path().to_owned();
        move |command: &mut Command| {
            command.env("ADIT_P12", path.join("bundle.p12"));
            command.env("ADIT_P12_PASSWORD_FILE", path.join("password"));
        }
    };
    let mut source = Example::start("source", &two.gateway, pem(&two.source));
    let registered = source.says("registered ").await;
    two.assign(registered.strip_prefix("registered ").unwrap()).await;
    let target = Example::start("target", &two.gateway, p12(&two.target));
    target.says("Waiting").await;
    source.type_line("beta");
    source.says("ticket for beta").await;
    target.says("Authorized").await;
    let session = two.sessions().await[0]["sessionId"].as_str().unwrap().to_owned();
    two.gateway.admin.delete(&format!("/api/tickets/sessions/{session}")).await.ok();
    target.says("Terminated: admin_killed").await;
    source.end();
    target.end();
}
