use super::*;
use crate::template::path::BadPath;
use crate::template::text::BadText;

fn definition(kind: KindName) -> Definition {
    Definition::new("p".parse().unwrap(), kind)
}

fn optional(kind: KindName) -> Definition {
    Definition { required: false, ..definition(kind) }
}

fn listing(kind: KindName, values: &[&str]) -> Definition {
    let allowed_values = values.iter().map(ToString::to_string).collect();
    Definition { allowed_values, ..definition(kind) }
}

fn fill(definition: &Definition, value: Value) -> Result<Option<String>, Reason> {
    Parameter::new(definition).unwrap().fill(Some(&value))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn faults(definition: &Definition) -> Vec<(Rule, BadRuleReason)> {
    let faults = Parameter::new(definition).unwrap_err();
    faults.into_iter().map(|fault| (fault.rule, fault.why)).collect()
}

#[test]
fn a_value_of_another_type_is_refused() {
    // CMD-5, JOB-11
    let others = [Value::Null, Value::List, Value::Map];
    for kind in [KindName::Text, KindName::Integer, KindName::Float, KindName::Bool, KindName::Path]
    {
        for other in &others {
            assert_eq!(fill(&definition(kind), other.clone()), Err(Reason::WrongType(kind)));
        }
    }
    for (kind, bad) in [
        (KindName::Text, Value::Integer(5)),
        (KindName::Text, Value::Bool(true)),
        (KindName::Path, Value::Float(0.5)),
        (KindName::Integer, Value::Float(5.0)),
        (KindName::Integer, Value::Bool(true)),
        (KindName::Integer, text(" 5")),
        (KindName::Integer, text("+5")),
        (KindName::Integer, text("0x5")),
        (KindName::Integer, text("1e3")),
        (KindName::Float, text("1e3")),
        (KindName::Float, text("NaN")),
        (KindName::Float, Value::Bool(false)),
        (KindName::Bool, Value::Integer(1)),
        (KindName::Bool, text("True")),
        (KindName::Bool, text("yes")),
    ] {
        assert_eq!(fill(&definition(kind), bad.clone()), Err(Reason::WrongType(kind)), "{bad:?}");
    }
}

#[test]
fn a_number_without_end_is_refused() {
    // CMD-5
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(fill(&definition(KindName::Float), Value::Float(bad)), Err(Reason::NotFinite));
    }
}

#[test]
fn a_value_of_its_type_is_written_in_one_form() {
    for (kind, value, written) in [
        (KindName::Text, text("a b"), "a b"),
        (KindName::Integer, Value::Integer(-5), "-5"),
        (KindName::Integer, text("5"), "5"),
        (KindName::Float, Value::Integer(5), "5"),
        (KindName::Float, Value::Float(0.25), "0.25"),
        (KindName::Float, text("0.50"), "0.50"),
        (KindName::Bool, Value::Bool(true), "true"),
        (KindName::Bool, text("false"), "false"),
        (KindName::Path, text("/var/log"), "/var/log"),
    ] {
        assert_eq!(fill(&definition(kind), value), Ok(Some(written.to_owned())));
    }
}

#[test]
fn a_missing_value_is_its_default_or_nothing_or_refused() {
    let fill = |definition: &Definition| Parameter::new(definition).unwrap().fill(None);
    let with = Definition { default: Some("x".to_owned()), ..definition(KindName::Text) };
    assert_eq!(fill(&with), Ok(Some("x".to_owned())));
    assert_eq!(fill(&optional(KindName::Text)), Ok(None));
    assert_eq!(fill(&definition(KindName::Text)), Err(Reason::Missing));
}

#[test]
fn an_empty_value_drops_its_argument_or_is_refused() {
    // CMD-4
    for kind in [KindName::Text, KindName::Integer, KindName::Path] {
        assert_eq!(fill(&optional(kind), text("")), Ok(None));
        assert_eq!(fill(&definition(kind), text("")), Err(Reason::Empty));
    }
    let long = Definition { min_length: Some(3), ..optional(KindName::Text) };
    assert_eq!(fill(&long, text("")), Ok(None));
    assert_eq!(fill(&listing(KindName::Text, &["", "a"]), text("")), Ok(Some(String::new())));
    let dropped = Definition { default: Some(String::new()), ..optional(KindName::Text) };
    assert_eq!(Parameter::new(&dropped).unwrap().fill(None), Ok(None));
}

