//! Output in bulk: how fast it comes, and what it costs the servers.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::Options;
use crate::far;
use crate::processes::{processor_time, tree, used_between};
use crate::table::{Table, median};
use crate::target::Target;
use crate::terminal::{PATIENCE, contains, start_far};

/// What belongs to the line before the transfer, not to it.
const LEAD: usize = 16;

/// Transfers in each round, on each target.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let mut all = vec![(Vec::new(), Vec::new()); targets.len()];
    for round in 0..options.rounds {
        for (target, (speeds, costs)) in targets.iter().zip(&mut all) {
            eprintln!("bulk: round {} of {}, {}", round + 1, options.rounds, target.name);
            let (speed, cost) = transfer(target, options.megabytes * 1_000_000)?;
            speeds.push(speed);
            costs.push(cost);
        }
    }
    table.row("bulk output, MB/s", all.iter().map(|(speeds, _)| median(speeds)).collect());
    table.row(
        "processor time of a GB, servers, s",
        all.iter().map(|(_, costs)| median(costs)).collect(),
    );
    Ok(())
}

/// Answers megabytes a second and processor seconds a gigabyte.
fn transfer(target: &Target, bytes: u64) -> Result<(f64, f64)> {
    let mut terminal = target.open()?;
    let processes = tree(&target.roots);
    let before = processor_time(&processes);
    start_far(terminal.as_mut(), &format!("emit {bytes}"))?;
    let mut start = None;
    let mut tail = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !contains(&tail, far::END) {
        if Instant::now() > deadline {
            bail!("{bytes} bytes did not come from {} within {PATIENCE:?}", target.name);
        }
        tail.drain(..tail.len().saturating_sub(far::END.len()));
        let kept = tail.len();
        terminal.read(&mut tail, deadline)?;
        if start.is_none() && tail.len() - kept > LEAD {
            start = Some(Instant::now());
        }
    }
    let seconds = start.unwrap_or(deadline).elapsed().as_secs_f64();
    let used = used_between(&before, &processor_time(&processes));
    // Nanoseconds a byte are seconds a gigabyte.
    Ok((bytes as f64 / 1e6 / seconds, used as f64 / bytes as f64))
}
