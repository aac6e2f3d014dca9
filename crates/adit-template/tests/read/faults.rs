//! Everything that is refused, with its place.

use proptest::prelude::*;

use adit_template::{MAX_FILE_BYTES, read};

use crate::{bad, faults, file, good};

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    // JOB-09
    for (body, fault) in [
        ("comand: ls", "3:5: there is no key `comand` here; did you mean `command`?"),
        ("command: ls\ntimeuot: 5", "4:5: there is no key `timeuot` here; did you mean `timeout`?"),
        ("command: ls\nshell: true", "4:5: there is no key `shell` here"),
        (
            "command: ls\npermissions: {allow_netwrok: true}",
            "4:19: there is no key `allow_netwrok` here; did you mean `allow_network`?",
        ),
        (
            "command: ls {x}\nparameters:\n  x:\n    requried: true",
            "6:9: there is no key `requried` here; did you mean `required`?",
        ),
        ("command: ls\noutput: {size: 5}", "4:14: there is no key `size` here"),
        ("command: ls\napproval: {others: 1, from: x}", "4:27: there is no key `from` here"),
        (
            "command: ls\nconcurrency: {per_use: 1}",
            "4:19: there is no key `per_use` here; did you mean `per_user`?",
        ),
        ("command: ls\ntargets: {label: a, team: b}", "4:25: there is no key `team` here"),
    ] {
        assert!(bad(body).contains(&fault.to_owned()), "{:?}", bad(body));
    }
    assert!(
        faults("template: {}").contains(
            &"1:1: there is no key `template` here; did you mean `templates`?".to_owned()
        )
    );
}

#[test]
fn what_no_job_sees_is_refused_with_its_place() {
    // JOB-17
    for (reads, fault) in [
        ("[/var/lib/dpkg, /]", "4:28: `/` is the whole machine: list what is needed of it"),
        ("[/proc/1]", "4:13: `/proc` and what is under it is shown to no job"),
        ("[/dev]", "4:13: `/dev` and what is under it is shown to no job"),
        ("[/etc/shadow]", "4:13: `/etc/shadow` and what is under it is shown to no job"),
        ("[/root]", "4:13: `/root` and what is under it is shown to no job"),
        ("[/home/ann]", "4:13: `/home` and what is under it is shown to no job"),
        ("[/var/../etc]", "4:13: must not have a component `.` or `..`"),
        ("[var]", "4:13: must be an absolute path, which begins with `/`"),
        ("[/sys, /sys/]", "4:19: this is listed twice"),
        ("/sys", "4:12: this is a list, such as `[one, two]`"),
    ] {
        assert_eq!(bad(&format!("command: ls\nreads: {reads}")), [fault]);
    }
    let many: Vec<String> = (0..17).map(|number| format!("/srv/{number}")).collect();
    assert_eq!(
        bad(&format!("command: ls\nreads: [{}]", many.join(", "))),
        ["4:12: `reads` lists at most 16 paths"]
    );
}

#[test]
fn a_key_that_stands_there_twice_is_refused() {
    // JOB-09
    assert_eq!(
        bad("command: ls\ntimeout: 5\ncommand: id"),
        ["5:5: the key `command` stands in line 3 already"]
    );
    assert_eq!(
        faults("templates:\n  a: {command: ls}\n  a: {command: id}\n"),
        ["3:3: the key `a` stands in line 2 already"]
    );
    assert_eq!(
        bad("command: ls {x}\nparameters: {x: {type: int}, 'x': {type: string}}"),
        ["4:34: the key `x` stands in line 4 already"]
    );
}

#[test]
fn tags_anchors_and_aliases_are_refused() {
    // JOB-09
    assert_eq!(bad("command: !!str ls"), ["3:14: a tag has no place here: leave it out"]);
    assert!(bad("command: !!python/object/apply:os.system [id]")[0].contains("a tag"));
    assert!(bad("command: &a ls")[0].contains("an anchor"));
    let merged = bad("command: &a ls\ndescription: *a");
    assert!(merged.len() == 2 && merged[1] == "4:18: an alias has no place here: write it out");
    let bomb: String = (1..20)
        .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(",")))
        .collect();
    let found = faults(&format!("a0: &a0 [x]\n{bomb}"));
    assert!(found.len() == 100 && found[0].contains("an anchor"));
}

