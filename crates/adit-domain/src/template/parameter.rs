//! Parameters: what a caller may fill in, and the rules for it.

use std::fmt;
use std::str::FromStr;

use super::name::ParameterName;
use super::path::{AbsolutePath, BadPath};
use super::pattern::{BadPattern, Pattern};
use super::text::{self, BadText};
use super::value::{self, Mismatch, Value};

/// The most values or prefixes that one parameter lists.
pub const MAX_LISTED: usize = 256;

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KindName {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal number.
    Float,
    /// `true` or `false`.
    Bool,
    /// An absolute path, which the machine resolves again.
    Path,
    /// One of the listed texts.
    Enum,
}

impl KindName {
    /// Every type.
    pub const ALL: &[Self] =
        &[Self::Text, Self::Integer, Self::Float, Self::Bool, Self::Path, Self::Enum];

    /// Gives the word in a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Path => "path",
            Self::Enum => "enum",
        }
    }

    /// Says what is expected, to a person.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Integer => "a whole number, such as 5 or \"5\"",
            Self::Float => "a decimal number, such as 0.5 or \"0.5\"",
            Self::Bool => "true or false",
            Self::Path => "a string with an absolute path",
            Self::Enum => "one of the listed strings",
        }
    }

    const fn has_length(self) -> bool {
        matches!(self, Self::Text | Self::Path | Self::Enum)
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a type is string, int, float, bool, path or enum")]
pub struct UnknownKind;

impl FromStr for KindName {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

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
    #[error("the pattern is wrong: it {0}")]
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

/// Why a value is refused. With the parameter's name before it, it is a sentence.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Reason {
    /// The template has no such parameter.
    #[error("is no parameter of this template")]
    Unknown,
    /// It must be given.
    #[error("is required")]
    Missing,
    /// It is required, and empty.
    #[error("must not be empty")]
    Empty,
    /// It has another type.
    #[error("must be {}", .0.expected())]
    WrongType(KindName),
    /// It is NaN or an infinity.
    #[error("must be a finite number")]
    NotFinite,
    /// It holds what no argument holds.
    #[error("{0}")]
    Text(BadText),
    /// It is none of the listed values.
    #[error("is none of the allowed values")]
    NotListed,
    /// It does not match as a whole.
    #[error("does not match the pattern as a whole")]
    Pattern,
    /// It has too few characters.
    #[error("must have at least {0} characters")]
    TooShort(u32),
    /// It has too many characters.
    #[error("must have at most {0} characters")]
    TooLong(u32),
    /// It is too small.
    #[error("must be at least {0}")]
    TooSmall(String),
    /// It is too large.
    #[error("must be at most {0}")]
    TooLarge(String),
    /// It is no path of the form that is taken.
    #[error("{0}")]
    Path(BadPath),
    /// A text has `..` between slashes.
    #[error("must not have `..` as a component of a path")]
    Climbs,
    /// It lies outside of what is allowed.
    #[error("lies outside of the allowed paths")]
    Outside,
    /// It lies in what is forbidden.
    #[error("lies in a forbidden path")]
    Forbidden,
    /// It would be read as an option.
    #[error("must not begin with `-` here: it would be read as an option")]
    LooksLikeOption,
}

impl Reason {
    /// Gives the stable word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::WrongType(_) => "wrong_type",
            Self::NotFinite => "not_finite",
            Self::Text(_) => "bad_text",
            Self::NotListed => "not_allowed",
            Self::Pattern => "pattern",
            Self::TooShort(_) => "too_short",
            Self::TooLong(_) => "too_long",
            Self::TooSmall(_) => "too_small",
            Self::TooLarge(_) => "too_large",
            Self::Path(_) | Self::Climbs => "bad_path",
            Self::Outside => "path_not_allowed",
            Self::Forbidden => "path_forbidden",
            Self::LooksLikeOption => "looks_like_option",
        }
    }
}

/// The least and the most, both included.
#[derive(Clone, PartialEq, Debug)]
pub struct Bounds<T> {
    /// The least.
    pub min: Option<T>,
    /// The most.
    pub max: Option<T>,
}

/// Where a path may lie.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PathRules {
    /// Only in these; empty: anywhere.
    pub allowed: Vec<AbsolutePath>,
    /// In none of these, whatever is allowed.
    pub forbidden: Vec<AbsolutePath>,
}

/// A type with the rules that it alone has.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer(Bounds<i64>),
    /// A decimal number.
    Float(Bounds<f64>),
    /// `true` or `false`.
    Bool,
    /// An absolute path.
    Path(PathRules),
    /// One of the listed texts.
    Enum,
}

