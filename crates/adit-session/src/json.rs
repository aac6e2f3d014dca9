//! Strict JSON for sealed messages: strings as `JSON.stringify` writes them, and a reader that takes one meaning or none.
//!
//! A string is carried as the text between its quotes in the one spelling that `JSON.stringify` has for it.
//! That text can hold lone surrogates, which a Rust string cannot.

/// Writes a string with its quotes as `JSON.stringify` does.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if let Some(escape) = escape(byte) {
            out.extend_from_slice(&text.as_bytes()[plain_from..at]);
            out.extend_from_slice(escape.as_bytes());
            plain_from = at + 1;
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

/// A string as it stands in a message, without its quotes and with its escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawString<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> RawString<'a> {
    /// The text, where nothing in it is escaped: names, ids and times have one spelling.
    pub(crate) fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.text)
    }

    /// Bytes between the quotes, escapes as they stand.
    pub(crate) fn raw_bytes(self) -> usize {
        self.text.len()
    }

    /// Writes the string, without quotes, in the one spelling of `JSON.stringify`.
    pub(crate) fn write_canonical(self, out: &mut String) {
        if !self.escaped {
            return out.push_str(self.text);
        }
        let mut rest = self.text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let (unit, after) = unescape(&rest[at..]);
            rest = match (unit, after.starts_with("\\u").then(|| unescape(after))) {
                (0xD800..=0xDBFF, Some((low @ 0xDC00..=0xDFFF, after_low))) => {
                    out.push(pair(unit, low));
                    after_low
                }
                _ => {
                    write_unit(out, unit);
                    after
                }
            };
        }
        out.push_str(rest);
    }
}

/// Decodes canonical text to what it means.
///
/// # Errors
/// It holds a lone surrogate.
pub(crate) fn decode(canonical: &str) -> Result<String, LoneSurrogate> {
    let mut text = String::with_capacity(canonical.len());
    let mut rest = canonical;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (unit, after) = unescape(&rest[at..]);
        text.push(char::from_u32(u32::from(unit)).ok_or(LoneSurrogate)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// Decodes canonical text to UTF-16, which holds everything that JavaScript can say.
pub(crate) fn decode_utf16(canonical: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(canonical.len());
    let mut rest = canonical;
    while let Some(at) = rest.find('\\') {
        units.extend(rest[..at].encode_utf16());
        let (unit, after) = unescape(&rest[at..]);
        units.push(unit);
        rest = after;
    }
    units.extend(rest.encode_utf16());
    units
}

/// A text holds half of a surrogate pair, which no Rust string can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text holds a lone surrogate")]
pub struct LoneSurrogate;

/// Reads one JSON text from its start to its end.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes this sign, or nothing.
    pub(crate) fn take(&mut self, sign: u8) -> Option<()> {
        (self.peek()? == sign).then(|| self.at += 1)
    }

    /// Takes this sign and says whether it was there.
    pub(crate) fn took(&mut self, sign: u8) -> bool {
        self.take(sign).is_some()
    }

    /// Takes a string; its escapes are well formed and no control sign stands in it.
    pub(crate) fn string(&mut self) -> Option<RawString<'a>> {
        self.take(b'"')?;
        let (from, mut escaped) = (self.at, false);
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += rest.iter().position(|byte| ENDS_PLAIN[usize::from(*byte)])?;
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += escape_bytes(&self.text.as_bytes()[self.at..])?;
                }
                _ => return None,
            }
        }
        let text = &self.text[from..self.at];
        self.at += 1;
        Some(RawString { text, escaped })
    }

    /// Takes `null` and says whether it was there.
    pub(crate) fn null(&mut self) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with("null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// Takes a whole object and gives its text; what is in it is for the caller to read.
    pub(crate) fn object(&mut self) -> Option<&'a str> {
        (self.peek()? == b'{').then_some(())?;
        let (from, mut depth) = (self.at, 0usize);
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            match depth {
                0 => return self.text.get(from..self.at),
                1..DEPTH_MAX => {}
                _ => return None,
            }
        }
    }

    /// What was not taken.
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Says that only white space is left.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// How many bytes a well-formed escape has.
fn escape_bytes(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => text.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// The UTF-16 unit of a well-formed escape, and the text after it.
fn unescape(text: &str) -> (u16, &str) {
    let unit = match text.as_bytes()[1] {
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'f' => 12,
        b'r' => 13,
        b'u' => {
            let unit =
                u16::from_str_radix(&text[2..6], 16).expect("the reader checked the four digits");
            return (unit, &text[6..]);
        }
        itself => u16::from(itself),
    };
    (unit, &text[2..])
}

fn write_unit(out: &mut String, unit: u16) {
    match char::from_u32(u32::from(unit)) {
        None => {
            out.push_str("\\u");
            for shift in [12, 8, 4, 0] {
                out.push(digit(unit >> shift));
            }
        }
        Some(sign) => match escape(u8::try_from(unit).unwrap_or(b' ')) {
            Some(escape) => out.push_str(escape),
            None => out.push(sign),
        },
    }
}

fn pair(high: u16, low: u16) -> char {
    let sign = char::decode_utf16([high, low]).next().and_then(Result::ok);
    sign.expect("a high and a low surrogate make a sign")
}

fn digit(value: u16) -> char {
    char::from_digit(u32::from(value & 15), 16).expect("four bits are a digit")
}

/// How `JSON.stringify` writes a quote, a backslash or a control sign; nothing for what it writes as it is.
const fn escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        0..0x20 => Some(CONTROL_ESCAPES[byte as usize]),
        _ => None,
    }
}