#[test]
fn listed_values_are_compared_exactly_on_every_type() {
    // CMD-5, JOB-08, JOB-13
    let texts = listing(KindName::Text, &["one", "two"]);
    let choices = listing(KindName::Enum, &["one", "fi"]);
    for definition in [&texts, &choices] {
        assert_eq!(fill(definition, text("one")), Ok(Some("one".to_owned())));
        for bad in ["One", "ONE", " one", "one ", "onetwo", "\u{fb01}", "\u{ff4f}ne"] {
            assert_eq!(fill(definition, text(bad)), Err(Reason::NotListed), "{bad}");
        }
    }
    let numbers = listing(KindName::Integer, &["1", "2"]);
    assert_eq!(fill(&numbers, Value::Integer(2)), Ok(Some("2".to_owned())));
    assert_eq!(fill(&numbers, Value::Integer(3)), Err(Reason::NotListed));
    let fractions = listing(KindName::Float, &["0.5"]);
    assert_eq!(fill(&fractions, text("0.50")), Ok(Some("0.50".to_owned())));
    assert_eq!(fill(&fractions, Value::Float(0.51)), Err(Reason::NotListed));
    let paths = listing(KindName::Path, &["/tmp"]);
    assert_eq!(fill(&paths, text("/tmp/a")), Err(Reason::NotListed));
    let truths = listing(KindName::Bool, &["true"]);
    assert_eq!(fill(&truths, Value::Bool(false)), Err(Reason::NotListed));
}

#[test]
fn bounds_hold_at_their_ends() {
    let number = |kind, min: &str, max: &str| Definition {
        min_value: Some(min.to_owned()),
        max_value: Some(max.to_owned()),
        ..definition(kind)
    };
    let whole = number(KindName::Integer, "1", "10");
    assert!(fill(&whole, Value::Integer(1)).is_ok() && fill(&whole, Value::Integer(10)).is_ok());
    assert_eq!(fill(&whole, Value::Integer(0)), Err(Reason::TooSmall("1".to_owned())));
    assert_eq!(fill(&whole, text("11")), Err(Reason::TooLarge("10".to_owned())));
    let part = number(KindName::Float, "0", "0.5");
    assert!(fill(&part, Value::Float(0.5)).is_ok());
    assert_eq!(fill(&part, Value::Float(0.500_001)), Err(Reason::TooLarge("0.5".to_owned())));
    let length =
        Definition { min_length: Some(2), max_length: Some(3), ..definition(KindName::Text) };
    assert!(fill(&length, text("ab")).is_ok() && fill(&length, text("\u{e9}\u{e9}\u{e9}")).is_ok());
    assert_eq!(fill(&length, text("a")), Err(Reason::TooShort(2)));
    assert_eq!(fill(&length, text("abcd")), Err(Reason::TooLong(3)));
}

#[test]
fn a_pattern_is_held_against_the_whole_value_of_any_type() {
    // JOB-05
    let seed = Some(r"^/[a-zA-Z0-9_./\-]*$".to_owned());
    let seed = Definition { pattern: seed, ..definition(KindName::Text) };
    assert!(fill(&seed, text("/tmp")).is_ok());
    assert_eq!(fill(&seed, text("/tmp;id")), Err(Reason::Pattern));
    for bad in ["/tmp\n", "/t\nmp"] {
        assert_eq!(fill(&seed, text(bad)), Err(Reason::Text(BadText::LineEnd)));
    }
    let even =
        Definition { pattern: Some("[0-9]*[02468]".into()), ..definition(KindName::Integer) };
    assert!(fill(&even, Value::Integer(42)).is_ok());
    assert_eq!(fill(&even, Value::Integer(41)), Err(Reason::Pattern));
}

#[test]
fn a_path_lies_where_it_may() {
    // CMD-2, JOB-06
    let rules = Definition {
        allowed_paths: vec!["/tmp".into(), "/var/log/".into()],
        forbidden_paths: vec!["/var/log/private".into()],
        ..definition(KindName::Path)
    };
    for fine in ["/tmp", "/tmp/a", "/var/log/syslog", "/var/log/private2"] {
        assert!(fill(&rules, text(fine)).is_ok(), "{fine}");
    }
    for (bad, reason) in [
        ("/tmpevil", Reason::Outside),
        ("/var/log2/x", Reason::Outside),
        ("/", Reason::Outside),
        ("/var/log/private", Reason::Forbidden),
        ("/var/log/private/x", Reason::Forbidden),
        ("/tmp/../etc/shadow", Reason::Path(BadPath::Dots)),
        ("/tmp/./..//etc", Reason::Path(BadPath::Dots)),
        ("tmp", Reason::Path(BadPath::Relative)),
        ("/tmp//a", Reason::Path(BadPath::Empty)),
    ] {
        assert_eq!(fill(&rules, text(bad)), Err(reason), "{bad}");
    }
}

