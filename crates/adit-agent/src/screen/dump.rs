//! Turns avt's own dump into one that any terminal reads: stand-ins become what they stand for, and avt's own sequences common ones.

use super::glyphs::{Glyph, Glyphs};
use super::style::Extra;

/// Translates a dump.
pub(super) fn translate(dump: &str, glyphs: &Glyphs) -> String {
    let mut writer = Writer {
        out: String::with_capacity(dump.len()),
        extra: Extra::default(),
        glyphs,
        last: None,
    };
    let mut rest = dump;
    while let Some(character) = rest.chars().next() {
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
            (other, _) => {
                self.plain("\x1b[");
                self.out.push_str(other);
            }
        }
        self.last = None;
    }

    fn character(&mut self, character: char) {
        match self.glyphs.find(character) {
            Some(glyph) => {
                self.glyph(glyph);
                self.last = Some(glyph);
            }
            None => {
                self.last = None;
                self.plain(character.encode_utf8(&mut [0; 4]));
            }
        }
    }

    fn plain(&mut self, text: &str) {
        self.change(&Extra::default());
        self.out.push_str(text);
    }

    fn glyph(&mut self, glyph: &Glyph) {
        self.change(&glyph.extra);
        self.out.push_str(&glyph.text);
    }

    fn change(&mut self, to: &Extra) {
        if self.extra != *to {
            self.extra.write_change(to, &mut self.out);
            self.extra = to.clone();
        }
    }
}
