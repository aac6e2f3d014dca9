//! Finds text that a recording showed, by playing it into a terminal of its own.
//!
//! A line counts as shown when the cursor leaves it by a line feed, before the screen is cleared or changed for another, and when the session is still for a
//! moment. What terminals print is hostile, so the work has a bound: a budget that every function of the terminal draws from.

use avt::parser::{DecMode, EdScope, Function};
use avt::{Parser, Terminal};

use super::item::{Item, What};
use crate::asciicast::Joiner;

/// A line that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// When it was first seen, in milliseconds since the session's start.
    pub at_ms: u64,
    /// The screen's row, from 0, in which it begins.
    pub row: usize,
    /// The line's text, at most [`MAX_LINE_CHARS`] characters.
    pub text: String,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// Lines that matched, in the order of their first sighting.
    pub hits: Vec<Hit>,
    /// When the search gave up because there were too many hits or too much work; nothing after it was looked at.
    pub stopped_at_ms: Option<u64>,
}

/// The most hits that one search gives. Chosen: nobody reads more.
pub const MAX_HITS: usize = 1000;

/// The longest text of a hit that is kept. Chosen: several times a wide terminal's row.
pub const MAX_LINE_CHARS: usize = 1024;

/// The widest and highest terminal that is played; larger sizes are cut to this. Chosen: beyond the largest screens; bounds memory to some tens of MiB.
pub const MAX_COLS: u16 = 1024;
/// See [`MAX_COLS`].
pub const MAX_ROWS: u16 = 512;

/// How long a screen stands before it is looked at. Chosen: shorter than a person sees.
const STILL_MS: u64 = 100;

/// How much work one search may do, a cell touched being one. Measured: at least 150 million a second on a busy core,
/// whatever is played, so some 20 seconds at most; ordinary output costs ten for each byte, so 300 MB of it are searched.
const BUDGET: u64 = 3_000_000_000;

/// The work of one character: parsing it and writing its cell.
const CHAR_WORK: u64 = 8;

/// The work of one repetition.
const REPEAT_WORK: u64 = 4;

/// Searches one recording.
pub struct Search {
    needle: String,
    terminal: Terminal,
    parser: Parser,
    output: Joiner,
    stderr: Joiner,
    resize: Option<(usize, usize)>,
    at_ms: u64,
    looked_at_ms: u64,
    dirty: bool,
    seen: Vec<Seen>,
    hits: Vec<Hit>,
    budget: u64,
    stopped_at_ms: Option<u64>,
}

/// A hit that is still on the screen.
struct Seen {
    row: usize,
    text: String,
    hit: usize,
}

impl Search {
    /// Looks for a text, in any case, on a terminal that starts with this size.
    ///
    /// # Panics
    /// Never: the size is made to fit.
    pub fn new(text: &str, cols: u16, rows: u16) -> Self {
        let (cols, rows) = fit(cols, rows);
        Self {
            needle: text.to_lowercase(),
            terminal: Terminal::new(cols, rows).expect("the size is at least one by one"),
            parser: Parser::new(),
            output: Joiner::default(),
            stderr: Joiner::default(),
            resize: None,
            at_ms: 0,
            looked_at_ms: 0,
            dirty: false,
            seen: Vec::new(),
            hits: Vec::new(),
            budget: BUDGET,
            stopped_at_ms: None,
        }
    }

    /// Bounds the work otherwise than by default.
    #[must_use]
    pub fn with_budget(mut self, work: u64) -> Self {
        self.budget = work;
        self
    }

    /// Tells whether the search has given up; what else is fed is ignored.
    pub fn has_stopped(&self) -> bool {
        self.stopped_at_ms.is_some()
    }

    /// Plays the next item.
    pub fn feed(&mut self, item: &Item) {
        if self.has_stopped() || self.needle.is_empty() {
            return;
        }
        if self.dirty && item.at_ms.saturating_sub(self.looked_at_ms) >= STILL_MS {
            self.look();
        }
        self.at_ms = item.at_ms;
        match &item.what {
            What::Output(bytes) => {
                let text = self.output.push(bytes);
                self.play(&text);
            }
            What::Stderr(bytes) => {
                let text = self.stderr.push(bytes);
                self.play(&text);
            }
            // Only the last of many sizes matters, so a storm of them costs one.
            What::Resize { cols, rows } => self.resize = Some(fit(*cols, *rows)),
            _ => {}
        }
    }

    /// Gives what was found.
    pub fn finish(mut self) -> Hits {
        if !self.has_stopped() && self.dirty {
            self.look();
        }
        Hits { hits: self.hits, stopped_at_ms: self.stopped_at_ms }
    }

    fn play(&mut self, text: &str) {
        if let Some((cols, rows)) = self.resize.take() {
            self.look();
            self.spend(self.cells() + (cols * rows) as u64);
            self.terminal.resize(cols, rows);
        }
        for c in text.chars() {
            if self.has_stopped() {
                return;
            }
            self.spend(CHAR_WORK);
            if let Some(function) = self.parser.feed(c) {
                self.execute(function);
            }
        }
    }

