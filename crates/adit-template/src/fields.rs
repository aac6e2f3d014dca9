//! Maps whose keys are known, and the list of what is wrong.

use std::fmt::Display;

use crate::yaml::{Content, Key, Node, shown};
use crate::{Fault, Position};

/// The most faults that are told of one file; the next edit shows the rest.
const MAX_FAULTS: usize = 100;

/// What is wrong with a file so far.
pub(crate) struct Faults {
    file: String,
    list: Vec<Fault>,
}

impl Faults {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    pub fn note(&mut self, at: Position, what: impl Display) {
        if !self.is_full() {
            self.list.push(Fault { file: self.file.clone(), at, what: what.to_string() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.list.len() >= MAX_FAULTS
    }

    /// Gives what was found, or every fault in the order of the file.
    pub fn finish<T>(mut self, found: T) -> Result<T, Vec<Fault>> {
        self.list.sort_by_key(|fault| fault.at);
        if self.list.is_empty() { Ok(found) } else { Err(self.list) }
    }
}

/// A map whose keys are taken one after another; a key that nobody takes is a fault.
pub(crate) struct Fields<'a> {
    at: Position,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Opens a map; whatever else stands there is a fault, and then it has no keys.
    pub fn open(node: &'a Node, what: &str, faults: &mut Faults) -> Self {
        let entries: &[_] = match &node.content {
            Content::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                faults.note(node.at, format!("{what} is a map, such as `key: value`"));
                &[]
            }
        };
        Self { at: node.at, entries, known: Vec::new() }
    }

    /// A map without keys.
    pub fn none() -> Self {
        Self { at: Position::START, entries: &[], known: Vec::new() }
    }

    /// Gives where the map begins.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Takes what stands at a key, unless nothing does.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let found = self.entries.iter().find(|(one, _)| one.text == key);
        found.map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// Takes what stands at one of two spellings of a key; both are a fault.
    pub fn take_either(
        &mut self,
        key: &'static str,
        other: &'static str,
        faults: &mut Faults,
    ) -> Option<&'a Node> {
        match (self.take(key), self.take(other)) {
            (Some(node), Some(second)) => {
                faults.note(second.at, format!("`{key}` and `{other}` are one key: keep one"));
                Some(node)
            }
            (node, second) => node.or(second),
        }
    }

    /// Notes every key that was not taken.
    pub fn finish(self, faults: &mut Faults) {
        let unknown =
            self.entries.iter().filter(|(key, _)| !self.known.contains(&key.text.as_str()));
        for (key, _) in unknown {
            let hint = hint(&key.text, &self.known);
            faults.note(key.at, format!("there is no key `{}` here{hint}", shown(&key.text)));
        }
    }
}

/// Edits within which a key was meant: `requried`, `patern`, `allow_netwrok`.
const NEAR: usize = 2;

fn hint(key: &str, known: &[&'static str]) -> String {
    // Only a short text can be near a known key, and the distance takes time by the length.
    let near = known
        .iter()
        .filter(|_| key.len() <= 40)
        .map(|one| (strsim::damerau_levenshtein(key, one), one))
        .filter(|(distance, one)| *distance <= NEAR && *distance < one.len())
        .min();
    near.map(|(_, one)| format!("; did you mean `{one}`?")).unwrap_or_default()
}

/// Reads a text.
pub(crate) fn text<'a>(node: &'a Node, faults: &mut Faults) -> Option<&'a str> {
    if let Content::Scalar { text, .. } = &node.content {
        return Some(text);
    }
    faults.note(node.at, "this is a single value, no list and no map");
    None
}

/// Reads a list of texts, each with its place.
pub(crate) fn texts<'a>(node: &'a Node, faults: &mut Faults) -> Vec<(&'a Node, &'a str)> {
    let Content::List(list) = &node.content else {
        faults.note(node.at, "this is a list, such as `[one, two]`");
        return Vec::new();
    };
    list.iter()
        .filter_map(|item| {
            if item.is_null() {
                faults.note(item.at, "nothing stands here; quote it if a text is meant");
                return None;
            }
            text(item, faults).map(|text| (item, text))
        })
        .collect()
}

/// Reads `true` or `false`, also in the other words of YAML 1.1, which files of the original server may have.
pub(crate) fn flag(node: &Node, faults: &mut Faults) -> Option<bool> {
    let found = match &node.content {
        Content::Scalar { text, is_quoted: false } => truth(text),
        _ => None,
    };
    if found.is_none() {
        faults.note(node.at, "this is true or false, without quotes");
    }
    found
}

/// Reads a truth value of YAML 1.1.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Reads a text into a type of its own.
pub(crate) fn parse<T, E: Display>(
    node: &Node,
    read: impl FnOnce(&str) -> Result<T, E>,
    faults: &mut Faults,
) -> Option<T> {
    match read(text(node, faults)?) {
        Ok(value) => Some(value),
        Err(error) => {
            faults.note(node.at, error);
            None
        }
    }
}

/// The most entries of a list that must differ from one another.
const MAX_LIST: usize = 64;

/// Reads a list of texts into a type of its own, each once.
pub(crate) fn parse_list<T: PartialEq, E: Display>(
    node: &Node,
    read: impl Fn(&str) -> Result<T, E>,
    faults: &mut Faults,
) -> Vec<T> {
    let mut list = Vec::new();
    let found = texts(node, faults);
    if found.len() > MAX_LIST {
        faults.note(node.at, "more than 64 are listed");
    }
    for (item, text) in found.into_iter().take(MAX_LIST) {
        match read(text) {
            Ok(value) if list.contains(&value) => faults.note(item.at, "this is listed twice"),
            Ok(value) => list.push(value),
            Err(error) => faults.note(item.at, error),
        }
    }
    list
}
