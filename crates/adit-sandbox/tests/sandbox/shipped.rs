//! The templates that ship, each run as a job with the plan that the gateway makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adit_domain::template::{Planned, Template, Value};
use adit_template::Set;
use adit_wire::sandbox::{End, PathParameter, Plan, SYSTEM_PATHS};

use crate::job::{BOTH, Bench, path, plan};

/// A template, values for it, and what its output then holds.
type Example = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// What is put into a value or expected where it is known by the run alone: a process of the machine.
const HERE: &str = "HERE";

const EXAMPLES: &[Example] = &[
    ("list_files", &[("path", "/usr")], " share"),
    ("read_file", &[("path", "/usr/lib/os-release")], "NAME="),
    ("read_file_end", &[("path", "/usr/lib/os-release")], "="),
    ("file_info", &[("path", "/etc")], "/etc"),
    ("file_checksum", &[("path", "/usr/lib/os-release")], "/usr/lib/os-release"),
    ("find_files", &[("path", "/usr/lib"), ("name", "os-rel*")], "/usr/lib/os-release"),
    ("list_processes", &[], HERE),
    ("process_tree", &[], HERE),
    ("process_info", &[("pid", HERE)], HERE),
    ("memory_by_process", &[], HERE),
    ("memory_usage", &[], "Mem:"),
    ("memory_details", &[], "MemTotal:"),
    ("disk_usage", &[], "/var"),
    ("inode_usage", &[], "/var"),
    ("folder_sizes", &[("path", "/usr/share/doc"), ("depth", "0")], "/usr/share/doc"),
    ("block_devices", &[], "disk"),
    ("read_log", &[], "status installed"),
    ("search_log", &[("text", "status installed")], "status installed"),
    ("network_addresses", &[], "127.0.0.1"),
    ("network_routes", &[], ""),
    ("listening_ports", &[], "LISTEN"),
    ("connections", &[], "Local"),
    ("resolve_name", &[("host", "localhost")], "STREAM"),
    ("list_packages", &[("name", "bash")], "ii  bash"),
    ("package_info", &[("name", "bash")], "Status: install ok installed"),
    ("package_of_file", &[("file", "/bin/bash")], "bash: "),
    ("upgradable_packages", &[], "Listing"),
    ("uptime", &[], "load average"),
    ("kernel_version", &[], "Linux"),
    ("os_release", &[], "NAME="),
    ("system_load", &[], "/"),
    ("processors", &[], "Architecture:"),
];

/// Answers of others are needed for it, and a machine that lets accounts ask for them (`net.ipv4.ping_group_range`).
const UNTRIED: &[&str] = &["ping"];

#[test]
fn every_template_that_ships_ends_well_and_shows_what_it_is_for() {
    // CMD-30
    let (bench, set) = (Bench::new(), shipped());
    let here = std::process::id().to_string();
    let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bad = Vec::new();
    for (name, values, shown) in EXAMPLES {
        let template = set.find(name).unwrap_or_else(|| panic!("{name}"));
        let put = |text: &str| if text == HERE { here.clone() } else { text.to_owned() };
        let values = values.iter().map(|(name, text)| ((*name).to_owned(), Value::Text(put(text))));
        let planned = template.plan(&values.collect::<BTreeMap<_, _>>()).unwrap();
        for by in BOTH {
            let done = bench.run(&plan_of(template, &planned), by);
            let ended = done.reports.last().is_some_and(|report| {
                matches!(
                    report,
                    adit_wire::sandbox::Report::Ended { end: End::Exited { code: 0 }, .. }
                )
            });
            if !ended || !done.output.contains(&put(shown)) {
                bad.push(format!("{by:?} {name}: {:?} {:?}", done.output, done.reports.last()));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn every_template_that_ships_is_tried() {
    let tried: BTreeSet<String> = EXAMPLES
        .iter()
        .map(|(name, ..)| *name)
        .chain(UNTRIED.iter().copied())
        .map(str::to_owned)
        .collect();
    let ships: BTreeSet<String> = shipped().iter().map(|one| one.name().to_string()).collect();
    assert_eq!(tried, ships);
}

#[test]
fn the_numbers_of_a_disk_are_those_of_the_machine() {
    let (bench, set) = (Bench::new(), shipped());
    let template = set.find("disk_usage").unwrap();
    let planned = template.plan(&BTreeMap::new()).unwrap();
    let done = bench.run(&plan_of(template, &planned), crate::job::By::Root);
    let (program, arguments) = planned.argv.split_first().unwrap();
    let outside = std::process::Command::new(program).args(arguments).output().unwrap();
    let size = |text: &str| {
        text.lines()
            .last()
            .unwrap()
            .split_whitespace()
            .take(3)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(size(&done.output), size(&String::from_utf8(outside.stdout).unwrap()));
}

fn shipped() -> Set {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates");
    let mut set = Set::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        set.replace_file(file.file_name().unwrap().to_str().unwrap(), &text).unwrap();
    }
    set
}

/// Makes the plan as the gateway does; the limits that no template sets are those of this crate's tests.
fn plan_of(template: &Template, planned: &Planned) -> Plan {
    let argv: Vec<&str> = planned.argv.iter().map(String::as_str).collect();
    let mut plan = plan(&argv);
    let reads = template.reads().iter().map(|seen| seen.path().as_str());
    let reads = reads.filter(|read| !SYSTEM_PATHS.contains(read));
    plan.system.as_mut().unwrap().extend(reads.map(path));
    plan.host_processes = template.sees_processes();
    plan.allow_network = template.limits().allow_network;
    plan.limits.memory_bytes = template.limits().memory_bytes.try_into().unwrap();
    let list = |paths: &[adit_domain::template::AbsolutePath]| {
        paths.iter().map(|one| path(one.as_str())).collect::<Vec<_>>()
    };
    let parameter = |one: &adit_domain::template::PlannedPath| PathParameter {
        name: one.parameter.to_string(),
        value: path(one.path.as_str()),
        allowed: list(&one.rules.allowed),
        forbidden: list(&one.rules.forbidden),
    };
    plan.paths = planned.paths.iter().map(parameter).collect();
    plan
}
