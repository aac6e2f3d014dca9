//! `adit run`: a template on one machine or several.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::{FAILED, Failure};
use super::job::{Listed, follow};
use super::options::ClientOptions;
use super::{Ended, template};
use crate::output::{Output, Table};

/// How many machines are run on at once unless told otherwise.
const MAX_PARALLEL: usize = 10;

/// More machines than a list of them shows.
const MAX_MACHINES: usize = 10_000;

/// Runs a template.
#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    client: ClientOptions,
    /// The template's name, of `adit templates ls`
    template: String,
    /// Values for its parameters
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// Where: a machine's label, label=PATTERN with * for any run of characters, or TAG=VALUE; may be given again
    #[arg(long, value_name = "MACHINE")]
    on: Vec<String>,
    /// Write what it writes, and end with its exit status
    #[arg(long, short)]
    follow: bool,
    /// How many machines are run on at once
    #[arg(long, default_value_t = MAX_PARALLEL, value_name = "N")]
    max_parallel: usize,
    /// End it after this many seconds, if that is sooner than the template says
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// A name for this very run: given again, it is the same job
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Machine {
    label: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Accepted {
    job_id: String,
}

impl Run {
    /// Runs a template.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        let parameters = read_parameters(&self.parameters)?;
        let several = self.on.len() > 1 || self.on.iter().any(|text| text.contains('='));
        if !several {
            return self.alone(&client, output, &parameters).await;
        }
        let machines = self.machines(&client).await?;
        if self.idempotency_key.is_some() && machines.len() > 1 {
            let sentence = "--idempotency-key names one job; run it on one machine".to_owned();
            return Err(Failure::Usage(sentence));
        }
        self.on_all(&client, output, &parameters, machines).await
    }

    async fn alone(&self, client: &Client, output: Output, parameters: &Value) -> Ended {
        let on = self.on.first().map(String::as_str);
        let accepted = self.submit(client, parameters, on).await?;
        let jobs = client.clone().at("jobs");
        if self.follow {
            let over = follow::follow(&jobs, output, &accepted.job_id).await?;
            return tell(&jobs, output, &over).await;
        }
        let sentence = format!(
            "Job {} waits for its turn. Follow it with `adit jobs logs --follow {}`.",
            accepted.job_id, accepted.job_id
        );
        output.done(&json!({ "job_id": accepted.job_id }), &sentence)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn submit(
        &self,
        client: &Client,
        parameters: &Value,
        on: Option<&str>,
    ) -> Result<Accepted, Failure> {
        let mut body = json!({ "command": self.template, "parameters": parameters });
        if let Some(on) = on {
            body["target"] = json!(on);
        }
        if let Some(seconds) = self.timeout {
            body["timeout"] = json!(seconds);
        }
        if let Some(key) = &self.idempotency_key {
            body["idempotency_key"] = json!(key);
        }
        read(client.clone().at("execute").create(&[], &body).await?)
    }

    /// Finds the machines that are meant, in the order in which they were named.
    async fn machines(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let listed: Vec<Machine> = read_all(&client.list(&["machines"], &[], MAX_MACHINES).await?)?;
        let templates: Vec<template::Listed> = read_all(&template::all(client).await?)?;
        let targets = templates.into_iter().find(|one| one.name == self.template);
        let targets = targets.map(|one| one.targets).unwrap_or_default();
        let mut found: Vec<String> = Vec::new();
        for text in &self.on {
            let before = found.len();
            let named: Vec<String> = match text.split_once('=') {
                None => vec![text.clone()],
                Some((key, value)) => listed
                    .iter()
                    .filter(|machine| machine.fits(key, value) && targets.contains(&machine.label))
                    .map(|machine| machine.label.clone())
                    .collect(),
            };
            found.extend(
                named
                    .into_iter()
                    .filter(|label| !found[..before].contains(label))
                    .collect::<Vec<_>>(),
            );
            if found.len() == before {
                return Err(Failure::Found {
                    sentence: format!(
                        "there is no machine {text} where you may run {}",
                        self.template
                    ),
                    code: "target.unknown",
                });
            }
        }
        Ok(found)
    }

    async fn on_all(
        &self,
        client: &Client,
        output: Output,
        parameters: &Value,
        machines: Vec<String>,
    ) -> Ended {
        let all = machines.len();
        let mut left: VecDeque<String> = machines.into();
        let mut running = FuturesUnordered::new();
        let mut over = Vec::new();
        let mut progress = Progress::new(output, all);
        loop {
            while running.len() < self.max_parallel.max(1)
                && let Some(machine) = left.pop_front()
            {
                running.push(self.on_one(client, parameters, machine));
            }
            let Some(one) = running.next().await else { break };
            over.push(one);
            progress.show(over.len());
        }
        progress.clear();
        over.sort_by(|a, b| a.machine.cmp(&b.machine));
        summary(output, &over)
    }

    async fn on_one(&self, client: &Client, parameters: &Value, machine: String) -> One {
        let run = async {
            let accepted = self.submit(client, parameters, Some(&machine)).await?;
            let jobs = client.clone().at("jobs");
            let silent = Output::of_process(crate::output::Form::Json);
            follow::follow(&jobs, silent, &accepted.job_id).await
        };
        let outcome = run.await;
        One { machine, outcome }
    }
}

/// One machine, and what came of the job there.
struct One {
    machine: String,
    outcome: Result<Listed, Failure>,
}

impl Machine {
    fn fits(&self, key: &str, value: &str) -> bool {
        match key {
            "label" => value
                .parse::<adit_domain::policy::selection::Pattern>()
                .is_ok_and(|pattern| pattern.fits(&self.label)),
            key => self.tags.get(key).is_some_and(|tag| tag == value),
        }
    }
}

fn read_parameters(texts: &[String]) -> Result<Value, Failure> {
    let mut parameters = serde_json::Map::new();
    for text in texts {
        let pair = text.split_once('=');
        let (name, value) = pair.ok_or_else(|| {
            Failure::Usage(format!("a parameter is written NAME=VALUE, and `{text}` is not"))
        })?;
        if parameters.insert(name.to_owned(), json!(value)).is_some() {
            return Err(Failure::Usage(format!("the parameter {name} stands there twice")));
        }
    }
    Ok(Value::Object(parameters))
}

/// Tells how a job ended: as JSON the job, to a person why, where its own output does not say.
async fn tell(jobs: &Client, output: Output, over: &Listed) -> Ended {
    if output.is_json() {
        output.json(&jobs.fetch(&[&over.job_id], &[]).await?)?;
    } else if over.status != "succeeded" && !over.why().is_empty() {
        eprintln!("adit: {}", crate::output::escape(&over.why()));
    }
    Ok(over.status())
}

fn summary(output: Output, over: &[One]) -> Ended {
    let mut table = Table::new(&["MACHINE", "STATE", "RAN", "JOB", "WHY"]);
    let mut items = Vec::new();
    let mut failed = 0;
    for one in over {
        match &one.outcome {
            Ok(job) => {
                failed += usize::from(job.status != "succeeded");
                table.row([
                    (&one.machine).into(),
                    job.cell(),
                    job.ran().into(),
                    (&job.job_id).into(),
                    job.why().into(),
                ]);
                items.push(
                    json!({ "machine": one.machine, "job_id": job.job_id, "status": job.status }),
                );
            }
            Err(failure) => {
                failed += 1;
                let why = failure.to_string();
                let state = crate::output::Cell::toned("not run", crate::output::Tone::Bad);
                table.row([
                    (&one.machine).into(),
                    state,
                    "".into(),
                    "".into(),
                    why.as_str().into(),
                ]);
                items.push(json!({ "machine": one.machine, "error": why }));
            }
        }
    }
    output.list(&items, &table, "No machine was run on.")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// A bar on a terminal's last line; nothing anywhere else.
struct Progress {
    shows: bool,
    all: usize,
}

impl Progress {
    fn new(output: Output, all: usize) -> Self {
        let mut progress =
            Self { shows: !output.is_json() && std::io::stderr().is_terminal(), all };
        progress.show(0);
        progress
    }

    fn show(&mut self, done: usize) {
        if !self.shows {
            return;
        }
        let full = BAR * done / self.all.max(1);
        let bar: String = (0..BAR).map(|at| if at < full { '█' } else { '░' }).collect();
        // A terminal that takes no more shows no bar.
        self.shows = write!(std::io::stderr(), "\r{bar} {done} of {}", self.all).is_ok();
    }

    fn clear(&self) {
        if self.shows {
            // As above.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// The width of the bar, in cells.
const BAR: usize = 30;
