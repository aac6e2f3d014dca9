//! How characters look beyond what the model's own pen keeps, and the pen's own part in a form that the model reads as meant.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Looks that the model's pen does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Extra {
    /// 2 double, 3 curly, 4 dotted, 5 dashed; 0 for the pen's plain one or none.
    underline: u8,
    /// As SGR parameters after `58:`.
    underline_colour: Option<Box<str>>,
    /// Faint as well as bold; the pen is one or the other.
    is_faint_too: bool,
    concealed: bool,
    overlined: bool,
    /// Parameters and address of OSC 8.
    link: Option<Arc<str>>,
}

/// The looks that the model's pen keeps, as SGR parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pen {
    /// By what they set: 1 and 2 intensity, then the others under their own number, 30 foreground, 40 background.
    parts: BTreeMap<u8, String>,
}

impl Pen {
    /// Tells whether what is erased looks as the pen does: xterm.js erases with its background alone, avt with all of it.
    pub(super) fn erases_as_it_writes(&self) -> bool {
        self.parts.keys().all(|part| *part == BACKGROUND)
    }

    /// Writes the pen with which is erased.
    pub(super) fn write_erasing(&self, out: &mut String) {
        Self::write_parts(self.parts.get(&BACKGROUND).into_iter(), out);
    }

    /// Writes the whole pen.
    pub(super) fn write(&self, out: &mut String) {
        Self::write_parts(self.parts.values(), out);
    }

    fn write_parts<'a>(parts: impl Iterator<Item = &'a String>, out: &mut String) {
        out.push_str("\x1b[0");
        for part in parts {
            out.push(';');
            out.push_str(part);
        }
        out.push('m');
    }

    fn take(&mut self, parameter: &str) {
        let code: u8 = parameter.split(':').next().and_then(|code| code.parse().ok()).unwrap_or(0);
        match code {
            0 => self.parts.clear(),
            1 | 2 => drop(self.parts.insert(1, parameter.to_owned())),
            22 => drop(self.parts.remove(&1)),
            23..=29 => drop(self.parts.remove(&(code - 20))),
            39 => drop(self.parts.remove(&FOREGROUND)),
            49 => drop(self.parts.remove(&BACKGROUND)),
            30..=38 | 90..=97 => drop(self.parts.insert(FOREGROUND, parameter.to_owned())),
            40..=48 | 100..=107 => drop(self.parts.insert(BACKGROUND, parameter.to_owned())),
            _ => drop(self.parts.insert(code, parameter.to_owned())),
        }
    }
}

impl Extra {
    /// Tells whether there is nothing beyond the pen.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// What DECSC saves of it in xterm.js: its flags.
    pub(super) fn saved(&self) -> Self {
        let Self { is_faint_too, concealed, overlined, .. } = *self;
        Self { is_faint_too, concealed, overlined, ..Self::default() }
    }

    /// Takes back what was saved.
    pub(super) fn restore(&mut self, saved: &Self, pen: &Pen) {
        if !pen.parts.contains_key(&UNDERLINE) {
            self.underline = 0;
        }
        self.is_faint_too = saved.is_faint_too;
        self.concealed = saved.concealed;
        self.overlined = saved.overlined;
    }

    /// Opens or closes a hyperlink (OSC 8).
    pub(super) fn set_link(&mut self, payload: &str) {
        let is_open = payload.split_once(';').is_some_and(|(_, address)| !address.is_empty());
        self.link = (is_open && payload.len() <= LINK_BYTES).then(|| Arc::from(payload));
    }

    /// Forgets everything but the link, as SGR 0 does.
    fn reset(&mut self) {
        *self = Self { link: self.link.take(), ..Self::default() };
    }

    /// Writes the sequences that lead from one look to another; the pen's plain underline stays where `self` has a special one.
    pub(super) fn write_change(&self, to: &Self, out: &mut String) {
        if self.underline != to.underline {
            match to.underline {
                0 => out.push_str("\x1b[4m"),
                kind => out.push_str(&format!("\x1b[4:{kind}m")),
            }
        }
        if self.underline_colour != to.underline_colour {
            match &to.underline_colour {
                None => out.push_str("\x1b[59m"),
                Some(colour) => out.push_str(&format!("\x1b[58:{colour}m")),
            }
        }
        if self.is_faint_too != to.is_faint_too {
            out.push_str(if to.is_faint_too { "\x1b[2m" } else { "\x1b[22;1m" });
        }
        if self.concealed != to.concealed {
            out.push_str(if to.concealed { "\x1b[8m" } else { "\x1b[28m" });
        }
        if self.overlined != to.overlined {
            out.push_str(if to.overlined { "\x1b[53m" } else { "\x1b[55m" });
        }
        if self.link != to.link {
            out.push_str("\x1b]8;");
            out.push_str(to.link.as_deref().unwrap_or(";"));
            out.push_str("\x1b\\");
        }
    }

