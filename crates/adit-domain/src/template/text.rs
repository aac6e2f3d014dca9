//! Which texts may become an argument.

use std::sync::LazyLock;

use regex::Regex;

/// The longest value, in bytes: a path of Linux (`PATH_MAX`).
pub const MAX_VALUE_BYTES: usize = 4096;

/// Why a text is no argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BadText {
    /// More than [`MAX_VALUE_BYTES`].
    #[error("is longer than 4096 bytes")]
    TooLong,
    /// U+0000, which would end the argument.
    #[error("holds the character NUL")]
    Nul,
    /// A line feed, a carriage return, or what Unicode calls an end of a line or paragraph.
    #[error("holds an end of a line")]
    LineEnd,
    /// Another control character, a tabulator as well.
    #[error("holds a control character")]
    Control,
    /// What turns the order of what is shown.
    #[error("holds a character that turns the direction of what is shown")]
    Bidi,
    /// What is not shown at all.
    #[error("holds a character that is not seen")]
    Invisible,
}

/// Holds a text against what an argument may hold; the first thing that is wrong is told.
///
/// # Errors
/// [`BadText`].
pub fn check(text: &str) -> Result<(), BadText> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(BadText::TooLong);
    }
    text.chars().find_map(control).map_or(Ok(()), Err)?;
    if BIDI.is_match(text) {
        return Err(BadText::Bidi);
    }
    if INVISIBLE.is_match(text) { Err(BadText::Invisible) } else { Ok(()) }
}

/// Holds a text for people, such as a description, against the same; it may have lines and tabulators.
///
/// # Errors
/// [`BadText`].
pub fn check_prose(text: &str) -> Result<(), BadText> {
    check(&text.replace(['\n', '\t'], " "))
}

fn control(c: char) -> Option<BadText> {
    match c {
        '\0' => Some(BadText::Nul),
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
            Some(BadText::LineEnd)
        }
        c if c.is_control() => Some(BadText::Control),
        _ => None,
    }
}

/// Unicode's own property of what turns direction (UAX #9).
static BIDI: LazyLock<Regex> = LazyLock::new(|| class(r"\p{Bidi_Control}"));

/// Format characters, and what a font is told to leave out (UAX #44).
static INVISIBLE: LazyLock<Regex> =
    LazyLock::new(|| class(r"[\p{Cf}\p{Default_Ignorable_Code_Point}]"));

fn class(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the names of these properties are Unicode's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_character_that_is_no_part_of_an_argument_is_refused() {
        // CMD-5, JOB-03
        for (bad, why) in [
            ("a\0", BadText::Nul),
            ("a\nb", BadText::LineEnd),
            ("a\r", BadText::LineEnd),
            ("\u{b}", BadText::LineEnd),
            ("\u{85}", BadText::LineEnd),
            ("\u{2028}", BadText::LineEnd),
            ("\u{2029}", BadText::LineEnd),
            ("\t", BadText::Control),
            ("\u{1b}[2J", BadText::Control),
            ("\u{7f}", BadText::Control),
            ("\u{9b}", BadText::Control),
            ("a\u{202e}b", BadText::Bidi),
            ("\u{2066}", BadText::Bidi),
            ("\u{200f}", BadText::Bidi),
            ("\u{61c}", BadText::Bidi),
            ("a\u{200b}", BadText::Invisible),
            ("a\u{200d}b", BadText::Invisible),
            ("\u{feff}", BadText::Invisible),
            ("\u{ad}", BadText::Invisible),
            ("\u{e0041}", BadText::Invisible),
            ("\u{3164}", BadText::Invisible),
        ] {
            assert_eq!(check(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn what_people_write_is_taken() {
        for fine in
            ["", "a b", "$(id)`;|&&>{a,b}*~!!\"'\\", "h\u{e9}llo", "\u{65e5}\u{672c}", "a\u{a0}b"]
        {
            assert_eq!(check(fine), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn a_text_of_4096_bytes_is_taken_and_one_more_is_not() {
        assert_eq!(check(&"a".repeat(4096)), Ok(()));
        assert_eq!(check(&"a".repeat(4097)), Err(BadText::TooLong));
        assert_eq!(check(&"\u{e9}".repeat(2049)), Err(BadText::TooLong));
    }

    #[test]
    fn prose_may_have_lines_and_no_escapes() {
        assert_eq!(check_prose("one\n\ttwo"), Ok(()));
        assert_eq!(check_prose("\u{1b}]0;x"), Err(BadText::Control));
    }
}