/// A parameter whose rules are sound.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    name: ParameterName,
    description: String,
    required: bool,
    default: Option<String>,
    kind: Kind,
    length: Bounds<u32>,
    pattern: Option<Pattern>,
    listed: Vec<String>,
}

impl Parameter {
    /// Reads a definition.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(definition: &Definition) -> Result<Self, Vec<BadRule>> {
        let mut faults = Vec::new();
        if let Err(bad) = text::check_prose(&definition.description) {
            faults.push(bad_rule(Rule::Description, BadRuleReason::Text(bad)));
        }
        let parameter = Self {
            name: definition.name.clone(),
            description: definition.description.clone(),
            required: definition.required,
            default: definition.default.clone(),
            kind: read_kind(definition, &mut faults),
            length: read_length(definition, &mut faults),
            pattern: read_pattern(definition, &mut faults),
            listed: definition.allowed_values.clone(),
        };
        if faults.is_empty() {
            parameter.check_listed(&mut faults);
            parameter.check_default(&mut faults);
        }
        if faults.is_empty() { Ok(parameter) } else { Err(faults) }
    }

    /// Gives the name.
    pub const fn name(&self) -> &ParameterName {
        &self.name
    }

    /// Gives what it says to people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Gives the type with its rules.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Gives the type's name.
    pub const fn kind_name(&self) -> KindName {
        match self.kind {
            Kind::Text => KindName::Text,
            Kind::Integer(_) => KindName::Integer,
            Kind::Float(_) => KindName::Float,
            Kind::Bool => KindName::Bool,
            Kind::Path(_) => KindName::Path,
            Kind::Enum => KindName::Enum,
        }
    }

    /// Tells whether a caller must give it: it is required and has no default.
    pub const fn must_be_given(&self) -> bool {
        self.required && self.default.is_none()
    }

    /// Tells whether it is required, so that it is never empty.
    pub const fn is_required(&self) -> bool {
        self.required
    }

    /// Gives what it is where a caller gives none, as it stands in an argument.
    pub fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// Gives how many characters a text may have.
    pub const fn length(&self) -> &Bounds<u32> {
        &self.length
    }

    /// Gives the pattern.
    pub const fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// Lists the only values that there are, as they stand in an argument; empty: any.
    pub fn allowed_values(&self) -> &[String] {
        &self.listed
    }

    /// Tells whether the template itself lists this value.
    pub(super) fn lists(&self, text: &str) -> bool {
        self.listed.iter().any(|one| self.is_same(one, text))
    }

    /// Tells whether no value can bring letters of its own: the operator wrote all of them, or they are a number's.
    pub(super) fn is_closed(&self) -> bool {
        !self.listed.is_empty() || !matches!(self.kind, Kind::Text)
    }

    /// Makes the text of a value, none where it drops its argument.
    pub(super) fn fill(&self, value: Option<&Value>) -> Result<Option<String>, Reason> {
        let Some(value) = value else {
            return match &self.default {
                Some(default) if default.is_empty() => self.fill_empty(),
                Some(default) => Ok(Some(default.clone())),
                None if self.required => Err(Reason::Missing),
                None => Ok(None),
            };
        };
        if matches!(value, Value::Text(text) if text.is_empty()) {
            return self.fill_empty();
        }
        let kind = self.kind_name();
        let text = value::text_of(kind, value).map_err(|mismatch| match mismatch {
            Mismatch::Type => Reason::WrongType(kind),
            Mismatch::Infinite => Reason::NotFinite,
        })?;
        self.check(&text)?;
        Ok(Some(text))
    }

    /// An empty text drops its argument; a required one is empty only where the template lists that.
    fn fill_empty(&self) -> Result<Option<String>, Reason> {
        match (self.required, self.lists("")) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(String::new())),
            (true, false) => Err(Reason::Empty),
        }
    }

    fn check(&self, text: &str) -> Result<(), Reason> {
        text::check(text).map_err(Reason::Text)?;
        if !self.listed.is_empty() && !self.lists(text) {
            return Err(Reason::NotListed);
        }
        self.check_kind(text)?;
        self.check_length(text)?;
        match &self.pattern {
            Some(pattern) if !pattern.fits(text) => Err(Reason::Pattern),
            _ => Ok(()),
        }
    }

    fn check_kind(&self, text: &str) -> Result<(), Reason> {
        let wrong = || Reason::WrongType(self.kind_name());
        match &self.kind {
            Kind::Integer(bounds) => bounds.check(value::integer(text).ok_or_else(wrong)?),
            Kind::Float(bounds) => bounds.check(value::float(text).ok_or_else(wrong)?),
            Kind::Bool => matches!(text, "true" | "false").then_some(()).ok_or_else(wrong),
            Kind::Path(rules) => rules.check(&text.parse().map_err(Reason::Path)?),
            Kind::Text | Kind::Enum if text.split('/').any(|part| part == "..") => {
                Err(Reason::Climbs)
            }
            Kind::Text | Kind::Enum => Ok(()),
        }
    }

    fn check_length(&self, text: &str) -> Result<(), Reason> {
        let chars = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        match (self.length.min, self.length.max) {
            (Some(min), _) if chars < min => Err(Reason::TooShort(min)),
            (_, Some(max)) if chars > max => Err(Reason::TooLong(max)),
            _ => Ok(()),
        }
    }

    /// Compares exactly: numbers as numbers, texts byte by byte.
    fn is_same(&self, one: &str, other: &str) -> bool {
        match self.kind {
            Kind::Float(_) => value::float(one).is_some_and(|one| value::float(other) == Some(one)),
            _ => one == other,
        }
    }

    fn check_listed(&self, faults: &mut Vec<BadRule>) {
        let rule = Rule::AllowedValues;
        if self.listed.is_empty() && matches!(self.kind, Kind::Enum) {
            faults.push(bad_rule(rule(None), BadRuleReason::NoValues));
        }
        if self.listed.len() > MAX_LISTED {
            faults.push(bad_rule(rule(None), BadRuleReason::TooMany));
        }
        for (at, text) in self.listed.iter().enumerate().take(MAX_LISTED) {
            if self.listed.iter().take(at).any(|before| self.is_same(before, text)) {
                faults.push(bad_rule(rule(Some(at)), BadRuleReason::Twice));
            } else if let Err(reason) = self.check_written(text) {
                faults.push(bad_rule(rule(Some(at)), BadRuleReason::Refused(reason)));
            }
        }
    }

    fn check_default(&self, faults: &mut Vec<BadRule>) {
        let Some(default) = &self.default else { return };
        let refused = if default.is_empty() && self.required && !self.lists("") {
            Err(Reason::Empty)
        } else {
            self.check_written(default)
        };
        if let Err(reason) = refused {
            faults.push(bad_rule(Rule::Default, BadRuleReason::Refused(reason)));
        }
    }

    /// Checks what a file says; an empty text drops its argument, so it has no rules to keep.
    fn check_written(&self, text: &str) -> Result<(), Reason> {
        if text.is_empty() && self.kind_name().has_length() { Ok(()) } else { self.check(text) }
    }
}

