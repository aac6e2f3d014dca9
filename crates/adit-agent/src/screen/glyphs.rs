//! What one cell shows beyond one character: clusters of several, and looks that the model's pen does not keep.
//!
//! The model keeps a character a cell. A cell that needs more holds a stand-in from ranges that no text uses; this table knows
//! what it stands for.

use super::style::Extra;
use std::collections::{HashMap, HashSet};

/// What a cell shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Glyph {
    pub(super) text: Box<str>,
    pub(super) extra: Extra,
    /// Two columns.
    pub(super) is_wide: bool,
}

/// Glyphs and their stand-ins.
#[derive(Debug, Default)]
pub(super) struct Glyphs {
    glyphs: HashMap<char, Glyph>,
    stand_ins: HashMap<Glyph, char>,
    next_narrow: u32,
    next_wide: u32,
}

impl Glyphs {
    /// Gives the stand-in of a glyph; none when there are no more.
    pub(super) fn stand_in(&mut self, glyph: Glyph) -> Option<char> {
        if let Some(known) = self.stand_ins.get(&glyph) {
            return Some(*known);
        }
        let stand_in = if glyph.is_wide {
            Self::free(&self.glyphs, WIDE, &mut self.next_wide)?
        } else {
            Self::free(&self.glyphs, NARROW, &mut self.next_narrow)?
        };
        self.glyphs.insert(stand_in, glyph.clone());
        self.stand_ins.insert(glyph, stand_in);
        Some(stand_in)
    }

    fn free(taken: &HashMap<char, Glyph>, range: (u32, u32), next: &mut u32) -> Option<char> {
        let (first, count) = range;
        for _ in 0..TRIES {
            let candidate = char::from_u32(first + *next % count)?;
            *next = (*next + 1) % count;
            if !taken.contains_key(&candidate) {
                return Some(candidate);
            }
        }
        None
    }

    /// Finds what a character stands for.
    pub(super) fn find(&self, character: char) -> Option<&Glyph> {
        if self.glyphs.is_empty() { None } else { self.glyphs.get(&character) }
    }

    /// Tells whether every cell shows just its character.
    pub(super) fn is_empty(&self) -> bool {
        self.glyphs.is_empty()
    }

    /// Tells whether the table is worth cleaning up.
    pub(super) fn is_crowded(&self) -> bool {
        self.glyphs.len() >= CROWD
    }

    /// Forgets what no cell shows any more.
    pub(super) fn retain(&mut self, shown: &HashSet<char>) {
        self.glyphs.retain(|stand_in, _| shown.contains(stand_in));
        self.stand_ins.retain(|_, stand_in| shown.contains(stand_in));
        self.glyphs.shrink_to_fit();
        self.stand_ins.shrink_to_fit();
    }
}

/// Tells whether a character that a program prints could be taken for a stand-in.
pub(super) fn is_reserved(character: char) -> bool {
    let code = u32::from(character);
    [NARROW, WIDE].iter().any(|(first, count)| (*first..first + count).contains(&code))
}

/// Private use area B: one column wide.
const NARROW: (u32, u32) = (0x10_0000, 0xfffe);
/// The end of plane 3, which no version of Unicode assigns: two columns wide by its plane (UAX 11).
const WIDE: (u32, u32) = (0x3_4000, 0xbffe);
/// Stand-ins tried before giving up: the table is cleaned up long before it is that full.
const TRIES: usize = 64;
/// More than a screen full of links has.
const CROWD: usize = 4096;
