//! What a caller sends for a parameter, and what each type makes of it.

use super::parameter::KindName;

/// What a caller sends for one parameter, in the types of JSON.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`; no parameter takes it.
    Null,
    /// An array; no parameter takes it.
    List,
    /// An object; no parameter takes it.
    Map,
}

/// Why a value is not of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mismatch {
    /// It is something else.
    Type,
    /// It is a number without end, or none.
    Infinite,
}

/// Writes a value as it stands in an argument.
///
/// A string passes unchanged. It is a number or a truth value only in the one form that this would write for it, or, for a fraction, with
/// more zeros at its end.
pub(super) fn text_of(kind: KindName, value: &Value) -> Result<String, Mismatch> {
    match (kind, value) {
        (KindName::Text | KindName::Path | KindName::Enum, Value::Text(text)) => Ok(text.clone()),
        (KindName::Integer | KindName::Float, Value::Integer(number)) => Ok(number.to_string()),
        (KindName::Integer, Value::Text(text)) => {
            integer(text).map(|_| text.clone()).ok_or(Mismatch::Type)
        }
        (KindName::Float, Value::Float(number)) if !number.is_finite() => Err(Mismatch::Infinite),
        (KindName::Float, Value::Float(number)) => Ok(number.to_string()),
        (KindName::Float, Value::Text(text)) => {
            float(text).map(|_| text.clone()).ok_or(Mismatch::Type)
        }
        (KindName::Bool, Value::Bool(truth)) => Ok(truth.to_string()),
        (KindName::Bool, Value::Text(text)) if text == "true" || text == "false" => {
            Ok(text.clone())
        }
        _ => Err(Mismatch::Type),
    }
}

/// Reads a whole number in its one decimal form: no sign but `-`, no leading zeros, no spaces.
pub(super) fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Reads a decimal number: digits, perhaps a point and more digits; no exponent and no names.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits(whole) && digits(part) && (whole == "0" || !whole.starts_with('0'));
    let number: f64 = text.parse().ok().filter(|_| plain)?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_has_one_form() {
        for (text, number) in [("0", 0), ("-5", -5), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text), Some(number));
        }
        for bad in [
            "",
            " 5",
            "5 ",
            "+5",
            "05",
            "-0",
            "0x10",
            "1e3",
            "5.0",
            "1_000",
            "\u{665}",
            "9223372036854775808",
        ] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_fraction_is_digits_a_point_and_digits() {
        for (text, number) in [("0.50", 0.5), ("-2", -2.0), ("10.25", 10.25)] {
            assert_eq!(float(text), Some(number));
        }
        for bad in [
            "",
            ".5",
            "5.",
            "+1",
            "1e3",
            "NaN",
            "inf",
            "-infinity",
            "0x1p3",
            "01.5",
            "1,5",
            &"9".repeat(400),
        ] {
            assert_eq!(float(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_number_without_end_is_none() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(text_of(KindName::Float, &Value::Float(bad)), Err(Mismatch::Infinite));
        }
    }

    #[test]
    fn numbers_are_written_without_an_exponent() {
        assert_eq!(
            text_of(KindName::Float, &Value::Float(1e21)).unwrap(),
            "1000000000000000000000"
        );
        assert_eq!(text_of(KindName::Float, &Value::Float(0.1)).unwrap(), "0.1");
    }
}
