//! `adit doctor --privileges`: what each process of Adit on this machine may do, and whether that is more than it needs.

mod files;
mod process;
mod verdict;

use std::process::ExitCode;

use serde_json::json;

use super::State;
use crate::cli::Ended;
use crate::cli::failure::Failure;
use crate::output::{Cell, Output, Table, Tone};

use process::Process;
use verdict::Verdict;

/// Looks at every process of Adit and says what it may do.
pub fn look(output: Output) -> Ended {
    let processes = process::all().map_err(Failure::file("reading /proc"))?;
    let judged: Vec<(Process, Vec<Verdict>)> = processes
        .iter()
        .map(|process| (process.clone(), verdict::of(process, &processes)))
        .collect();
    let sudoers = verdict::of_sudoers(&files::sudoers());
    print(output, &judged, &sudoers)?;
    let all = judged.iter().flat_map(|(_, verdicts)| verdicts).chain(&sudoers);
    let bad: Vec<&Verdict> = all.filter(|verdict| verdict.state == State::Bad).collect();
    match bad.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Failure::Found {
            sentence: match bad.len() {
                1 => first.sentence.clone(),
                many => format!("{many} things are more than is needed, first: {}", first.sentence),
            },
            code: "client.privileges",
        }),
    }
}

fn print(
    output: Output,
    judged: &[(Process, Vec<Verdict>)],
    sudoers: &[Verdict],
) -> Result<(), Failure> {
    if output.is_json() {
        let processes: Vec<_> = judged
            .iter()
            .map(|(process, verdicts)| {
                json!({ "process": process, "state": worst(verdicts), "verdicts": verdicts })
            })
            .collect();
        let all = judged.iter().flat_map(|(_, verdicts)| verdicts).chain(sudoers);
        let ok = !all.into_iter().any(|verdict| verdict.state == State::Bad);
        let value = json!({ "ok": ok, "processes": processes, "sudoers": sudoers });
        return Ok(output.json(&value)?);
    }
    if judged.is_empty() {
        output.line("No gateway, agent or helper runs here, as far as this account can see.")?;
    }
    let mut table = Table::new(&["PROCESS", "ACCOUNT", "CAPABILITIES", "LIMITS", "LISTENS"]);
    for (process, _) in judged {
        table.row([
            format!("{} {}", process.role.as_str(), process.pid).into(),
            account(process).into(),
            capabilities(process).into(),
            limits(process).into(),
            listens(process).into(),
        ]);
    }
    if !table.is_empty() {
        output.list(&[], &table, "")?;
        output.line("")?;
    }
    let mut table = Table::new(&["PROCESS", "STATE", "WHAT WAS FOUND"]);
    for (process, verdicts) in judged {
        let name = format!("{} {}", process.role.as_str(), process.pid);
        for verdict in verdicts {
            table.row([name.as_str().into(), tone(verdict.state), told(verdict).into()]);
        }
    }
    for verdict in sudoers {
        table.row(["sudoers".into(), tone(verdict.state), told(verdict).into()]);
    }
    output.list(&[], &table, "Nothing was looked at.")?;
    Ok(())
}

fn told(verdict: &Verdict) -> String {
    let mend = verdict.mend.iter().map(|mend| format!(" {mend}"));
    std::iter::once(verdict.sentence.clone()).chain(mend).collect()
}

fn tone(state: State) -> Cell {
    match state {
        State::Ok => Cell::toned("good", Tone::Good),
        State::Warning => Cell::toned("note", Tone::Warning),
        State::Bad => Cell::toned("too much", Tone::Bad),
        State::Unknown => Cell::toned("unknown", Tone::Faint),
    }
}

fn worst(verdicts: &[Verdict]) -> State {
    let has = |state| verdicts.iter().any(|verdict| verdict.state == state);
    let order = [State::Bad, State::Warning, State::Unknown];
    order.into_iter().find(|state| has(*state)).unwrap_or(State::Ok)
}

fn account(process: &Process) -> String {
    let groups: Vec<&str> = process.groups.iter().map(String::as_str).collect();
    match groups.as_slice() {
        [] => process.user.clone(),
        groups => format!("{} ({})", process.user, groups.join(", ")),
    }
}

/// More names than a cell has room for.
const NAMED: usize = 4;

fn capabilities(process: &Process) -> String {
    let named = |names: &[String]| match names {
        [] => "none".to_owned(),
        names if names.len() <= NAMED => names.join(", "),
        names => format!("{} of them", names.len()),
    };
    format!("has {}; may get {}", named(&process.effective), named(&process.bounding))
}

fn limits(process: &Process) -> String {
    let dumpable = match process.memory_private {
        Some(true) => "memory private",
        Some(false) => "memory readable",
        None => "memory unknown",
    };
    let privileges = if process.no_new_privileges { "no new privileges" } else { "setuid works" };
    let calls = if process.seccomp { "calls filtered" } else { "all calls" };
    let core = if process.core_files { "core files" } else { "no core files" };
    [privileges, calls, dumpable, core].join(", ")
}

fn listens(process: &Process) -> String {
    match &process.listens {
        None => "unknown".to_owned(),
        Some(listens) if listens.is_empty() => "nowhere".to_owned(),
        Some(listens) => listens.join(", "),
    }
}
