//! The escapes of `adit connect`: after a new line, `~` and a letter are for the client and not for the shell.

/// What a person asks the client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `~.`: the session ends.
    End,
    /// `~d`: this client leaves, the session goes on.
    Detach,
    /// `~?`: the list of escapes.
    Help,
}

/// What `~?` shows.
pub const HELP: &str = "\
After a new line:\r
  ~.  ends the session\r
  ~d  detaches: the shell goes on, and `adit sessions join` comes back to it\r
  ~~  types the escape character\r
  ~?  shows this\r
";

/// What a terminal sends before and after a paste.
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// Finds escapes in what is typed, whatever the pieces it comes in. A paste is not looked into.
#[derive(Clone, Debug)]
pub struct Escapes {
    sign: Option<u8>,
    place: Place,
    in_paste: bool,
    matched: usize,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    AfterSign,
    Inside,
}

impl Escapes {
    /// Starts at the beginning of a line; without a sign nothing is an escape.
    pub fn new(sign: Option<u8>) -> Self {
        Self { sign, place: Place::LineStart, in_paste: false, matched: 0 }
    }

    /// Adds what is for the shell to `shell`, up to the first wish; gives how many bytes were read, and the wish.
    pub fn read(&mut self, typed: &[u8], shell: &mut Vec<u8>) -> (usize, Option<Wish>) {
        for (at, &byte) in typed.iter().enumerate() {
            self.follow_paste(byte);
            if self.place == Place::AfterSign {
                let wish = self.after_sign(byte, shell);
                if wish.is_some() {
                    return (at + 1, wish);
                }
            } else if self.place == Place::LineStart && self.sign == Some(byte) && !self.in_paste {
                self.place = Place::AfterSign;
            } else {
                self.pass(byte, shell);
            }
        }
        (typed.len(), None)
    }

    fn after_sign(&mut self, byte: u8, shell: &mut Vec<u8>) -> Option<Wish> {
        let wish = match byte {
            b'.' => Wish::End,
            b'd' => Wish::Detach,
            b'?' => Wish::Help,
            _ => {
                shell.extend(self.sign.filter(|sign| *sign != byte));
                self.pass(byte, shell);
                return None;
            }
        };
        self.place = Place::LineStart;
        Some(wish)
    }

    fn pass(&mut self, byte: u8, shell: &mut Vec<u8>) {
        shell.push(byte);
        self.place = if matches!(byte, b'\r' | b'\n') { Place::LineStart } else { Place::Inside };
    }

    fn follow_paste(&mut self, byte: u8) {
        let mark = PASTE[usize::from(self.in_paste)];
        self.matched = match byte {
            byte if byte == mark[self.matched] => self.matched + 1,
            b'\x1b' => 1,
            _ => 0,
        };
        if self.matched == mark.len() {
            self.in_paste = !self.in_paste;
            self.matched = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(typed: &[&[u8]]) -> (String, Vec<Wish>) {
        let mut escapes = Escapes::new(Some(b'~'));
        let (mut shell, mut wishes) = (Vec::new(), Vec::new());
        for piece in typed {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, wish) = escapes.read(rest, &mut shell);
                wishes.extend(wish);
                rest = &rest[taken..];
            }
        }
        (String::from_utf8(shell).unwrap(), wishes)
    }

    #[test]
    fn an_escape_counts_after_a_new_line_alone() {
        assert_eq!(read(&[b"~."]), (String::new(), vec![Wish::End]));
        assert_eq!(read(&[b"ls\r~d"]), ("ls\r".to_owned(), vec![Wish::Detach]));
        assert_eq!(read(&[b"a~."]), ("a~.".to_owned(), vec![]));
        assert_eq!(read(&[b"\n~?~?x"]), ("\nx".to_owned(), vec![Wish::Help, Wish::Help]));
    }

    #[test]
    fn two_signs_type_one_and_another_letter_types_both() {
        assert_eq!(read(&[b"~~."]), ("~.".to_owned(), vec![]));
        assert_eq!(read(&[b"~/bin\r"]), ("~/bin\r".to_owned(), vec![]));
        assert_eq!(read(&[b"~\r~."]), ("~\r".to_owned(), vec![Wish::End]));
    }

    #[test]
    fn a_paste_is_not_looked_into() {
        let pasted = b"\x1b[200~rm x\n~.\n\x1b[201~\r~.";
        let (shell, wishes) = read(&[pasted]);
        assert_eq!(shell.as_bytes(), &pasted[..pasted.len() - 2]);
        assert_eq!(wishes, [Wish::End]);
    }

    #[test]
    fn without_a_sign_everything_is_typed() {
        let mut shell = Vec::new();
        assert_eq!(Escapes::new(None).read(b"\r~.", &mut shell), (3, None));
        assert_eq!(shell, b"\r~.");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            typed in proptest::collection::vec(prop::sample::select(b"~.d?\r\nx\x1b[201".to_vec()), 0..40),
            cut in 0usize..40,
        ) {
            let (a, b) = typed.split_at(cut.min(typed.len()));
            prop_assert_eq!(read(&[a, b]), read(&[&typed]));
        }
    }
}