const CONTROL_ESCAPES: [&str; 32] = [
    r"\u0000", r"\u0001", r"\u0002", r"\u0003", r"\u0004", r"\u0005", r"\u0006", r"\u0007", r"\b",
    r"\t", r"\n", r"\u000b", r"\f", r"\r", r"\u000e", r"\u000f", r"\u0010", r"\u0011", r"\u0012",
    r"\u0013", r"\u0014", r"\u0015", r"\u0016", r"\u0017", r"\u0018", r"\u0019", r"\u001a",
    r"\u001b", r"\u001c", r"\u001d", r"\u001e", r"\u001f",
];
/// Quote, backslash and control signs.
const ENDS_PLAIN: [bool; 256] = {
    let mut ends = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        ends[byte] = escape(byte as u8).is_some();
        byte += 1;
    }
    ends
};
/// Chosen: a session token nests two deep.
const DEPTH_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    fn canonical(json: &str) -> Option<String> {
        let mut reader = Reader::new(json);
        let raw = reader.string()?;
        reader.end()?;
        let mut out = String::new();
        raw.write_canonical(&mut out);
        Some(out)
    }

    // SES-21
    #[test]
    fn control_signs_quotes_and_backslashes_are_escaped_and_nothing_else() {
        assert_eq!(written("\u{0}\u{1f}\u{8}\t\n\u{c}\r\"\\/"), r#""\u0000\u001f\b\t\n\f\r\"\\/""#);
        assert_eq!(written("\u{7f}\u{2028}\u{2029}é漢😀"), "\"\u{7f}\u{2028}\u{2029}é漢😀\"");
    }

    // SES-21, TOK-27
    #[test]
    fn every_spelling_of_a_string_has_one_canonical_text() {
        assert_eq!(
            canonical(r#""\u0041\/\u000A\u001F\u00e9\uD83D\uDE00\u2028""#).unwrap(),
            "A/\\n\\u001fé😀\u{2028}"
        );
        assert_eq!(canonical(r#""\u005c\u0022""#).unwrap(), r#"\\\""#);
    }

    // TOK-27
    #[test]
    fn lone_surrogates_stay_what_they_are() {
        assert_eq!(
            canonical(r#""\uD800x\uDC00\uD800\uD83D\uDE00""#).unwrap(),
            "\\ud800x\\udc00\\ud800😀"
        );
        assert_eq!(decode("\\ud800"), Err(LoneSurrogate));
        assert_eq!(decode_utf16("a\\ud800"), [0x61, 0xD800]);
    }

    // TOK-27
    #[test]
    fn broken_strings_are_refused() {
        for json in [
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"\n\"",
            "\"\t\"",
            "'a'",
            "\u{feff}\"a\"",
            "\"a\"b",
            "\"\\u+123\"",
        ] {
            assert_eq!(canonical(json), None, "{json}");
        }
    }

    // TOK-27
    #[test]
    fn an_object_ends_where_it_ends_and_deep_ones_are_refused() {
        let mut reader = Reader::new(r#" {"a":["}",{}]} x"#);
        assert_eq!(reader.object(), Some(r#"{"a":["}",{}]}"#));
        assert_eq!(Reader::new(&"{\"a\":".repeat(9)).object(), None);
        assert_eq!(Reader::new("[]").object(), None);
    }

    proptest! {
        // SES-21
        #[test]
        fn what_is_written_means_what_it_meant(text in ".*") {
            let json = written(&text);
            prop_assert_eq!(&json, &serde_json::to_string(&text).unwrap());
            let canonical = canonical(&json).unwrap();
            prop_assert_eq!(&canonical, &json[1..json.len() - 1]);
            prop_assert_eq!(decode(&canonical).unwrap(), text.clone());
            prop_assert_eq!(decode_utf16(&canonical), text.encode_utf16().collect::<Vec<_>>());
        }

        // TOK-27
        #[test]
        fn the_reader_agrees_with_another_reader_and_never_panics(json in r#""([a-z\\"u0-9dDfF /é😀]|\\u[dD][89abcdefABCDEF][0-9a-f]{2}|\\[nrt"/])*""#) {
            let ours = canonical(&json).and_then(|text| decode(&text).ok());
            prop_assert_eq!(ours, serde_json::from_str::<String>(&json).ok());
        }
    }
}
