//! Times, lengths and sizes as people read them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Gives the wall clock's time.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Reads a time of an answer.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Says how long ago a time was; what is no time stays as it is.
pub fn ago(text: &str, now: OffsetDateTime) -> String {
    let Some(at) = parse(text) else { return text.to_owned() };
    // What lies ahead is rounded up, so that twelve hours are not told as eleven and 59 minutes.
    let ahead = (at - now + time::Duration::milliseconds(999)).whole_seconds();
    match (now - at).whole_seconds() {
        ..-5 => format!("in {}", length(ahead)),
        -5..5 => "now".to_owned(),
        seconds => format!("{} ago", length(seconds)),
    }
}

/// Says a length in its two largest units.
pub fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => two((minutes, "min"), (rest, "s")),
        (0, ..) => two((hours, "h"), (minutes, "min")),
        _ => two((days, "d"), (hours, "h")),
    }
}

fn two((large, unit): (i64, &str), (small, smaller): (i64, &str)) -> String {
    match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {smaller}"),
    }
}

/// Says a time of an answer in UTC to the second.
pub fn clock(text: &str) -> String {
    let Some(at) = parse(text) else { return text.to_owned() };
    let (date, time) = (at.date(), at.time());
    format!("{date} {:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// Says a number of bytes in the unit that fits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Reads a length such as `90`, `90s`, `15m`, `12h` or `30d`, in seconds.
///
/// # Errors
/// A sentence that says how a length is written.
pub fn parse_length(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length: write it as 90s, 15m, 12h or 30d");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_its_distance() {
        let now = parse("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(ago("2026-11-22T11:59:58.500Z", now), "now");
        assert_eq!(ago("2026-11-22T11:57:30Z", now), "2 min 30 s ago");
        assert_eq!(ago("2026-11-20T10:00:00Z", now), "2 d 2 h ago");
        assert_eq!(ago("2026-11-22T13:01:00Z", now), "in 1 h 1 min");
        let later = now + time::Duration::milliseconds(20);
        assert_eq!(ago("2026-11-23T00:00:00Z", later), "in 12 h");
        assert_eq!(ago("yesterday", now), "yesterday");
    }

    #[test]
    fn a_size_is_told_in_the_unit_that_fits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 * 1024 * 1024), "5.0 MiB");
        assert!(size(u64::MAX).ends_with(" TiB"));
    }

    #[test]
    fn a_length_is_read_with_its_unit() {
        assert_eq!(parse_length("90"), Ok(90));
        assert_eq!(parse_length("15m"), Ok(900));
        assert_eq!(parse_length("30d"), Ok(2_592_000));
        for bad in ["", "0", "m", "-1h", "1w", "99999999999999999999d", "9999999999999999999d"] {
            assert!(parse_length(bad).is_err(), "{bad}");
        }
    }
}
