//! Finds what a flood of plain lines writes only to scroll it away again, so that the model need not draw it.

/// What remains of skipped output.
pub(super) enum Skipped<'a> {
    /// It changed the looks: the parameters of an SGR.
    Style(&'a [u8]),
    /// It scrolled everything away: the cursor is at the start of the last row.
    Lines,
}

/// Skips the front of a piece of output when the rest of it draws the whole screen anew; gives the rest.
///
/// Holds only where nothing is undecided and the whole screen scrolls: text, carriage returns, line feeds, tabs and SGR, with a
/// screenful of lines to skip and another one to draw.
pub(super) fn skip<'a>(
    bytes: &'a [u8],
    rows: usize,
    mut tell: impl FnMut(Skipped<'a>),
) -> &'a [u8] {
    let Some(cut) = cut_before_last_lines(bytes, rows) else { return bytes };
    let (front, rest) = bytes.split_at(cut);
    if front.iter().rev().filter(|byte| **byte == b'\n').take(rows).count() < rows
        || !is_plain(bytes, |_| {})
    {
        return bytes;
    }
    if front.contains(&ESCAPE) {
        is_plain(front, |style| tell(Skipped::Style(style)));
    }
    tell(Skipped::Lines);
    rest
}

/// Finds the start of a line that more than a screenful of lines follow.
fn cut_before_last_lines(bytes: &[u8], rows: usize) -> Option<usize> {
    let mut left = rows + 1;
    for (at, byte) in bytes.iter().enumerate().rev() {
        if *byte == b'\n' {
            if left == 0 && at > 0 && bytes[at - 1] == b'\r' {
                return Some(at + 1);
            }
            left = left.saturating_sub(1);
        }
    }
    None
}

/// Tells whether there is nothing but text, plain controls and SGR; gives each SGR's parameters on the way.
fn is_plain<'a>(bytes: &'a [u8], mut style: impl FnMut(&'a [u8])) -> bool {
    let mut rest = after_text(bytes);
    while let Some(sequence) = rest.strip_prefix(b"\x1b[") {
        let len = sequence.iter().take_while(|b| b.is_ascii_digit() || b";:".contains(b)).count();
        if sequence.get(len) != Some(&b'm') {
            return false;
        }
        style(&sequence[..len]);
        rest = after_text(&sequence[len + 1..]);
    }
    rest.is_empty()
}

/// Gives what follows the text at the front.
fn after_text(bytes: &[u8]) -> &[u8] {
    // A block is looked at as a whole, without a branch for each byte.
    let blocks = bytes
        .chunks_exact(BLOCK)
        .take_while(|block| block.iter().fold(true, |all, byte| all & is_text(*byte)))
        .count();
    let rest = &bytes[blocks * BLOCK..];
    let len = rest.iter().position(|byte| !is_text(*byte)).unwrap_or(rest.len());
    &rest[len..]
}

/// Text and the controls that move the cursor as a printer does; of UTF-8, any start but those of C1 controls, and any continuation.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..=0xbf | 0xc3..=0xf4)
}

/// As many bytes as the processor compares in a few steps.
const BLOCK: usize = 64;
const ESCAPE: u8 = 0x1b;

#[cfg(test)]
mod tests {
    use super::{Skipped, skip};

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|line| format!("line {line}\r\n").into_bytes()).collect()
    }

    #[test]
    fn a_flood_of_lines_is_skipped_but_for_the_last_screen() {
        let flood = lines(1000);
        let mut told = 0;
        let rest =
            skip(&flood, 24, |skipped| told += usize::from(matches!(skipped, Skipped::Lines)));
        assert_eq!(told, 1);
        assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count(), 25);
    }

    #[test]
    fn a_few_lines_and_other_sequences_are_not_skipped() {
        let few = lines(40);
        assert_eq!(skip(&few, 24, |_| {}).len(), few.len());
        let mut moving = lines(1000);
        moving.extend_from_slice(b"\x1b[5;5Hx");
        assert_eq!(skip(&moving, 24, |_| {}).len(), moving.len());
    }

    #[test]
    fn looks_that_were_skipped_are_told() {
        let mut flood = b"\x1b[1;31m".to_vec();
        flood.extend(lines(1000));
        let mut styles = Vec::new();
        skip(&flood, 24, |skipped| {
            if let Skipped::Style(style) = skipped {
                styles.push(style.to_vec());
            }
        });
        assert_eq!(styles, [b"1;31"]);
    }
}
