//! Turns avt's own dump into one that any terminal reads: stand-ins become what they stand for, and avt's own sequences common ones.

use super::glyphs::{Glyph, Glyphs};
use super::model::FIRST_JOINING;
use super::style::Extra;
use unicode_segmentation::UnicodeSegmentation;

/// Translates a dump.
pub(super) fn translate(dump: &str, glyphs: &Glyphs, saved: [&Extra; 2]) -> String {
    let mut writer = Writer {
        out: String::with_capacity(dump.len()),
        extra: Extra::default(),
        glyphs,
        last: None,
        before: String::new(),
    };
    writer.saves_left_out(dump, saved);
    let mut rest = dump;
    let mut is_alternate = false;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\x1b7") {
            writer.save(saved[usize::from(is_alternate)]);
            rest = after;
            continue;
        }
        is_alternate |= rest.starts_with(TO_ALTERNATE);
        match rest.strip_prefix("\x1b[") {
            Some(sequence) => {
                let end = sequence
                    .find(|last: char| ('\x40'..='\x7e').contains(&last))
                    .unwrap_or(sequence.len() - 1);
                writer.sequence(&sequence[..=end]);
                rest = &sequence[end + 1..];
            }
            None => {
                writer.character(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    writer.change(&Extra::default());
    writer.out
}

struct Writer<'a> {
    out: String,
    extra: Extra,
    glyphs: &'a Glyphs,
    /// What a repetition repeats, when it is more than a character.
    last: Option<&'a Glyph>,
    /// The text of the cell before.
    before: String,
}

impl<'a> Writer<'a> {
    fn sequence(&mut self, sequence: &str) {
        match (sequence, self.last) {
            (repetition, Some(glyph)) if repetition.ends_with('b') => {
                let count = repetition.trim_end_matches('b').parse().unwrap_or(1);
                (0..count).for_each(|_| self.glyph(glyph));
                return;
            }
            // Tab stops: all away, one here.
            ("5W", _) => self.plain("\x1b[3g"),
            ("0W", _) => self.plain("\x1bH"),
            (style, _) if style.ends_with('m') => {
                self.plain("\x1b[");
                self.out.push_str(&as_common(style));
            }
            (other, _) => {
                self.plain("\x1b[");
                self.out.push_str(other);
            }
        }
        self.last = None;
    }

    /// Saves the cursor with the looks that it was saved with.
    fn save(&mut self, extra: &Extra) {
        self.last = None;
        self.change(extra);
        self.out.push_str("\x1b7");
        self.change(&Extra::default());
    }

    /// Saves what avt leaves out because to it nothing is special about it: the cursor at home, with looks that only we know.
    fn saves_left_out(&mut self, dump: &str, saved: [&Extra; 2]) {
        let (primary, alternate) = dump.split_once(TO_ALTERNATE).unwrap_or((dump, ""));
        let is_left_out =
            |part: &str, extra: &Extra| *extra != Extra::default() && !part.contains("\x1b7");
        if is_left_out(primary, saved[0]) {
            self.save(saved[0]);
        }
        if is_left_out(alternate, saved[1]) {
            self.out.push_str(TO_ALTERNATE);
            self.save(saved[1]);
            self.out.push_str("\x1b[?1047l");
        }
    }

    fn character(&mut self, character: char) {
        match self.glyphs.find(character) {
            Some(glyph) => {
                self.glyph(glyph);
                self.last = Some(glyph);
            }
            None => {
                self.last = None;
                self.change(&Extra::default());
                self.cell(character.encode_utf8(&mut [0; 4]));
            }
        }
    }

    /// Writes a cell's text, kept apart from the cell before where the two would join.
    fn cell(&mut self, text: &str) {
        if let Some(first) = text.chars().next().filter(|first| *first >= FIRST_JOINING) {
            self.before.push(first);
            if self.before.graphemes(true).count() == 1 {
                self.out.push_str(APART);
            }
        }
        self.before.clear();
        self.before.push_str(text);
        self.out.push_str(text);
    }

    fn plain(&mut self, text: &str) {
        self.change(&Extra::default());
        self.before.clear();
        self.out.push_str(text);
    }

    fn glyph(&mut self, glyph: &Glyph) {
        self.change(&glyph.extra);
        self.cell(&glyph.text);
    }

    fn change(&mut self, to: &Extra) {
        if self.extra != *to {
            self.extra.write_change(to, &mut self.out);
            self.extra = to.clone();
        }
    }
}

/// Writes avt's SGR as other terminals mean it: of a colour by its parts xterm.js wants the colour space before them, empty; and where avt
/// goes from bold to faint or back, the others would be both.
fn as_common(style: &str) -> String {
    let parameters = style.trim_end_matches('m').split(';');
    let parameters = parameters.map(|parameter| match (parameter, parameter.split_once(":2:")) {
        ("1" | "2", _) => format!("22;{parameter}"),
        (_, Some((target @ ("38" | "48"), rgb))) => format!("{target}:2::{rgb}"),
        _ => parameter.to_owned(),
    });
    parameters.collect::<Vec<_>>().join(";") + "m"
}

/// What goes over to the alternate screen.
const TO_ALTERNATE: &str = "\x1b[?1047h";
/// The end of a string that never began: nothing but the end of a cluster.
const APART: &str = "\x1b\\";
