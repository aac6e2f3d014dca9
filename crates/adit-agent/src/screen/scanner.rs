//! Cuts terminal output into text, controls and sequences, as xterm.js does, and remembers what is not decided yet.
//!
//! Every buffer has a cap: an endless string is swallowed, not kept.

/// Takes what the scanner found.
pub(super) trait Sink {
    /// One character to print.
    fn print(&mut self, character: char);
    /// One control character (C0).
    fn control(&mut self, control: u8);
    /// `ESC`, intermediates, final.
    fn escape(&mut self, intermediates: &[u8], last: u8);
    /// `CSI`, parameters with their marker and intermediates, final.
    fn csi(&mut self, parameters: &[u8], last: u8);
    /// A whole operating system command.
    fn osc(&mut self, payload: &[u8]);
}

/// Where in a sequence the output stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    CsiIgnored,
    Osc,
    /// Device control, start of string, privacy message, application command: nothing of them changes the screen.
    Swallowed,
}

/// The scanner's state between two pieces of output.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// The sequence so far, from its `ESC` on.
    sequence: Vec<u8>,
    /// The sequence was longer than its cap.
    is_cut: bool,
    utf8: [u8; 4],
    utf8_len: usize,
}

impl Scanner {
    /// Tells whether nothing is undecided.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state == State::Ground && self.utf8_len == 0
    }

    /// The bytes that are not decided yet, to be written to a terminal in the same state.
    pub(super) fn tail(&self) -> Vec<u8> {
        let mut tail = match (self.state, self.is_cut) {
            (State::Ground, _) => Vec::new(),
            (State::CsiIgnored, _) | (State::Csi, true) => b"\x1b[0<".to_vec(),
            // A command that no terminal knows: what follows is swallowed up to its end.
            (State::Osc, true) => b"\x1b]9999;".to_vec(),
            (State::Swallowed, true) => self.sequence.get(..2).unwrap_or_default().to_vec(),
            _ => self.sequence.clone(),
        };
        tail.extend_from_slice(&self.utf8[..self.utf8_len]);
        tail
    }

    /// Takes the next piece of output.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.is_at_rest() && is_printable(first) {
                let len = bytes.iter().position(|byte| !is_printable(*byte)).unwrap_or(bytes.len());
                bytes[..len].iter().for_each(|byte| sink.print(char::from(*byte)));
                bytes = &bytes[len..];
                continue;
            }
            self.byte(first, sink);
            bytes = rest;
        }
    }

    /// Decodes UTF-8; what is damaged is dropped, as xterm.js does.
    fn byte(&mut self, byte: u8, sink: &mut impl Sink) {
        if byte < 0x80 {
            self.utf8_len = 0;
            return self.character(char::from(byte), sink);
        }
        if byte >= 0xc0 {
            self.utf8_len = 0;
        } else if self.utf8_len == 0 {
            return;
        }
        self.utf8[self.utf8_len] = byte;
        self.utf8_len += 1;
        let wanted = match self.utf8[0] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => {
                self.utf8_len = 0;
                return;
            }
        };
        if self.utf8_len == wanted {
            self.utf8_len = 0;
            let decoded =
                std::str::from_utf8(&self.utf8[..wanted]).ok().and_then(|text| text.chars().next());
            if let Some(character) = decoded.filter(|character| *character != BYTE_ORDER_MARK) {
                self.character(character, sink);
            }
        }
    }

    fn character(&mut self, character: char, sink: &mut impl Sink) {
        match character {
            '\u{1b}' => {
                self.finish_string(sink);
                self.begin(State::Escape, b"\x1b");
            }
            '\u{18}' | '\u{1a}' => self.state = State::Ground,
            '\u{80}'..='\u{9f}' => {
                self.finish_string(sink);
                self.begin(State::Escape, b"\x1b");
                self.in_escape(character as u8 - 0x40, sink);
            }
            _ => self.in_state(character, sink),
        }
    }

    fn in_state(&mut self, character: char, sink: &mut impl Sink) {
        let byte = u8::try_from(character).ok().filter(u8::is_ascii);
        match (self.state, byte) {
            (State::Ground, None | Some(0x20..=0x7e)) => sink.print(character),
            (State::Osc, Some(0x07)) => self.finish_string(sink),
            (State::Osc, Some(0..=0x1f)) | (State::Swallowed, Some(0..=0x1f)) => {}
            (State::Osc | State::Swallowed, _) => self.put(character),
            (_, Some(byte @ 0..=0x1f)) => sink.control(byte),
            (_, Some(0x7f..)) => {}
            (State::Escape, Some(byte)) => self.in_escape(byte, sink),
            (State::Csi | State::CsiIgnored, Some(byte)) => self.in_csi(byte, sink),
            // Nothing but ASCII belongs into a sequence.
            (State::Escape | State::Csi, None) => self.state = State::Ground,
            (State::CsiIgnored, None) => {}
        }
    }

    fn in_escape(&mut self, byte: u8, sink: &mut impl Sink) {
        let has_intermediates = self.sequence.len() > 1;
        match byte {
            0x20..=0x2f => self.put(char::from(byte)),
            b'[' if !has_intermediates => self.begin(State::Csi, b"\x1b["),
            b']' if !has_intermediates => self.begin(State::Osc, b"\x1b]"),
            b'P' | b'X' | b'^' | b'_' if !has_intermediates => {
                self.begin(State::Swallowed, &[0x1b, byte])
            }
            _ => {
                self.state = State::Ground;
                if !self.is_cut {
                    sink.escape(&self.sequence[1..], byte);
                }
            }
        }
    }

    fn in_csi(&mut self, byte: u8, sink: &mut impl Sink) {
        if (0x40..=0x7e).contains(&byte) {
            if self.state == State::Csi && !self.is_cut {
                sink.csi(&self.sequence[2..], byte);
            }
            self.state = State::Ground;
            return;
        }
        let after_parameters = self.sequence.len() > 2;
        if after_parameters && (0x3c..=0x3f).contains(&byte) {
            self.state = State::CsiIgnored;
        }
        self.put(char::from(byte));
    }

    fn begin(&mut self, state: State, introducer: &[u8]) {
        self.state = state;
        self.is_cut = false;
        self.sequence.clear();
        self.sequence.extend_from_slice(introducer);
    }

    fn put(&mut self, character: char) {
        let cap = if self.state == State::Osc { OSC_BYTES } else { SEQUENCE_BYTES };
        if self.is_cut || self.sequence.len() + character.len_utf8() > cap {
            self.is_cut = true;
            return;
        }
        let mut buffer = [0; 4];
        self.sequence.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }

    fn finish_string(&mut self, sink: &mut impl Sink) {
        if self.state == State::Osc && !self.is_cut {
            sink.osc(&self.sequence[2..]);
        }
        self.state = State::Ground;
        if self.sequence.capacity() > IDLE_BYTES {
            self.sequence = Vec::new();
        }
    }
}

fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

const BYTE_ORDER_MARK: char = '\u{feff}';
/// Titles and links are shorter; a longer one is swallowed.
const OSC_BYTES: usize = 4096;
/// 32 parameters of five digits and as many colours fit; a longer sequence is swallowed.
const SEQUENCE_BYTES: usize = 512;
/// What is kept for the next sequence.
const IDLE_BYTES: usize = 64;
