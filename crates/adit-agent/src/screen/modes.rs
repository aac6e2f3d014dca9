//! What a terminal remembers beside its cells and that the model does not keep: how keys, mouse and paste are told to programs,
//! the cursor's shape, the title, changed colours.

use std::collections::BTreeMap;

/// The modes beside the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Modes {
    /// 9, 1000, 1002 or 1003; 0 for none.
    mouse: u16,
    /// 1006 or 1016; 0 for the old form.
    mouse_form: u16,
    focus: bool,
    bracketed_paste: bool,
    keypad: bool,
    reverse_wrap: bool,
    synchronized: bool,
    cursor_blinks: Option<bool>,
    /// DECSCUSR.
    cursor_style: u8,
    title: Box<str>,
    /// By OSC number, or 256 + index for the palette.
    colours: BTreeMap<u16, Box<str>>,
}

impl Modes {
    /// Sets or resets a private mode; those that are not kept here are left to the model.
    pub(super) fn set(&mut self, mode: u16, on: bool) {
        match mode {
            9 | 1000 | 1002 | 1003 => self.mouse = if on { mode } else { 0 },
            1006 | 1016 => self.mouse_form = if on { mode } else { 0 },
            1004 => self.focus = on,
            2004 => self.bracketed_paste = on,
            66 => self.keypad = on,
            45 => self.reverse_wrap = on,
            2026 => self.synchronized = on,
            12 => self.cursor_blinks = Some(on),
            _ => {}
        }
    }

    pub(super) fn set_keypad(&mut self, application: bool) {
        self.keypad = application;
    }

    /// DECSCUSR; a later one settles the blinking too.
    pub(super) fn set_cursor_style(&mut self, style: u16) {
        if let Ok(style @ 0..=6) = u8::try_from(style) {
            self.cursor_style = style;
            self.cursor_blinks = None;
        }
    }

    /// Takes an operating system command: title or colours.
    pub(super) fn command(&mut self, number: u16, text: &str) {
        match number {
            0 | 2 => {
                self.title = text.chars().filter(|character| !character.is_control()).collect()
            }
            4 => self.set_palette(text),
            10..=12 => self.set_colour(number, text),
            110..=112 => drop(self.colours.remove(&(number - 100))),
            104 if text.is_empty() => self.colours.retain(|key, _| *key < PALETTE),
            104 => text
                .split(';')
                .filter_map(palette_key)
                .for_each(|key| drop(self.colours.remove(&key))),
            _ => {}
        }
    }

    fn set_palette(&mut self, text: &str) {
        let parts: Vec<&str> = text.split(';').collect();
        for pair in parts.chunks_exact(2) {
            if let Some(key) = palette_key(pair[0]) {
                self.set_colour(key, pair[1]);
            }
        }
    }

    /// A question mark asks for a colour and sets none.
    fn set_colour(&mut self, key: u16, colour: &str) {
        let is_colour =
            colour.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"#:/.".contains(&byte));
        if is_colour && !colour.is_empty() && colour.len() <= COLOUR_BYTES {
            self.colours.insert(key, colour.into());
        }
    }

    /// DECSTR, as xterm.js does it: the mouse and the title stay.
    pub(super) fn soft_reset(&mut self) {
        let kept = std::mem::take(self);
        *self = Self {
            mouse: kept.mouse,
            mouse_form: kept.mouse_form,
            title: kept.title,
            colours: kept.colours,
            ..Self::default()
        };
    }

    /// RIS: everything but the title and the colours, which belong to the window.
    pub(super) fn reset(&mut self) {
        let kept = std::mem::take(self);
        *self = Self { title: kept.title, colours: kept.colours, ..Self::default() };
    }

    /// Writes what sets a fresh terminal to these modes.
    pub(super) fn write(&self, out: &mut String) {
        let private = [
            (self.mouse, self.mouse != 0),
            (self.mouse_form, self.mouse_form != 0),
            (1004, self.focus),
            (2004, self.bracketed_paste),
            (45, self.reverse_wrap),
            (2026, self.synchronized),
        ];
        for (mode, _) in private.iter().filter(|(_, on)| *on) {
            out.push_str(&format!("\x1b[?{mode}h"));
        }
        if self.keypad {
            out.push_str("\x1b=");
        }
        if self.cursor_style != 0 {
            out.push_str(&format!("\x1b[{} q", self.cursor_style));
        }
        if let Some(blinks) = self.cursor_blinks {
            out.push_str(if blinks { "\x1b[?12h" } else { "\x1b[?12l" });
        }
        if !self.title.is_empty() {
            out.push_str(&format!("\x1b]2;{}\x1b\\", self.title));
        }
        for (key, colour) in &self.colours {
            match key.checked_sub(PALETTE) {
                Some(index) => out.push_str(&format!("\x1b]4;{index};{colour}\x1b\\")),
                None => out.push_str(&format!("\x1b]{key};{colour}\x1b\\")),
            }
        }
    }
}

fn palette_key(index: &str) -> Option<u16> {
    index.parse::<u8>().ok().map(|index| PALETTE + u16::from(index))
}

/// Above the numbers of commands.
const PALETTE: u16 = 256;
/// `rgba:ffff/ffff/ffff/ffff` and all names are shorter.
const COLOUR_BYTES: usize = 40;
