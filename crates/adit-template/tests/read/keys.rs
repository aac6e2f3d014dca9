//! Every key with what it means.

use adit_domain::policy::{Matcher, Selection};
use adit_domain::template::{Concurrency, Layer, Limits};

use crate::{bad, good, one, values};

#[test]
fn a_template_without_more_has_the_defaults() {
    // CMD-1, CMD-23
    let template = one("command: /usr/bin/uptime");
    let limits = Limits {
        timeout_s: 300,
        memory_bytes: 512 << 20,
        cpu_millis: 500,
        allow_network: false,
        allow_file_write: false,
        output_bytes: 1 << 20,
    };
    assert_eq!(*template.limits(), limits);
    assert_eq!(*template.targets(), Selection::All);
    assert_eq!(template.approval().others, 0);
    assert!(!template.is_idempotent() && template.sandbox_image().is_none());
}

#[test]
fn limits_stand_in_the_template_or_under_permissions() {
    // CMD-1, CMD-3
    let body = "timeout: 7\nmemory_limit: 1g\ncpu_limit: 2\nallow_network: true\nallow_file_write: yes\nsandbox_image: debian:12";
    let indented: String = body.lines().map(|line| format!("  {line}\n")).collect();
    let top = one(&format!("command: ls\n{body}"));
    let under = one(&format!("command: ls\npermissions:\n{indented}"));
    assert_eq!(top, under);
    assert_eq!(top.limits().timeout_s, 7);
    assert_eq!((top.limits().memory_bytes, top.limits().cpu_millis), (1 << 30, 2000));
    assert!(top.limits().allow_network && top.limits().allow_file_write);
    let other = one("command: ls\npermissions: {max_execution_time: 7}");
    assert_eq!(other.limits().timeout_s, 7);
}

#[test]
fn two_places_say_the_same_or_it_is_a_fault() {
    let same = one("command: ls\ntimeout: 7\npermissions: {max_execution_time: 7}");
    assert_eq!(same.limits().timeout_s, 7);
    assert_eq!(
        bad("command: ls\ntimeout: 7\npermissions: {max_execution_time: 8}"),
        ["5:39: this says something else than line 4: keep one"]
    );
}

#[test]
fn our_own_keys_are_read() {
    // CMD-1, CMD-21, CMD-22, CMD-23, CMD-32
    let template = one("command: ls
output: {max_size: 2m}
concurrency: {per_template: 5, per_user: 1}
approval: {others: 2, by: [team:dba, user:ann]}
idempotent: true
layers: [namespaces, seccomp]
targets:
  label: web-*
  tags: {env: prod}");
    assert_eq!(template.limits().output_bytes, 2 << 20);
    let concurrency = Concurrency { per_template: Some(5), per_user: Some(1) };
    assert_eq!(template.concurrency(), concurrency);
    let by: Vec<String> = template.approval().by.iter().map(ToString::to_string).collect();
    assert_eq!((template.approval().others, by), (2, vec!["team:dba".into(), "user:ann".into()]));
    assert!(template.is_idempotent());
    assert_eq!(template.layers(), [Layer::Namespaces, Layer::Seccomp]);
    let matcher = Matcher {
        label: Some("web-*".parse().unwrap()),
        tags: vec![("env".into(), "prod".into())],
        ..Matcher::default()
    };
    assert_eq!(*template.targets(), Selection::Matching(matcher));
    assert_eq!(*one("command: ls\ntargets: all").targets(), Selection::All);
    assert_eq!(one("command: ls\napproval: 1").approval().others, 1);
}

#[test]
fn what_jobs_see_stands_in_the_template_or_under_permissions() {
    let body = "reads: [/var/lib/dpkg, /sys]\nsees_processes: true";
    let top = one(&format!("command: ls\n{body}"));
    let indented: String = body.lines().map(|line| format!("  {line}\n")).collect();
    assert_eq!(top, one(&format!("command: ls\npermissions:\n{indented}")));
    let reads: Vec<String> = top.reads().iter().map(ToString::to_string).collect();
    assert_eq!((reads, top.sees_processes()), (vec!["/var/lib/dpkg".into(), "/sys".into()], true));
    let plain = one("command: ls");
    assert!(plain.reads().is_empty() && !plain.sees_processes());
}

#[test]
fn pattern_has_two_spellings() {
    // CMD-2, JOB-09
    for key in ["pattern", "validation"] {
        let template = one(&format!("command: ls {{x}}\nparameters: {{x: {{{key}: 'a+'}}}}"));
        assert!(template.plan(&values(&[("x", "aa")])).is_ok());
        assert!(template.plan(&values(&[("x", "aab")])).is_err());
    }
    assert_eq!(
        bad("command: ls {x}\nparameters: {x: {pattern: a, validation: b}}"),
        ["4:46: `pattern` and `validation` are one key: keep one"]
    );
}

#[test]
fn words_for_truth_are_those_of_yaml_and_never_in_quotes() {
    for (word, truth) in
        [("yes", true), ("On", true), ("TRUE", true), ("no", false), ("off", false)]
    {
        let template = one(&format!("command: ls\nallow_network: {word}"));
        assert_eq!(template.limits().allow_network, truth, "{word}");
    }
    for word in ["'true'", "\"no\"", "1", "y", "[true]"] {
        assert_eq!(
            bad(&format!("command: ls\nallow_network: {word}")),
            ["4:20: this is true or false, without quotes"]
        );
    }
}

#[test]
fn texts_of_a_file_are_taken_as_they_stand_there() {
    let template =
        one("command: ls {x}\nparameters: {x: {type: enum, allowed_values: [no, 1.0, '~', 010]}}");
    assert_eq!(template.parameters()[0].allowed_values(), ["no", "1.0", "~", "010"]);
    let truth = one("command: ls {x}\nparameters: {x: {type: bool, default: Yes}}");
    assert_eq!(truth.parameters()[0].default(), Some("true"));
}

#[test]
fn several_templates_keep_the_order_of_the_file() {
    let names: Vec<String> = good("templates:\n  b: {command: ls}\n  a: {command: id}\n")
        .iter()
        .map(|one| one.name().to_string())
        .collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn the_same_file_has_the_same_canonical_text_however_it_is_written() {
    let one_way = one("command: ls {x}\nparameters: {x: {type: int, default: 5}}\ntimeout: 5");
    let other = one(
        "# A note.\ntimeout:   '5'\ncommand: \"ls   {x}\"\nparameters:\n  x:\n    default: 5\n    type: 'int'",
    );
    assert_eq!(one_way.canonical(), other.canonical());
}
