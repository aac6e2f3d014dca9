//! Texts of strangers, shown where they can do no harm.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Tells whether a character acts instead of being seen: a control, a direction or a join that hides or turns its neighbours, a separator that
/// some readers take for the end of a line, or one that no font shows.
pub fn acts(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Gives a text that a terminal shows and does not obey: whatever [`acts`] is written as `\u{…}`, a backslash as two.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| acts(c) || c == '\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if acts(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Appends a JSON string; whatever [`acts`] is written as `\uXXXX`, so that the line is safe in a terminal and a log too.
pub fn push_json(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if acts(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
