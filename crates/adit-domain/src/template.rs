//! Templates: commands that an operator has vetted. A caller gives values for parameters, never a command line.
//!
//! 1. A file becomes [`Draft`]s, and each a [`Template`] or a list of what is wrong with it. The command is split into arguments here.
//! 2. [`Template::plan`] takes a caller's values and gives exact arguments, or names every bad parameter.
//! 3. [`Template::canonical`] is what a version's digest is made of.
//!
//! The number of arguments is the template's; a value fills its place inside one of them.

use crate::policy::Selection;

pub mod command;
pub mod limits;
pub mod name;
pub mod parameter;
pub mod path;
pub mod pattern;
pub mod plan;
pub mod seen;
pub mod text;
pub mod value;

mod canonical;

pub use command::{Argument, BadCommand, Command, Part};
pub use limits::{Approval, Approver, Concurrency, Image, Layer, Limits};
pub use name::{NeededScope, ParameterName, TemplateName};
pub use parameter::{Definition, Kind, KindName, Parameter, Reason};
pub use path::AbsolutePath;
pub use plan::{BadParameter, Planned, PlannedPath};
pub use seen::SeenPath;
pub use value::Value;

/// The most parameters of a template: a form that a person still fills in.
pub const MAX_PARAMETERS: usize = 32;

/// The most paths that a template shows to its jobs.
pub const MAX_READS: usize = 16;

/// The longest category, in characters.
pub const MAX_CATEGORY_CHARS: usize = 64;

/// The parts of a template, each sound by itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// What a caller runs.
    pub name: TemplateName,
    /// What it says to people.
    pub description: String,
    /// Under what it is listed.
    pub category: String,
    /// What runs.
    pub command: Command,
    /// What a caller may fill in, in the order of the file.
    pub parameters: Vec<Parameter>,
    /// What a caller must hold.
    pub required_scopes: Vec<NeededScope>,
    /// What a job may use.
    pub limits: Limits,
    /// What its jobs see of the machine beside what all jobs see.
    pub reads: Vec<SeenPath>,
    /// Whether its jobs see the machine's processes.
    pub sees_processes: bool,
    /// On which machines it may run.
    pub targets: Selection,
    /// How many run at a time.
    pub concurrency: Concurrency,
    /// Who must agree.
    pub approval: Approval,
    /// Whether a job may be run again when nobody knows how far it came.
    pub idempotent: bool,
    /// Without which layers of the sandbox it does not run.
    pub layers: Vec<Layer>,
    /// In which container it runs; none: in the sandbox of the machine.
    pub sandbox_image: Option<Image>,
}

impl Draft {
    /// Begins a draft that may run anywhere within the defaults.
    pub fn new(name: TemplateName, command: Command) -> Self {
        Self {
            name,
            description: String::new(),
            category: String::new(),
            command,
            parameters: Vec::new(),
            required_scopes: Vec::new(),
            limits: Limits::default(),
            reads: Vec::new(),
            sees_processes: false,
            targets: Selection::All,
            concurrency: Concurrency::default(),
            approval: Approval::default(),
            idempotent: false,
            layers: Vec::new(),
            sandbox_image: None,
        }
    }
}

/// A template whose parts fit each other.
#[derive(Clone, PartialEq, Debug)]
pub struct Template(Draft);

/// What does not fit in a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadTemplate {
    /// The command names a parameter that there is not.
    #[error("the command uses `{{{0}}}`, and there is no such parameter")]
    UnknownPlaceholder(ParameterName),
    /// The command does not name a parameter that there is.
    #[error("the command does not use the parameter `{0}`")]
    UnusedParameter(ParameterName),
    /// Two parameters have one name.
    #[error("the parameter `{0}` stands there twice")]
    TwiceParameter(ParameterName),
    /// A value would choose options.
    #[error(
        "in the argument `{argument}` the text of `{parameter}` could choose options: write it apart, `--name={{{parameter}}}`, or list its values in `allowed_values`"
    )]
    OpenOption {
        /// Which parameter.
        parameter: ParameterName,
        /// Which argument.
        argument: String,
    },
    /// A default that would be refused if a caller gave it.
    #[error(
        "the default of `{0}` begins with `-` and would be read as an option: list it in `allowed_values` if that is meant"
    )]
    DefaultLooksLikeOption(ParameterName),
    /// More than [`MAX_PARAMETERS`].
    #[error("a template has at most 32 parameters")]
    TooManyParameters,
    /// More than [`MAX_READS`].
    #[error("`reads` lists at most 16 paths")]
    TooManyReads,
    /// A text for people that holds what they would not see, or is too long.
    #[error("the {0} is too long, or holds what people do not see")]
    Prose(&'static str),
}

