//! Tickets between machines: whole cycles and heartbeats a second over kept-alive mutual TLS, clients included, all durable; and the
//! megabytes a second of a stream beside a bare relay of two TLS hops.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_sdk::{Identity, TicketClient, TicketClientOptions, Transport};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::Options;
use crate::adit::Adit;
use crate::floor::Carrier;
use crate::table::median;

/// Clients at once; each has a connection for its source and one for its target.
const CLIENTS: usize = 50;
/// Machines that offer, and as many that are let in.
const MACHINES: usize = 10;
/// How long each rate is measured.
const TIME: Duration = Duration::from_secs(5);
/// The capability.
const SCOPE: &str = "bench:reach";
/// Limits that a measurement meets and a gateway does not.
const SETTINGS: &str =
    "[tickets]\nper_minute = 0\nlive = 1_000_000\ninstances = 1_000\nsessions = 10_000_000\n";

/// Measures and prints the rates.
pub fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let adit = Adit::start_with(&options.adit, &folder.path().join("data"), SETTINGS)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let pairs = runtime.block_on(prepare(&adit, folder.path()))?;
    for (name, ends) in [("request, validate, session", false), ("the same, and its end", true)] {
        let rate = runtime.block_on(cycles(&adit, &pairs, ends))?;
        println!("tickets, {name}: {rate:.0} cycles/s with {CLIENTS} clients");
    }
    let rate = runtime.block_on(heartbeats(&pairs))?;
    println!("tickets, heartbeats of sessions: {rate:.0}/s with {CLIENTS} clients");
    drop(runtime);
    stream(&adit, folder.path(), options)
}

/// One client: a source, a target, and what the one offers to the other.
#[derive(Clone)]
struct Pair {
    source: TicketClient,
    target: TicketClient,
    instance: String,
    label: String,
}

async fn prepare(adit: &Adit, folder: &Path) -> Result<Vec<Pair>> {
    let scope = json!({
        "name": "bench", "version": "1", "scopes": [{"name": SCOPE}],
        "transport": {"strategies": ["relay"], "preferred": "relay", "port": 0, "protocol": "tcp"},
    });
    adit.api("POST", "/api/tickets/scopes", &scope).await?;
    let mut identities = Vec::new();
    for name in ["source", "target"] {
        for number in 0..MACHINES {
            identities.push(certificate(adit, folder, &format!("{name}-{number}"))?);
        }
    }
    let transport = Transport { strategies: vec!["relay".to_owned()], ..Transport::default() };
    let mut pairs = Vec::new();
    for number in 0..CLIENTS {
        let at = number % MACHINES;
        let client = |identity: &Identity| {
            let identity = identity.clone();
            TicketClient::new(TicketClientOptions {
                panel_url: adit.machines().to_owned(),
                identity,
            })
        };
        let (source, target) = (client(&identities[at])?, client(&identities[MACHINES + at])?);
        let registered = source.register_instance(SCOPE, &transport).await?;
        let label = format!("target-{at}");
        let body = json!({"agentLabel": label, "instanceScope": registered.instance_scope});
        adit.api("POST", "/api/tickets/assignments", &body).await?;
        pairs.push(Pair { source, target, instance: registered.instance_id, label });
    }
    Ok(pairs)
}

/// Has the command-line client make a certificate; gives the identity.
fn certificate(adit: &Adit, folder: &Path, label: &str) -> Result<Identity> {
    let out = out(folder, label);
    let name = format!("agent:{label}");
    let path = out.display().to_string();
    adit.run(&["cert", "issue", &name, "--capability", SCOPE, "--out", &path])?;
    let file = |name: &str| out.join(name);
    Ok(Identity::from_pem_files(&file("cert.pem"), &file("key.pem"), &file("ca.pem"))?)
}

fn out(folder: &Path, label: &str) -> PathBuf {
    folder.join(label)
}

