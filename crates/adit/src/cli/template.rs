//! `adit templates`: what may be run, and whether files of templates are right.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ended;
use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use crate::output::{Output, Table, escape};

/// More templates than a gateway has.
const MAX_LISTED: usize = 2_000;

/// Works on templates.
#[derive(Args, Debug)]
pub struct Templates {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with templates.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the templates that you may run
    Ls,
    /// Show one: its parameters, its exact command, its limits
    Show {
        /// Its name
        template: String,
    },
    /// Check files of templates, here and without a gateway; says each error with its line and column
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// A template as the gateway tells it.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    description: String,
    category: String,
    version: String,
    argv: Vec<String>,
    parameters: Value,
    required_scopes: Vec<String>,
    limits: Limits,
    /// The labels of the machines where the caller may run it.
    pub targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Limits {
    timeout: u64,
    memory_bytes: u64,
    network: bool,
    file_write: bool,
}

impl Templates {
    /// Works on templates.
    pub async fn run(self) -> Ended {
        let output = self.client.output.open();
        if let Action::Check { files } = &self.action {
            return check(output, files);
        }
        let client = Client::open(&self.client.gateway)?;
        match self.action {
            Action::Ls => list(&client, output).await?,
            Action::Show { template } => show(&client, output, &template).await?,
            Action::Check { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Lists the templates that the caller may run.
///
/// # Errors
/// The gateway refused or did not answer.
pub async fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    client.clone().at("commands").list(&[], &[], MAX_LISTED).await
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let items = all(client).await?;
    let mut table = Table::new(&["TEMPLATE", "WHAT IT DOES", "KIND", "PARAMETERS", "MACHINES"]);
    for one in read_all::<Listed>(&items)? {
        let machines = one.targets.len().to_string();
        let parameters = parameters(&one);
        table.row([
            (&one.name).into(),
            (&one.description).into(),
            (&one.category).into(),
            parameters.join(" ").into(),
            machines.into(),
        ]);
    }
    let empty = "There is no template that you may run. An administrator gives a role with job:run, and the scopes that templates ask for.";
    output.list(&items, &table, empty)?;
    Ok(())
}

async fn show(client: &Client, output: Output, name: &str) -> Result<(), Failure> {
    let items = all(client).await?;
    let found = items.into_iter().find(|one| one["name"] == name);
    let value = found.ok_or_else(|| Failure::Found {
        sentence: format!(
            "there is no template {name} that you may run; `adit templates ls` lists them"
        ),
        code: "template.unknown",
    })?;
    let one: Listed = read(value.clone())?;
    let facts = [
        ("template", one.name.clone()),
        ("what it does", one.description.clone()),
        ("runs", one.argv.join(" ")),
        ("parameters", parameters(&one).join(" ")),
        ("asks for", one.required_scopes.join(" ")),
        ("time", format!("{} s", one.limits.timeout)),
        ("memory", super::when::size(one.limits.memory_bytes)),
        ("network", said(one.limits.network)),
        ("writes files", said(one.limits.file_write)),
        ("machines", one.targets.join(" ")),
        ("version", one.version.clone()),
    ];
    output.facts(&value, &facts)?;
    let properties = value["parameters"]["properties"].as_object();
    for (name, property) in properties.into_iter().flatten().filter(|_| !output.is_json()) {
        let what = property["description"].as_str().unwrap_or_default();
        output.line(&format!("  {name}={}  {what}", kind(property)))?;
    }
    Ok(())
}

fn said(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// Writes the parameters as one gives them: those that must be given bare, the others in brackets.
fn parameters(one: &Listed) -> Vec<String> {
    let required = one.parameters["required"].as_array().cloned().unwrap_or_default();
    let properties = one.parameters["properties"].as_object();
    let names = properties.into_iter().flatten().map(|(name, _)| name);
    names
        .map(|name| {
            if required.contains(&json!(name)) { format!("{name}=") } else { format!("[{name}=]") }
        })
        .collect()
}

/// Says in a word or two what a parameter takes.
fn kind(property: &Value) -> String {
    if let Some(values) = property["enum"].as_array() {
        let words =
            values.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
        return words.collect::<Vec<_>>().join("|");
    }
    let kind = property["x-type"].as_str().or_else(|| property["type"].as_str());
    let kind = kind.unwrap_or("string").to_uppercase();
    match &property["default"] {
        Value::Null => kind,
        default => format!(
            "{kind} (else {})",
            default.as_str().map_or_else(|| default.to_string(), str::to_owned)
        ),
    }
}

fn check(output: Output, files: &[PathBuf]) -> Ended {
    let mut set = adit_template::Set::new();
    let mut texts = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(Failure::file(format!("reading {name}")))?;
        texts.push((name, text));
    }
    let all = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let Err(faults) = set.replace_all(all) else {
        let count = set.len();
        let sentence = format!("{count} templates in {} files, and nothing is wrong.", files.len());
        output.done(&json!({ "templates": count, "errors": [] }), &sentence)?;
        return Ok(ExitCode::SUCCESS);
    };
    if output.is_json() {
        let errors: Vec<Value> = faults
            .iter()
            .map(|fault| {
                json!({
                    "file": fault.file, "line": fault.at.line, "column": fault.at.column, "error": fault.what,
                })
            })
            .collect();
        output.json(&json!({ "templates": set.len(), "errors": errors }))?;
    } else {
        for fault in &faults {
            output.line(&escape(&fault.to_string()))?;
        }
    }
    Err(Failure::Found {
        sentence: format!("{} errors; a gateway would keep the version before", faults.len()),
        code: "template.invalid",
    })
}
