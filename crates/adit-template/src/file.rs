//! The templates of one file.

use adit_domain::template::{
    BadTemplate, Command, Draft, NeededScope, Parameter, ParameterName, Template, TemplateName,
};

use adit_domain::template::text::check_prose;

use crate::fields::{Faults, Fields, parse, parse_list, text};
use crate::yaml::{self, Content, Key, Node};
use crate::{Fault, MAX_TEMPLATES, Position, limits, parameters};

/// A template with the place of its name.
pub(crate) struct Placed {
    pub at: Position,
    pub template: Template,
}

/// Reads a file.
pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Placed>, Vec<Fault>> {
    let mut faults = Faults::new(file);
    let mut found = Vec::new();
    if let Some(root) = yaml::read(text, &mut faults) {
        read_root(&root, &mut found, &mut faults);
    }
    faults.finish(found)
}

fn read_root(root: &Node, found: &mut Vec<Placed>, faults: &mut Faults) {
    let mut fields = Fields::open(root, "a file", faults);
    let templates = fields.take("templates");
    let at = fields.at();
    fields.finish(faults);
    match templates.map(|node| (&node.content, node.at)) {
        Some((Content::Map(entries), _)) if entries.len() <= MAX_TEMPLATES => {
            found.extend(entries.iter().filter_map(|(key, node)| read_template(key, node, faults)));
        }
        Some((Content::Map(_), at)) => faults.note(at, "a file has at most 1000 templates"),
        Some((_, at)) => faults.note(at, "`templates` is a map of names and templates"),
        None => faults.note(at, "the file has no map `templates:`"),
    }
}

fn read_template(key: &Key, node: &Node, faults: &mut Faults) -> Option<Placed> {
    let name = read_name::<TemplateName>(key, faults);
    let mut fields = Fields::open(node, "a template", faults);
    let permissions = fields.take("permissions");
    let mut permissions =
        permissions.map_or_else(Fields::none, |node| Fields::open(node, "`permissions`", faults));
    let command_node = fields.take("command");
    if command_node.is_none() {
        faults.note(key.at, "the template has no `command`");
    }
    let command = command_node.and_then(|node| parse(node, Command::parse, faults));
    let (places, parameters) = read_parameters(&mut fields, faults);
    let mut rest = Rest::read(&mut fields, &mut permissions, faults);
    let limits = limits::read(&mut fields, &mut permissions, faults);
    permissions.finish(faults);
    fields.finish(faults);
    let mut draft = Draft::new(name?, command?);
    draft.description = std::mem::take(&mut rest.description);
    draft.category = std::mem::take(&mut rest.category);
    draft.required_scopes = rest.scopes;
    // Parameters with a fault of their own would make the command look wrong.
    draft.parameters = parameters?;
    limits.write(&mut draft);
    let at = command_node.map_or(key.at, |node| node.at);
    fit(draft, at, &places, faults).map(|template| Placed { at: key.at, template })
}

/// Holds the parts against each other, and notes what does not fit where it stands.
fn fit(draft: Draft, at: Position, places: &[&Key], faults: &mut Faults) -> Option<Template> {
    match Template::new(draft) {
        Ok(template) => Some(template),
        Err(bad) => {
            for one in bad {
                faults.note(place(&one, places).unwrap_or(at), one);
            }
            None
        }
    }
}

fn place(bad: &BadTemplate, places: &[&Key]) -> Option<Position> {
    let named = |name: &ParameterName| {
        places.iter().find(|key| key.text == name.as_str()).map(|key| key.at)
    };
    match bad {
        BadTemplate::UnusedParameter(name)
        | BadTemplate::TwiceParameter(name)
        | BadTemplate::DefaultLooksLikeOption(name) => named(name),
        BadTemplate::UnknownPlaceholder(_)
        | BadTemplate::OpenOption { .. }
        | BadTemplate::TooManyParameters
        | BadTemplate::TooManyReads
        | BadTemplate::Prose(_) => None,
    }
}

/// What people read, and what a caller must hold.
struct Rest {
    description: String,
    category: String,
    scopes: Vec<NeededScope>,
}

impl Rest {
    fn read<'a>(
        fields: &mut Fields<'a>,
        permissions: &mut Fields<'a>,
        faults: &mut Faults,
    ) -> Self {
        let description = fields.take("description");
        let category = fields.take("category");
        let scopes = match (fields.take("required_scopes"), permissions.take("required_scopes")) {
            (Some(_), Some(second)) => {
                faults.note(second.at, "`required_scopes` stands here and above: keep one");
                None
            }
            (one, other) => one.or(other),
        };
        Self {
            description: description.map(|node| prose(node, faults)).unwrap_or_default(),
            category: category.map(|node| prose(node, faults)).unwrap_or_default(),
            scopes: scopes.map(|node| parse_list(node, str::parse, faults)).unwrap_or_default(),
        }
    }
}

/// Reads what people read.
pub(crate) fn prose(node: &Node, faults: &mut Faults) -> String {
    let Some(text) = text(node, faults) else { return String::new() };
    match check_prose(text.trim_end()) {
        Ok(()) => text.trim_end().to_owned(),
        Err(bad) => {
            faults.note(node.at, format!("this {bad}"));
            String::new()
        }
    }
}

fn read_parameters<'a>(
    fields: &mut Fields<'a>,
    faults: &mut Faults,
) -> (Vec<&'a Key>, Option<Vec<Parameter>>) {
    let Some(node) = fields.take("parameters") else { return (Vec::new(), Some(Vec::new())) };
    let Content::Map(entries) = &node.content else {
        faults.note(node.at, "`parameters` is a map of names and parameters");
        return (Vec::new(), None);
    };
    let read: Vec<Option<Parameter>> =
        entries.iter().map(|(key, node)| parameters::read(key, node, faults)).collect();
    (entries.iter().map(|(key, _)| key).collect(), read.into_iter().collect())
}

/// Reads a name that is a key.
pub(crate) fn read_name<T: std::str::FromStr>(key: &Key, faults: &mut Faults) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    match key.text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            faults.note(key.at, error);
            None
        }
    }
}
