//! Hex in its one spelling: lower case.

/// Writes two digits for each byte.
pub(crate) fn write(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Writes two digits for each byte, as a text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

/// Reads exactly two lower-case digits for each byte.
pub(crate) fn read<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    let mut wrong = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        wrong |= high | low;
        *byte = high << 4 | (low & 15);
    }
    (wrong & NO_DIGIT == 0).then_some(bytes)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// A bit that no digit's value has.
const NO_DIGIT: u8 = 0x80;
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // TOK-09
    #[test]
    fn other_lengths_and_other_signs_are_refused() {
        for digits in ["", "0", "000", "0A", "0g", "g0", " 0", "+1", "é", "0x"] {
            assert_eq!(read::<1>(digits.as_bytes()), None, "{digits}");
        }
    }

    proptest! {
        // SES-21
        #[test]
        fn what_is_written_is_read_back(bytes in any::<[u8; 16]>()) {
            let mut digits = [0; 32];
            write(&bytes, &mut digits);
            let shown = text(&bytes);
            prop_assert_eq!(shown.as_bytes(), &digits[..]);
            prop_assert_eq!(read(&digits), Some(bytes));
        }
    }
}
