//! The memory of a session that waits at its prompt.

use std::time::Instant;

use anyhow::Result;

use crate::Options;
use crate::processes::{memory, tree};
use crate::table::Table;
use crate::target::{Shows, Target};
use crate::terminal::Terminal;

/// Sessions opened between two looks at those that are open: they answer what the server asks meanwhile.
const BETWEEN: usize = 16;

/// Opens many sessions of each target in turn and looks at its servers' memory before and with them.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let (mut at_rest, mut of_session) = (Vec::new(), Vec::new());
    for target in targets {
        if target.client == Shows::SameProgram {
            at_rest.push(f64::NAN);
            of_session.push(f64::NAN);
            continue;
        }
        eprintln!("idle: {} sessions, {}", options.sessions, target.name);
        let before = memory(&tree(&target.roots)) as f64;
        let sessions = open(target, options.sessions)?;
        let with_them = memory(&tree(&target.roots)) as f64;
        drop(sessions);
        at_rest.push(before);
        of_session.push((with_them - before) / options.sessions as f64);
    }
    table.row("servers before any session, KiB", at_rest);
    table.row(format!("one of {} idle sessions, servers, KiB", options.sessions), of_session);
    Ok(())
}

fn open(target: &Target, count: usize) -> Result<Vec<Box<dyn Terminal>>> {
    let mut sessions = Vec::with_capacity(count);
    let mut shown = Vec::new();
    for number in 0..count {
        sessions.push(target.open()?);
        if number % BETWEEN == 0 {
            shown.clear();
            sessions.iter_mut().try_for_each(|session| session.read(&mut shown, Instant::now()))?;
        }
    }
    Ok(sessions)
}