    /// Takes the parameters of SGR; writes those that the pen keeps.
    pub(super) fn select(&mut self, parameters: &[u8], pen_of: &mut Pen, out: &mut String) {
        let text = std::str::from_utf8(parameters).unwrap_or_default();
        let mut parameters = text.split(';').take(PARAMETERS_MAX).peekable();
        let mut pen: Vec<String> = Vec::new();
        while let Some(parameter) = parameters.next() {
            let (code, sub) = parameter
                .split_once(':')
                .map_or((parameter, None), |(code, sub)| (code, Some(sub)));
            match (code, sub) {
                ("" | "0", _) => {
                    self.reset();
                    pen.push("0".to_owned());
                }
                ("4", Some(kind)) => self.underline(kind.parse().unwrap_or(1), &mut pen),
                ("4", None) => self.underline(1, &mut pen),
                ("21", _) => self.underline(2, &mut pen),
                ("24", _) => self.underline(0, &mut pen),
                ("8", _) => self.concealed = true,
                ("28", _) => self.concealed = false,
                ("53", _) => self.overlined = true,
                ("55", _) => self.overlined = false,
                ("59", _) => self.underline_colour = None,
                ("38" | "48" | "58", sub) => {
                    let colour = match sub {
                        Some(sub) => colon_colour(sub),
                        None => semicolon_colour(&mut parameters),
                    };
                    match colour {
                        Some(colour) if code == "58" => {
                            // The colour space comes first, empty.
                            let colour = colour
                                .strip_prefix("2:")
                                .map(|rgb| format!("2::{rgb}"))
                                .unwrap_or(colour);
                            self.underline_colour = Some(colour.into());
                        }
                        Some(colour) => pen.push(format!("{code}:{colour}")),
                        None => {}
                    }
                }
                ("1" | "2", None) => self.intensity(code, pen_of, &mut pen),
                ("22", None) => {
                    self.is_faint_too = false;
                    pen.push(code.to_owned());
                }
                (code, None) if is_pens(code) => pen.push(code.to_owned()),
                _ => {}
            }
        }
        if !pen.is_empty() {
            pen.iter().for_each(|parameter| pen_of.take(parameter));
            out.push_str("\x1b[");
            out.push_str(&pen.join(";"));
            out.push('m');
        }
    }

    /// Bold wins the pen; faint is beside it.
    fn intensity(&mut self, code: &str, before: &Pen, pen: &mut Vec<String>) {
        let mut now = before.clone();
        pen.iter().for_each(|parameter| now.take(parameter));
        match (now.parts.get(&1).map(String::as_str), code) {
            (Some("1"), "2") | (Some("2"), "1") => {
                self.is_faint_too = true;
                pen.push("1".to_owned());
            }
            _ => pen.push(code.to_owned()),
        }
    }

    fn underline(&mut self, kind: u8, pen: &mut Vec<String>) {
        self.underline = if (2..=5).contains(&kind) { kind } else { 0 };
        pen.push(if kind == 0 { "24" } else { "4" }.to_owned());
    }
}

/// Tells whether the model's pen keeps it.
fn is_pens(code: &str) -> bool {
    matches!(
        code.parse(),
        Ok(1..=3 | 5 | 7 | 9 | 22 | 23 | 25 | 27 | 29..=37 | 39..=47 | 49 | 90..=97 | 100..=107)
    )
}

/// Reads `5:n`, `2:r:g:b` or `2:space:r:g:b`.
fn colon_colour(sub: &str) -> Option<String> {
    let parts: Vec<&str> = sub.split(':').collect();
    match parts[..] {
        ["5", index] => indexed(index),
        ["2", r, g, b] | ["2", _, r, g, b, ..] => rgb(r, g, b),
        _ => None,
    }
}

/// Reads what follows 38, 48 or 58 as parameters of their own.
fn semicolon_colour<'a>(parameters: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    match parameters.next()? {
        "5" => indexed(parameters.next()?),
        "2" => rgb(
            parameters.next()?,
            parameters.next().unwrap_or(""),
            parameters.next().unwrap_or(""),
        ),
        _ => None,
    }
}

fn indexed(index: &str) -> Option<String> {
    let index: u8 = if index.is_empty() { 0 } else { index.parse().ok()? };
    Some(format!("5:{index}"))
}

fn rgb(r: &str, g: &str, b: &str) -> Option<String> {
    let part = |part: &str| if part.is_empty() { Some(0) } else { part.parse::<u8>().ok() };
    Some(format!("2:{}:{}:{}", part(r)?, part(g)?, part(b)?))
}

/// As many as xterm.js takes.
const PARAMETERS_MAX: usize = 32;
/// Longer addresses are not linked.
const LINK_BYTES: usize = 2048;
/// Where the pen keeps the colour of letters.
const FOREGROUND: u8 = 30;
/// Where the pen keeps the colour behind them.
const BACKGROUND: u8 = 40;
/// Where the pen keeps the plain underline.
const UNDERLINE: u8 = 4;
