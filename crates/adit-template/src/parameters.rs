//! The parameters of a template in a file.

use adit_domain::template::parameter::{BadRule, Rule};
use adit_domain::template::{Definition, KindName, Parameter};

use crate::Position;
use crate::fields::{Faults, Fields, flag, parse, text, texts, truth};
use crate::file::{prose, read_name};
use crate::yaml::{Content, Key, Node};

/// Reads one parameter.
pub(crate) fn read(key: &Key, node: &Node, faults: &mut Faults) -> Option<Parameter> {
    let name = read_name(key, faults);
    let mut fields = Fields::open(node, "a parameter", faults);
    let kind =
        fields.take("type").map_or(Some(KindName::Text), |node| parse(node, str::parse, faults));
    let nodes = Nodes::take(&mut fields, faults);
    fields.finish(faults);
    let mut definition = Definition::new(name?, kind?);
    nodes.write(&mut definition, faults);
    match Parameter::new(&definition) {
        Ok(parameter) => Some(parameter),
        Err(bad) => {
            for one in bad {
                faults.note(nodes.place(&one).unwrap_or(key.at), one);
            }
            None
        }
    }
}

/// What stands at the keys of a parameter.
struct Nodes<'a> {
    required: Option<&'a Node>,
    default: Option<&'a Node>,
    description: Option<&'a Node>,
    min_length: Option<&'a Node>,
    max_length: Option<&'a Node>,
    min_value: Option<&'a Node>,
    max_value: Option<&'a Node>,
    pattern: Option<&'a Node>,
    allowed_values: Option<&'a Node>,
    allowed_paths: Option<&'a Node>,
    forbidden_paths: Option<&'a Node>,
}

impl<'a> Nodes<'a> {
    fn take(fields: &mut Fields<'a>, faults: &mut Faults) -> Self {
        Self {
            required: fields.take("required"),
            default: fields.take("default"),
            description: fields.take("description"),
            min_length: fields.take("min_length"),
            max_length: fields.take("max_length"),
            min_value: fields.take("min_value"),
            max_value: fields.take("max_value"),
            pattern: fields.take_either("pattern", "validation", faults),
            allowed_values: fields.take("allowed_values"),
            allowed_paths: fields.take("allowed_paths"),
            forbidden_paths: fields.take("forbidden_paths"),
        }
    }

    fn write(&self, definition: &mut Definition, faults: &mut Faults) {
        let kind = definition.kind;
        definition.required = self.required.and_then(|node| flag(node, faults)).unwrap_or(true);
        definition.default =
            self.default.and_then(|node| Some(value(kind, node, text(node, faults)?)));
        definition.description =
            self.description.map(|node| prose(node, faults)).unwrap_or_default();
        definition.min_length = self.min_length.and_then(|node| count(node, faults));
        definition.max_length = self.max_length.and_then(|node| count(node, faults));
        definition.min_value = owned(self.min_value, faults);
        definition.max_value = owned(self.max_value, faults);
        definition.pattern = owned(self.pattern, faults);
        definition.allowed_values = self.allowed_values.map_or_else(Vec::new, |node| {
            texts(node, faults).into_iter().map(|(item, text)| value(kind, item, text)).collect()
        });
        definition.allowed_paths = list(self.allowed_paths, faults);
        definition.forbidden_paths = list(self.forbidden_paths, faults);
        for node in [self.allowed_values, self.allowed_paths, self.forbidden_paths] {
            refuse_empty(node, faults);
        }
    }

    fn place(&self, bad: &BadRule) -> Option<Position> {
        let (node, item) = match bad.rule {
            Rule::Description => (self.description, None),
            Rule::Default => (self.default, None),
            Rule::MinLength => (self.min_length, None),
            Rule::MaxLength => (self.max_length, None),
            Rule::MinValue => (self.min_value, None),
            Rule::MaxValue => (self.max_value, None),
            Rule::Pattern => (self.pattern, None),
            Rule::AllowedValues(item) => (self.allowed_values, item),
            Rule::AllowedPaths(item) => (self.allowed_paths, item),
            Rule::ForbiddenPaths(item) => (self.forbidden_paths, item),
        };
        let node = node?;
        match (&node.content, item) {
            (Content::List(list), Some(item)) => list.get(item).map(|item| item.at),
            _ => Some(node.at),
        }
    }
}

/// Gives a value as a caller would send it: of a type `bool` the words of YAML are one of two.
fn value(kind: KindName, node: &Node, text: &str) -> String {
    let is_word = matches!(node.content, Content::Scalar { is_quoted: false, .. });
    match truth(text).filter(|_| kind == KindName::Bool && is_word) {
        Some(truth) => truth.to_string(),
        None => text.to_owned(),
    }
}

fn owned(node: Option<&Node>, faults: &mut Faults) -> Option<String> {
    node.and_then(|node| text(node, faults)).map(str::to_owned)
}

fn list(node: Option<&Node>, faults: &mut Faults) -> Vec<String> {
    let found = node.map(|node| texts(node, faults)).unwrap_or_default();
    found.into_iter().map(|(_, text)| text.to_owned()).collect()
}

/// An empty list looks like nothing is allowed, and an absent one allows anything: nobody should have to guess.
fn refuse_empty(node: Option<&Node>, faults: &mut Faults) {
    if let Some(Node { content: Content::List(list), at }) = node
        && list.is_empty()
    {
        faults.note(*at, "an empty list says nothing: leave the key out");
    }
}

fn count(node: &Node, faults: &mut Faults) -> Option<u32> {
    let read = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or("a length is a whole number of characters")
    };
    parse(node, read, faults)
}