impl<T: PartialOrd + fmt::Display> Bounds<T> {
    fn check(&self, number: T) -> Result<(), Reason> {
        match (&self.min, &self.max) {
            (Some(min), _) if number < *min => Err(Reason::TooSmall(min.to_string())),
            (_, Some(max)) if number > *max => Err(Reason::TooLarge(max.to_string())),
            _ => Ok(()),
        }
    }
}

impl<T: PartialOrd> Bounds<T> {
    fn is_crossed(&self) -> bool {
        matches!((&self.min, &self.max), (Some(min), Some(max)) if min > max)
    }
}

impl PathRules {
    fn check(&self, path: &AbsolutePath) -> Result<(), Reason> {
        if self.forbidden.iter().any(|folder| path.is_in(folder)) {
            return Err(Reason::Forbidden);
        }
        let allowed =
            self.allowed.is_empty() || self.allowed.iter().any(|folder| path.is_in(folder));
        if allowed { Ok(()) } else { Err(Reason::Outside) }
    }
}

fn read_kind(definition: &Definition, faults: &mut Vec<BadRule>) -> Kind {
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

fn read_length(definition: &Definition, faults: &mut Vec<BadRule>) -> Bounds<u32> {
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

fn read_pattern(definition: &Definition, faults: &mut Vec<BadRule>) -> Option<Pattern> {
    match Pattern::new(definition.pattern.as_deref()?) {
        Ok(pattern) => Some(pattern),
        Err(bad) => {
            faults.push(bad_rule(Rule::Pattern, BadRuleReason::Pattern(bad)));
            None
        }
    }
}

fn bad_rule(rule: Rule, why: BadRuleReason) -> BadRule {
    BadRule { rule, why }
}

#[cfg(test)]
#[path = "parameter/tests.rs"]
mod tests;
