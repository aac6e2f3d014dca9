//! The whole agent against a gateway that is the test: control connection, warrants, sessions, reconnecting.

use adit_agent::keys::{Admission, Enrolment};
use adit_agent::run::{Options, run};
use adit_domain::{Capability, Clock, Ids, MachineId, Secret, Timestamp};
use adit_link::connection::{Connection, Event, accept};
use adit_link::dial::BindingRule;
use adit_link::keys::Keypair;
use adit_link::seal::Binding;
use adit_link::socket::{Adapted, Tungstenite};
use adit_wire::agent::v1::from_agent::Message as FromAgentMessage;
use adit_wire::agent::v1::from_shell::Message as FromShellMessage;
use adit_wire::agent::v1::preamble::Purpose;
use adit_wire::agent::v1::{
    Exited, FromAgent, FromShell, Open, OpenRefused, OutputAck, Preamble, ShellWelcome,
    SignedWarrant, Spawn, ToAgent, ToShell, Warrant, Welcome, to_agent, to_shell,
};
use adit_wire::frame::Frame;
use adit_wire::warrant;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use prost::Message;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Link = Connection<Adapted<WebSocketStream<TcpStream>, Tungstenite>>;

const LIMIT: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const MACHINE: [u8; 16] = [1; 16];
const SESSION: [u8; 16] = [9; 16];

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct SystemIds;

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the system has randomness");
    }
}

struct Gateway {
    listener: TcpListener,
    service: Keypair,
    authority: Ed25519KeyPair,
    agent: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Gateway {
    /// Starts an agent that is enrolled with this gateway.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let service = Keypair::generate(&SystemIds);
        let authority = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a key");
        let enrolment = Enrolment {
            machine: MachineId::from_bytes(&MACHINE).expect("sixteen bytes"),
            url: format!("ws://{}/ws/agent", listener.local_addr().expect("bound")),
            trust: None,
            admission: Admission::Key(Secret::new("cak_test".to_owned())),
            binding: BindingRule::None,
            link_key: Keypair::generate(&SystemIds),
            session_service: service.public(),
            authority: authority.public_key().as_ref().try_into().expect("thirty-two bytes"),
        };
        let options = Options {
            dir: None,
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_adit-supervise"))),
            clock: Arc::new(FixedClock),
            ids: Arc::new(SystemIds),
            attended: None,
            tunnels: None,
        };
        let shutdown = CancellationToken::new();
        let stopping = shutdown.clone();
        let agent =
            tokio::spawn(async move { run(enrolment, options, stopping).await.expect("it runs") });
        Self { listener, service, authority, agent, shutdown }
    }

    /// Takes the agent's next connection.
    async fn accept(&self) -> (Preamble, Link) {
        let accepted = async {
            let (stream, _) = self.listener.accept().await.expect("a connection");
            #[expect(clippy::result_large_err, reason = "the type is the library's")]
            let subprotocol = |_: &Request,
                               mut response: Response|
             -> Result<Response, ErrorResponse> {
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", "adit.agent.v1".parse().expect("a value"));
                Ok(response)
            };
            let socket = tokio_tungstenite::accept_hdr_async(stream, subprotocol)
                .await
                .expect("a WebSocket");
            let offer = accept(Adapted::new(socket), &self.service, &Binding::None)
                .await
                .expect("a handshake");
            let preamble = offer.preamble().clone();
            (preamble, offer.accept().await.expect("a link"))
        };
        timeout(LIMIT, accepted).await.expect("the agent dials")
    }

    /// Takes the control connection and welcomes the agent; gives the sessions that it says it has.
    async fn welcome(&self, resume: Vec<Open>) -> (Link, Vec<Vec<u8>>) {
        let (preamble, mut control) = self.accept().await;
        assert_eq!(preamble.purpose(), Purpose::Control);
        let FromAgentMessage::Hello(hello) = next_of_agent(&mut control).await else {
            panic!("no hello")
        };
        let welcome =
            Welcome { now_ms: NOW.wire(), heartbeat_ms: 5000, resume, ..Welcome::default() };
        send(&mut control, to_agent::Message::Welcome(welcome));
        (control, hello.sessions.iter().map(|id| id.to_vec()).collect())
    }

    fn warrant(&self) -> Warrant {
        Warrant {
            session_id: SESSION.to_vec().into(),
            machine_id: MACHINE.to_vec().into(),
            session_service: self.service.public().0.to_vec().into(),
            capabilities: [
                Capability::TerminalSpawn,
                Capability::TerminalExec,
                Capability::TerminalInput,
            ]
            .map(|capability| capability.to_string())
            .to_vec(),
            expires_at_ms: NOW.wire() + 60_000,
            ends_at_ms: NOW.wire() + 600_000,
            grace_ms: 60_000,
            ..Warrant::default()
        }
    }

    fn sign(&self, warrant: &Warrant) -> SignedWarrant {
        warrant::sign(warrant, &self.authority)
    }
}

