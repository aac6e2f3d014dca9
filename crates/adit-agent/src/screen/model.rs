//! The terminal's state: avt's cells and cursor, and beside them what avt does not keep.
//!
//! Sequences reach avt one by one, whole, and in a form whose meaning it shares with xterm.js.

use super::glyphs::{Glyph, Glyphs, is_reserved};
use super::modes::Modes;
use super::scanner::{Scanner, Sink};
use super::style::{Extra, Pen};
use crate::shell::Size;
use avt::{ScreenKind, Terminal};
use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A terminal, as far as a viewer that joins late must know it.
pub(super) struct Model {
    scanner: Scanner,
    state: State,
}

/// The state that sequences change; the scanner writes to it.
struct State {
    terminal: Cells,
    size: Size,
    modes: Modes,
    glyphs: Glyphs,
    pen: Pen,
    extra: Extra,
    /// Columns up to the edge that are certainly free; only counted where it matters.
    room: usize,
    /// Of the primary and the alternate screen.
    saved: [(Pen, Extra); 2],
    charsets: Charsets,
    /// First and last row of what scrolls, when it is not all.
    margins: Option<(usize, usize)>,
    /// Without it the cursor stays on the last character of a row.
    wraps: bool,
    /// What is printed shifts the rest of its row.
    inserts: bool,
    /// The cluster that the next character may still join.
    last: Option<Last>,
    /// What avt has not taken yet.
    pending: String,
}

/// The cells, at hand or folded up into the bytes that make them again.
enum Cells {
    AtHand(Box<Terminal>),
    Folded(Box<str>),
}

/// The cluster before the cursor.
struct Last {
    text: String,
    width: usize,
}

/// Which of G0 and G1 draws lines, and which is in use.
#[derive(Debug, Clone, Copy, Default)]
struct Charsets {
    draws: [bool; 2],
    active: usize,
}

impl Model {
    pub(super) fn new(size: Size) -> Self {
        Self {
            scanner: Scanner::default(),
            state: State {
                terminal: Cells::AtHand(Box::new(terminal(size))),
                size,
                modes: Modes::default(),
                glyphs: Glyphs::default(),
                pen: Pen::default(),
                extra: Extra::default(),
                room: 0,
                saved: Default::default(),
                charsets: Charsets::default(),
                margins: None,
                wraps: true,
                inserts: false,
                last: None,
                pending: String::new(),
            },
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let bytes = match self.scanner.is_at_rest() && self.state.margins.is_none() {
            true => super::skip::skip(bytes, self.state.size.rows().into(), |kind| match kind {
                super::skip::Skipped::Style(parameters) => self.state.csi(parameters, b'm'),
                super::skip::Skipped::Lines => self.state.go_to_last_row(),
            }),
            false => bytes,
        };
        self.scanner.feed(bytes, &mut self.state);
        self.state.flush();
        if self.state.glyphs.is_crowded() {
            self.state.forget_glyphs();
        }
    }

    pub(super) fn resize(&mut self, size: Size) {
        self.state.size = size;
        self.state.last = None;
        self.state.margins = None;
        self.state.terminal().resize(size.cols().into(), size.rows().into());
    }

    /// Folds the cells up: an idle screen then takes about as much memory as its text.
    pub(super) fn fold(&mut self) {
        self.state.forget_glyphs();
        self.state.pending = String::new();
        if let Cells::AtHand(terminal) = &self.state.terminal {
            self.state.terminal = Cells::Folded(terminal.dump().into());
        }
    }

    /// The text of each row.
    pub(super) fn lines(&mut self) -> Vec<String> {
        self.state.lines()
    }

    /// Writes what gives a fresh terminal of the same size this state.
    pub(super) fn dump(&mut self) -> Vec<u8> {
        let mut out = self.state.dump().into_bytes();
        out.extend(self.scanner.tail());
        out
    }
}

fn terminal(size: Size) -> Terminal {
    Terminal::new(size.cols().into(), size.rows().into()).expect("a size has at least one cell")
}

impl State {
    fn terminal(&mut self) -> &mut Terminal {
        if let Cells::Folded(dump) = &self.terminal {
            let mut unfolded = Box::new(terminal(self.size));
            unfolded.feed(&**dump);
            self.terminal = Cells::AtHand(unfolded);
        }
        match &mut self.terminal {
            Cells::AtHand(terminal) => terminal,
            Cells::Folded(_) => unreachable!("it was just unfolded"),
        }
    }

