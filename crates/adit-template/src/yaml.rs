//! YAML as a tree with positions, without what a file of templates does not need.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::Position;
use crate::fields::Faults;

/// The largest file, in bytes: a thousand templates with their descriptions.
pub const MAX_FILE_BYTES: usize = 256 << 10;

/// How deep a file may nest; a template needs seven.
pub const MAX_DEPTH: usize = 16;

/// A value with its place.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub content: Content,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Content {
    /// A text, as it stands there without its quotes.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stands in quotes, or in a block: then it is a text and nothing else.
        is_quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Key {
    /// The text.
    pub text: String,
    /// Where it begins.
    pub at: Position,
}

impl Node {
    /// Tells whether nothing stands there, or a word for it.
    pub fn is_null(&self) -> bool {
        let Content::Scalar { text, is_quoted: false } = &self.content else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// Reads the one document of a text; none where a fault was noted.
pub(crate) fn read(text: &str, faults: &mut Faults) -> Option<Node> {
    if text.len() > MAX_FILE_BYTES {
        faults.note(Position::START, "the file is larger than 256 KiB");
        return None;
    }
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut tree = Tree { faults, open: Vec::new(), root: None };
    tree.read(&mut parser);
    let Tree { root, .. } = tree;
    if root.is_none() && faults.is_empty() {
        faults.note(Position::START, "the file is empty: it has a map `templates:`");
    }
    if faults.is_empty() { root } else { None }
}

/// What has begun and not ended.
enum Open {
    List(Position, Vec<Node>),
    Map(Position, OpenMap),
}

/// A map under way: a key waits for its value, and each key's line is known so that it stands there once.
#[derive(Default)]
struct OpenMap {
    entries: Vec<(Key, Node)>,
    lines: BTreeMap<String, usize>,
    waiting: Option<Key>,
}

struct Tree<'a> {
    faults: &'a mut Faults,
    open: Vec<Open>,
    root: Option<Node>,
}

impl Tree<'_> {
    /// Reads to the end, or to the first thing after which the rest means nothing.
    fn read(&mut self, parser: &mut Parser<'_, StrInput<'_>>) {
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let what = format!("this is not YAML: {}", error.info());
                    return self.faults.note(position(*error.marker()), &what);
                }
            };
            if !self.take(event, span) || self.faults.is_full() {
                return;
            }
        }
    }

    /// Takes one event; false ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => self.begin_document(at),
            Event::Alias(_) => self.refuse(at, "an alias has no place here: write it out"),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                let is_quoted = style != ScalarStyle::Plain;
                self.add(Node {
                    at,
                    content: Content::Scalar { text: text.into_owned(), is_quoted },
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                self.begin(at, Open::List(at, Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(at, anchor, tag.is_some());
                self.begin(at, Open::Map(at, OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin_document(&mut self, at: Position) -> bool {
        if self.root.is_none() {
            return true;
        }
        self.faults.note(at, "a file is one document");
        false
    }

    /// Puts a text in place of what is refused, so that what follows is still read.
    fn refuse(&mut self, at: Position, what: &str) -> bool {
        self.faults.note(at, what);
        self.add(Node { at, content: Content::Scalar { text: String::new(), is_quoted: true } })
    }

    fn refuse_extras(&mut self, at: Position, anchor: usize, is_tagged: bool) {
        if anchor != 0 {
            self.faults
                .note(at, "an anchor has no place here: write what is meant where it is meant");
        }
        if is_tagged {
            self.faults.note(at, "a tag has no place here: leave it out");
        }
    }

    fn begin(&mut self, at: Position, open: Open) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.faults.note(at, "this nests deeper than 16");
            return false;
        }
        self.open.push(open);
        true
    }

    fn end(&mut self) -> bool {
        let node = match self.open.pop() {
            Some(Open::List(at, list)) => Node { at, content: Content::List(list) },
            Some(Open::Map(at, map)) => Node { at, content: Content::Map(map.entries) },
            None => return false,
        };
        self.add(node)
    }

    fn add(&mut self, node: Node) -> bool {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, list)) => list.push(node),
            Some(Open::Map(_, map)) => {
                if let Err((at, what)) = map.add(node) {
                    self.faults.note(at, what);
                    return false;
                }
            }
        }
        true
    }
}

impl OpenMap {
    fn add(&mut self, node: Node) -> Result<(), (Position, String)> {
        match self.waiting.take() {
            Some(key) => self.entries.push((key, node)),
            None => self.waiting = Some(self.read_key(node)?),
        }
        Ok(())
    }

    fn read_key(&mut self, node: Node) -> Result<Key, (Position, String)> {
        let Content::Scalar { text, .. } = node.content else {
            return Err((node.at, "a key is a text".to_owned()));
        };
        match self.lines.insert(text.clone(), node.at.line) {
            None => Ok(Key { text, at: node.at }),
            Some(line) => {
                let text = shown(&text);
                Err((node.at, format!("the key `{text}` stands in line {line} already")))
            }
        }
    }
}

/// The longest text of a file that a fault repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// Gives a text of a file so that a terminal shows it as it is.
pub(crate) fn shown(text: &str) -> String {
    let plain = text.chars().take(SHOWN_CHARS);
    plain.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn position(marker: saphyr_parser::Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

#[cfg(test)]
#[path = "yaml/tests.rs"]
mod tests;
