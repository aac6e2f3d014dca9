//! The time of one key, from typing it to seeing it, and the processor time that it costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::Options;
use crate::processes::{processor_time, tree, used_between};
use crate::table::{Table, median, percentile};
use crate::target::Target;
use crate::terminal::{Terminal, pause, start_far};

/// A key that takes longer is lost.
const LOST: Duration = Duration::from_secs(5);

/// What one target gave, over all rounds.
#[derive(Default, Clone)]
struct Keys {
    /// Milliseconds of each key.
    times: Vec<f64>,
    /// Microseconds on a processor for one key, of each round.
    costs: Vec<f64>,
}

/// Types into a session that is alone.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let mut all = vec![Keys::default(); targets.len()];
    for round in 0..options.rounds {
        for (target, keys) in targets.iter().zip(&mut all) {
            eprintln!("one key: round {} of {}, {}", round + 1, options.rounds, target.name);
            type_round(target, options.keys, keys)?;
        }
    }
    table.row("one key, p50, ms", all.iter().map(|keys| median(&keys.times)).collect());
    table.row("one key, p99, ms", all.iter().map(|keys| percentile(&keys.times, 0.99)).collect());
    table.row("processor time of a key, µs", all.iter().map(|keys| median(&keys.costs)).collect());
    Ok(())
}

/// Types into a session while another one of the same server floods.
pub fn measure_beside_flood(
    targets: &[Target],
    options: &Options,
    table: &mut Table,
) -> Result<()> {
    let mut all = vec![Keys::default(); targets.len()];
    for round in 0..options.rounds {
        for (target, keys) in targets.iter().zip(&mut all) {
            eprintln!(
                "one key beside a flood: round {} of {}, {}",
                round + 1,
                options.rounds,
                target.name
            );
            let mut flooding = target.open()?;
            start_far(flooding.as_mut(), "flood")?;
            let drain = Drain::start(flooding);
            type_round(target, options.keys, keys)?;
            drain.stop()?;
        }
    }
    table.row(
        "one key beside a flood, p50, ms",
        all.iter().map(|keys| median(&keys.times)).collect(),
    );
    table.row(
        "one key beside a flood, p99, ms",
        all.iter().map(|keys| percentile(&keys.times, 0.99)).collect(),
    );
    Ok(())
}

fn type_round(target: &Target, count: usize, keys: &mut Keys) -> Result<()> {
    let mut terminal = target.open()?;
    start_far(terminal.as_mut(), "echo")?;
    let processes =
        tree(&target.roots.iter().copied().chain(terminal.client()).collect::<Vec<_>>());
    let before = processor_time(&processes);
    for number in 0..count {
        // Two to six milliseconds, so that keys do not fall in step with anything.
        pause(Duration::from_micros(2_000 + (number as u64 * 7_919) % 4_000))?;
        keys.times.push(type_key(terminal.as_mut(), b'a' + (number % 26) as u8)?);
    }
    let used = used_between(&before, &processor_time(&processes));
    keys.costs.push(used as f64 / 1e3 / count as f64);
    Ok(())
}

/// Types one key and waits until it is shown; answers milliseconds.
fn type_key(terminal: &mut dyn Terminal, key: u8) -> Result<f64> {
    let mut shown = Vec::new();
    let start = Instant::now();
    terminal.send(&[key])?;
    while !shown.contains(&key) {
        if start.elapsed() > LOST {
            bail!("the key {:?} was not shown within {LOST:?}", char::from(key));
        }
        terminal.read(&mut shown, start + LOST)?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Reads a session as fast as it comes, on a thread of its own.
struct Drain {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Drain {
    fn start(mut terminal: Box<dyn Terminal>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut shown = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                shown.clear();
                terminal.read(&mut shown, Instant::now() + Duration::from_millis(100))?;
            }
            Ok(())
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread does not panic")
    }
}
