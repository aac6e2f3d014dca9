//! Remembers what a session switched on in the local terminal, to switch it off when the client leaves.
//!
//! Output is only kept here and read when there is a lot of it or when the client leaves, so that a key pays for a copy.

use std::collections::BTreeSet;

/// How much output is kept before it is read, in bytes.
const KEEP: usize = 256 * 1024;

/// The longest sequence that is waited for, in bytes; a longer one is no mode.
const MAX_SEQUENCE: usize = 64;

/// The longest string (a title, a picture) whose end is looked for, in bytes.
const MAX_STRING: usize = 4096;

/// Private modes that a terminal has on by itself: wrapping, and the cursor.
const ON_BY_ITSELF: [u16; 2] = [7, 25];

/// Private modes that a client leaves switched off behind it: keys, the mouse, focus, the other screen, paste, batched drawing.
const OFF_BEHIND: [u16; 15] =
    [1, 5, 6, 9, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 2004, 2026];

/// The other screen with its saved cursor; it is left last.
const OTHER_SCREEN: u16 = 1049;

/// The modes of a terminal that differ from a fresh one.
#[derive(Debug, Default)]
pub struct Modes {
    unread: Vec<u8>,
    on: BTreeSet<u16>,
    off: BTreeSet<u16>,
    keypad: bool,
    insert: bool,
    region: bool,
    cursor_style: bool,
    keyboard_pushes: usize,
}

impl Modes {
    /// Takes output that was written to the terminal.
    pub fn wrote(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if self.unread.len() >= KEEP {
            self.read();
        }
    }

    /// Gives what switches everything off again.
    pub fn undo(&mut self) -> Vec<u8> {
        self.read();
        let mut out = Vec::new();
        for mode in OFF_BEHIND.iter().filter(|mode| self.on.contains(mode)) {
            out.extend(format!("\x1b[?{mode}l").bytes());
        }
        for mode in ON_BY_ITSELF.iter().filter(|mode| self.off.contains(mode)) {
            out.extend(format!("\x1b[?{mode}h").bytes());
        }
        out.extend(std::iter::repeat_n(b"\x1b[<u", self.keyboard_pushes).flatten());
        let single: [(bool, &[u8]); 4] = [
            (self.keypad, b"\x1b>"),
            (self.insert, b"\x1b[4l"),
            (self.region, b"\x1b7\x1b[r\x1b8"),
            (self.cursor_style, b"\x1b[0 q"),
        ];
        out.extend(single.iter().filter(|(set, _)| *set).flat_map(|(_, undo)| undo.iter()));
        if self.on.contains(&OTHER_SCREEN) {
            out.extend(format!("\x1b[?{OTHER_SCREEN}l").bytes());
        }
        // Colours, and the character set that line drawing leaves.
        out.extend(b"\x1b[0m\x0f");
        *self = Self::default();
        out
    }

    /// Tells whether the last sequence and the last character are whole, so that something of the client's own may be written.
    pub fn is_settled(&self) -> bool {
        let tail = &self.unread[self.unread.len().saturating_sub(MAX_STRING)..];
        let cut = std::str::from_utf8(&tail[tail.len().saturating_sub(4)..])
            .is_err_and(|error| error.error_len().is_none());
        let last = memchr::memrchr(b'\x1b', tail).map(|at| &tail[at + 1..]);
        !cut && last.is_none_or(is_whole)
    }

    fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let mut at = 0;
        while let Some(found) = memchr::memchr(b'\x1b', &unread[at..]) {
            let start = at + found;
            match self.sequence(&unread[start + 1..]) {
                Some(length) => at = start + 1 + length,
                None if unread.len() - start > MAX_SEQUENCE => at = start + 1,
                None => {
                    // It goes on in what is written next.
                    self.unread = unread[start..].to_vec();
                    return;
                }
            }
        }
    }

    /// Reads one sequence after its ESC and gives its length; `None` where its end is missing.
    fn sequence(&mut self, rest: &[u8]) -> Option<usize> {
        match rest.first()? {
            b'=' => self.keypad = true,
            b'>' => self.keypad = false,
            b'c' => {
                *self = Self { unread: std::mem::take(&mut self.unread), ..Self::default() };
            }
            b'[' => {
                let end = rest[1..].iter().position(|byte| (0x40..=0x7e).contains(byte))?;
                self.control(&rest[1..=end], rest[1 + end]);
                return Some(end + 2);
            }
            _ => {}
        }
        Some(1)
    }

    fn control(&mut self, parameters: &[u8], last: u8) {
        match (parameters.first(), last) {
            (Some(b'?'), b'h' | b'l') => self.private(&parameters[1..], last == b'h'),
            (Some(b'>'), b'u') => self.keyboard_pushes += 1,
            (Some(b'<'), b'u') => {
                self.keyboard_pushes = self.keyboard_pushes.saturating_sub(1);
            }
            (Some(b'4'), b'h' | b'l') if parameters.len() == 1 => self.insert = last == b'h',
            (Some(b'0'..=b'9'), b'q') if parameters.ends_with(b" ") => {
                self.cursor_style = parameters != b"0 ";
            }
            (Some(b'!'), b'p') => {
                (self.keypad, self.insert, self.region) = (false, false, false);
            }
            (first, b'r') if first != Some(&b'?') => self.region = !parameters.is_empty(),
            _ => {}
        }
    }

    fn private(&mut self, parameters: &[u8], on: bool) {
        let numbers = parameters.split(|byte| *byte == b';');
        for mode in numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok()) {
            let (into, from) =
                if on { (&mut self.on, &mut self.off) } else { (&mut self.off, &mut self.on) };
            into.insert(mode);
            from.remove(&mode);
        }
    }
}

