//! The one line that says what the connection is doing.
//!
//! It is the window's title: that a program's screen cannot be disturbed by, wherever its cursor is and whatever it has drawn. The
//! title before is kept on the terminal's own stack (XTWINOPS 22 and 23).

use crate::output::escape;

/// The longest sentence, in characters: what a title bar shows.
const MAX_CHARS: usize = 120;

/// What is said at the moment.
#[derive(Debug, Default)]
pub struct Status {
    said: Option<String>,
}

impl Status {
    /// Gives what shows a sentence, unless it is shown already or the terminal is in the middle of a sequence.
    pub fn say(&mut self, machine: &str, sentence: &str, is_settled: bool) -> Option<Vec<u8>> {
        let text: String = format!("{machine}: {sentence}").chars().take(MAX_CHARS).collect();
        if !is_settled || self.said.as_ref() == Some(&text) {
            return None;
        }
        let keep = if self.said.is_none() { "\x1b[22;2t" } else { "" };
        let drawn = format!("{keep}\x1b]2;{}\x07", escape(&text));
        self.said = Some(text);
        Some(drawn.into_bytes())
    }

    /// Gives what shows the title of before, if a sentence is shown.
    pub fn unsay(&mut self, is_settled: bool) -> Option<Vec<u8>> {
        if !is_settled {
            return None;
        }
        self.said.take().map(|_| b"\x1b[23;2t".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_shown_once_and_taken_back() {
        let mut status = Status::default();
        let shown = status.say("web-1", "reconnecting", true).unwrap();
        assert_eq!(shown, b"\x1b[22;2t\x1b]2;web-1: reconnecting\x07");
        assert_eq!(status.say("web-1", "reconnecting", true), None);
        assert_eq!(status.unsay(true).unwrap(), b"\x1b[23;2t");
        assert_eq!(status.unsay(true), None);
    }

    #[test]
    fn a_hostile_sentence_stays_in_the_title() {
        // AUD-05
        let shown = Status::default().say("m", "a\x07\x1b[2Jb", true).unwrap();
        assert_eq!(shown, b"\x1b[22;2t\x1b]2;m: a\\u{7}\\u{1b}[2Jb\x07");
    }

    #[test]
    fn the_screen_is_not_disturbed() {
        let mut status = Status::default();
        let mut terminal = avt::Terminal::new(20, 4).unwrap();
        terminal.feed("one\r\n\x1b[31mtwo");
        let before = terminal.dump();
        let said = status.say("web-1", "reconnecting", true).unwrap();
        terminal.feed(std::str::from_utf8(&said).unwrap());
        terminal.feed(std::str::from_utf8(&status.unsay(true).unwrap()).unwrap());
        assert_eq!(terminal.dump(), before);
    }
}