    /// Gives avt what waits for it.
    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.terminal().feed(&pending);
            self.pending = pending;
            self.pending.clear();
            self.pending.shrink_to(PENDING_BYTES);
        }
    }

    fn pass(&mut self, sequence: &str) {
        self.pending.push_str(sequence);
    }

    fn go_to_last_row(&mut self) {
        self.last = None;
        let rows = self.size.rows();
        self.pass(&format!("\x1b[{rows};1H"));
    }

    fn saved(&mut self) -> &mut (Pen, Extra) {
        self.flush();
        match self.terminal().active_screen_kind() {
            ScreenKind::Primary => &mut self.saved[0],
            ScreenKind::Alternate => &mut self.saved[1],
        }
    }

    fn save(&mut self) {
        let looks = (self.pen.clone(), self.extra.saved());
        *self.saved() = looks;
    }

    /// Takes away the cell that was inserted to begin a row.
    fn unshift(&mut self) {
        if self.inserts {
            self.erase("\x1b[1P");
        }
    }

    /// Does what may erase cells, with the pen that xterm.js erases with.
    fn erase(&mut self, sequence: &str) {
        if self.pen.erases_as_it_writes() {
            return self.pass(sequence);
        }
        self.pen.write_erasing(&mut self.pending);
        self.pass(sequence);
        self.pen.write(&mut self.pending);
    }

    /// Makes room for a character at the edge as xterm.js does: a cell too few for a wide one is blanked, and a row that scrolls in
    /// is erased with the right pen.
    fn make_room(&mut self, width: usize) {
        let is_special = !self.pen.erases_as_it_writes();
        if !self.wraps || (width == 1 && !is_special) {
            self.room = self.room.saturating_sub(width);
            return;
        }
        if self.room < width {
            self.flush();
            let columns = usize::from(self.size.cols());
            self.room = columns.saturating_sub(self.terminal().cursor().col);
            if self.room < width {
                if self.room == 1 {
                    self.put(" ", 1);
                }
                if is_special {
                    self.erase(" \r");
                    self.unshift();
                }
                self.room = columns;
            }
        }
        self.room = self.room.saturating_sub(width);
    }

    /// Restores looks; avt would restore wrapping too, xterm.js does not.
    fn restore(&mut self, sequence: &str) {
        self.pass(sequence);
        self.pass(if self.wraps { "\x1b[?7h" } else { "\x1b[?7l" });
        let (pen, extra) = self.saved().clone();
        self.pen = pen;
        self.extra.restore(&extra, &self.pen);
    }

    /// Prints a cluster where the cursor is.
    fn put(&mut self, text: &str, width: usize) {
        let mut characters = text.chars();
        let (first, is_single) = (characters.next(), characters.next().is_none());
        match first {
            Some(character) if is_single && self.extra.is_plain() && !is_reserved(character) => {
                self.pending.push(character)
            }
            Some(character) => {
                let drawn = self.drawn(character, text);
                let glyph = Glyph { text: drawn, extra: self.extra.clone(), is_wide: width == 2 };
                let stand_in = self.glyphs.stand_in(glyph).unwrap_or(character);
                self.pending.push(stand_in);
            }
            None => {}
        }
    }

    /// The text of a cluster as the character set in use shows it.
    fn drawn(&self, first: char, text: &str) -> Box<str> {
        match self.charsets.translate(first) {
            Some(drawn) => (drawn + &text[first.len_utf8()..]).into(),
            None => text.into(),
        }
    }

    /// Joins a character to the cluster before the cursor, if it belongs there.
    fn join(&mut self, character: char) -> bool {
        let Some(last) = &self.last else { return false };
        if last.text.len() >= CLUSTER_BYTES {
            return character.width() == Some(0);
        }
        let mut text = last.text.clone();
        text.push(character);
        if text.graphemes(true).count() != 1 {
            return false;
        }
        let (before, width) = (last.width, text.width().clamp(1, 2));
        self.flush();
        let after = self.terminal().cursor().col + 1;
        if !self.wraps && after >= usize::from(self.size.cols()) {
            return false;
        }
        let column = after - before;
        self.pass(&format!("\x1b[4l\x1b[{column}G"));
        if width > before && column == usize::from(self.size.cols()) {
            // It has grown and goes to the next row.
            self.put(" ", 1);
        }
        self.put(&text, width);
        if self.inserts {
            self.pass("\x1b[4h");
        }
        self.last = Some(Last { text, width });
        self.room = 0;
        true
    }

    /// Forgets what stands for glyphs that are not shown any more.
    fn forget_glyphs(&mut self) {
        if self.glyphs.is_empty() {
            return;
        }
        self.flush();
        let terminal = self.terminal();
        let shown: HashSet<char> = [terminal.screen(), terminal.primary_screen()]
            .into_iter()
            .flat_map(|screen| {
                screen.visible_lines().flat_map(|line| line.chars().collect::<Vec<_>>())
            })
            .filter(|character| is_reserved(*character))
            .collect();
        self.glyphs.retain(&shown);
    }

    fn lines(&mut self) -> Vec<String> {
        self.flush();
        let rows: Vec<String> =
            self.terminal().screen().visible_lines().map(avt::Line::text).collect();
        let show = |character: char| match self.glyphs.find(character) {
            Some(glyph) => glyph.text.to_string(),
            None => character.to_string(),
        };
        rows.iter().map(|row| row.chars().map(show).collect()).collect()
    }

    fn dump(&mut self) -> String {
        self.flush();
        let cells = self.terminal().dump();
        let mut out =
            super::dump::translate(&cells, &self.glyphs, [&self.saved[0].1, &self.saved[1].1]);
        self.modes.write(&mut out);
        Extra::default().write_change(&self.extra, &mut out);
        let after = self.terminal().cursor().col + 1;
        let is_at_edge = after >= usize::from(self.size.cols());
        // A cluster that may go on is printed again, so that what joins or repeats it finds it. While insertion is on, that would
        // shift; and where nothing wraps, nobody knows at the edge where the cluster stands.
        if let Some(last) =
            self.last.as_ref().filter(|_| !self.inserts && (self.wraps || !is_at_edge))
        {
            let column = after - last.width;
            out.push_str(&format!("\x1b[{column}G{}", last.text));
        }
        out
    }
}