    fn execute(&mut self, function: Function) {
        let function = match function {
            Function::Print(_) => {
                self.dirty = true;
                function
            }
            // Once the screen is full of one character, more of it changes nothing.
            Function::Rep(times) => {
                let times = u64::from(times).min(self.cells());
                self.spend(times * REPEAT_WORK);
                self.dirty = true;
                Function::Rep(u16::try_from(times).unwrap_or(u16::MAX))
            }
            Function::Lf | Function::Nel => {
                self.spend(self.terminal.size().0 as u64);
                self.look_at_cursor();
                function
            }
            function if clears(&function) => {
                self.look();
                self.spend(self.cells());
                function
            }
            function => {
                self.spend(cost(&function, self.terminal.size()));
                self.dirty = true;
                function
            }
        };
        self.terminal.execute(function);
    }

    fn cells(&self) -> u64 {
        let (cols, rows) = self.terminal.size();
        (cols * rows) as u64
    }

    fn spend(&mut self, work: u64) {
        self.budget = self.budget.saturating_sub(work);
        if self.budget == 0 {
            self.stopped_at_ms.get_or_insert(self.at_ms);
        }
    }

    /// Looks at the line that the cursor leaves.
    fn look_at_cursor(&mut self) {
        let bottom = self.terminal.cursor().row;
        let top = (0..bottom)
            .rev()
            .take_while(|row| self.terminal.screen().line(*row).is_some_and(avt::Line::is_wrapped))
            .last()
            .unwrap_or(bottom);
        let text: String = (top..=bottom).map(|row| self.row(row)).collect();
        self.spend(text.len() as u64);
        self.sight(top, text.trim_end());
    }

    /// Looks at the whole screen, and forgets what is no longer on it.
    fn look(&mut self) {
        self.spend(self.cells());
        self.dirty = false;
        self.looked_at_ms = self.at_ms;
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut joins = false;
        for row in 0..self.terminal.size().1 {
            let text = self.row(row);
            match lines.last_mut() {
                Some((_, line)) if joins => line.push_str(&text),
                _ => lines.push((row, text)),
            }
            joins = self.terminal.screen().line(row).is_some_and(avt::Line::is_wrapped);
        }
        lines.retain(|(_, text)| self.matches(text));
        self.seen.retain_mut(|seen| {
            match lines.iter().find(|(row, text)| seen.is(*row, text.trim_end())) {
                Some((row, _)) => {
                    seen.row = *row;
                    true
                }
                None => false,
            }
        });
        for (row, text) in &lines {
            self.sight(*row, text.trim_end());
        }
    }

    fn row(&self, row: usize) -> String {
        self.terminal.screen().line(row).map(avt::Line::text).unwrap_or_default()
    }

    fn matches(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.needle)
    }

    fn sight(&mut self, row: usize, text: &str) {
        if !self.matches(text) {
            return;
        }
        let kept: String = text.chars().take(MAX_LINE_CHARS).collect();
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.is(row, text)) {
            // A line that is still being written is one hit with its longest text.
            if kept.len() > seen.text.len() {
                self.hits[seen.hit].text.clone_from(&kept);
                seen.text = kept;
            }
            return;
        }
        if self.hits.len() == MAX_HITS {
            self.stopped_at_ms.get_or_insert(self.at_ms);
            return;
        }
        self.seen.push(Seen { row, text: kept.clone(), hit: self.hits.len() });
        self.hits.push(Hit { at_ms: self.at_ms, row, text: kept });
    }
}

impl Seen {
    /// Tells whether a line is this one: the same text anywhere, or one that grew out of it in its place.
    fn is(&self, row: usize, text: &str) -> bool {
        text == self.text || (row == self.row && text.starts_with(&self.text))
    }
}

fn fit(cols: u16, rows: u16) -> (usize, usize) {
    (cols.clamp(1, MAX_COLS).into(), rows.clamp(1, MAX_ROWS).into())
}

/// Tells whether a function takes much of the screen away.
fn clears(function: &Function) -> bool {
    let changes_screen = |mode: &DecMode| {
        matches!(mode, DecMode::AltScreenBuffer | DecMode::SaveCursorAltScreenBuffer)
    };
    match function {
        Function::Ed(scope) => !matches!(scope, EdScope::SavedLines),
        Function::Ris | Function::Decstr | Function::Decaln => true,
        Function::Decset(modes) | Function::Decrst(modes) => {
            modes.as_slice().iter().any(changes_screen)
        }
        _ => false,
    }
}

/// Gives how many cells a function may touch.
fn cost(function: &Function, (cols, rows): (usize, usize)) -> u64 {
    let cells = match function {
        Function::Il(_) | Function::Dl(_) | Function::Su(_) | Function::Sd(_) | Function::Ri => {
            cols * rows
        }
        Function::El(_) | Function::Ech(_) | Function::Ich(_) | Function::Dch(_) => cols,
        _ => 1,
    };
    cells as u64
}
