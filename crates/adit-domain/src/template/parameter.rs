//! Parameters: what a caller may fill in, and the rules for it.

use std::fmt;
use std::str::FromStr;

use super::name::ParameterName;
use super::path::AbsolutePath;
use super::pattern::Pattern;
use super::text;
use super::value::{self, Mismatch, Value};

pub mod definition;
pub mod reason;

pub use definition::{BadRule, BadRuleReason, Definition, MAX_LISTED, Rule};
pub use reason::Reason;

use definition::{bad_rule, read_kind, read_length, read_pattern};

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

#[cfg(test)]
#[path = "parameter/tests.rs"]
mod tests;