impl Sink for State {
    fn print(&mut self, character: char) {
        if character.is_ascii() {
            self.make_room(1);
            if self.extra.is_plain() {
                self.pending.push(character);
            } else {
                self.put(character.encode_utf8(&mut [0; 4]), 1);
            }
            return self.set_last(character, 1);
        }
        if character >= FIRST_JOINING && self.join(character) {
            return;
        }
        // What has nothing to join has a cell of its own.
        let width = character.width().unwrap_or(1).max(1);
        self.make_room(width);
        self.put(character.encode_utf8(&mut [0; 4]), width);
        self.set_last(character, width);
    }

    fn control(&mut self, control: u8) {
        self.sequence_begins();
        match control {
            b'\n'..=b'\x0c' => self.erase(char::from(control).encode_utf8(&mut [0; 4])),
            b'\x08' | b'\t' | b'\r' => self.pending.push(char::from(control)),
            b'\x0e' | b'\x0f' => {
                self.charsets.active = usize::from(control == b'\x0e');
                self.pending.push(char::from(control));
            }
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        self.sequence_begins();
        match (intermediates, last) {
            ([], b'7') => {
                self.save();
                self.pass("\x1b7");
            }
            ([], b'8') => {
                self.restore("\x1b8");
            }
            ([], b'D' | b'E' | b'H' | b'M') => self.erase(&format!("\x1b{}", char::from(last))),
            ([], b'=' | b'>') => self.modes.set_keypad(last == b'='),
            ([], b'c') => self.reset(),
            ([b'#'], b'8') => self.pass("\x1b#8"),
            ([slot @ (b'(' | b')')], charset) => {
                let draws = charset == b'0';
                self.charsets.draws[usize::from(*slot == b')')] = draws;
                self.pass(&format!("\x1b{}{}", char::from(*slot), if draws { '0' } else { 'B' }));
            }
            _ => {}
        }
    }

    fn csi(&mut self, parameters: &[u8], last: u8) {
        let repeats = self.last.is_some();
        self.sequence_begins();
        match (parameters.first(), last) {
            (Some(b'?'), b'h' | b'l') => {
                numbers(&parameters[1..]).for_each(|mode| self.set_private(mode, last == b'h'))
            }
            (Some(b'!'), b'p') => self.soft_reset(),
            (Some(b'<'..=b'?'), _) => {}
            (_, b'q') if parameters.ends_with(b" ") => {
                let style = numbers(&parameters[..parameters.len() - 1]).next().unwrap_or(0);
                self.modes.set_cursor_style(style);
            }
            (_, b'm') if is_numeric(parameters) => {
                let (extra, pending) = (&mut self.extra, &mut self.pending);
                extra.select(parameters, &mut self.pen, pending);
            }
            // Only what was just printed is repeated.
            (_, b'b') if !repeats => {}
            _ if is_numeric(parameters) => self.act(parameters, last),
            _ => {}
        }
    }

    fn osc(&mut self, payload: &[u8]) {
        self.sequence_begins();
        let payload = String::from_utf8_lossy(payload);
        let (number, text) = payload.split_once(';').unwrap_or((&payload, ""));
        match number.parse() {
            Ok(8) => self.extra.set_link(text),
            Ok(number) => self.modes.command(number, text),
            Err(_) => {}
        }
    }
}

impl State {
    /// A cluster ends with any sequence, and the cursor may move.
    fn sequence_begins(&mut self) {
        self.last = None;
        self.room = 0;
    }

