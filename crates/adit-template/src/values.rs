//! A caller's values, from JSON.

use std::collections::BTreeMap;
use std::fmt;

use adit_domain::template::Value;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The most values that are read of one request; no template has as many parameters.
const MAX_VALUES: usize = 256;

/// The values of a request by the names of their parameters. Reading them from JSON refuses a name that stands there twice.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Values(pub BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of parameters and their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
            if values.len() >= MAX_VALUES {
                return Err(A::Error::custom("more parameters than any template has"));
            }
            if values.insert(name, of_json(value)).is_some() {
                return Err(A::Error::custom("a parameter stands there twice"));
            }
        }
        Ok(Values(values))
    }
}

fn of_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(part)) => Value::Float(part),
            (None, None) => Value::Null,
        },
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Array(_) => Value::List,
        serde_json::Value::Object(_) => Value::Map,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Values, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_type_of_json_is_told_apart() {
        // JOB-11
        let json = r#"{"a": "x", "b": 5, "c": 5.0, "d": true, "e": null, "f": [], "g": {},
            "h": 9223372036854775808}"#;
        let values: Vec<Value> = read(json).unwrap().0.into_values().collect();
        let expected = [
            Value::Text("x".into()),
            Value::Integer(5),
            Value::Float(5.0),
            Value::Bool(true),
            Value::Null,
            Value::List,
            Value::Map,
            Value::Float(9_223_372_036_854_775_808.0),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_name_that_stands_there_twice_is_refused() {
        assert!(read(r#"{"a": "safe", "a": "other"}"#).is_err());
        assert!(read("[]").is_err() && read("null").is_err());
    }

    #[test]
    fn invalid_utf_8_and_lone_surrogates_are_refused() {
        // CMD-5, JOB-03
        assert!(serde_json::from_slice::<Values>(b"{\"a\": \"\xff\"}").is_err());
        assert!(read(r#"{"a": "\ud800"}"#).is_err());
    }

    #[test]
    fn more_values_than_any_template_has_are_refused() {
        let many = |count: usize| {
            let entries: Vec<String> = (0..count).map(|n| format!("\"p{n}\": 1")).collect();
            read(&format!("{{{}}}", entries.join(",")))
        };
        assert!(many(256).is_ok() && many(257).is_err());
    }
}
