//! From starting the client, or asking for a ticket, to the shell's first prompt.

use std::time::Instant;

use anyhow::Result;

use crate::Options;
use crate::table::{Table, median};
use crate::target::Target;

/// Opens sessions one after the other.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let mut all = vec![Vec::new(); targets.len()];
    for round in 0..options.rounds {
        for (target, times) in targets.iter().zip(&mut all) {
            eprintln!("connect: round {} of {}, {}", round + 1, options.rounds, target.name);
            for _ in 0..options.connects {
                let start = Instant::now();
                let terminal = target.open()?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
                drop(terminal);
            }
        }
    }
    table.row("connect to first prompt, ms", all.iter().map(|times| median(times)).collect());
    Ok(())
}