/// Tells whether a sequence is whole, by what follows its ESC.
///
/// Source: ECMA-48 §5.
fn is_whole(rest: &[u8]) -> bool {
    match rest {
        [] => false,
        [b'[', inner @ ..] => inner.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        // A string ends with BEL or with an ESC of its own, and then this one would not be the last.
        [b']', inner @ ..] => inner.contains(&7),
        [b'P' | b'X' | b'^' | b'_', ..] => false,
        [b' '..=b'/', inner @ ..] => inner.iter().any(|byte| (0x30..=0x7e).contains(byte)),
        [..] => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn undo(pieces: &[&[u8]]) -> String {
        let mut modes = Modes::default();
        pieces.iter().for_each(|piece| modes.wrote(piece));
        String::from_utf8(modes.undo()).unwrap()
    }

    #[test]
    fn a_plain_session_leaves_nothing_but_its_colours() {
        assert_eq!(undo(&[b"ls\r\n\x1b[31mred\x1b[0m\r\n"]), "\x1b[0m\x0f");
    }

    #[test]
    fn what_vim_switched_on_is_switched_off() {
        let vim =
            b"\x1b[?1049h\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[1;24r\x1b[?25l\x1b[?1000;1006h";
        let undone = undo(&[vim]);
        for part in ["\x1b[?1l", "\x1b[?1000l", "\x1b[?1006l", "\x1b[?2004l", "\x1b[?25h", "\x1b>"]
        {
            assert!(undone.contains(part), "{part:?} in {undone:?}");
        }
        assert!(undone.ends_with("\x1b[?1049l\x1b[0m\x0f"));
    }

    #[test]
    fn what_was_switched_off_again_is_left_alone() {
        let whole = b"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l\x1b[1;24r\x1b[r";
        assert_eq!(undo(&[whole]), "\x1b[0m\x0f");
    }

    #[test]
    fn much_output_is_read_as_it_comes() {
        let mut modes = Modes::default();
        modes.wrote(b"\x1b[?2004h");
        for _ in 0..10 {
            modes.wrote(&vec![b'x'; KEEP / 4]);
        }
        assert!(modes.unread.len() < KEEP);
        assert!(modes.undo().starts_with(b"\x1b[?2004l"));
    }

    #[test]
    fn nothing_is_written_into_the_middle_of_a_sequence() {
        let is_settled = |bytes: &[u8]| {
            let mut modes = Modes::default();
            modes.wrote(bytes);
            modes.is_settled()
        };
        for whole in ["", "ls\r\n", "\x1b[31m", "\x1b]2;t\x07", "\x1b]2;t\x1b\\", "\x1b(B", "é"] {
            assert!(is_settled(whole.as_bytes()), "{whole:?}");
        }
        for cut in
            [&b"\x1b"[..], b"x\x1b[3", b"\x1b]2;t", b"\x1b(", b"\x1bPq", b"\xc3", b"\xf0\x9f\x99"]
        {
            assert!(!is_settled(cut), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            bytes in proptest::collection::vec(
                prop::sample::select(b"\x1b[?;12049hlc=>r ".to_vec()), 0..60),
            cut in 0usize..60,
        ) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut pieces = Modes::default();
            pieces.wrote(a);
            pieces.read();
            pieces.wrote(b);
            prop_assert_eq!(String::from_utf8(pieces.undo()).unwrap(), undo(&[&bytes]));
        }
    }
}
