//! The files that ship, and files of the original server.

use std::collections::BTreeSet;
use std::path::Path;

use adit_domain::template::{KindName, Layer};
use adit_template::{Set, schema};

use crate::{good, values};

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/templates");
    let entries = std::fs::read_dir(folder).expect("the folder that ships");
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a file of text");
            (path.file_name().expect("its name").to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}

fn set() -> Set {
    let mut set = Set::new();
    let files = shipped();
    let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    set.replace_all(files).unwrap_or_else(|faults| panic!("{faults:#?}"));
    set
}

#[test]
fn every_file_that_ships_is_put_in_force() {
    let set = set();
    let names: BTreeSet<&str> = set.iter().map(|one| one.name().as_str()).collect();
    for name in [
        "list_files",
        "read_file",
        "read_file_end",
        "file_info",
        "find_files",
        "list_processes",
        "memory_usage",
        "disk_usage",
        "read_log",
        "network_addresses",
        "listening_ports",
        "list_packages",
        "upgradable_packages",
        "uptime",
    ] {
        assert!(names.contains(name), "{name}");
    }
    assert!(set.len() >= 25);
}

#[test]
fn what_ships_is_told_to_people_and_asks_for_a_scope_and_writes_nothing() {
    for template in set().iter() {
        let name = template.name();
        assert!(template.command().program().starts_with("/usr/bin/"), "{name}");
        assert!(!template.description().is_empty() && !template.category().is_empty(), "{name}");
        assert!(!template.required_scopes().is_empty(), "{name}");
        assert!(!template.limits().allow_file_write && template.is_idempotent(), "{name}");
        let networked = matches!(template.category(), "network");
        assert_eq!(template.limits().allow_network, networked, "{name}");
        for parameter in template.parameters() {
            assert!(!parameter.description().is_empty(), "{name}: {}", parameter.name());
        }
    }
}

#[test]
fn what_ships_makes_the_arguments_that_are_meant() {
    let set = set();
    let argv = |name: &str, list: &[(&str, &str)]| {
        set.find(name).unwrap().plan(&values(list)).unwrap().argv.join(" ")
    };
    assert_eq!(
        argv("list_files", &[("path", "/srv")]),
        "/usr/bin/ls -l --all --human-readable --time-style=long-iso --sort=version /srv"
    );
    assert_eq!(
        argv("read_file_end", &[("path", "/var/log/syslog"), ("lines", "5")]),
        "/usr/bin/tail --lines=5 /var/log/syslog"
    );
    assert_eq!(argv("network_routes", &[]), "/usr/bin/ip -4 route show");
    assert_eq!(argv("list_packages", &[]), "/usr/bin/dpkg-query --list");
    assert_eq!(
        argv("search_log", &[("text", "-e $(id)")]),
        "/usr/bin/grep --fixed-strings --line-number --max-count=200 --regexp=-e $(id) /var/log/dpkg.log"
    );
}

#[test]
fn what_ships_keeps_secrets_and_options_out() {
    // CMD-2, JOB-01, JOB-06
    let set = set();
    for (name, list) in [
        ("read_file", [("path", "/etc/shadow")]),
        ("read_file", [("path", "/etc/ssh/ssh_host_ed25519_key")]),
        ("read_file", [("path", "/root/.ssh/id_ed25519")]),
        ("read_file", [("path", "/var/log/../../etc/shadow")]),
        ("read_log", [("path", "/var/log2/x")]),
        ("resolve_name", [("host", "-s")]),
        ("list_packages", [("name", "--admindir=/tmp")]),
        ("find_files", [("name", "-delete")]),
    ] {
        assert!(set.find(name).unwrap().plan(&values(&list)).is_err(), "{name} {list:?}");
    }
}

#[test]
fn every_template_that_ships_has_a_schema() {
    // CMD-11
    for template in set().iter() {
        let schema = schema(template);
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), template.parameters().len(), "{}", template.name());
    }
}

#[test]
fn a_file_of_the_original_server_is_read_unchanged() {
    // CMD-1, CMD-2, CMD-3
    let templates = good(include_str!("../files/original.yaml"));
    let [list, tail, service, report] = &templates[..] else { panic!("{}", templates.len()) };
    assert_eq!(list.limits().timeout_s, 30);
    assert_eq!(list.required_scopes()[0].as_str(), "read:files");
    assert_eq!(list.plan(&values(&[("path", "/tmp")])).unwrap().argv, ["ls", "-la", "/tmp"]);
    assert!(list.plan(&values(&[("path", "/tmp\n")])).is_err());
    assert_eq!(tail.limits().timeout_s, 60);
    assert_eq!(tail.required_scopes().len(), 2);
    let planned = tail.plan(&values(&[("path", "/var/log/syslog")])).unwrap();
    assert_eq!(planned.argv, ["tail", "-n", "100", "/var/log/syslog"]);
    assert!(tail.plan(&values(&[("path", "/var/log2")])).is_err());
    assert!(tail.plan(&values(&[("path", "/var/log/private/x")])).is_err());
    assert_eq!(
        service.sandbox_image().unwrap().as_str(),
        "registry.example.com/tools/systemctl:1.2"
    );
    assert_eq!((service.limits().memory_bytes, service.limits().cpu_millis), (256 << 20, 1000));
    assert_eq!(report.find_parameter("verbose").unwrap().kind_name(), KindName::Bool);
    let argv = report.plan(&values(&[("ratio", "0.25")])).unwrap().argv;
    assert_eq!(argv, ["report", "--ratio=0.25", "--verbose=false"]);
    assert!(templates.iter().all(|one| one.layers() == [] as [Layer; 0]));
}

#[test]
fn the_example_of_the_page_is_what_it_says() {
    let page = include_str!("../../../../docs/templates.md");
    let blocks = |language: &str| -> Vec<String> {
        let fence = format!("```{language}\n");
        let parts = page.split(&fence).skip(1);
        parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
    };
    let template = &good(&blocks("yaml")[0])[0];
    let planned = template.plan(&values(&[("text", "\"; rm -rf /")])).unwrap();
    let told: String =
        planned.argv.iter().enumerate().map(|(at, text)| format!("argv[{at}]  {text}\n")).collect();
    assert_eq!(told, blocks("text")[0]);
    let bad = template
        .plan(&values(&[("matches", "5000"), ("file", "/etc/shadow"), ("colour", "red")]))
        .unwrap_err();
    let told: String = bad.iter().map(|bad| format!("{bad}\n")).collect();
    assert_eq!(told, blocks("text")[1]);
}
