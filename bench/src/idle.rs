//! The memory of a session that waits at its prompt.

use anyhow::Result;

use crate::Options;
use crate::processes::{memory, tree};
use crate::table::Table;
use crate::target::Target;

/// Opens many sessions of each target in turn and looks at its servers' memory before and with them.
pub fn measure(targets: &[Target], options: &Options, table: &mut Table) -> Result<()> {
    let (mut at_rest, mut of_session) = (Vec::new(), Vec::new());
    for target in targets {
        eprintln!("idle: {} sessions, {}", options.sessions, target.name);
        let before = memory(&tree(&target.roots));
        let sessions: Vec<_> =
            (0..options.sessions).map(|_| target.open()).collect::<Result<_>>()?;
        let with_them = memory(&tree(&target.roots));
        drop(sessions);
        at_rest.push(before as f64);
        of_session.push(with_them.saturating_sub(before) as f64 / options.sessions as f64);
    }
    table.row("servers before any, KiB", at_rest);
    table.row(format!("one of {} idle sessions, servers, KiB", options.sessions), of_session);
    Ok(())
}
