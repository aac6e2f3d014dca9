//! The templates that ship, each run as a job with the plan that the gateway makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adit_domain::template::limits::read_memory;
use adit_domain::template::{Argument, Command, Part};
use adit_wire::sandbox::{AbsolutePath, End, PathParameter, Plan, Report};

use crate::job::{BOTH, Bench, By, path, plan};

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

#[test]
fn every_template_that_ships_ends_well_and_shows_what_it_is_for() {
    // CMD-30
    let (bench, templates) = (Bench::new(), shipped());
    let here = std::process::id().to_string();
    let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bad = Vec::new();
    for (name, values, shown) in EXAMPLES {
        let put = |text: &str| if text == HERE { here.clone() } else { text.to_owned() };
        let values = values.iter().map(|(name, text)| (*name, put(text))).collect();
        let plan = templates[*name].plan(&values);
        for by in BOTH {
            let done = bench.run(&plan, by);
            let ended = done.reports.last().is_some_and(|report| {
                matches!(report, Report::Ended { end: End::Exited { code: 0 }, .. })
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
    let tried: BTreeSet<String> = EXAMPLES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let ships: BTreeSet<String> = shipped().into_keys().collect();
    assert_eq!(tried, ships);
}

#[test]
fn what_may_be_upgraded_is_what_it_is_outside() {
    let plan = shipped()["upgradable_packages"].plan(&BTreeMap::new());
    let done = Bench::new().run(&plan, By::Root);
    let outside = outside(&plan);
    assert!(outside.lines().all(|line| done.output.lines().any(|other| other == line)), "{done:?}");
}

#[test]
fn the_numbers_of_a_disk_are_those_of_the_machine() {
    let plan = shipped()["disk_usage"].plan(&BTreeMap::new());
    let done = Bench::new().run(&plan, By::Root);
    let size = |text: &str| {
        text.lines()
            .last()
            .unwrap()
            .split_whitespace()
            .take(3)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(size(&done.output), size(&outside(&plan)));
}

/// What the same command prints where no sandbox is.
fn outside(plan: &Plan) -> String {
    let (program, argv) = plan.argv.split();
    let arguments = argv.iter().skip(1);
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn shipped() -> BTreeMap<String, Shipped> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|file| read(&std::fs::read_to_string(file).unwrap())).collect()
}

/// A template as it stands in a file that ships: keys and values by the keys above them, `parameters path default`.
#[derive(Default)]
struct Shipped(BTreeMap<String, String>);

/// Reads the form that the files that ship have, which is a small part of YAML; the parser of all of it is for gateways alone.
fn read(text: &str) -> Vec<(String, Shipped)> {
    let mut templates: Vec<(String, Shipped)> = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines.filter(|line| *line != "templates:") {
        let depth = line.len() - line.trim_start().len();
        if let Some(item) = line.trim_start().strip_prefix("- ") {
            let list = templates.last_mut().unwrap().1.0.get_mut(&above.join(" ")).unwrap();
            list.push_str(&format!("{item}, "));
            continue;
        }
        let (key, value) = line.trim_start().split_once(':').unwrap();
        if depth == 2 {
            templates.push((key.to_owned(), Shipped::default()));
            above.clear();
            continue;
        }
        above.truncate((depth - 4) / 2);
        above.push(key);
        let value = value.trim().trim_matches(['\'', '[', ']']).to_owned();
        templates.last_mut().unwrap().1.0.insert(above.join(" "), value);
    }
    templates
}

impl Shipped {
    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    fn list(&self, key: &str) -> Vec<AbsolutePath> {
        self.get(key).split(", ").filter(|item| !item.is_empty()).map(path).collect()
    }

    /// Makes the plan as the gateway does; the limits that no template sets are those of this crate's tests.
    fn plan(&self, values: &BTreeMap<&str, String>) -> Plan {
        let value = |name: &str| {
            let default = self.0.get(&format!("parameters {name} default")).cloned();
            values.get(name).cloned().or(default)
        };
        let command = Command::parse(self.get("command")).unwrap();
        let argument = |argument: &Argument| {
            let parts = argument.parts().iter().map(|part| match part {
                Part::Literal(text) => Some(text.to_string()),
                Part::Placeholder(name) => value(name.as_str()),
            });
            parts.collect::<Option<String>>()
        };
        let arguments: Vec<String> = command.arguments().iter().filter_map(argument).collect();
        let program = command.program().to_string();
        let argv: Vec<&str> =
            std::iter::once(program.as_str()).chain(arguments.iter().map(String::as_str)).collect();
        let mut plan = plan(&argv);
        plan.system.as_mut().unwrap().extend(self.list("permissions reads"));
        plan.host_processes = self.get("permissions sees_processes") == "true";
        plan.allow_network = self.get("permissions allow_network") == "true";
        let memory = read_memory(self.get("permissions memory_limit")).unwrap();
        plan.limits.memory_bytes = memory.try_into().unwrap();
        plan.paths = self.paths(value);
        plan
    }

    fn paths(&self, value: impl Fn(&str) -> Option<String>) -> Vec<PathParameter> {
        let types = self.0.iter().filter(|(_, kind)| *kind == "path");
        let names = types.filter_map(|(key, _)| {
            key.strip_prefix("parameters ").and_then(|key| key.strip_suffix(" type"))
        });
        let parameter = |name: &str| PathParameter {
            name: name.to_owned(),
            value: path(&value(name).unwrap()),
            allowed: self.list(&format!("parameters {name} allowed_paths")),
            forbidden: self.list(&format!("parameters {name} forbidden_paths")),
        };
        names.map(parameter).collect()
    }
}
