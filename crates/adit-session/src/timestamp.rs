//! The one form of time in a sealed message: ISO 8601 UTC with milliseconds, as `Date.prototype.toISOString` writes it.

/// Writes `YYYY-MM-DDTHH:MM:SS.mmmZ` from milliseconds since 1970; years 1970 to 9999.
pub(crate) fn write(unix_ms: u64) -> [u8; TIMESTAMP_BYTES] {
    let (days, ms) = (unix_ms.min(UNIX_MS_MAX) / DAY_MS, unix_ms.min(UNIX_MS_MAX) % DAY_MS);
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    let fields = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, ms / 3_600_000),
        (14, 2, ms / 60_000 % 60),
        (17, 2, ms / 1000 % 60),
        (20, 3, ms % 1000),
    ];
    for (at, digits, value) in fields {
        write_digits(&mut out[at..at + digits], value);
    }
    out
}

/// Reads exactly what `write` writes, and nothing else.
pub(crate) fn read(text: &[u8]) -> Option<u64> {
    let text: &[u8; TIMESTAMP_BYTES] = text.try_into().ok()?;
    let separators =
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if separators.iter().any(|(at, sign)| text[*at] != *sign) {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let (hour, minute, second, ms) = (
        digits(&text[11..13])?,
        digits(&text[14..16])?,
        digits(&text[17..19])?,
        digits(&text[20..23])?,
    );
    let days = days(year, month, day)?;
    (hour < 24 && minute < 60 && second < 60)
        .then(|| days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms)
}

fn write_digits(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = b"0123456789"[(value % 10) as usize];
        value /= 10;
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
    })
}

/// Day number since 1970 to year, month and day, by eras of 400 years that start in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let march_year = year - u64::from(month <= 2);
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let march_month = (month + 9) % 12;
    let of_era =
        365 * year_of_era + year_of_era / 4 - year_of_era / 100 + (153 * march_month + 2) / 5 + day
            - 1;
    let days = era * 146_097 + of_era - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

pub(crate) const TIMESTAMP_BYTES: usize = 24;
const DAY_MS: u64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // SES-21
    #[test]
    fn known_days_are_written_as_javascript_writes_them() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_346_430_123, "2026-11-22T11:20:30.123Z"),
            (UNIX_MS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(std::str::from_utf8(&write(unix_ms)).unwrap(), text);
        }
    }

    // SES-21
    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "2026-02-30T00:00:00.000Z",
            "2025-02-29T00:00:00.000Z",
            "2026-11-22T24:00:00.000Z",
            "2026-11-22T11:60:00.000Z",
            "2026-11-22T11:20:60.000Z",
            "2026-11-22T11:20:30Z",
            "2026-11-22T11:20:30.1234Z",
            "2026-11-22t11:20:30.123z",
            "2026-11-22 11:20:30.123Z",
            "2026-11-22T11:20:30.123+00:00",
            "1969-12-31T23:59:59.999Z",
            "+02026-11-22T11:20:30.12Z",
            "",
            "2026-00-10T00:00:00.000Z",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        // SES-21
        #[test]
        fn what_is_written_is_read_back(unix_ms in 0..=UNIX_MS_MAX) {
            prop_assert_eq!(read(&write(unix_ms)), Some(unix_ms));
        }
    }
}
