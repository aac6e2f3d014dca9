//! Takes out of a recording what a terminal would do to its owner rather than show.
//!
//! What stays: text, colours, moving and erasing, the other screen. What goes: questions that a terminal answers by typing,
//! titles, the clipboard, device strings, reports of the mouse and of pastes, window operations.

/// The longest sequence that is kept, in bytes; a longer one is dropped.
const MAX_SEQUENCE: usize = 256;

/// Reads output piece by piece and keeps what only shows.
#[derive(Debug, Default)]
pub struct Filter {
    place: Place,
    sequence: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    Escape,
    /// After ESC and an intermediate byte, as in the choice of a character set.
    Charset,
    Control,
    /// In a string: a title, a device's, an application's.
    InString,
    /// After an ESC in a string.
    StringEscape,
}

impl Filter {
    /// Adds what may be shown of `text` to `out`.
    pub fn pass(&mut self, text: &str, out: &mut String) {
        for letter in text.chars() {
            self.step(letter, out);
        }
    }

    fn step(&mut self, letter: char, out: &mut String) {
        self.place = match self.place {
            Place::Text => Self::text(letter, out),
            Place::Escape => self.escape(letter, out),
            Place::Charset => {
                out.push_str(&self.sequence);
                out.push(letter);
                Place::Text
            }
            Place::Control => self.control(letter, out),
            Place::InString => match letter {
                '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}' => Place::Text,
                '\u{1b}' => Place::StringEscape,
                _ => Place::InString,
            },
            // Any ESC ends a string, not only that of its terminator.
            Place::StringEscape => match letter {
                '\\' => Place::Text,
                other => self.escape(other, out),
            },
        };
    }

    fn text(letter: char, out: &mut String) -> Place {
        match letter {
            '\u{1b}' => Place::Escape,
            '\u{8}'..='\u{f}' => {
                out.push(letter);
                Place::Text
            }
            // What else is a control asks, rings, or begins an 8-bit sequence that nothing of ours writes.
            letter if letter.is_control() => Place::Text,
            letter => {
                out.push(letter);
                Place::Text
            }
        }
    }

    fn escape(&mut self, letter: char, out: &mut String) -> Place {
        self.sequence = format!("\u{1b}{letter}");
        match letter {
            '[' => Place::Control,
            ']' | 'P' | 'X' | '^' | '_' | 'k' => Place::InString,
            '(' | ')' | '*' | '+' | '#' => Place::Charset,
            '7' | '8' | 'D' | 'E' | 'H' | 'M' | 'c' => {
                out.push_str(&self.sequence);
                Place::Text
            }
            '\u{1b}' => Place::Escape,
            _ => Place::Text,
        }
    }

    fn control(&mut self, letter: char, out: &mut String) -> Place {
        if letter == '\u{1b}' {
            return Place::Escape;
        }
        if matches!(letter, '\u{18}' | '\u{1a}') || self.sequence.len() >= MAX_SEQUENCE {
            return Place::Text;
        }
        if letter.is_control() {
            return Place::Control;
        }
        self.sequence.push(letter);
        if !('\u{40}'..='\u{7e}').contains(&letter) {
            return Place::Control;
        }
        if shows(&self.sequence) {
            out.push_str(&self.sequence);
        }
        Place::Text
    }
}

/// Tells whether a control sequence only shows something.
fn shows(sequence: &str) -> bool {
    let inner = &sequence[2..];
    let (parameters, last) = inner.split_at(inner.len() - 1);
    let plain = parameters.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
    match (parameters.as_bytes().first(), last) {
        (Some(b'?'), "h" | "l") => parameters[1..].split(';').all(|mode| {
            matches!(
                mode,
                "3" | "5" | "6" | "7" | "12" | "25" | "47" | "1047" | "1048" | "1049" | "2026"
            )
        }),
        (Some(b'?'), "J" | "K") => true,
        (_, "p") => parameters == "!",
        (_, "q") => parameters.ends_with(' '),
        (_, "c" | "n" | "t" | "u" | "x" | "y" | "i") => plain && last == "u",
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(text: &str) -> String {
        let mut out = String::new();
        Filter::default().pass(text, &mut out);
        out
    }

    #[test]
    fn what_only_shows_stays() {
        for text in [
            "ls\r\n\tzoë 日本語 🙂\u{8}",
            "\u{1b}[1;31mred\u{1b}[0m\u{1b}[38:2::1:2:3mx",
            "\u{1b}[?1049h\u{1b}[2J\u{1b}[H\u{1b}[1;24r\u{1b}[?25l",
            "\u{1b}7\u{1b}8\u{1b}(0qqq\u{1b}(B\u{1b}M\u{1b}[2 q",
        ] {
            assert_eq!(pass(text), text);
        }
    }

    #[test]
    fn what_does_something_to_the_viewer_goes() {
        // TERM-7
        for (hostile, left) in [
            ("a\u{1b}]52;c;cm0gLXJm\u{7}b", "ab"),
            ("a\u{1b}]0;title\u{1b}\\b", "ab"),
            ("a\u{1b}]2;never ended\u{1b}[6nb", "ab"),
            ("a\u{1b}[6nb\u{1b}[cb\u{1b}[>qb\u{1b}[?1000hb", "abbbb"),
            ("a\u{1b}P+q544e\u{1b}\\b\u{1b}_Gx\u{1b}\\c", "abc"),
            ("a\u{1b}[21tb\u{1b}Zc\u{5}d\u{7}e", "abcde"),
            ("a\u{9b}6nb\u{9d}0;t\u{9c}c", "a6nb0;tc"),
            ("a\u{1b}[?1004;2004hb", "ab"),
        ] {
            assert_eq!(pass(hostile), left, "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_text_is_cut(
            text in proptest::collection::vec(prop::sample::select(
                "\u{1b}[]?;0 1049hnP\\\u{7}cx".chars().collect::<Vec<_>>()), 0..60),
            cut in 0usize..60,
        ) {
            let (a, b) = text.split_at(cut.min(text.len()));
            let (mut out, mut filter) = (String::new(), Filter::default());
            filter.pass(&a.iter().collect::<String>(), &mut out);
            filter.pass(&b.iter().collect::<String>(), &mut out);
            prop_assert_eq!(out, pass(&text.iter().collect::<String>()));
        }

        #[test]
        fn nothing_that_a_terminal_answers_comes_through(text in any::<String>()) {
            // TERM-7
            let out = pass(&text);
            prop_assert!(!out.contains("\u{1b}]") && !out.contains("\u{1b}P"), "{:?}", out);
        }
    }
}
