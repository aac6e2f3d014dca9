use std::collections::BTreeMap;

use proptest::prelude::*;

use super::text::BadText;
use super::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn parameter(name: &str, kind: KindName) -> Definition {
    Definition::new(name.parse().unwrap(), kind)
}

fn draft(command: &str, definitions: &[Definition]) -> Draft {
    let mut draft = Draft::new("t".parse().unwrap(), Command::parse(command).unwrap());
    draft.parameters = definitions.iter().map(|one| Parameter::new(one).unwrap()).collect();
    draft
}

fn template(command: &str, definitions: &[Definition]) -> Template {
    Template::new(draft(command, definitions)).unwrap()
}

fn faults(command: &str, definitions: &[Definition]) -> Vec<BadTemplate> {
    Template::new(draft(command, definitions)).unwrap_err()
}

fn values(list: &[(&str, Value)]) -> BTreeMap<String, Value> {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn argv(template: &Template, list: &[(&str, Value)]) -> Vec<String> {
    template.plan(&values(list)).unwrap().argv
}

fn refused(template: &Template, list: &[(&str, Value)]) -> Vec<(String, Reason)> {
    let bad = template.plan(&values(list)).unwrap_err();
    bad.into_iter().map(|bad| (bad.name, bad.reason)).collect()
}

#[test]
fn a_value_fills_its_place_inside_one_argument() {
    // CMD-4, JOB-02
    let echo = template("echo a{x}b {x}", &[parameter("x", KindName::Text)]);
    for value in [
        "; id",
        "$(id)",
        "`id`",
        "a | b",
        "a && b",
        "> /etc/passwd",
        "{a,b}",
        "*",
        "~",
        "!!",
        "'\"",
        "\\",
        "a  b",
        "{x}",
        "%s",
        "\u{a0}",
    ] {
        let expected = ["echo".to_owned(), format!("a{value}b"), value.to_owned()];
        assert_eq!(argv(&echo, &[("x", text(value))]), expected, "{value}");
    }
}

#[test]
fn an_absent_or_empty_value_drops_its_argument() {
    // CMD-4
    let optional = Definition { required: false, ..parameter("lines", KindName::Integer) };
    let tail =
        template("tail --lines={lines} {path}", &[optional, parameter("path", KindName::Path)]);
    let path = ("path", text("/var/log/syslog"));
    assert_eq!(argv(&tail, std::slice::from_ref(&path)), ["tail", "/var/log/syslog"]);
    assert_eq!(argv(&tail, &[("lines", text("")), path.clone()]), ["tail", "/var/log/syslog"]);
    let all = argv(&tail, &[("lines", Value::Integer(5)), path]);
    assert_eq!(all, ["tail", "--lines=5", "/var/log/syslog"]);
}

#[test]
fn a_value_that_would_be_an_option_is_refused_unless_it_is_listed() {
    // CMD-4, JOB-01
    let open = template("ls {x}", &[parameter("x", KindName::Text)]);
    for bad in ["-rf", "--checkpoint-action=exec=sh", "-exec", "-", "--"] {
        assert_eq!(
            refused(&open, &[("x", text(bad))]),
            [("x".to_owned(), Reason::LooksLikeOption)],
            "{bad}"
        );
    }
    let listed = Definition {
        allowed_values: vec!["-l".into(), "-a".into()],
        ..parameter("x", KindName::Enum)
    };
    assert_eq!(argv(&template("ls {x}", &[listed]), &[("x", text("-l"))]), ["ls", "-l"]);
    let inside = template("ls --color={x}", &[parameter("x", KindName::Text)]);
    assert_eq!(argv(&inside, &[("x", text("-rf"))]), ["ls", "--color=-rf"]);
}

#[test]
fn nothing_is_inserted_before_operands() {
    // JOB-01
    let ls = template("ls {path}", &[parameter("path", KindName::Path)]);
    assert_eq!(argv(&ls, &[("path", text("/tmp"))]), ["ls", "/tmp"]);
}

#[test]
fn a_negative_number_where_an_operand_stands_is_refused_too() {
    let number = parameter("n", KindName::Integer);
    for command in ["kill {n}", "head -{n}"] {
        let one = template(command, std::slice::from_ref(&number));
        assert_eq!(
            refused(&one, &[("n", Value::Integer(-9))]),
            [("n".to_owned(), Reason::LooksLikeOption)]
        );
        assert!(one.plan(&values(&[("n", Value::Integer(9))])).is_ok());
    }
    let nice = template("renice --relative={n}", &[number]);
    assert_eq!(argv(&nice, &[("n", Value::Integer(-9))]), ["renice", "--relative=-9"]);
}

#[test]
fn an_empty_first_part_does_not_let_the_next_be_an_option() {
    let first = Definition {
        allowed_values: vec![String::new(), "a".into()],
        ..parameter("first", KindName::Text)
    };
    let two = template("ls {first}{second}", &[first, parameter("second", KindName::Text)]);
    assert_eq!(
        refused(&two, &[("first", text("")), ("second", text("-rf"))]),
        [("second".to_owned(), Reason::LooksLikeOption)]
    );
}

#[test]
fn a_text_is_never_part_of_an_options_name() {
    let x = parameter("x", KindName::Text);
    for bad in ["ls -{x}", "ls --{x}", "ls -l{x}", "ls --{x}=1", "ls --so{x}rt=1"] {
        assert!(
            matches!(faults(bad, std::slice::from_ref(&x))[..], [BadTemplate::OpenOption { .. }]),
            "{bad}"
        );
    }
    let dash = Definition { allowed_values: vec!["-".into()], ..parameter("dash", KindName::Enum) };
    let found = faults("ls {dash}{x}", &[dash, x.clone()]);
    assert!(matches!(found[..], [BadTemplate::OpenOption { .. }]), "{found:?}");
    for fine in ["ls --sort={x}", "ls a{x}", "ls {x}"] {
        assert!(Template::new(draft(fine, std::slice::from_ref(&x))).is_ok(), "{fine}");
    }
    let number = parameter("x", KindName::Integer);
    assert!(Template::new(draft("head -n{x}", &[number])).is_ok());
}

#[test]
fn every_bad_parameter_is_named_at_once() {
    // CMD-5, JOB-11
    let count =
        Definition { max_value: Some("10".into()), ..parameter("count", KindName::Integer) };
    let find = template(
        "find {path} -maxdepth {count} -name {name} {kind}",
        &[
            parameter("path", KindName::Path),
            count,
            parameter("name", KindName::Text),
            parameter("kind", KindName::Text),
        ],
    );
    let bad = refused(
        &find,
        &[
            ("path", text("/a/..")),
            ("count", Value::Integer(11)),
            ("name", text("-delete")),
            ("extra", Value::Null),
        ],
    );
    assert_eq!(
        bad,
        [
            ("path".to_owned(), Reason::Path(path::BadPath::Dots)),
            ("count".to_owned(), Reason::TooLarge("10".to_owned())),
            ("kind".to_owned(), Reason::Missing),
            ("name".to_owned(), Reason::LooksLikeOption),
            ("extra".to_owned(), Reason::Unknown),
        ]
    );
}

#[test]
fn a_reason_is_a_sentence_with_the_parameters_name() {
    let one = template("ls {x}", &[parameter("x", KindName::Text)]);
    let bad = one.plan(&values(&[("x", text("a\0"))])).unwrap_err();
    assert_eq!(bad[0].to_string(), "`x` holds the character NUL");
    assert_eq!(bad[0].reason, Reason::Text(BadText::Nul));
    assert_eq!(bad[0].reason.as_str(), "bad_text");
}

#[test]
fn unknown_names_are_cut_and_counted() {
    let one = template("ls", &[]);
    let many: BTreeMap<_, _> =
        (0..100).map(|n| (format!("{n}{}", "a".repeat(1000)), Value::Null)).collect();
    let bad = one.plan(&many).unwrap_err();
    assert!(bad.len() == 32 && bad.iter().all(|bad| bad.name.len() == 64));
}

#[test]
fn paths_are_told_to_the_machine_with_their_place_and_rules() {
    // CMD-2
    let path =
        Definition { allowed_paths: vec!["/srv".into()], ..parameter("path", KindName::Path) };
    let cp = template("cp --from={path} /tmp", &[path]);
    let planned = cp.plan(&values(&[("path", text("/srv/a"))])).unwrap();
    let found = &planned.paths[0];
    assert_eq!((found.path.as_str(), found.argument, found.at), ("/srv/a", 1, 7));
    assert_eq!(found.rules.allowed, ["/srv".parse().unwrap()]);
    assert_eq!(&planned.argv[found.argument][found.at..], found.path.as_str());
}

#[test]
fn placeholders_and_parameters_are_the_same_names() {
    // CMD-6
    let name = |text: &str| text.parse::<ParameterName>().unwrap();
    assert_eq!(
        faults("ls {a} {b} {b}", &[parameter("a", KindName::Text)]),
        [BadTemplate::UnknownPlaceholder(name("b"))]
    );
    assert_eq!(
        faults("ls", &[parameter("a", KindName::Text)]),
        [BadTemplate::UnusedParameter(name("a"))]
    );
    let twice = [parameter("a", KindName::Text), parameter("a", KindName::Text)];
    assert_eq!(faults("ls {a}", &twice), [BadTemplate::TwiceParameter(name("a"))]);
    let many: Vec<_> = (0..33).map(|n| parameter(&format!("p{n}"), KindName::Integer)).collect();
    let command: String = many.iter().map(|one| format!(" {{{}}}", one.name)).collect();
    assert_eq!(faults(&format!("ls{command}"), &many), [BadTemplate::TooManyParameters]);
}

#[test]
fn a_default_that_would_be_refused_is_refused_when_the_template_is_made() {
    let bad = Definition { default: Some("-l".into()), ..parameter("x", KindName::Text) };
    let name = bad.name.clone();
    assert_eq!(
        faults("ls {x}", std::slice::from_ref(&bad)),
        [BadTemplate::DefaultLooksLikeOption(name)]
    );
    let listed = Definition { allowed_values: vec!["-l".into()], ..bad };
    assert!(Template::new(draft("ls {x}", &[listed])).is_ok());
}

#[test]
fn what_people_read_holds_nothing_that_they_do_not_see() {
    let mut bad = draft("ls", &[]);
    bad.description = "\u{1b}[2J".into();
    bad.category = "a".repeat(65);
    assert_eq!(
        Template::new(bad).unwrap_err(),
        [BadTemplate::Prose("description"), BadTemplate::Prose("category")]
    );
}

#[test]
fn a_template_shows_at_most_sixteen_paths() {
    let shows = |count: usize| {
        let mut one = draft("ls", &[]);
        one.reads = (0..count).map(|n| format!("/srv/{n}").parse().unwrap()).collect();
        Template::new(one)
    };
    assert_eq!(shows(16).unwrap().reads().len(), 16);
    assert_eq!(shows(17).unwrap_err(), [BadTemplate::TooManyReads]);
}

/// Everything that may be changed in a template, with a name for the test's message.
type Change = (&'static str, fn(&mut Draft));

const CHANGES: &[Change] = &[
    ("name", |d| d.name = "u".parse().unwrap()),
    ("command", |d| d.command = Command::parse("ls all {x} {p}").unwrap()),
    ("split", |d| d.command = Command::parse("ls 'long {x}' {p}").unwrap()),
    ("scopes", |d| d.required_scopes.push("b:c".parse().unwrap())),
    ("timeout", |d| d.limits.timeout_s += 1),
    ("memory", |d| d.limits.memory_bytes += 1),
    ("cpu", |d| d.limits.cpu_millis += 1),
    ("network", |d| d.limits.allow_network = true),
    ("write", |d| d.limits.allow_file_write = true),
    ("output", |d| d.limits.output_bytes += 1),
    ("reads", |d| d.reads = vec!["/sys".parse().unwrap()]),
    ("sees_processes", |d| d.sees_processes = true),
    ("targets", |d| {
        d.targets = Selection::Matching(crate::policy::Matcher {
            label: Some("web-*".parse().unwrap()),
            ..Default::default()
        });
    }),
    ("per_template", |d| d.concurrency.per_template = Some(1)),
    ("per_user", |d| d.concurrency.per_user = Some(1)),
    ("others", |d| d.approval.others = 1),
    ("by", |d| d.approval.by = vec!["team:dba".parse().unwrap()]),
    ("idempotent", |d| d.idempotent = true),
    ("layers", |d| d.layers = vec![Layer::Seccomp]),
    ("image", |d| d.sandbox_image = Some("debian:12".parse().unwrap())),
    ("type", |d| change(d, |x| x.kind = KindName::Path)),
    ("required", |d| change(d, |x| x.required = false)),
    ("default", |d| change(d, |x| x.default = Some("a".into()))),
    ("min_length", |d| change(d, |x| x.min_length = Some(1))),
    ("max_length", |d| change(d, |x| x.max_length = Some(9))),
    ("pattern", |d| change(d, |x| x.pattern = Some("a+".into()))),
    ("allowed_values", |d| change(d, |x| x.allowed_values = vec!["a".into()])),
    ("allowed_paths", |d| {
        change(d, |x| {
            x.kind = KindName::Path;
            x.allowed_paths = vec!["/a".into()];
        });
    }),
    ("forbidden_paths", |d| {
        change(d, |x| {
            x.kind = KindName::Path;
            x.forbidden_paths = vec!["/a".into()];
        });
    }),
    ("min_value", |d| {
        change(d, |x| {
            x.kind = KindName::Integer;
            x.min_value = Some("1".into());
        });
    }),
];

fn base() -> Draft {
    draft("ls long {x} {p}", &[parameter("x", KindName::Text), parameter("p", KindName::Path)])
}

fn change(draft: &mut Draft, with: impl FnOnce(&mut Definition)) {
    let mut definition = parameter("x", KindName::Text);
    with(&mut definition);
    draft.parameters[0] = Parameter::new(&definition).unwrap();
}

#[test]
fn the_canonical_text_changes_with_everything_that_matters() {
    let mut seen = BTreeMap::from([(Template::new(base()).unwrap().canonical(), "unchanged")]);
    for (what, apply) in CHANGES {
        let mut changed = base();
        apply(&mut changed);
        let text = Template::new(changed).unwrap().canonical();
        assert_eq!(seen.insert(text, what), None, "{what}");
    }
}

#[test]
fn the_canonical_text_does_not_change_with_what_only_people_read() {
    let mut told = base();
    told.description = "Lists files".into();
    told.category = "files".into();
    change(&mut told, |x| x.description = "What".into());
    assert_eq!(
        Template::new(told).unwrap().canonical(),
        Template::new(base()).unwrap().canonical()
    );
}

#[test]
fn no_value_looks_like_a_line_of_the_canonical_text() {
    let lists = |values: &[&str]| {
        let mut one = base();
        change(&mut one, |x| x.allowed_values = values.iter().map(ToString::to_string).collect());
        Template::new(one).unwrap().canonical()
    };
    assert_ne!(lists(&["a", "b"]), lists(&["a allowed 1:b"]));
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any::<String>().prop_map(Value::Text),
        4 => "[-/a-z.0-9 $;]{0,12}".prop_map(Value::Text),
        2 => any::<i64>().prop_map(Value::Integer),
        2 => any::<f64>().prop_map(Value::Float),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => prop_oneof![Just(Value::Null), Just(Value::List), Just(Value::Map)],
    ]
}

/// Values of which about half are what the template wants, so that both outcomes are seen.
fn any_values() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let fit = (
        maybe("text", "[^-/\\p{C}][^/\\p{C}]{0,8}".prop_map(Value::Text)),
        maybe("number", any::<i64>().prop_map(Value::Integer)),
        maybe("part", (-1e9..1e9).prop_map(Value::Float)),
        maybe("truth", any::<bool>().prop_map(Value::Bool)),
        maybe("path", "(/[a-z]{1,8}){1,4}".prop_map(Value::Text)),
        maybe("pick", "(-a|b)".prop_map(Value::Text)),
    );
    let other = "(text|number|part|truth|path|pick|more)";
    let others = proptest::collection::btree_map(other, any_value(), 0..3);
    (fit, prop_oneof![2 => Just(BTreeMap::new()), 1 => others]).prop_map(|(fit, others)| {
        let fit = [fit.0, fit.1, fit.2, fit.3, fit.4, fit.5];
        fit.into_iter()
            .flatten()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(others)
            .collect()
    })
}

fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    proptest::option::weighted(0.9, value.prop_map(move |value| (name, value)))
}

fn subject() -> Template {
    let optional = |name, kind| Definition { required: false, ..parameter(name, kind) };
    let pick = Definition {
        allowed_values: vec!["-a".into(), "b".into()],
        ..parameter("pick", KindName::Enum)
    };
    template(
        "/bin/echo one --text={text} {text} x{number}y '{part} {truth}' {path} {pick} two",
        &[
            optional("text", KindName::Text),
            parameter("number", KindName::Integer),
            optional("part", KindName::Float),
            optional("truth", KindName::Bool),
            parameter("path", KindName::Path),
            Definition { required: false, ..pick },
        ],
    )
}

/// Takes an argument apart again by what the template says of it.
fn is_filled(argument: &Argument, text: &str, values: &BTreeMap<ParameterName, String>) -> bool {
    let mut rest = text;
    let fits = argument.parts().iter().all(|part| {
        let piece = match part {
            Part::Literal(literal) => literal,
            Part::Placeholder(name) => &values[name],
        };
        let left = rest.strip_prefix(piece.as_str());
        rest = left.unwrap_or(rest);
        left.is_some()
    });
    fits && rest.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arguments_have_the_planned_shape_or_every_bad_parameter_is_named(values in any_values()) {
        // CMD-4, CMD-5, JOB-02
        let template = subject();
        match template.plan(&values) {
            Ok(planned) => {
                let expected: Vec<&Argument> = template
                    .command()
                    .arguments()
                    .iter()
                    .filter(|one| one.placeholders().all(|name| planned.values.contains_key(name)))
                    .collect();
                prop_assert_eq!(planned.argv.len(), expected.len() + 1);
                for (argument, text) in expected.iter().zip(&planned.argv[1..]) {
                    prop_assert!(is_filled(argument, text, &planned.values), "{} {}", argument, text);
                }
                for (name, text) in &planned.values {
                    if let Some(Value::Text(given)) = values.get(name.as_str()) {
                        prop_assert_eq!(given, text);
                    }
                    prop_assert!(text::check(text).is_ok());
                }
            }
            Err(bad) => {
                // Each one that is bad by itself is among them, and none that is good.
                for parameter in template.parameters() {
                    let name = parameter.name().as_str();
                    let is_named = bad.iter().filter(|bad| bad.name == name).count();
                    let alone = parameter.fill(values.get(name));
                    let is_option = matches!(&alone, Ok(Some(text)) if text.starts_with('-'));
                    prop_assert!(is_named <= 1);
                    prop_assert!(alone.is_ok() || is_named == 1, "{name}");
                    prop_assert!(alone.is_err() || is_named == 0 || is_option, "{name}");
                }
                let is_unknown = bad.iter().any(|bad| bad.name == "more");
                prop_assert_eq!(is_unknown, values.contains_key("more"));
            }
        }
    }

    #[test]
    fn any_text_is_a_command_or_none_and_never_more_than_its_words(source in "[a-z{}'\" \\\\$|;*-]{0,40}") {
        // CMD-4
        if let Ok(command) = Command::parse(&source) {
            let words = command.arguments().len() + 1;
            prop_assert!(words <= source.split(' ').count());
        }
    }
}