impl Template {
    /// Holds the parts of a draft against each other.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn new(draft: Draft) -> Result<Self, Vec<BadTemplate>> {
        let template = Self(draft);
        let mut faults = Vec::new();
        template.check_prose(&mut faults);
        template.check_names(&mut faults);
        template.check_options(&mut faults);
        template.check_defaults(&mut faults);
        if faults.is_empty() { Ok(template) } else { Err(faults) }
    }

    /// Gives the name.
    pub const fn name(&self) -> &TemplateName {
        &self.0.name
    }

    /// Gives what it says to people.
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// Gives under what it is listed.
    pub fn category(&self) -> &str {
        &self.0.category
    }

    /// Gives what runs.
    pub const fn command(&self) -> &Command {
        &self.0.command
    }

    /// Lists the parameters in the order of the file.
    pub fn parameters(&self) -> &[Parameter] {
        &self.0.parameters
    }

    /// Finds a parameter.
    pub fn find_parameter(&self, name: &str) -> Option<&Parameter> {
        self.0.parameters.iter().find(|one| one.name().as_str() == name)
    }

    /// Lists what a caller must hold, all of it.
    pub fn required_scopes(&self) -> &[NeededScope] {
        &self.0.required_scopes
    }

    /// Gives what a job may use.
    pub const fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Lists what its jobs see of the machine, read-only, beside what all jobs see.
    pub fn reads(&self) -> &[SeenPath] {
        &self.0.reads
    }

    /// Tells whether its jobs see the machine's processes.
    pub const fn sees_processes(&self) -> bool {
        self.0.sees_processes
    }

    /// Gives on which machines it may run.
    pub const fn targets(&self) -> &Selection {
        &self.0.targets
    }

    /// Gives how many run at a time.
    pub const fn concurrency(&self) -> Concurrency {
        self.0.concurrency
    }

    /// Gives who must agree.
    pub const fn approval(&self) -> &Approval {
        &self.0.approval
    }

    /// Tells whether a job may be run again when nobody knows how far it came.
    pub const fn is_idempotent(&self) -> bool {
        self.0.idempotent
    }

    /// Lists the layers of the sandbox without which it does not run.
    pub fn layers(&self) -> &[Layer] {
        &self.0.layers
    }

    /// Gives the container in which it runs; none: the sandbox of the machine.
    pub const fn sandbox_image(&self) -> Option<&Image> {
        self.0.sandbox_image.as_ref()
    }

    fn check_prose(&self, faults: &mut Vec<BadTemplate>) {
        if text::check_prose(&self.0.description).is_err() {
            faults.push(BadTemplate::Prose("description"));
        }
        let is_long = self.0.category.chars().count() > MAX_CATEGORY_CHARS;
        if is_long || text::check(&self.0.category).is_err() {
            faults.push(BadTemplate::Prose("category"));
        }
    }

    fn check_names(&self, faults: &mut Vec<BadTemplate>) {
        if self.0.parameters.len() > MAX_PARAMETERS {
            faults.push(BadTemplate::TooManyParameters);
        }
        if self.0.reads.len() > MAX_READS {
            faults.push(BadTemplate::TooManyReads);
        }
        let mut unknown: Vec<&ParameterName> = self
            .0
            .command
            .placeholders()
            .filter(|name| self.find_parameter(name.as_str()).is_none())
            .collect();
        unknown.sort();
        unknown.dedup();
        faults.extend(unknown.into_iter().cloned().map(BadTemplate::UnknownPlaceholder));
        for (at, parameter) in self.0.parameters.iter().enumerate() {
            let name = parameter.name();
            if self.0.parameters.iter().take(at).any(|before| before.name() == name) {
                faults.push(BadTemplate::TwiceParameter(name.clone()));
            }
            if !self.0.command.placeholders().any(|used| used == name) {
                faults.push(BadTemplate::UnusedParameter(name.clone()));
            }
        }
    }

    fn check_options(&self, faults: &mut Vec<BadTemplate>) {
        let open = self.0.command.arguments().iter().filter_map(|argument| {
            let parameter = self.find_open(argument)?;
            Some(BadTemplate::OpenOption { parameter, argument: argument.to_string() })
        });
        faults.extend(open);
    }

    /// Finds the parameter whose text would be part of an option's name, or a bundle of options.
    fn find_open(&self, argument: &Argument) -> Option<ParameterName> {
        let mut in_option = false;
        for (at, part) in argument.parts().iter().enumerate() {
            match part {
                Part::Literal(text) if text.contains('=') => return None,
                Part::Literal(text) => in_option |= at == 0 && text.starts_with('-'),
                Part::Placeholder(name) => {
                    let parameter = self.find_parameter(name.as_str())?;
                    if in_option && !parameter.is_closed() {
                        return Some(name.clone());
                    }
                    let begins = |text: &String| text.starts_with('-');
                    in_option |= at == 0 && parameter.allowed_values().iter().any(begins);
                }
            }
        }
        None
    }

    fn check_defaults(&self, faults: &mut Vec<BadTemplate>) {
        for parameter in &self.0.parameters {
            let name = parameter.name();
            let leads = |argument: &Argument| {
                matches!(argument.start(), "" | "-") && argument.placeholders().next() == Some(name)
            };
            let is_bad = parameter
                .default()
                .is_some_and(|text| text.starts_with('-') && !parameter.lists(text));
            if is_bad && self.0.command.arguments().iter().any(leads) {
                faults.push(BadTemplate::DefaultLooksLikeOption(name.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
