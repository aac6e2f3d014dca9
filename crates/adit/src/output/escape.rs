//! JSON that a terminal shows and does not obey.

use std::io;

use adit_wire::audit::escape::acts;
use serde_json::ser::Formatter;

/// Writes compact JSON whose strings are terminal-safe: still the same JSON to any reader.
pub struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some(letter) = rest.chars().find(|letter| acts(*letter)) {
            let (before, after) = rest.split_once(letter).expect("the letter was found there");
            writer.write_all(before.as_bytes())?;
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after;
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::{escape, to_json};

    #[test]
    fn a_hostile_name_is_shown_and_not_obeyed() {
        // AUD-05
        let hostile = "a\u{1b}[2J\r\n\u{9b}31m\u{2028}\u{202e}c\u{7f}";
        assert!(!escape(hostile).chars().any(acts));
        assert_eq!(to_json(&hostile).unwrap(), r#""a\u001b[2J\r\n\u009b31m\u2028\u202ec\u007f""#);
    }

    proptest! {
        #[test]
        fn json_says_the_same_and_holds_nothing_that_acts(text in any::<String>()) {
            // AUD-05
            let json = to_json(&text).unwrap();
            prop_assert!(!json.chars().any(acts), "{json:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