#[test]
fn a_file_has_a_size_a_depth_and_a_number_of_templates() {
    // JOB-09
    let fill = |bytes: usize| {
        let start = "templates: {t: {command: ls}}\n#";
        format!("{start}{}", "x".repeat(bytes - start.len()))
    };
    assert!(read("f", &fill(MAX_FILE_BYTES)).is_ok());
    assert_eq!(faults(&fill(MAX_FILE_BYTES + 1)), ["1:1: the file is larger than 256 KiB"]);
    let deep = |depth: usize| format!("a: {}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(!faults(&deep(16))[0].contains("deeper"));
    assert!(faults(&deep(17))[0].contains("deeper than 16"));
    let many = |count: usize| {
        let all: String = (0..count).map(|n| format!("  t{n}: {{command: ls}}\n")).collect();
        format!("templates:\n{all}")
    };
    assert_eq!(good(&many(1000)).len(), 1000);
    assert_eq!(faults(&many(1001)), ["2:3: a file has at most 1000 templates"]);
}

#[test]
fn a_file_is_one_document_with_one_map() {
    for (text, fault) in [
        ("", "1:1: the file is empty: it has a map `templates:`"),
        ("# only a note\n", "1:1: the file is empty: it has a map `templates:`"),
        ("{}", "1:1: the file has no map `templates:`"),
        ("templates:\n", "1:1: the file has no map `templates:`"),
        ("templates: [a]", "1:12: `templates` is a map of names and templates"),
        ("templates: {}\n---\na: b\n", "2:1: a file is one document"),
        ("[a]", "1:1: a file is a map, such as `key: value`"),
    ] {
        assert!(faults(text).contains(&fault.to_owned()), "{text:?} {:?}", faults(text));
    }
    assert!(faults("templates: {a: [}")[0].contains("this is not YAML"));
    assert!(faults("templates:\n\tt: x")[0].starts_with("2:"));
    assert!(faults("templates: {? [a] : b}")[0].contains("a key is a text"));
}

#[test]
fn every_fault_of_a_file_is_told_in_its_order() {
    let found = faults(
        "templates:\n  a: {command: sudo ls, timeout: 0}\n  b:\n    command: ls | wc\n    extra: 1\n",
    );
    let starts: Vec<&str> = found.iter().map(|fault| &fault[..4]).collect();
    assert_eq!(starts, ["2:16", "2:34", "4:14", "5:5:"], "{found:?}");
}

#[test]
fn a_wrong_command_is_refused_at_its_place() {
    // CMD-6
    for (command, part) in [
        ("'ls; id'", "at its character 3: `;`"),
        ("ls $(id)", "`$` means something to a shell alone"),
        ("ls | wc", "`|`"),
        ("cat /a/../b", "`..` may not stand in a command"),
        ("sudo ls", "it changes who runs it"),
        ("su - root", "it changes who runs it"),
        ("doas ls", "it changes who runs it"),
        ("bash -c id", "it is a shell"),
        ("python3 -c 1", "may not get its code"),
        ("'{program} x'", "the program may not be a parameter"),
        ("ls {x}", "there is no such parameter"),
        ("[ls, -l]", "this is a single value"),
    ] {
        let found = bad(&format!("command: {command}"));
        assert!(found[0].starts_with("3:14: ") && found[0].contains(part), "{found:?}");
    }
    assert_eq!(bad("description: x"), ["2:3: the template has no `command`"]);
    assert_eq!(bad("command:"), ["2:3: the template has no `command`"]);
}

#[test]
fn an_unused_parameter_is_refused_at_its_place() {
    // CMD-6
    assert_eq!(
        bad("command: ls\nparameters:\n  x: {type: int}"),
        ["5:7: the command does not use the parameter `x`"]
    );
}

#[test]
fn a_wrong_limit_is_refused_at_its_place() {
    for (line, part) in [
        ("timeout: 0", "a time is"),
        ("timeout: 5m", "a time is"),
        ("memory_limit: lots", "memory is"),
        ("cpu_limit: .5", "processors are"),
        ("output: {max_size: 1t}", "output is"),
        ("concurrency: {per_user: 0}", "jobs at a time"),
        ("approval: 3", "0, 1 or 2"),
        ("approval: {by: [user:ann]}", "how many consent"),
        ("approval: {others: 2, by: [user:ann]}", "fewer are named"),
        ("approval: {others: 1, by: [ann]}", "who consents"),
        ("layers: [seccom]", "a layer is"),
        ("layers: [seccomp, seccomp]", "listed twice"),
        ("layers: seccomp", "this is a list"),
        ("sandbox_image: -v", "an image is"),
        ("targets: {}", "what machines are like"),
        ("targets: {label: 'a b'}", "a pattern of labels"),
        ("targets: {tags: {'a b': c}}", "a tag and its value"),
        ("permissions: {required_scopes: ['*']}", "a scope is"),
        ("permissions: {required_scopes: [null]}", "nothing stands here"),
        ("permissions: [a]", "`permissions` is a map"),
        ("description: \"\\e[2J\"", "holds a control character"),
        ("category: \"a\\u202eb\"", "turns the direction"),
    ] {
        let found = bad(&format!("command: ls\n{line}"));
        assert!(found.len() == 1 && found[0].starts_with("4:"), "{line}: {found:?}");
        assert!(found[0].contains(part), "{line}: {found:?}");
    }
}

#[test]
fn a_wrong_rule_of_a_parameter_is_refused_at_its_place() {
    for (rules, place, part) in [
        ("type: integer", "integer", "a type is string, int"),
        ("pattern: 'a[b'", "'a[b'", "at its character 2"),
        ("pattern: '(?=a)'", "'(?=a)'", "at its character 1"),
        ("type: int, min_value: 1.5", "1.5", "is not a whole number"),
        ("type: int, min_value: 5, max_value: 1", "5", "minimum is above"),
        ("max_length: -1", "-1", "a length is"),
        ("type: enum", "x: {", "an enum lists its values"),
        ("allowed_values: [a, b, c, b]", "b]", "listed twice"),
        ("allowed_values: [a, \"b\\n\"]", "\"b", "holds an end of a line"),
        ("allowed_values: []", "[]", "an empty list says nothing"),
        ("type: path, allowed_paths: [tmp]", "tmp", "begins with `/`"),
        ("type: path, forbidden_paths: [/a/../b]", "/a", "`.` or `..`"),
        ("allowed_paths: [/tmp]", "[/tmp]", "means nothing for the type string"),
        ("type: int, default: no", "no", "rules refuse this value"),
        ("default: -rf", "x: {", "begins with `-`"),
        ("required: 'yes'", "'yes'", "true or false"),
    ] {
        let line = format!("    parameters: {{x: {{{rules}}}}}");
        let at = format!("4:{}: ", line.find(place).unwrap() + 1);
        let found = bad(&format!("command: ls {{x}}\n{}", line.trim_start()));
        assert!(found.len() == 1 && found[0].starts_with(&at), "{rules}: {found:?}");
        assert!(found[0].contains(part), "{rules}: {found:?}");
    }
}

#[test]
fn a_text_that_could_choose_options_is_refused() {
    // JOB-01
    let found = bad("command: ls -{x}\nparameters: {x: {}}");
    assert!(found[0].starts_with("3:14: in the argument `-{x}`"), "{found:?}");
}

#[test]
fn names_are_held_to_their_form() {
    assert!(faults("templates:\n  -rf: {command: ls}\n")[0].contains("a template's name is"));
    assert!(bad("command: ls {x}\nparameters: {x y: {}}")[0].contains("a parameter's name is"));
}

#[test]
fn a_fault_shows_what_stands_there_without_its_control_characters() {
    let found = bad("command: ls\n\"\\e[2Jx\": 1");
    assert_eq!(found, ["4:5: there is no key `\u{fffd}[2Jx` here"]);
}

/// Texts that look like files, so that more than the first line is read.
fn any_file() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("templates:\n"),
        Just("  t:\n"),
        Just("    command: "),
        Just("ls {x}\n"),
        Just("    parameters:\n"),
        Just("      x: "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(", "),
        Just(": "),
        Just("- "),
        Just("? "),
        Just("\n"),
        Just("  "),
        Just("'"),
        Just("\""),
        Just("|"),
        Just(">"),
        Just("&a "),
        Just("*a"),
        Just("!t "),
        Just("---\n"),
        Just("...\n"),
        Just("%YAML 1.2\n"),
        Just("#"),
        Just("\\"),
        Just("\t"),
        Just("\r"),
        Just("\u{feff}"),
        Just("\u{85}"),
        Just("type: int"),
        Just("pattern: "),
        Just("(a"),
        Just("\u{e9}"),
        Just("<<: "),
        Just("\0"),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_a_file_or_none(text in any::<String>()) {
        let _ = read("f", &text);
    }

    #[test]
    fn any_text_that_looks_like_a_file_is_one_or_none(text in any_file()) {
        // JOB-09
        if let Err(faults) = read("f", &text) {
            prop_assert!(!faults.is_empty() && faults.iter().all(|fault| fault.at.line >= 1));
        }
    }

    #[test]
    fn a_file_with_anything_changed_is_a_file_or_none(at in any::<prop::sample::Index>(), put in ".{0,3}") {
        let text = include_str!("../files/original.yaml");
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let changed: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[at + 1..].iter().copied()).collect();
        let _ = read("f", &changed);
    }

    #[test]
    fn any_command_in_a_file_is_refused_or_split(command in "[a-z{}'\"|;$ -]{1,30}") {
        let quoted = command.replace('\'', "''");
        let _ = read("f", &file(&format!("command: '{quoted}'")));
    }
}
