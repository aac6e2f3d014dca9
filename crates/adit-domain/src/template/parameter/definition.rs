//! Parameters as files have them, and what is wrong with one.

use super::{Bounds, Kind, KindName, PathRules, Reason};
use crate::template::name::ParameterName;
use crate::template::path::{AbsolutePath, BadPath};
use crate::template::pattern::{BadPattern, Pattern};
use crate::template::text::BadText;
use crate::template::value;

/// The most values or prefixes that one parameter lists.
pub const MAX_LISTED: usize = 256;

/// A parameter as a file has it: texts that nobody has looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: ParameterName,
    /// Its type.
    pub kind: KindName,
    /// Whether a caller must give it.
    pub required: bool,
    /// What it says to people.
    pub description: String,
    /// What it is where a caller gives none.
    pub default: Option<String>,
    /// The fewest characters.
    pub min_length: Option<u32>,
    /// The most characters.
    pub max_length: Option<u32>,
    /// The smallest number.
    pub min_value: Option<String>,
    /// The largest number.
    pub max_value: Option<String>,
    /// What the whole value matches.
    pub pattern: Option<String>,
    /// The only values that there are; empty: any.
    pub allowed_values: Vec<String>,
    /// Where a path must lie; empty: anywhere.
    pub allowed_paths: Vec<String>,
    /// Where a path must not lie.
    pub forbidden_paths: Vec<String>,
}

impl Definition {
    /// Begins a definition of a required parameter without rules.
    pub fn new(name: ParameterName, kind: KindName) -> Self {
        Self {
            name,
            kind,
            required: true,
            description: String::new(),
            default: None,
            min_length: None,
            max_length: None,
            min_value: None,
            max_value: None,
            pattern: None,
            allowed_values: Vec::new(),
            allowed_paths: Vec::new(),
            forbidden_paths: Vec::new(),
        }
    }
}

/// The rules of a definition, as errors name them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// `description`.
    Description,
    /// `default`.
    Default,
    /// `min_length`.
    MinLength,
    /// `max_length`.
    MaxLength,
    /// `min_value`.
    MinValue,
    /// `max_value`.
    MaxValue,
    /// `pattern`.
    Pattern,
    /// `allowed_values`, or one of them.
    AllowedValues(Option<usize>),
    /// `allowed_paths`, or one of them.
    AllowedPaths(Option<usize>),
    /// `forbidden_paths`, or one of them.
    ForbiddenPaths(Option<usize>),
}

/// What is wrong with a definition.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct BadRule {
    /// Where.
    pub rule: Rule,
    /// What.
    pub why: BadRuleReason,
}

/// What is wrong with one rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRuleReason {
    /// It means nothing for this type.
    #[error("this means nothing for the type {0}")]
    WrongKind(KindName),
    /// It is no number of this type.
    #[error("this is not {}", .0.expected())]
    NotANumber(KindName),
    /// The least is more than the most.
    #[error("the minimum is above the maximum")]
    Crossed,
    /// It is no pattern.
    #[error("the pattern is wrong: {0}")]
    Pattern(BadPattern),
    /// It is no path.
    #[error("this {0}")]
    Path(BadPath),
    /// The parameter's own rules refuse this value.
    #[error("the parameter's own rules refuse this value: it {0}")]
    Refused(Reason),
    /// The value stands there before.
    #[error("this value is listed twice")]
    Twice,
    /// More than [`MAX_LISTED`].
    #[error("more than 256 are listed")]
    TooMany,
    /// An enum without values.
    #[error("an enum lists its values in `allowed_values`")]
    NoValues,
    /// A text for people that holds what they would not see.
    #[error("this {0}")]
    Text(BadText),
}

