//! Patterns that a whole value must match, in linear time.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A regular expression that a whole value must match.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    whole: Regex,
}

/// The longest pattern, in characters.
pub const MAX_PATTERN_CHARS: usize = 1024;

/// How large a pattern may become when it is compiled, in bytes, as the engine has it by itself: `\w{128}` fits, `(\w{100}){100}` does not.
const MAX_COMPILED_BYTES: usize = 10 << 20;

/// How deeply groups may nest.
const MAX_NESTING: u32 = 32;

/// Why a text is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPattern {
    /// It is no regular expression.
    #[error("at its character {at}: {why}")]
    Syntax {
        /// Where, counted from 1.
        at: usize,
        /// What the engine says.
        why: String,
    },
    /// It has more than [`MAX_PATTERN_CHARS`], or becomes too large.
    #[error("it is too large")]
    TooLarge,
    /// It cannot be held against whole values.
    #[error("it cannot be held against whole values: leave out the flag `x`")]
    Open,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn new(source: &str) -> Result<Self, BadPattern> {
        if source.chars().count() > MAX_PATTERN_CHARS {
            return Err(BadPattern::TooLarge);
        }
        // A pattern is complete by itself, so that nothing in it can end the group around it.
        let mut parser = regex_syntax::ParserBuilder::new().nest_limit(MAX_NESTING).build();
        parser.parse(source).map_err(|error| syntax(&error))?;
        let whole = RegexBuilder::new(&format!(r"\A(?:{source})\z"))
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => BadPattern::TooLarge,
                _ => BadPattern::Open,
            })?;
        Ok(Self { source: source.to_owned(), whole })
    }

    /// Tells whether the whole value matches.
    pub fn fits(&self, value: &str) -> bool {
        self.whole.is_match(value)
    }

    /// Gives the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn syntax(error: &regex_syntax::Error) -> BadPattern {
    let (at, why) = match error {
        regex_syntax::Error::Parse(error) => (error.span().start.column, error.kind().to_string()),
        regex_syntax::Error::Translate(error) => {
            (error.span().start.column, error.kind().to_string())
        }
        _ => (1, "is no regular expression".to_owned()),
    };
    BadPattern::Syntax { at, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(value)
    }

    #[test]
    fn a_pattern_is_held_against_the_whole_value() {
        // CMD-2, JOB-05
        let seed = r"^/[a-zA-Z0-9_./\-]*$";
        assert!(fits(seed, "/tmp") && fits("tmp|/tmp", "/tmp"));
        for bad in ["/tmp\n", "/t\nmp", "\n/tmp", "/tmp;id", "x/tmp"] {
            assert!(!fits(seed, bad), "{bad:?}");
        }
        assert!(!fits("a|b", "ab") && !fits("a", "ba") && !fits("(?m)^a$", "a\nb"));
    }

    #[test]
    fn a_pattern_cannot_open_the_group_that_anchors_it() {
        for bad in ["a)|(b", "a)|.*|(?:b", "(", "[a"] {
            assert!(matches!(Pattern::new(bad), Err(BadPattern::Syntax { .. })), "{bad}");
        }
        assert_eq!(Pattern::new("(?x)a #"), Err(BadPattern::Open));
    }

    #[test]
    fn an_error_says_where() {
        assert!(matches!(Pattern::new("^a[b"), Err(BadPattern::Syntax { at: 3, .. })));
        let backtracking = Pattern::new("(?=a)").unwrap_err();
        assert!(backtracking.to_string().starts_with("at its character 1:"), "{backtracking}");
    }

    #[test]
    fn a_pattern_that_becomes_too_large_is_refused() {
        for bad in [r"(\w{100}){100}", r"((a{100}){100}){100}", &"a".repeat(1025)] {
            assert_eq!(Pattern::new(bad), Err(BadPattern::TooLarge), "{bad}");
        }
        assert!(Pattern::new(&"(".repeat(200)).is_err());
        for fine in [r"\w{128}", "[a-zA-Z0-9_.-]{1,255}", r"[^\x00-\x1f]{1,255}"] {
            assert!(Pattern::new(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_pattern_that_others_never_end_with_is_linear() {
        assert!(!fits("(a+)+b", &"a".repeat(4096)));
    }
}
