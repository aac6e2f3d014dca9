//! From a caller's values to exact arguments.

use std::collections::BTreeMap;

use super::Template;
use super::command::{Argument, Part};
use super::name::ParameterName;
use super::parameter::{Kind, Parameter, PathRules, Reason};
use super::path::AbsolutePath;
use super::value::Value;

/// What runs, exactly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What the machine resolves before it runs anything.
    pub paths: Vec<PlannedPath>,
    /// The texts that the parameters have, defaults included; those that dropped their argument are absent.
    pub values: BTreeMap<ParameterName, String>,
}

/// A path in an argument, which the machine holds against the rules again where it really leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedPath {
    /// Whose value it is.
    pub parameter: ParameterName,
    /// The path as the caller wrote it.
    pub path: AbsolutePath,
    /// Where it may lead.
    pub rules: PathRules,
    /// In which argument it stands; the program is 0.
    pub argument: usize,
    /// At which byte of that argument.
    pub at: usize,
}

/// A parameter that is not as its template wants it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{name}` {reason}")]
pub struct BadParameter {
    /// Its name as the caller wrote it, cut to 64 characters.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

/// The most unknown names that an answer repeats.
const MAX_UNKNOWN: usize = 32;

/// The longest unknown name that an answer repeats, in characters: as long as a name may be.
const SHOWN_CHARS: usize = super::name::MAX_NAME_CHARS;

impl Template {
    /// Makes the exact arguments of a caller's values.
    ///
    /// # Errors
    /// Every bad parameter at once: those of the template in its order, then those that it does not have.
    pub fn plan(&self, values: &BTreeMap<String, Value>) -> Result<Planned, Vec<BadParameter>> {
        let mut filling = Filling { template: self, texts: BTreeMap::new(), bad: Vec::new() };
        filling.fill(values);
        filling.refuse_options();
        filling.refuse_unknown(values);
        if filling.bad.is_empty() { Ok(filling.write()) } else { Err(filling.bad) }
    }
}

/// What is known of the values while they are looked at.
struct Filling<'a> {
    template: &'a Template,
    texts: BTreeMap<&'a ParameterName, String>,
    bad: Vec<BadParameter>,
}

impl<'a> Filling<'a> {
    fn fill(&mut self, values: &BTreeMap<String, Value>) {
        for parameter in self.template.parameters() {
            match parameter.fill(values.get(parameter.name().as_str())) {
                Ok(text) => self.texts.extend(text.map(|text| (parameter.name(), text))),
                Err(reason) => self.refuse(parameter, reason),
            }
        }
    }

    fn refuse_options(&mut self) {
        for argument in self.template.command().arguments() {
            if let Some(parameter) = self.find_option(argument) {
                self.refuse(parameter, Reason::LooksLikeOption);
            }
        }
    }

    /// Finds the parameter whose value makes an option of an argument that the template does not begin as one.
    fn find_option(&self, argument: &Argument) -> Option<&'a Parameter> {
        if !matches!(argument.start(), "" | "-") {
            return None;
        }
        for name in argument.placeholders() {
            let text = self.texts.get(name)?;
            let parameter = self.template.find_parameter(name.as_str())?;
            if text.starts_with('-') && !parameter.lists(text) {
                return Some(parameter);
            }
            if !text.is_empty() {
                return None;
            }
        }
        None
    }

    fn refuse_unknown(&mut self, values: &BTreeMap<String, Value>) {
        let unknown = values.keys().filter(|name| self.template.find_parameter(name).is_none());
        let bad = unknown.take(MAX_UNKNOWN).map(|name| BadParameter {
            name: name.chars().take(SHOWN_CHARS).collect(),
            reason: Reason::Unknown,
        });
        self.bad.extend(bad);
    }

    fn refuse(&mut self, parameter: &Parameter, reason: Reason) {
        let name = parameter.name().as_str();
        if self.bad.iter().all(|bad| bad.name != name) {
            self.bad.push(BadParameter { name: name.to_owned(), reason });
        }
    }

    fn write(self) -> Planned {
        let mut argv = vec![self.template.command().program().to_owned()];
        let mut paths = Vec::new();
        for argument in self.template.command().arguments() {
            let Some((text, found)) = self.write_argument(argument, argv.len()) else { continue };
            argv.push(text);
            paths.extend(found);
        }
        let values = self.texts.into_iter().map(|(name, text)| (name.clone(), text)).collect();
        Planned { argv, paths, values }
    }

    /// Writes an argument; none where a value that it rests on is absent.
    fn write_argument(
        &self,
        argument: &Argument,
        index: usize,
    ) -> Option<(String, Vec<PlannedPath>)> {
        let mut text = String::new();
        let mut paths = Vec::new();
        for part in argument.parts() {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Placeholder(name) => {
                    let value = self.texts.get(name)?;
                    paths.extend(self.find_path(name, value, index, text.len()));
                    text.push_str(value);
                }
            }
        }
        Some((text, paths))
    }

    fn find_path(
        &self,
        name: &ParameterName,
        value: &str,
        argument: usize,
        at: usize,
    ) -> Option<PlannedPath> {
        let Kind::Path(rules) = self.template.find_parameter(name.as_str())?.kind() else {
            return None;
        };
        let path = value.parse().ok()?;
        Some(PlannedPath { parameter: name.clone(), path, rules: rules.clone(), argument, at })
    }
}
