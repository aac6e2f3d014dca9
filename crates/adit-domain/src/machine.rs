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

impl MachineLabel {
    /// Gives `web`, `web-2`, `web-3` and so on, cut so that it stays a label.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        if number == 1 {
            return self.clone();
        }
        let end = format!("-{number}");
        let cut: String = self.0.chars().take(MAX_LABEL_CHARS - end.len()).collect();
        Self(format!("{}{end}", cut.trim_end_matches('-')))
    }
}

/// Which labels an enrolment token gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LabelRule {
    /// This one.
    Is(MachineLabel),
    /// Any of a pattern.
    Like(LabelPattern),
}

/// A pattern of labels: one `*` stands for anything, `web-*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabelPattern {
    before: String,
    after: String,
}

/// The longest pattern, in characters: leaves room for what the `*` stands for.
const MAX_PATTERN_CHARS: usize = MAX_LABEL_CHARS - 10;

impl LabelPattern {
    /// Tells whether a label is one of these.
    pub fn fits(&self, label: &MachineLabel) -> bool {
        let rest = label.0.strip_prefix(self.before.as_str());
        rest.and_then(|rest| rest.strip_suffix(self.after.as_str())).is_some_and(|s| !s.is_empty())
    }

    /// Gives the label with a number for the `*`.
    #[must_use]
    pub fn with(&self, number: u32) -> MachineLabel {
        MachineLabel(format!("{}{number}{}", self.before, self.after))
    }
}

impl FromStr for LabelRule {
    type Err = BadLabel;
    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let Some((before, after)) = text.split_once('*') else {
            return text.parse().map(Self::Is);
        };
        let pattern = LabelPattern { before: before.to_owned(), after: after.to_owned() };
        // What a number makes of it must be a label; the rest then is one too.
        let sample: MachineLabel = text.replacen('*', "1", 1).parse()?;
        if text.len() > MAX_PATTERN_CHARS || !pattern.fits(&sample) {
            return Err(BadLabel);
        }
        Ok(Self::Like(pattern))
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(label) => label.fmt(f),
            Self::Like(pattern) => write!(f, "{}*{}", pattern.before, pattern.after),
        }
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
    fn a_numbered_label_stays_a_label() {
        let long: MachineLabel = format!("{}-a", "x".repeat(61)).parse().unwrap();
        for number in [1, 2, 100] {
            let label = long.numbered(number).to_string();
            assert!(label.parse::<MachineLabel>().is_ok(), "{label}");
        }
        let web: MachineLabel = "web".parse().unwrap();
        assert_eq!(web.numbered(2).as_str(), "web-2");
    }

    #[test]
    fn a_pattern_gives_and_fits_labels_only() {
        let Ok(LabelRule::Like(pattern)) = "web-*-eu".parse::<LabelRule>() else { panic!() };
        assert_eq!(pattern.with(7).as_str(), "web-7-eu");
        assert!(pattern.fits(&"web-a-b-eu".parse().unwrap()));
        for other in ["web-eu", "db-1-eu", "web-1"] {
            assert!(!pattern.fits(&other.parse().unwrap()), "{other}");
        }
        for bad in ["-*", "*-", "a**", "*.*", "A*", ""] {
            assert_eq!(bad.parse::<LabelRule>(), Err(BadLabel), "{bad}");
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
