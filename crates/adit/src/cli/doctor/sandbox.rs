//! What would hold a job on this machine: each layer of the sandbox, really tried.

use std::path::Path;
use std::process::ExitCode;

use adit_wire::sandbox::{CgroupKind, LayerState, State};
use serde_json::json;

use crate::cli::Ended;
use crate::cli::failure::Failure;
use crate::output::{Cell, Output, Table, Tone};

/// Tries every layer in a process of its own and says how it went. Exits 125 where one is missing without which no job runs.
pub fn look(output: Output) -> Ended {
    let found = adit_sandbox::probe(Path::new("/proc/self/exe"));
    let (layers, cgroup) = found.map_err(|cause| Failure::Found {
        sentence: format!("the sandbox could not be tried: {cause}"),
        code: "job.sandbox_unavailable",
    })?;
    let mut items = Vec::new();
    let mut table = Table::new(&["LAYER", "STATE", "WHAT WAS FOUND"]);
    for LayerState { layer, state } in &layers {
        let name = json!(layer);
        let name = name.as_str().unwrap_or_default();
        let needed = layer.is_always_demanded();
        let (word, tone, why) = match state {
            State::Enforced => ("enforced", Tone::Good, String::new()),
            State::Waived => ("waived", Tone::Faint, String::new()),
            State::Missing { reason } if needed => {
                ("missing", Tone::Bad, format!("{reason}; no job runs here without it"))
            }
            State::Missing { reason } => (
                "missing",
                Tone::Warning,
                format!("{reason}; a template that demands it does not run here"),
            ),
        };
        table.row([name.into(), Cell::toned(word, tone), why.as_str().into()]);
        items.push(json!({ "layer": layer, "state": word, "needed": needed, "why": why }));
    }
    let groups = match cgroup {
        CgroupKind::V2 => "control groups of version 2",
        CgroupKind::V1 => "control groups of version 1",
        CgroupKind::LimitsOnly => "limits of each process, without control groups",
    };
    if output.is_json() {
        output.json(&json!({ "layers": items, "cgroup": cgroup }))?;
    } else {
        output.list(&[], &table, "Nothing was looked at.")?;
        output.line(&format!("Memory, processes and processors are limited by {groups}."))?;
    }
    let missing = |one: &LayerState| {
        one.layer.is_always_demanded() && matches!(one.state, State::Missing { .. })
    };
    match layers.iter().filter(|one| missing(one)).count() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Failure::Found {
            sentence: format!("{count} layers are missing without which no job runs here"),
            code: "job.sandbox_unavailable",
        }),
    }
}
