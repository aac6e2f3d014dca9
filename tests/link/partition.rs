//! A machine that prints and a gateway that types, over a simulated network with a virtual clock.
//!
//! The machine keeps everything that it printed, the viewer everything that it typed; what is between them may be cut at any time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use adit_domain::Ids;
use adit_link::connection::{Connection, Event, LinkError, accept, connect};
use adit_link::dial::Backoff;
use adit_link::keys::Keypair;
use adit_link::resume::{Accept, InputSender, OutputReceiver, OutputSender, Transmit, Writers};
use adit_link::seal::Binding;
use adit_link::socket::{Adapted, Tungstenite, websocket_config};
use adit_wire::agent::v1 as pb;
use adit_wire::agent::v1::from_shell::Message as FromShell;
use adit_wire::agent::v1::to_shell::Message as ToShell;
use adit_wire::frame::{Data, Frame, Kind};
use bytes::Bytes;
use prost::Message as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use turmoil::net::{TcpListener, TcpStream};
use uuid::Uuid;

type Link = Connection<Adapted<WebSocketStream<TcpStream>, Tungstenite>>;

const PORT: u16 = 7892;
const PRINTED: usize = 200_000;
const TYPED: usize = 60_000;
const WRITER: &[u8] = b"writer";

/// The output that the gateway lets the machine have unacknowledged, in bytes: small, so that faults fall into the stream.
const WINDOW: u64 = 4 * 1024;

/// How long healing may take: a dead peer is noticed within 30 s, the wait before dialling again is at most 5 s.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

struct Repeat(u8);

impl Ids for Repeat {
    fn uuid(&self) -> Uuid {
        Uuid::from_bytes([self.0; 16])
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn machine_keys() -> Keypair {
    Keypair::generate(&Repeat(1))
}

fn service_keys() -> Keypair {
    Keypair::generate(&Repeat(2))
}

/// What outlives connections: the machine's terminal, the viewer's input and the recording.
struct World {
    printed: Vec<u8>,
    typed: Vec<u8>,
    terminal: Vec<u8>,
    writers: Writers,
    input: InputSender,
    recorded: Vec<u8>,
    links: u32,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn new() -> Self {
        let mut input = InputSender::new();
        let typed: Vec<u8> = (0..TYPED).map(|i| (i % 251) as u8).collect();
        assert_eq!(input.push(&typed), TYPED);
        let printed = (0..PRINTED).map(|i| (i % 241) as u8).collect();
        let (terminal, recorded) = (Vec::new(), Vec::new());
        Self { printed, typed, terminal, writers: Writers::new(), input, recorded, links: 0 }
    }

    fn is_whole(&self) -> bool {
        self.terminal == self.typed && self.recorded == self.printed
    }

    fn assert_prefixes(&self) {
        assert!(self.typed.starts_with(&self.terminal), "input is a prefix of what was typed");
        assert!(self.printed.starts_with(&self.recorded), "output is a prefix of what was printed");
    }
}

fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("nothing panics while it holds the lock")
}

async fn websocket(tcp: TcpStream, role: Role) -> Adapted<WebSocketStream<TcpStream>, Tungstenite> {
    Adapted::new(WebSocketStream::from_raw_socket(tcp, role, Some(websocket_config())).await)
}

fn from_shell(message: FromShell) -> pb::FromShell {
    pb::FromShell { message: Some(message) }
}

fn to_shell(message: ToShell) -> pb::ToShell {
    pb::ToShell { message: Some(message) }
}

/// Dials again and again, and serves the shell over each connection.
async fn machine(world: Shared) {
    let mut backoff = Backoff::new();
    loop {
        if let Ok(link) = dial().await {
            let ended = serve_shell(link, &world).await;
            assert!(!ended.is_bad_frame(), "{ended}");
        }
        pass(backoff.delay(40_000)).await;
    }
}

/// Lets the simulation's clock move on.
async fn pass(wait: Duration) {
    let never = std::future::pending::<()>();
    tokio::time::timeout(wait, never).await.expect_err("nothing comes of it");
}

async fn dial() -> Result<Link, LinkError> {
    let limit = Duration::from_secs(10);
    let tcp = tokio::time::timeout(limit, TcpStream::connect(("gateway", PORT))).await;
    let tcp = tcp.map_err(|_| LinkError::Late)?.map_err(|_| LinkError::Closed(None))?;
    let socket = websocket(tcp, Role::Client).await;
    let service = service_keys().public();
    connect(socket, pb::Preamble::default(), &machine_keys(), service, &Binding::None).await
}

async fn serve_shell(mut link: Link, world: &Shared) -> LinkError {
    let mut output = OutputSender::new(0, 0);
    let writers = lock(world).writers.hello();
    let hello = pb::ShellHello { writers, ..pb::ShellHello::default() };
    let mut step = link.send_control(&from_shell(FromShell::Hello(hello)));
    loop {
        step = step.and_then(|()| print(&mut link, &mut output, world));
        let event = match step {
            Ok(()) => link.next().await,
            Err(error) => Err(error),
        };
        step = match event {
            Ok(Event::Frame(frame)) => take_at_machine(&mut link, &mut output, world, frame),
            Ok(Event::Room) => Ok(()),
            Err(error) => return error,
        };
    }
}

fn print(link: &mut Link, output: &mut OutputSender, world: &Shared) -> Result<(), LinkError> {
    let world = lock(world);
    while link.has_room() && output.room() > 0 {
        let begin = usize::try_from(output.next()).expect("the output is small");
        let end = world.printed.len().min(begin + output.room().min(5000));
        if begin == end {
            break;
        }
        link.send_data(Kind::Output, output.next(), &world.printed[begin..end])?;
        output.sent(end - begin);
    }
    Ok(())
}

fn take_at_machine(
    link: &mut Link,
    output: &mut OutputSender,
    world: &Shared,
    frame: Frame,
) -> Result<(), LinkError> {
    let mut world = lock(world);
    let message = match frame {
        Frame::Data(Data { position, bytes, .. }) => {
            return take_input(link, &mut world, position, &bytes);
        }
        Frame::Control(message) => pb::ToShell::decode(message).expect("the gateway writes it"),
    };
    match message.message.expect("the gateway sends no empty message") {
        ToShell::Welcome(welcome) => *output = OutputSender::new(welcome.output_position, WINDOW),
        ToShell::Writer(set) => world.writers.select(&set.writer, set.position),
        ToShell::OutputAck(ack) => output.acked(ack.durable).expect("it was sent"),
        other => unreachable!("the gateway of this test does not send {other:?}"),
    }
    Ok(())
}

fn take_input(
    link: &mut Link,
    world: &mut World,
    position: u64,
    bytes: &Bytes,
) -> Result<(), LinkError> {
    let writer = Bytes::from_static(WRITER);
    let answer = match world.writers.accept(position, bytes) {
        Accept::Take(bytes) => {
            world.terminal.extend_from_slice(&bytes);
            let position = world.writers.written(WRITER, bytes.len()).expect("it types");
            FromShell::InputAck(pb::InputAck { writer, position })
        }
        Accept::Rewind { writer, position } => {
            FromShell::InputRewind(pb::InputRewind { writer, position })
        }
        Accept::Ignore => return Ok(()),
        Accept::Unknown => unreachable!("the writer is named first"),
    };
    world.assert_prefixes();
    link.send_control(&from_shell(answer))
}

/// Takes the machine's connections, the newest of which counts.
async fn gateway(world: Shared) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let mut current: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let (tcp, _) = listener.accept().await?;
        let socket = websocket(tcp, Role::Server).await;
        let Ok(offer) = accept(socket, &service_keys(), &Binding::None).await else { continue };
        assert_eq!(offer.machine(), machine_keys().public());
        let Ok(link) = offer.accept().await else { continue };
        if let Some(older) = current.take() {
            older.abort();
        }
        let world = world.clone();
        current = Some(tokio::spawn(async move {
            let ended = serve_viewer(link, &world).await;
            assert!(!ended.is_bad_frame(), "{ended}");
            lock(&world).input.lost();
        }));
    }
}