#[test]
fn a_text_does_not_climb_out_of_a_folder() {
    // JOB-06
    for bad in ["..", "../x", "/tmp/../etc/shadow", "a/.."] {
        assert_eq!(fill(&definition(KindName::Text), text(bad)), Err(Reason::Climbs), "{bad}");
    }
    assert!(fill(&definition(KindName::Text), text("a..b")).is_ok());
}

#[test]
fn a_rule_that_means_nothing_for_the_type_is_refused() {
    let wrong = |kind| BadRuleReason::WrongKind(kind);
    let length = Definition { min_length: Some(1), ..definition(KindName::Integer) };
    assert_eq!(faults(&length), [(Rule::MinLength, wrong(KindName::Integer))]);
    let number = Definition { max_value: Some("1".into()), ..definition(KindName::Text) };
    assert_eq!(faults(&number), [(Rule::MaxValue, wrong(KindName::Text))]);
    let paths = Definition { allowed_paths: vec!["/tmp".into()], ..definition(KindName::Text) };
    assert_eq!(faults(&paths), [(Rule::AllowedPaths(None), wrong(KindName::Text))]);
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let crossed = Definition {
        min_value: Some("5".into()),
        max_value: Some("1".into()),
        ..definition(KindName::Integer)
    };
    assert_eq!(faults(&crossed), [(Rule::MinValue, BadRuleReason::Crossed)]);
    let long =
        Definition { min_length: Some(5), max_length: Some(1), ..definition(KindName::Text) };
    assert_eq!(faults(&long), [(Rule::MinLength, BadRuleReason::Crossed)]);
    let default = Definition { default: Some("x".into()), ..listing(KindName::Text, &["a"]) };
    assert_eq!(faults(&default), [(Rule::Default, BadRuleReason::Refused(Reason::NotListed))]);
    let listed = Definition { pattern: Some("a".into()), ..listing(KindName::Text, &["a", "b"]) };
    let refused = BadRuleReason::Refused(Reason::Pattern);
    assert_eq!(faults(&listed), [(Rule::AllowedValues(Some(1)), refused)]);
}

#[test]
fn every_fault_of_a_definition_is_told_at_once() {
    let bad = Definition {
        description: "\u{202e}".into(),
        min_value: Some("x".into()),
        max_value: Some("1e3".into()),
        pattern: Some("(".into()),
        allowed_paths: vec!["tmp".into()],
        ..definition(KindName::Integer)
    };
    let rules: Vec<_> = faults(&bad).into_iter().map(|(rule, _)| rule).collect();
    let all = [Rule::Description, Rule::AllowedPaths(None), Rule::MinValue, Rule::MaxValue];
    assert_eq!(rules, [&all[..], &[Rule::Pattern]].concat());
    let paths = Definition {
        allowed_paths: vec!["/tmp".into(), "a".into(), "/a/..".into()],
        ..definition(KindName::Path)
    };
    assert_eq!(
        faults(&paths),
        [
            (Rule::AllowedPaths(Some(1)), BadRuleReason::Path(BadPath::Relative)),
            (Rule::AllowedPaths(Some(2)), BadRuleReason::Path(BadPath::Dots)),
        ]
    );
}

#[test]
fn an_enum_lists_its_values_once() {
    assert_eq!(
        faults(&definition(KindName::Enum)),
        [(Rule::AllowedValues(None), BadRuleReason::NoValues)]
    );
    assert_eq!(
        faults(&listing(KindName::Enum, &["a", "b", "a"])),
        [(Rule::AllowedValues(Some(2)), BadRuleReason::Twice)]
    );
    let many: Vec<String> = (0..257).map(|n| n.to_string()).collect();
    let many = Definition { allowed_values: many, ..definition(KindName::Enum) };
    assert_eq!(faults(&many), [(Rule::AllowedValues(None), BadRuleReason::TooMany)]);
}