fn open(warrant: SignedWarrant, script: &str) -> Open {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let spawn = Spawn { cols: 80, rows: 24, command, pty: true, ..Spawn::default() };
    let (session_id, dial) = (SESSION.to_vec().into(), String::new());
    Open { session_id, warrant: Some(warrant), spawn: Some(spawn), dial }
}

fn send(link: &mut Link, message: to_agent::Message) {
    link.send_control(&ToAgent { message: Some(message) }).expect("it is queued");
}

fn tell_shell(link: &mut Link, message: to_shell::Message) {
    link.send_control(&ToShell { message: Some(message) }).expect("it is queued");
}

async fn next_frame(link: &mut Link) -> Frame {
    loop {
        if let Event::Frame(frame) =
            timeout(LIMIT, link.next()).await.expect("a frame comes").expect("the link holds")
        {
            return frame;
        }
    }
}

/// The agent's next message but its heartbeats.
async fn next_of_agent(control: &mut Link) -> FromAgentMessage {
    loop {
        let Frame::Control(message) = next_frame(control).await else {
            panic!("data on a control connection")
        };
        match FromAgent::decode(message).expect("a message").message.expect("one of them") {
            FromAgentMessage::Heartbeat(_) => {}
            other => return other,
        }
    }
}

/// Reads a session's output until a text is there or the shell has ended.
async fn read(link: &mut Link, output: &mut Vec<u8>, until: &str) -> Option<Exited> {
    while !String::from_utf8_lossy(output).contains(until) {
        match next_frame(link).await {
            Frame::Data(data) => {
                assert_eq!(data.position, output.len() as u64, "output came out of order");
                output.extend_from_slice(&data.bytes);
            }
            Frame::Control(message) => {
                let message = FromShell::decode(message).expect("a message").message;
                if let Some(FromShellMessage::Exited(exited)) = message {
                    return Some(exited);
                }
            }
        }
    }
    None
}

async fn refusal(control: &mut Link) -> OpenRefused {
    match next_of_agent(control).await {
        FromAgentMessage::OpenRefused(refused) => refused,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn a_session_is_opened_dialled_and_served() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    let signed = gateway.sign(&gateway.warrant());
    send(&mut control, to_agent::Message::Open(open(signed.clone(), "echo hello; exit 6")));
    let pumped = async {
        loop {
            next_of_agent(&mut control).await;
        }
    };
    let served = async {
        let (preamble, mut session) = gateway.accept().await;
        assert_eq!(
            (preamble.purpose(), &preamble.session_id[..]),
            (Purpose::Session, &SESSION[..])
        );
        assert_eq!(preamble.warrant, Some(signed));
        tell_shell(&mut session, to_shell::Message::Welcome(ShellWelcome { output_position: 0 }));
        let mut output = Vec::new();
        let exited = read(&mut session, &mut output, "never").await.expect("it ends");
        assert_eq!((output, exited.status), (b"hello\r\n".to_vec(), Some(6)));
        tell_shell(&mut session, to_shell::Message::OutputAck(OutputAck { durable: 7, viewed: 7 }));
        // The agent closes what is done.
        while session.next().await.is_ok() {}
    };
    tokio::select! { () = served => {}, () = pumped => {} }
}

// R01, TERM-5: both connections break; the shell goes on, byte for byte.
#[tokio::test]
async fn a_gateway_that_comes_back_finds_the_same_shell() {
    let gateway = Gateway::start().await;
    let (mut control, sessions) = gateway.welcome(Vec::new()).await;
    assert_eq!(sessions, Vec::<Vec<u8>>::new());
    let signed = gateway.sign(&gateway.warrant());
    send(
        &mut control,
        to_agent::Message::Open(open(
            signed.clone(),
            "for i in $(seq 1 500); do echo $i; done; echo done; read x",
        )),
    );
    control.flush().await.expect("it is sent");
    let (_, mut session) = gateway.accept().await;
    tell_shell(&mut session, to_shell::Message::Welcome(ShellWelcome { output_position: 0 }));
    let mut output = Vec::new();
    read(&mut session, &mut output, "5\r\n").await;
    drop((control, session));
    // Either may come first, and the first dial of each may have been waiting already.
    let (mut control, mut session) = (None, None);
    while control.is_none() || session.is_none() {
        let (preamble, mut link) = gateway.accept().await;
        if preamble.purpose() == Purpose::Control {
            let FromAgentMessage::Hello(hello) = next_of_agent(&mut link).await else {
                panic!("no hello")
            };
            assert_eq!(hello.sessions, [SESSION.to_vec()]);
            control = Some(link);
        } else {
            session = Some(link);
        }
    }
    let mut session = session.expect("dialled");
    tell_shell(
        &mut session,
        to_shell::Message::Welcome(ShellWelcome { output_position: output.len() as u64 }),
    );
    read(&mut session, &mut output, "done").await;
    let wanted: String = (1..=500).map(|line| format!("{line}\r\n")).collect();
    assert!(String::from_utf8_lossy(&output).starts_with(&wanted));
}

// MNO-03: a machine that proves itself by a key shows it to nobody else, and none speaks without TLS.
#[tokio::test]
async fn a_session_at_an_address_that_nobody_proves_is_refused() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    for dial in ["http://127.0.0.1:1", "ws://127.0.0.1:1", "https://127.0.0.1:1"] {
        let signed = gateway.sign(&gateway.warrant());
        let open = Open { dial: dial.to_owned(), ..open(signed, "true") };
        send(&mut control, to_agent::Message::Open(open));
        assert_eq!(refusal(&mut control).await.code, "target.failed", "{dial}");
    }
}