async fn cycles(adit: &Adit, pairs: &[Pair], ends: bool) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + TIME;
    let mut tasks = Vec::new();
    for pair in pairs.iter().cloned() {
        let (done, operator) = (Arc::clone(&done), adit.operator()?);
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                let ticket = pair.source.request_ticket(SCOPE, &pair.instance, &pair.label).await?;
                pair.target.validate_ticket(&ticket.id).await?;
                let session = pair.target.report_session_creation(&ticket.id).await?;
                if ends {
                    operator
                        .delete(&format!("/api/tickets/sessions/{}", session.session_id))
                        .await?;
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    rate(tasks, &done).await
}

async fn heartbeats(pairs: &[Pair]) -> Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let mut sessions = Vec::new();
    for pair in pairs {
        let ticket = pair.source.request_ticket(SCOPE, &pair.instance, &pair.label).await?;
        pair.target.validate_ticket(&ticket.id).await?;
        sessions.push(pair.target.report_session_creation(&ticket.id).await?.session_id);
    }
    let until = Instant::now() + TIME;
    let mut tasks = Vec::new();
    for (pair, session) in pairs.iter().cloned().zip(sessions) {
        let done = Arc::clone(&done);
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                if !pair.target.send_session_heartbeat(&session).await?.authorized {
                    bail!("a session ended");
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }));
    }
    rate(tasks, &done).await
}

async fn rate(tasks: Vec<tokio::task::JoinHandle<Result<()>>>, done: &AtomicU64) -> Result<f64> {
    let began = Instant::now();
    for task in tasks {
        task.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// Emits to whoever connects: what a service behind either way does.
fn service(bytes: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || emit(tcp, bytes));
        }
    });
    Ok(address)
}

fn emit(mut tcp: TcpStream, bytes: u64) -> std::io::Result<()> {
    let mut go = [0];
    tcp.read_exact(&mut go)?;
    let piece = vec![7; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        tcp.write_all(&piece[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// Takes so many bytes by a way; answers megabytes a second.
fn take(from: SocketAddr, bytes: u64) -> Result<f64> {
    let mut tcp = TcpStream::connect(from)?;
    let mut piece = vec![0; 64 * 1024];
    tcp.write_all(b"!")?;
    let (mut taken, mut began) = (0, None);
    while taken < bytes {
        let read = tcp.read(&mut piece)?;
        if read == 0 {
            bail!("the stream ended after {taken} bytes");
        }
        began.get_or_insert_with(Instant::now);
        taken += read as u64;
    }
    let seconds = began.context("there were no bytes")?.elapsed().as_secs_f64();
    Ok(taken as f64 / 1e6 / seconds)
}

fn stream(adit: &Adit, folder: &Path, options: &Options) -> Result<()> {
    let bytes = options.megabytes * 4_000_000;
    let to = service(bytes)?;
    let floor_folder = folder.join("floor");
    std::fs::create_dir(&floor_folder)?;
    let floor = Carrier::start(&floor_folder, to)?;
    let offer =
        End::start(adit, &["offer", SCOPE, "--to", &to.to_string()], &out(folder, "source-0"))?;
    let target =
        End::start(adit, &["use", SCOPE, "--listen", "127.0.0.1:0"], &out(folder, "target-0"))?;
    let ours = target.address.context("it listens")?;
    let (mut bare, mut relayed) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        eprintln!("stream: round {} of {}", round + 1, options.rounds);
        bare.push(take(floor.address(), bytes)?);
        relayed.push(take(ours, bytes)?);
    }
    drop(offer);
    let (bare, relayed) = (median(&bare), median(&relayed));
    println!("stream, two bare TLS hops: {bare:.0} MB/s");
    println!("stream, by relay, sealed from end to end: {relayed:.0} MB/s ({:.2})", relayed / bare);
    Ok(())
}

/// One end of a stream as users run it.
struct End {
    child: Child,
    address: Option<SocketAddr>,
}

impl End {
    fn start(adit: &Adit, arguments: &[&str], identity: &Path) -> Result<Self> {
        let mut command = Command::new(adit.program());
        command.args(["ticket", arguments[0], "--json"]).args(&arguments[1..]);
        command.arg("--identity").arg(identity).args(["--machines", adit.machines()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        lines.read_line(&mut line)?;
        let said: Value =
            serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
        let address = said["address"].as_str().map(str::parse).transpose()?;
        // What it says later is read by nobody, and must not block it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Self { child, address })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
