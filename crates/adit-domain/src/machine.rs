//! Machines: hosts that run the agent, known by their label.

use std::fmt;
use std::str::FromStr;

/// The longest label, in characters.
pub const MAX_LABEL_CHARS: usize = 64;

/// A machine's label: 1 to 64 of a-z 0-9 and `-`, beginning and ending with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MachineLabel(String);

/// A text that is no label.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a machine's label is 1 to 64 of a-z 0-9 -, begins and ends with a letter or digit, and is not `admin`"
)]
pub struct BadLabel;

impl MachineLabel {
    /// Gives the label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a label of whatever a host calls itself: other signs become `-`, an empty rest becomes `machine`.
    pub fn of_hostname(hostname: &str) -> Self {
        let first = hostname.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let plain: String = first
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .take(MAX_LABEL_CHARS)
            .collect();
        plain.trim_matches('-').parse().unwrap_or_else(|BadLabel| Self("machine".to_owned()))
    }
}

impl FromStr for MachineLabel {
    type Err = BadLabel;
    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if text.is_empty() || text.len() > MAX_LABEL_CHARS || !plain || !edges || text == "admin" {
            return Err(BadLabel);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MachineLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest text that a machine says of itself (hostname, system), in characters; the rest is cut and marked with `…`.
pub const MAX_CLAIM_CHARS: usize = 128;

/// Makes what a machine says of itself harmless: control, format and bidirectional characters become `�`, long text is cut.
// AGT-14
pub fn plain_claim(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .take(MAX_CLAIM_CHARS)
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_CLAIM_CHARS).is_some() {
        plain.push('…');
    }
    plain
}

/// Makes a person's text harmless to read: control, format and bidirectional characters become `�`.
pub fn plain_text(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_could_mean_something_else_is_refused() {
        let long = "a".repeat(65);
        for bad in ["", "a:b", "../x", "A", "-a", "a-", "admin", "ä", "a b", long.as_str()] {
            assert_eq!(bad.parse::<MachineLabel>(), Err(BadLabel), "{bad}");
        }
    }

    #[test]
    fn any_hostname_gives_a_label() {
        assert_eq!(MachineLabel::of_hostname("Web_1.example.org").as_str(), "web-1");
        assert_eq!(MachineLabel::of_hostname("___").as_str(), "machine");
    }

    #[test]
    fn a_hostname_cannot_hide_or_reorder_text() {
        // AGT-14
        assert_eq!(plain_claim("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(plain_claim(&"x".repeat(1 << 20)).chars().count(), MAX_CLAIM_CHARS + 1);
    }
}