// AGT-17, AGT-18
#[tokio::test]
async fn a_warrant_that_is_not_right_opens_nothing() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    let good = gateway.warrant();
    let other_authority = Ed25519KeyPair::from_seed_unchecked(&[6; 32]).expect("a key");
    let mut flipped = gateway.sign(&good);
    flipped.warrant =
        Warrant { recording: "off".to_owned(), ..good.clone() }.encode_to_vec().into();
    let wrong = [
        ("of another authority", warrant::sign(&good, &other_authority)),
        ("changed after it was signed", flipped),
        (
            "for another machine",
            gateway.sign(&Warrant { machine_id: vec![2; 16].into(), ..good.clone() }),
        ),
        (
            "for another session",
            gateway.sign(&Warrant { session_id: vec![2; 16].into(), ..good.clone() }),
        ),
        (
            "for another service",
            gateway.sign(&Warrant { session_service: vec![2; 32].into(), ..good.clone() }),
        ),
        ("expired", gateway.sign(&Warrant { expires_at_ms: NOW.wire(), ..good.clone() })),
    ];
    for (why, signed) in wrong {
        send(&mut control, to_agent::Message::Open(open(signed, "true")));
        assert_eq!(refusal(&mut control).await.code, "warrant.invalid", "{why}");
    }
    let powerless = Warrant { capabilities: vec!["terminal:view".to_owned()], ..good };
    send(&mut control, to_agent::Message::Open(open(gateway.sign(&powerless), "true")));
    assert_eq!(refusal(&mut control).await.code, "access.capability_missing");
}

// AGT-18: a gateway can't turn the clock back to make an old warrant good.
#[tokio::test]
async fn a_gateways_clock_does_not_revive_a_warrant() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    let old = Timestamp(NOW.0 - 3_600_000);
    send(
        &mut control,
        to_agent::Message::Heartbeat(adit_wire::agent::v1::Heartbeat { now_ms: old.wire() }),
    );
    let stale = Warrant { expires_at_ms: old.wire() + 60_000, ..gateway.warrant() };
    send(&mut control, to_agent::Message::Open(open(gateway.sign(&stale), "true")));
    assert_eq!(refusal(&mut control).await.code, "warrant.invalid");
}

#[tokio::test]
async fn what_can_not_be_run_is_refused_with_its_name() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    let mut wanted = open(gateway.sign(&gateway.warrant()), "true");
    wanted.spawn.as_mut().expect("set").command = vec!["/no/such/program".to_owned()];
    send(&mut control, to_agent::Message::Open(wanted));
    let refused = refusal(&mut control).await;
    assert_eq!(refused.code, "target.failed");
    assert!(refused.sentence.contains("/no/such/program"), "{}", refused.sentence);
    let strange = Warrant { run_as: "nobody-of-that-name".to_owned(), ..gateway.warrant() };
    send(&mut control, to_agent::Message::Open(open(gateway.sign(&strange), "true")));
    assert_eq!(refusal(&mut control).await.code, "run_as.refused");
}

// Decision 18: the agent's end is its shells' end.
#[tokio::test]
async fn the_agents_end_is_the_end_of_its_shells() {
    let gateway = Gateway::start().await;
    let (mut control, _) = gateway.welcome(Vec::new()).await;
    let script = "setsid sleep 1006 & echo pid $!; cat";
    send(&mut control, to_agent::Message::Open(open(gateway.sign(&gateway.warrant()), script)));
    control.flush().await.expect("it is sent");
    let (_, mut session) = gateway.accept().await;
    tell_shell(&mut session, to_shell::Message::Welcome(ShellWelcome { output_position: 0 }));
    let mut output = Vec::new();
    read(&mut session, &mut output, "\n").await;
    let text = String::from_utf8_lossy(&output).into_owned();
    let pid = text.trim().strip_prefix("pid ").expect("a pid").to_owned();
    gateway.shutdown.cancel();
    let exited = read(&mut session, &mut output, "never").await.expect("it ends");
    assert_eq!(exited.code, "session.lost_agent");
    drop(session);
    timeout(LIMIT, gateway.agent).await.expect("the agent ends").expect("without a panic");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}
