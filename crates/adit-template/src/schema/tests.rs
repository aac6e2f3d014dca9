use super::*;

fn schema_of(parameters: &str) -> Value {
    let names = ["path", "count", "ratio", "force", "kind", "text"];
    let used: String = names
        .iter()
        .filter(|name| parameters.contains(**name))
        .map(|n| format!(" {{{n}}}"))
        .collect();
    let file = format!("templates:\n  t:\n    command: ls{used}\n    parameters:\n{parameters}");
    schema(&crate::read("f", &file).unwrap_or_else(|faults| panic!("{faults:#?}"))[0])
}

#[test]
fn a_schema_says_types_and_rules() {
    // CMD-11
    let found = schema_of(
        "      path: {type: path, description: Where., allowed_paths: [/srv/], forbidden_paths: [/srv/x]}
      count: {type: int, min_value: 1, max_value: 9, default: 5}
      ratio: {type: float, max_value: 0.5, required: false}
      force: {type: bool, default: no}
      kind: {type: enum, allowed_values: [a, b], default: b}
      text: {min_length: 2, max_length: 9, pattern: 'a|b.*'}
",
    );
    let expected = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["path", "text"],
        "properties": {
            "path": {
                "type": "string", "x-type": "path", "description": "Where.", "pattern": "^/",
                "minLength": 1, "maxLength": 4096,
                "x-allowed-paths": ["/srv"], "x-forbidden-paths": ["/srv/x"],
            },
            "count": {"type": "integer", "x-type": "int", "minimum": 1, "maximum": 9, "default": 5},
            "ratio": {"type": "number", "x-type": "float", "maximum": 0.5},
            "force": {"type": "boolean", "x-type": "bool", "default": false},
            "kind": {
                "type": "string", "x-type": "enum", "enum": ["a", "b"], "default": "b",
                "minLength": 1, "maxLength": 4096,
            },
            "text": {
                "type": "string", "x-type": "string", "pattern": "^(?:a|b.*)$",
                "minLength": 2, "maxLength": 9,
            },
        },
    });
    assert_eq!(found, expected);
}

#[test]
fn listed_numbers_are_numbers() {
    let found = schema_of("      count: {type: int, allowed_values: [1, 2], required: false}\n");
    assert_eq!(found["properties"]["count"]["enum"], json!([1, 2]));
    assert_eq!(found["required"], json!([]));
}

#[test]
fn a_template_without_parameters_takes_none() {
    let template = &crate::read("f", "templates: {t: {command: ls}}").unwrap()[0];
    let found = schema(template);
    assert_eq!((&found["properties"], &found["additionalProperties"]), (&json!({}), &json!(false)));
}
