//! Support: a code that a technician reads out, and what the person at the machine answers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Capabilities, Capability, Ids};

/// The signs of a code: digits and capital letters without those that are taken for one another when they are read or heard.
///
/// Left out are `0` `O`, `1` `I` `L`, `U` beside `V`, and the letters that look like a digit that is there: `B` (8), `S` (5), `Z` (2).
pub const ALPHABET: &[u8; 27] = b"23456789ACDEFGHJKMNPQRTVWXY";

/// How many signs a code has: 27 signs ten times are 47 bits.
pub const CODE_CHARS: usize = 10;

/// The last whole multiple of 27 in a byte: a byte from here on would make some signs likelier, so it is drawn again.
const FAIR: u8 = 243;

/// How long a code counts.
pub const CODE_LIFE: Duration = Duration::from_secs(600);

/// How long the person at the machine has to answer; no answer is no.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long support lasts unless the technician says otherwise.
pub const LENGTH: Duration = Duration::from_secs(3600);

/// The longest that one may say.
pub const MAX_LENGTH: Duration = Duration::from_secs(8 * 3600);

/// A support code: single use, good for one machine's first connect and for nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct SupportCode([u8; CODE_CHARS]);

/// A text that is no support code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a support code has ten letters and digits, such as 7KQM2-9XVFA")]
pub struct NotACode;

impl SupportCode {
    /// Draws a new one, every sign as likely as every other.
    pub fn draw(ids: &dyn Ids) -> Self {
        let mut signs = [0; CODE_CHARS];
        let mut at = 0;
        while at < CODE_CHARS {
            let mut random = [0; 1];
            ids.fill(&mut random);
            if random[0] < FAIR {
                signs[at] = ALPHABET[usize::from(random[0]) % ALPHABET.len()];
                at += 1;
            }
        }
        Self(signs)
    }

    /// Writes it as it is shown: two groups of five.
    pub fn grouped(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let (first, second) = text.split_at(CODE_CHARS / 2);
        format!("{first}-{second}")
    }

    /// Gives its signs, for its hash.
    pub fn as_bytes(&self) -> &[u8; CODE_CHARS] {
        &self.0
    }
}

impl fmt::Debug for SupportCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SupportCode(…)")
    }
}

impl FromStr for SupportCode {
    type Err = NotACode;

    /// Reads a code as people type it: in any case, with spaces and dashes, with `S` for 5, `Z` for 2 and `B` for 8.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        if text.len() > MAX_TYPED_BYTES {
            return Err(NotACode);
        }
        let mut signs = [0; CODE_CHARS];
        let mut at = 0;
        for byte in text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')) {
            let sign = match byte.to_ascii_uppercase() {
                b'S' => b'5',
                b'Z' => b'2',
                b'B' => b'8',
                other => other,
            };
            if at == CODE_CHARS || !ALPHABET.contains(&sign) {
                return Err(NotACode);
            }
            signs[at] = sign;
            at += 1;
        }
        if at == CODE_CHARS { Ok(Self(signs)) } else { Err(NotACode) }
    }
}

/// A code with a space or a dash after every sign, and room at its ends.
const MAX_TYPED_BYTES: usize = 32;

/// What the technician asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To see and to type.
    Control,
    /// To see what the person does.
    View,
}

impl Access {
    /// Gives the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::View => "view",
        }
    }

    /// Gives what consent to it allows: a shell, and never a command that nobody sees.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Control => Capabilities::of(&[
                Capability::TerminalSpawn,
                Capability::TerminalInput,
                Capability::TerminalResize,
                Capability::TerminalView,
            ]),
            Self::View => Capabilities::of(&[Capability::TerminalSpawn, Capability::TerminalView]),
        }
    }
}

/// A text that names no access.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("access is `control` or `view`")]
pub struct UnknownAccess;

impl FromStr for Access {
    type Err = UnknownAccess;
    fn from_str(text: &str) -> Result<Self, UnknownAccess> {
        [Self::Control, Self::View].into_iter().find(|a| a.as_str() == text).ok_or(UnknownAccess)
    }
}

/// What the person at the machine says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nothing, for too long.
    Silence,
    /// That it is over.
    Stop,
}

impl Answer {
    /// Gives the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Silence => "silence",
            Self::Stop => "stop",
        }
    }
}

/// A text that is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is `yes`, `no`, `silence` or `stop`")]
pub struct UnknownAnswer;

impl FromStr for Answer {
    type Err = UnknownAnswer;
    fn from_str(text: &str) -> Result<Self, UnknownAnswer> {
        let all = [Self::Yes, Self::No, Self::Silence, Self::Stop];
        all.into_iter().find(|a| a.as_str() == text).ok_or(UnknownAnswer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use uuid::Uuid;

    use super::*;

    /// Gives every byte in turn.
    struct InTurn(AtomicU8);

    impl Ids for InTurn {
        fn uuid(&self) -> Uuid {
            Uuid::nil()
        }
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn a_code_has_more_than_45_bits() {
        // DESK-5
        let bits = 10.0 * 27_f64.log2();
        assert_eq!((CODE_CHARS, ALPHABET.len()), (10, 27));
        assert!(bits > 45.0, "{bits}");
    }

    #[test]
    fn no_sign_is_taken_for_another() {
        // DESK-5
        for bad in b"0O1ILUBSZ" {
            assert!(!ALPHABET.contains(bad), "{}", char::from(*bad));
        }
    }

    #[test]
    fn every_sign_is_drawn_as_often_as_every_other() {
        let ids = InTurn(AtomicU8::new(0));
        let mut drawn = std::collections::BTreeMap::new();
        // 243 of the 256 bytes count, nine for each sign; ten rounds of them fill whole codes.
        for _ in 0..243 {
            for sign in SupportCode::draw(&ids).0 {
                *drawn.entry(sign).or_insert(0) += 1;
            }
        }
        assert_eq!(drawn.len(), 27);
        assert!(drawn.values().all(|times| *times == 90), "{drawn:?}");
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code: SupportCode = "7KQM2-9XVFA".parse().unwrap();
        for typed in ["7kqm29xvfa", " 7KQM2 9XVFA ", "7-k-q-m-2-9-x-v-f-a", "7KQMZ-9XVFA"] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        assert_eq!(code.grouped(), "7KQM2-9XVFA");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let long = "7".repeat(1 << 20);
        for bad in
            ["", "7KQM2-9XVF", "7KQM2-9XVFAA", "7KQM2-9XVF0", "7KQM2_9XVFA", "7KQM2-9XVFÄ", &long]
        {
            assert_eq!(bad.parse::<SupportCode>(), Err(NotACode), "{}", bad.len());
        }
    }

    #[test]
    fn words_read_back() {
        for access in [Access::Control, Access::View] {
            assert_eq!(access.as_str().parse(), Ok(access));
        }
        for answer in [Answer::Yes, Answer::No, Answer::Silence, Answer::Stop] {
            assert_eq!(answer.as_str().parse(), Ok(answer));
        }
        assert!(!Access::View.capabilities().has(Capability::TerminalInput));
    }
}
