//! Sessions that come and go for a long time (R66): nothing may fail, and nothing may grow.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::tempdir;

use crate::adit::Adit;
use crate::processes::{memory, tree};
use crate::terminal::{Terminal, wait_for, wait_for_prompt};
use crate::viewer::Viewer;

/// What the servers' memory, descriptors and threads may grow by, in parts of what they were after a quarter of the time, once every session had been replaced.
const GROWTH: f64 = 0.05;
/// Descriptors or threads beyond that: those of a session that comes while the one it replaces still ends.
const SLACK: f64 = 8.0;
/// How often it is said how things stand.
const REPORT: Duration = Duration::from_secs(15);

/// How long, and how many.
#[derive(clap::Args, Clone)]
pub struct Options {
    /// The `adit` to try.
    #[arg(long, hide = true)]
    adit: PathBuf,
    /// Seconds; a day before a release.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Sessions that are open at once.
    #[arg(long, default_value_t = 200)]
    sessions: usize,
}

/// What the servers hold.
#[derive(Clone, Copy)]
struct Held {
    memory: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(adit: &Adit) -> Self {
        let servers = tree(&adit.roots());
        let entries = |folder: &str| {
            let count = |process: &u32| {
                fs::read_dir(format!("/proc/{process}/{folder}")).map_or(0, Iterator::count)
            };
            servers.iter().map(count).sum()
        };
        Self { memory: memory(&servers), descriptors: entries("fd"), threads: entries("task") }
    }
}

/// Opens sessions, uses each, and replaces the oldest, until the time is over.
///
/// # Errors
/// The first operation that fails, or growth.
pub fn run(options: &Options) -> Result<()> {
    let folder = tempdir()?;
    let adit = Adit::start(&options.adit, &folder.path().join("adit"))?;
    let mut sessions = Vec::with_capacity(options.sessions);
    let (mut served, mut settled) = (0_u64, None);
    let start = Instant::now();
    let mut report = start + REPORT;
    let time = Duration::from_secs(options.seconds);
    while start.elapsed() < time {
        let session = use_one(&adit, served)?;
        let slot = served as usize % options.sessions;
        served += 1;
        match sessions.get_mut(slot) {
            Some(oldest) => *oldest = session,
            None => sessions.push(session),
        }
        // Those that wait answer what the gateway asks meanwhile.
        let other = slot * 7 % sessions.len();
        sessions[other].read(&mut Vec::new(), Instant::now())?;
        let replaced = served as usize >= 2 * options.sessions;
        if settled.is_none() && replaced && start.elapsed() >= time / 4 {
            settled = Some(Held::by(&adit));
        }
        if Instant::now() >= report {
            let now = Held::by(&adit);
            println!(
                "{:>6} s  {served} sessions served  {} KiB  {} descriptors  {} threads",
                start.elapsed().as_secs(),
                now.memory,
                now.descriptors,
                now.threads
            );
            report += REPORT;
        }
    }
    let Some(settled) = settled else { bail!("too short: not every session was replaced") };
    judge(settled, Held::by(&adit), served)
}

/// Opens a session and has it compute something.
fn use_one(adit: &Adit, number: u64) -> Result<Viewer> {
    let mut session = adit.viewer()?;
    wait_for_prompt(&mut session)?;
    session.send(format!("echo served $(({number}+1)).\r").as_bytes())?;
    wait_for(&mut session, format!("served {}.", number + 1).as_bytes())?;
    Ok(session)
}

fn judge(settled: Held, end: Held, served: u64) -> Result<()> {
    let growth = end.memory as f64 / settled.memory as f64 - 1.0;
    println!(
        "{served} sessions served, none failed; memory {:+.1} %, {} to {} descriptors, {} to {} threads",
        growth * 100.0,
        settled.descriptors,
        end.descriptors,
        settled.threads,
        end.threads
    );
    if growth > GROWTH {
        bail!("the servers' memory grew by more than {:.0} %", GROWTH * 100.0);
    }
    let more = |before: usize, after: usize| after as f64 > before as f64 * (1.0 + GROWTH) + SLACK;
    if more(settled.descriptors, end.descriptors) || more(settled.threads, end.threads) {
        bail!("the servers hold more descriptors or threads than before");
    }
    Ok(())
}