    fn set_last(&mut self, character: char, width: usize) {
        match &mut self.last {
            Some(last) => {
                last.text.clear();
                last.text.push(character);
                last.width = width;
            }
            None => self.last = Some(Last { text: character.to_string(), width }),
        }
    }

    /// Does what avt and xterm.js both do with a sequence of plain numbers.
    fn act(&mut self, parameters: &[u8], last: u8) {
        let mut values = numbers(parameters);
        let (first, second) = (values.next().unwrap_or(0), values.next());
        match last {
            b'H' | b'f' => self.pass(&format!("\x1b[{first};{}H", second.unwrap_or(0))),
            b'r' => self.set_margins(first, second.unwrap_or(0)),
            b'b' => self.pass(&format!("\x1b[{}b", first.min(self.size.cols()))),
            b's' => {
                self.save();
                self.pass("\x1b[s");
            }
            b'u' => {
                self.restore("\x1b[u");
            }
            b'h' | b'l' => {
                for mode in numbers(parameters).filter(|mode| matches!(mode, 4 | 20)) {
                    self.inserts = if mode == 4 { last == b'h' } else { self.inserts };
                    self.pass(&format!("\x1b[{mode}{}", char::from(last)));
                }
            }
            b'T' if second.is_some() => {}
            b'T' => self.scroll_down(first),
            b'L' | b'M' => self.change_rows(&format!("\x1b[{first}{}\r", char::from(last))),
            b'@' | b'J' | b'K' | b'P' | b'S' | b'X' => {
                self.erase(&format!("\x1b[{first}{}", char::from(last)))
            }
            b'A'..=b'G' | b'I' | b'Z' | b'`' | b'a' | b'd' | b'e' | b'g' => {
                self.pass(&format!("\x1b[{first}{}", char::from(last)));
            }
            _ => {}
        }
    }