pub(super) fn read_kind(definition: &Definition, faults: &mut Vec<BadRule>) -> Kind {
    let kind = definition.kind;
    if kind != KindName::Path {
        let paths = [
            (Rule::AllowedPaths(None), &definition.allowed_paths),
            (Rule::ForbiddenPaths(None), &definition.forbidden_paths),
        ];
        let said = paths.into_iter().filter(|(_, list)| !list.is_empty());
        faults.extend(said.map(|(rule, _)| bad_rule(rule, BadRuleReason::WrongKind(kind))));
    }
    if !matches!(kind, KindName::Integer | KindName::Float) {
        let numbers =
            [(Rule::MinValue, &definition.min_value), (Rule::MaxValue, &definition.max_value)];
        let said = numbers.into_iter().filter(|(_, number)| number.is_some());
        faults.extend(said.map(|(rule, _)| bad_rule(rule, BadRuleReason::WrongKind(kind))));
    }
    match kind {
        KindName::Text => Kind::Text,
        KindName::Integer => Kind::Integer(read_bounds(definition, value::integer, faults)),
        KindName::Float => Kind::Float(read_bounds(definition, value::float, faults)),
        KindName::Bool => Kind::Bool,
        KindName::Path => Kind::Path(PathRules {
            allowed: read_paths(&definition.allowed_paths, Rule::AllowedPaths, faults),
            forbidden: read_paths(&definition.forbidden_paths, Rule::ForbiddenPaths, faults),
        }),
        KindName::Enum => Kind::Enum,
    }
}

fn read_bounds<T: PartialOrd>(
    definition: &Definition,
    read: fn(&str) -> Option<T>,
    faults: &mut Vec<BadRule>,
) -> Bounds<T> {
    let mut number = |rule, text: &Option<String>| {
        let text = text.as_deref()?;
        let number = read(text);
        if number.is_none() {
            faults.push(bad_rule(rule, BadRuleReason::NotANumber(definition.kind)));
        }
        number
    };
    let min = number(Rule::MinValue, &definition.min_value);
    let bounds = Bounds { min, max: number(Rule::MaxValue, &definition.max_value) };
    if bounds.is_crossed() {
        faults.push(bad_rule(Rule::MinValue, BadRuleReason::Crossed));
    }
    bounds
}

fn read_paths(
    list: &[String],
    rule: fn(Option<usize>) -> Rule,
    faults: &mut Vec<BadRule>,
) -> Vec<AbsolutePath> {
    if list.len() > MAX_LISTED {
        faults.push(bad_rule(rule(None), BadRuleReason::TooMany));
    }
    let mut paths = Vec::new();
    for (at, text) in list.iter().enumerate().take(MAX_LISTED) {
        match AbsolutePath::prefix(text) {
            Ok(path) => paths.push(path),
            Err(bad) => faults.push(bad_rule(rule(Some(at)), BadRuleReason::Path(bad))),
        }
    }
    paths
}

pub(super) fn read_length(definition: &Definition, faults: &mut Vec<BadRule>) -> Bounds<u32> {
    let bounds = Bounds { min: definition.min_length, max: definition.max_length };
    if !definition.kind.has_length() {
        let said = [(Rule::MinLength, bounds.min), (Rule::MaxLength, bounds.max)];
        let wrong = BadRuleReason::WrongKind(definition.kind);
        let said = said.into_iter().filter(|(_, length)| length.is_some());
        faults.extend(said.map(|(rule, _)| bad_rule(rule, wrong.clone())));
    }
    if bounds.is_crossed() {
        faults.push(bad_rule(Rule::MinLength, BadRuleReason::Crossed));
    }
    bounds
}

pub(super) fn read_pattern(definition: &Definition, faults: &mut Vec<BadRule>) -> Option<Pattern> {
    match Pattern::new(definition.pattern.as_deref()?) {
        Ok(pattern) => Some(pattern),
        Err(bad) => {
            faults.push(bad_rule(Rule::Pattern, BadRuleReason::Pattern(bad)));
            None
        }
    }
}

pub(super) fn bad_rule(rule: Rule, why: BadRuleReason) -> BadRule {
    BadRule { rule, why }
}
