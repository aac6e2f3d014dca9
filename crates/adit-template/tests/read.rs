//! Files of templates through the public way in.

#[path = "read/faults.rs"]
mod faults;
#[path = "read/keys.rs"]
mod keys;
#[path = "read/shipped.rs"]
mod shipped;

use std::collections::BTreeMap;

use adit_domain::Template;
use adit_domain::template::Value;
use adit_template::read;

/// Reads a file without faults.
fn good(text: &str) -> Vec<Template> {
    read("f.yaml", text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

/// Reads one template from what stands under its name, indented by four.
fn one(body: &str) -> Template {
    good(&file(body)).remove(0)
}

/// Gives the faults of one template, each as `LINE:COLUMN: …`; its first line is line 3.
fn bad(body: &str) -> Vec<String> {
    faults(&file(body))
}

fn faults(text: &str) -> Vec<String> {
    let faults = read("f.yaml", text).expect_err(text);
    faults
        .iter()
        .map(|fault| fault.to_string().strip_prefix("f.yaml:").expect("its file").to_owned())
        .collect()
}

fn file(body: &str) -> String {
    let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
    format!("templates:\n  t:\n{lines}")
}

fn values(list: &[(&str, &str)]) -> BTreeMap<String, Value> {
    list.iter().map(|(name, text)| ((*name).to_owned(), Value::Text((*text).to_owned()))).collect()
}