async fn serve_viewer(mut link: Link, world: &Shared) -> LinkError {
    let mut recorder = OutputReceiver::new(lock(world).recorded.len() as u64);
    lock(world).links += 1;
    let mut step = Ok(());
    loop {
        step = step.and_then(|()| type_keys(&mut link, world));
        let event = match step {
            Ok(()) => link.next().await,
            Err(error) => Err(error),
        };
        step = match event {
            Ok(Event::Frame(frame)) => take_at_gateway(&mut link, &mut recorder, world, frame),
            Ok(Event::Room) => Ok(()),
            Err(error) => return error,
        };
    }
}

fn type_keys(link: &mut Link, world: &Shared) -> Result<(), LinkError> {
    let mut world = lock(world);
    while link.has_room()
        && let Some(Transmit::Data { position, bytes }) = world.input.poll_transmit(Instant::now())
    {
        link.send_data(Kind::Input, position, &bytes)?;
    }
    Ok(())
}

fn take_at_gateway(
    link: &mut Link,
    recorder: &mut OutputReceiver,
    world: &Shared,
    frame: Frame,
) -> Result<(), LinkError> {
    let mut world = lock(world);
    let message = match frame {
        Frame::Data(Data { position, bytes, .. }) => {
            let fresh = recorder.accept(position, &bytes).expect("a link has no gap");
            world.recorded.extend_from_slice(&fresh.unwrap_or_default());
            world.assert_prefixes();
            let ack = pb::OutputAck { durable: recorder.position(), viewed: 0 };
            return link.send_control(&to_shell(ToShell::OutputAck(ack)));
        }
        Frame::Control(message) => pb::FromShell::decode(message).expect("the machine writes it"),
    };
    match message.message.expect("the machine sends no empty message") {
        FromShell::Hello(hello) => welcome(link, recorder, &mut world, &hello)?,
        FromShell::InputAck(ack) => world.input.acked(ack.position).expect("it was sent"),
        FromShell::InputRewind(rewind) => {
            world.input.rewind(rewind.position, Duration::ZERO, Instant::now()).expect("it is kept")
        }
        other => unreachable!("the machine of this test does not send {other:?}"),
    }
    Ok(())
}