    /// Rows that scroll in from above have no background in xterm.js.
    fn scroll_down(&mut self, rows: u16) {
        self.pass(&format!("\x1b[0m\x1b[{rows}T"));
        self.pen.write(&mut self.pending);
    }

    /// Sets the rows that scroll; what is past the screen ends at its last row, as in xterm.js.
    fn set_margins(&mut self, top: u16, bottom: u16) {
        let rows = self.size.rows();
        let top = top.max(1);
        let bottom = if bottom == 0 { rows } else { bottom.min(rows) };
        if top < bottom {
            self.margins = (top > 1 || bottom < rows)
                .then_some((usize::from(top) - 1, usize::from(bottom) - 1));
            self.pass(&format!("\x1b[{top};{bottom}r"));
        }
    }

    /// Inserts or deletes rows, which happens only within the margins and ends in the first column.
    fn change_rows(&mut self, sequence: &str) {
        self.flush();
        let row = self.terminal().cursor().row;
        if self.margins.is_none_or(|(top, bottom)| (top..=bottom).contains(&row)) {
            self.erase(sequence);
        }
    }

    fn set_private(&mut self, mode: u16, on: bool) {
        let set = if on { 'h' } else { 'l' };
        if matches!(mode, 1048 | 1049) && on {
            self.save();
        }
        match mode {
            1048 | 1049 if !on => self.restore(&format!("\x1b[?{mode}l")),
            1047 if on => self.erase("\x1b[?1047h"),
            1049 if on => {
                self.pass("\x1b[?1048h");
                self.erase("\x1b[?1047h");
            }
            47 if on => self.erase("\x1b[?1047h"),
            1 | 6 | 7 | 25 | 1047..=1049 => self.pass(&format!("\x1b[?{mode}{set}")),
            47 => self.pass(&format!("\x1b[?1047{set}")),
            _ => self.modes.set(mode, on),
        }
        if mode == 7 {
            self.wraps = on;
        }
    }

    fn soft_reset(&mut self) {
        self.modes.soft_reset();
        self.extra = Extra::default();
        self.charsets = Charsets::default();
        self.margins = None;
        self.wraps = true;
        self.inserts = false;
        self.pen = Pen::default();
        *self.saved() = Default::default();
        self.pass("\x1b[!p\x1b[?7h\x1b[?1l");
    }

    fn reset(&mut self) {
        self.modes.reset();
        self.extra = Extra::default();
        self.pen = Pen::default();
        self.saved = Default::default();
        self.charsets = Charsets::default();
        self.margins = None;
        self.wraps = true;
        self.inserts = false;
        self.pass("\x1bc");
    }
}

impl Charsets {
    /// The line that a letter draws; none when letters are letters.
    fn translate(self, character: char) -> Option<String> {
        if !self.draws[self.active] || !('`'..='~').contains(&character) {
            return None;
        }
        let mut drawing = Terminal::new(1, 1).ok()?;
        drawing.feed("\x1b(0");
        drawing.feed(character);
        drawing.screen().line(0).map(avt::Line::text)
    }
}

fn is_numeric(parameters: &[u8]) -> bool {
    parameters.iter().all(|byte| byte.is_ascii_digit() || b";:".contains(byte))
}

/// Reads numbers; one that is missing is 0, one that is too large the largest.
fn numbers(parameters: &[u8]) -> impl Iterator<Item = u16> {
    parameters.split(|byte| *byte == b';').take(PARAMETERS_MAX).map(|number| {
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u16, |value, digit| {
            value.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
        })
    })
}

/// No character before it joins the one before.
pub(super) const FIRST_JOINING: char = '\u{300}';
/// A family of four with skin tones is shorter; what follows is dropped.
const CLUSTER_BYTES: usize = 64;
/// As many as xterm.js takes.
const PARAMETERS_MAX: usize = 32;
/// Memory kept for the next piece.
const PENDING_BYTES: usize = 4096;
