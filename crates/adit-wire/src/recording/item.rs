//! What happened in a session, one thing at a time.
//!
//! ```text
//! item = kind[1] after_ms[varint] length[varint] content
//! ```
//!
//! `after_ms` counts from the item before, for a chunk's first item from the chunk's time base. The contents: output (1) and stderr (2) are raw bytes;
//! input (3) is `[varint][who]` and raw bytes; resize (4) is cols and rows, two bytes each; mark (5) is text; gap (6) is the number of
//! missing bytes, eight bytes, and the reason; echo (7) is one byte, 0 or 1. A varint is LEB128, at most ten bytes.

use std::fmt;

use bytes::Bytes;

/// The largest content of one item. Chosen: twice the largest frame; longer output is split.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;

/// The longest name, mark or reason that is kept; longer ones are cut. Chosen: longer than any name that the domain admits.
pub const MAX_TEXT_BYTES: usize = 1024;

/// One thing that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Milliseconds since the session's start.
    pub at_ms: u64,
    /// The position of the next byte of output when it happened.
    pub position: u64,
    /// What it is.
    pub what: What,
}

/// What happened. Its debug form tells of lengths and not of what a session carried.
#[derive(Clone, PartialEq, Eq)]
pub enum What {
    /// The terminal, or stdout without one, wrote bytes.
    Output(Bytes),
    /// A command without a terminal wrote to stderr.
    Stderr(Bytes),
    /// Somebody typed.
    Input {
        /// Who, as `user:NAME`.
        who: String,
        /// What.
        bytes: Bytes,
    },
    /// The terminal got another size.
    Resize {
        /// Its width.
        cols: u16,
        /// Its height.
        rows: u16,
    },
    /// A remark, of a person or of the recorder.
    Mark(String),
    /// Output that is not there.
    Gap {
        /// How much is missing.
        bytes: u64,
        /// Why.
        reason: String,
    },
    /// The terminal began or ceased to echo what is typed.
    Echo {
        /// Whether it echoes from here on.
        on: bool,
    },
}

impl What {
    /// Gives how far this moves the position of output.
    pub fn output_bytes(&self) -> u64 {
        match self {
            Self::Output(bytes) | Self::Stderr(bytes) => bytes.len() as u64,
            Self::Gap { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(bytes) => write!(f, "Output({} bytes)", bytes.len()),
            Self::Stderr(bytes) => write!(f, "Stderr({} bytes)", bytes.len()),
            Self::Input { who, bytes } => write!(f, "Input({who:?}, {} bytes)", bytes.len()),
            Self::Resize { cols, rows } => write!(f, "Resize({cols}x{rows})"),
            Self::Mark(text) => write!(f, "Mark({text:?})"),
            Self::Gap { bytes, reason } => write!(f, "Gap({bytes} bytes, {reason:?})"),
            Self::Echo { on } => write!(f, "Echo({on})"),
        }
    }
}

/// Says why bytes are no items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadItem {
    /// The bytes end inside an item, or a number does not end.
    #[error("an item is cut")]
    Cut,
    /// A kind that this version does not know.
    #[error("an item is of an unknown kind")]
    Kind,
    /// A content that its kind can't have.
    #[error("an item's content does not fit its kind")]
    Content,
}

/// An item's content, borrowed, as it is written.
pub(super) enum Content<'a> {
    Output(&'a [u8]),
    Stderr(&'a [u8]),
    Input { who: &'a str, bytes: &'a [u8] },
    Resize { cols: u16, rows: u16 },
    Mark(&'a str),
    Gap { bytes: u64, reason: &'a str },
    Echo { on: bool },
}

/// Appends one item; contents are already within [`MAX_CONTENT_BYTES`].
pub(super) fn encode(after_ms: u64, content: &Content<'_>, out: &mut Vec<u8>) {
    let kind = match content {
        Content::Output(_) => OUTPUT,
        Content::Stderr(_) => STDERR,
        Content::Input { .. } => INPUT,
        Content::Resize { .. } => RESIZE,
        Content::Mark(_) => MARK,
        Content::Gap { .. } => GAP,
        Content::Echo { .. } => ECHO,
    };
    out.push(kind);
    put_varint(after_ms, out);
    match content {
        Content::Output(bytes) | Content::Stderr(bytes) => put(&[bytes], out),
        Content::Input { who, bytes } => {
            let mut length = Vec::with_capacity(2);
            put_varint(who.len() as u64, &mut length);
            put(&[&length, who.as_bytes(), bytes], out);
        }
        Content::Resize { cols, rows } => put(&[&cols.to_be_bytes(), &rows.to_be_bytes()], out),
        Content::Mark(text) => put(&[text.as_bytes()], out),
        Content::Gap { bytes, reason } => put(&[&bytes.to_be_bytes(), reason.as_bytes()], out),
        Content::Echo { on } => put(&[&[u8::from(*on)]], out),
    }
}

/// Reads all items of a chunk's body.
///
/// # Errors
/// [`BadItem`] at the first item that is not whole and canonical.
pub fn decode(mut body: Bytes, mut at_ms: u64, mut position: u64) -> Result<Vec<Item>, BadItem> {
    let mut items = Vec::new();
    while !body.is_empty() {
        let kind = body.split_to(1)[0];
        at_ms = at_ms.checked_add(take_varint(&mut body)?).ok_or(BadItem::Content)?;
        let length = usize::try_from(take_varint(&mut body)?).map_err(|_| BadItem::Cut)?;
        if length > body.len() {
            return Err(BadItem::Cut);
        }
        let what = content(kind, body.split_to(length))?;
        let moved = what.output_bytes();
        items.push(Item { at_ms, position, what });
        position = position.checked_add(moved).ok_or(BadItem::Content)?;
    }
    Ok(items)
}

fn content(kind: u8, mut bytes: Bytes) -> Result<What, BadItem> {
    Ok(match kind {
        OUTPUT => What::Output(bytes),
        STDERR => What::Stderr(bytes),
        INPUT => {
            let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| BadItem::Content)?;
            if length > bytes.len() {
                return Err(BadItem::Content);
            }
            let who = text(bytes.split_to(length))?;
            What::Input { who, bytes }
        }
        RESIZE => match bytes[..] {
            [a, b, c, d] => {
                What::Resize { cols: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) }
            }
            _ => return Err(BadItem::Content),
        },
        MARK => What::Mark(text(bytes)?),
        GAP => {
            let count = bytes.first_chunk::<8>().copied().ok_or(BadItem::Content)?;
            What::Gap { bytes: u64::from_be_bytes(count), reason: text(bytes.slice(8..))? }
        }
        ECHO => match bytes[..] {
            [0] => What::Echo { on: false },
            [1] => What::Echo { on: true },
            _ => return Err(BadItem::Content),
        },
        _ => return Err(BadItem::Kind),
    })
}

fn text(bytes: Bytes) -> Result<String, BadItem> {
    String::from_utf8(bytes.into()).map_err(|_| BadItem::Content)
}

fn put(parts: &[&[u8]], out: &mut Vec<u8>) {
    put_varint(parts.iter().map(|part| part.len() as u64).sum(), out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut Bytes) -> Result<u64, BadItem> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        if bytes.is_empty() {
            return Err(BadItem::Cut);
        }
        let byte = bytes.split_to(1)[0];
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
            return Err(BadItem::Content);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadItem::Cut)
}

const OUTPUT: u8 = 1;
const STDERR: u8 = 2;
const INPUT: u8 = 3;
const RESIZE: u8 = 4;
const MARK: u8 = 5;
const GAP: u8 = 6;
const ECHO: u8 = 7;