fn welcome(
    link: &mut Link,
    recorder: &OutputReceiver,
    world: &mut World,
    hello: &pb::ShellHello,
) -> Result<(), LinkError> {
    let known = hello.writers.iter().find(|known| known.writer[..] == *WRITER);
    let position = known.map_or(world.input.acknowledged(), |known| known.position);
    world.input.lost();
    world.input.resume(position).expect("what the machine expects is kept");
    let output_position = recorder.position();
    let writer = Bytes::from_static(WRITER);
    link.send_control(&to_shell(ToShell::Welcome(pb::ShellWelcome { output_position })))?;
    link.send_control(&to_shell(ToShell::Writer(pb::SetWriter { writer, position })))
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Partition,
    /// What the machine says is lost.
    Upwards,
    /// What the gateway says is lost.
    Downwards,
    Crash,
}

/// Runs until both streams are whole; each fault begins at its time and is mended after its length. Gives the time and the links used.
fn run(seed: u64, faults: &[(Duration, Fault, Duration)]) -> (Duration, u32) {
    let world: Shared = Arc::new(Mutex::new(World::new()));
    let last = faults.iter().map(|(at, _, length)| *at + *length).max().unwrap_or_default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(80))
        .simulation_duration(last + HEALED_WITHIN)
        .tick_duration(Duration::from_millis(5))
        .build();
    let shared = world.clone();
    sim.host("gateway", move || gateway(shared.clone()));
    let shared = world.clone();
    sim.client("machine", async move {
        machine(shared).await;
        Ok(())
    });
    while !lock(&world).is_whole() || sim.elapsed() < last {
        let before = sim.elapsed();
        sim.step().expect("both streams are whole within the time for healing");
        let now = sim.elapsed();
        for (at, fault, length) in faults {
            if (before..now).contains(at) {
                begin(&mut sim, *fault);
            }
            if (before..now).contains(&(*at + *length)) {
                mend(&mut sim, *fault);
            }
        }
    }
    let world = lock(&world);
    assert!(world.is_whole());
    (sim.elapsed(), world.links)
}

fn begin(sim: &mut turmoil::Sim<'_>, fault: Fault) {
    match fault {
        Fault::Partition => sim.partition("machine", "gateway"),
        Fault::Upwards => sim.partition_oneway("machine", "gateway"),
        Fault::Downwards => sim.partition_oneway("gateway", "machine"),
        Fault::Crash => sim.crash("gateway"),
    }
}

fn mend(sim: &mut turmoil::Sim<'_>, fault: Fault) {
    match fault {
        Fault::Partition => sim.repair("machine", "gateway"),
        Fault::Upwards => sim.repair_oneway("machine", "gateway"),
        Fault::Downwards => sim.repair_oneway("gateway", "machine"),
        Fault::Crash => sim.bounce("gateway"),
    }
}

fn at(ms: u64, fault: Fault, seconds: u64) -> (Duration, Fault, Duration) {
    (Duration::from_millis(ms), fault, Duration::from_secs(seconds))
}

#[test]
fn without_a_fault_one_link_carries_everything() {
    assert_eq!(run(1, &[]).1, 1);
}

// R22, R67, N1, N2
#[test]
fn a_partition_of_thirty_seconds_loses_and_repeats_nothing() {
    let (_, links) = run(2, &[at(150, Fault::Partition, 30)]);
    assert!(links >= 2, "the partition was in the way: {links}");
}

// R23, R67
#[test]
fn a_one_way_partition_is_noticed_and_mended() {
    assert!(run(3, &[at(150, Fault::Upwards, 40)]).1 >= 2);
    assert!(run(4, &[at(150, Fault::Downwards, 40)]).1 >= 2);
}

// R01, R67
#[test]
fn a_gateway_that_crashes_goes_on_where_it_stood() {
    let (elapsed, links) = run(5, &[at(150, Fault::Crash, 1), at(4000, Fault::Crash, 2)]);
    assert!(links >= 2, "{links}");
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
}

// R67
#[test]
fn faults_in_any_order_lose_and_repeat_nothing() {
    let kinds = [Fault::Partition, Fault::Upwards, Fault::Downwards, Fault::Crash];
    let mut links = 0;
    for seed in 0..24_u64 {
        let faults: Vec<_> = (0..4)
            .map(|n| {
                let kind = kinds[(seed as usize >> n) % kinds.len()];
                at(100 + n * 3_000 + seed * 37, kind, 1 + (seed + n) % 11)
            })
            .collect();
        links += run(100 + seed, &faults).1;
    }
    assert!(links >= 24 * 2, "the faults were in the way: {links}");
}
