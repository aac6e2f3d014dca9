//! What parameters a template takes, as JSON Schema (2020-12).

use adit_domain::Template;
use adit_domain::template::text::MAX_VALUE_BYTES;
use adit_domain::template::{AbsolutePath, Kind, KindName, Parameter};
use serde_json::{Map, Value, json};

/// Writes the schema of a template's parameters.
///
/// It is for forms and for programs; what counts is `Template::plan`, which knows more. What JSON Schema has no word for stands under `x-`:
/// `x-type` is the type in the file, `x-allowed-paths` and `x-forbidden-paths` are folders.
pub fn schema(template: &Template) -> Value {
    let properties: Map<String, Value> =
        template.parameters().iter().map(|one| (one.name().to_string(), property(one))).collect();
    let required: Vec<&str> = template
        .parameters()
        .iter()
        .filter(|one| one.must_be_given())
        .map(|one| one.name().as_str())
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(parameter: &Parameter) -> Value {
    let mut schema = Map::new();
    let mut put = |key: &str, value: Value| schema.insert(key.to_owned(), value);
    put("type", json!(type_name(parameter.kind_name())));
    put("x-type", json!(parameter.kind_name().as_str()));
    if !parameter.description().is_empty() {
        put("description", json!(parameter.description()));
    }
    if let Some(default) = parameter.default() {
        put("default", typed(parameter, default));
    }
    if !parameter.allowed_values().is_empty() {
        let values = parameter.allowed_values().iter().map(|value| typed(parameter, value));
        put("enum", values.collect());
    }
    if let Some(pattern) = parameter.pattern() {
        put("pattern", json!(format!("^(?:{pattern})$")));
    }
    add_rules(&mut schema, parameter);
    Value::Object(schema)
}

fn add_rules(schema: &mut Map<String, Value>, parameter: &Parameter) {
    match parameter.kind() {
        Kind::Text | Kind::Enum => add_lengths(schema, parameter),
        Kind::Path(rules) => {
            schema.entry("pattern").or_insert(json!("^/"));
            add_paths(schema, "x-allowed-paths", &rules.allowed);
            add_paths(schema, "x-forbidden-paths", &rules.forbidden);
            add_lengths(schema, parameter);
        }
        Kind::Integer(bounds) => {
            add_some(schema, "minimum", bounds.min.map(|min| json!(min)));
            add_some(schema, "maximum", bounds.max.map(|max| json!(max)));
        }
        Kind::Float(bounds) => {
            add_some(schema, "minimum", bounds.min.map(|min| json!(min)));
            add_some(schema, "maximum", bounds.max.map(|max| json!(max)));
        }
        Kind::Bool => {}
    }
}

fn add_some(schema: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    schema.extend(value.map(|value| (key.to_owned(), value)));
}

fn add_paths(schema: &mut Map<String, Value>, key: &str, paths: &[AbsolutePath]) {
    let list = paths.iter().map(AbsolutePath::as_str).collect();
    add_some(schema, key, Some(list).filter(|_| !paths.is_empty()));
}

fn add_lengths(schema: &mut Map<String, Value>, parameter: &Parameter) {
    let may_be_empty =
        !parameter.is_required() || parameter.allowed_values().iter().any(String::is_empty);
    let min = if may_be_empty { 0 } else { parameter.length().min.unwrap_or(1).max(1) };
    if min > 0 {
        schema.insert("minLength".to_owned(), json!(min));
    }
    let longest = u32::try_from(MAX_VALUE_BYTES).unwrap_or(u32::MAX);
    let max = parameter.length().max.map_or(longest, |max| max.min(longest));
    schema.insert("maxLength".to_owned(), json!(max));
}

/// Gives a text of the file in the type of JSON that the schema names.
fn typed(parameter: &Parameter, text: &str) -> Value {
    let number = match parameter.kind_name() {
        KindName::Integer => text.parse::<i64>().ok().map(|number| json!(number)),
        KindName::Float => text.parse::<f64>().ok().map(|number| json!(number)),
        KindName::Bool => text.parse::<bool>().ok().map(|truth| json!(truth)),
        KindName::Text | KindName::Path | KindName::Enum => None,
    };
    number.unwrap_or_else(|| json!(text))
}

const fn type_name(kind: KindName) -> &'static str {
    match kind {
        KindName::Text | KindName::Path | KindName::Enum => "string",
        KindName::Integer => "integer",
        KindName::Float => "number",
        KindName::Bool => "boolean",
    }
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
