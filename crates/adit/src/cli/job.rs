//! `adit jobs`: runs of templates.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::{FAILED, Failure};
use super::options::ClientOptions;
use super::{Ended, grant, when};
use crate::output::{Cell, Output, Table, Tone};

pub mod follow;
mod receipt;

/// How many jobs are listed unless told otherwise.
const LISTED: usize = 50;

/// Works on jobs.
#[derive(Args, Debug)]
pub struct Jobs {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs, the newest first
    Ls {
        /// Only in this state: queued, running, succeeded, failed, timed_out, cancelled or lost
        #[arg(long)]
        status: Option<String>,
        /// On this machine alone
        #[arg(long, value_name = "LABEL")]
        on: Option<String>,
        /// Of this template alone
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
    /// Show one job: how it ended, what it used, what held it
    Show {
        /// Its id
        job: String,
    },
    /// Write what a job wrote
    Logs {
        /// Its id
        job: String,
        /// Go on until it is over
        #[arg(long, short)]
        follow: bool,
    },
    /// Write the signed receipt of a job that is over: what ran, how it ended, what it wrote
    Receipt {
        /// Its id
        job: String,
    },
    /// Check receipts without a gateway: who signed them, and that nothing in them was changed
    Verify {
        /// A file of receipts, one a line
        file: PathBuf,
        /// The key that the gateway signs with, of `adit audit key`: 64 hexadecimal digits, or @FILE with them
        #[arg(long, value_name = "KEY", required = true)]
        key: Vec<String>,
    },
    /// Agree to a job of somebody else, after you have seen what would run
    Approve(Word),
    /// Refuse a job of somebody else that awaits consent
    Deny(Word),
    /// Cancel jobs with everything that they started
    Cancel {
        /// Their ids
        #[arg(required = true)]
        jobs: Vec<String>,
    },
}

/// About which job a word is.
#[derive(Args, Debug)]
struct Word {
    /// Its id
    job: String,
    /// What you saw: the job's content, of `adit jobs show`; asked for at the terminal without
    #[arg(long, value_name = "SHA-256")]
    content: Option<String>,
}

/// A job as the gateway tells it.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// Its id.
    pub job_id: String,
    /// How it stands.
    pub status: String,
    /// The template's name.
    pub command: String,
    argv: Vec<String>,
    version: String,
    target: Value,
    principal: Value,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    wait_ms: u64,
    run_ms: u64,
    exit_code: Option<i32>,
    signal: Option<String>,
    reason: Option<Reason>,
    resources: Option<Resources>,
    layers: Vec<Layer>,
    output: Output_,
    content: String,
    consents_needed: u8,
    consents: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Reason {
    code: String,
    sentence: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Resources {
    user_ms: u64,
    system_ms: u64,
    peak_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Layer {
    name: String,
    state: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Output_ {
    stdout_bytes: u64,
    stdout_dropped: u64,
    stderr_bytes: u64,
    stderr_dropped: u64,
}

impl Jobs {
    /// Works on jobs.
    pub async fn run(self) -> Ended {
        if let Action::Verify { file, key } = &self.action {
            return receipt::verify(self.client.output.open(), file, key);
        }
        let client = Client::open(&self.client.gateway)?.at("jobs");
        let output = self.client.output.open();
        match self.action {
            Action::Ls { status, on, template, limit } => {
                let mut query = Vec::new();
                query.extend(status.as_deref().map(|word| ("status", word)));
                query.extend(on.as_deref().map(|label| ("target", label)));
                query.extend(template.as_deref().map(|name| ("command", name)));
                list(&client, output, &query, limit).await?;
            }
            Action::Show { job } => show(&client, output, &job).await?,
            Action::Logs { job, follow: true } => {
                let over = follow::follow(&client, output, &job).await?;
                return Ok(over.status());
            }
            Action::Logs { job, follow: false } => follow::print(&client, &job).await?,
            Action::Receipt { job } => follow::copy(&client, &[&job, "receipt"]).await?,
            // Done above: it needs no gateway.
            Action::Verify { .. } => {}
            Action::Approve(word) => word.say(&client, output, "approve").await?,
            Action::Deny(word) => word.say(&client, output, "deny").await?,
            Action::Cancel { jobs } => {
                for job in &jobs {
                    client.remove(&[job]).await?;
                }
                let sentence = match jobs.len() {
                    1 => "The job is told to end.".to_owned(),
                    many => format!("{many} jobs are told to end."),
                };
                output.done(&json!({ "cancelled": jobs }), &sentence)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Word {
    /// Shows what would run and asks, unless the caller names it; then says the word about exactly that.
    async fn say(self, client: &Client, output: Output, decision: &str) -> Result<(), Failure> {
        let content = match self.content {
            Some(content) => content,
            None => {
                let job: Listed = read(client.fetch(&[&self.job], &[]).await?)?;
                let (who, machine) = (grant::name(&job.principal), job.machine());
                let seen = format!(
                    "{who} would run on {machine}:\n  {}\n{decision}? Type yes: ",
                    crate::output::escape(&job.argv.join(" "))
                );
                let answer = super::ask::on_terminal(&seen)?;
                let is_yes = answer.is_some_and(|answer| answer.expose().trim() == "yes");
                if !is_yes {
                    let sentence = "nothing was decided: type yes at a terminal, or give --content with what you saw";
                    return Err(Failure::Usage(sentence.to_owned()));
                }
                job.content
            }
        };
        let body = json!({ "content": content, "decision": decision });
        let value = client.create(&[&self.job, "consent"], &body).await?;
        let job: Listed = read(value.clone())?;
        let sentence = match job.status.as_str() {
            "awaiting_consent" => {
                format!("Noted; {} of {} agreed.", job.consents.len(), job.consents_needed)
            }
            "cancelled" => "The job is refused.".to_owned(),
            _ => "The job runs when its turn comes.".to_owned(),
        };
        output.done(&value, &sentence)?;
        Ok(())
    }
}

async fn list(
    client: &Client,
    output: Output,
    query: &[(&str, &str)],
    limit: usize,
) -> Result<(), Failure> {
    let items = client.list(&[], query, limit).await?;
    let mut table = Table::new(&["JOB", "TEMPLATE", "MACHINE", "WHO", "STATE", "ASKED", "RAN"]);
    for job in read_all::<Listed>(&items)? {
        table.row([
            (&job.job_id).into(),
            (&job.command).into(),
            job.machine().into(),
            grant::name(&job.principal).into(),
            job.cell(),
            when::ago(&job.created_at, when::now()).into(),
            millis(job.run_ms).into(),
        ]);
    }
    output.list(
        &items,
        &table,
        "No jobs yet. Run a template with `adit run TEMPLATE --on MACHINE`.",
    )?;
    Ok(())
}

async fn show(client: &Client, output: Output, job: &str) -> Result<(), Failure> {
    let value = client.fetch(&[job], &[]).await?;
    let job: Listed = read(value.clone())?;
    let held = |state: &str| {
        let those = job.layers.iter().filter(|layer| layer.state == state);
        those.map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let used = job.resources.as_ref().map(|used| {
        format!(
            "{} of processor, {} of memory at most",
            millis(used.user_ms + used.system_ms),
            when::size(used.peak_bytes)
        )
    });
    let facts = [
        ("job", job.job_id.clone()),
        ("template", job.command.clone()),
        ("runs", job.argv.join(" ")),
        ("machine", job.machine()),
        ("who", grant::name(&job.principal)),
        ("state", job.status.clone()),
        ("why", job.why()),
        ("exit status", job.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("signal", job.signal.clone().unwrap_or_default()),
        ("asked", when::clock(&job.created_at)),
        ("began", job.started_at.as_deref().map(when::clock).unwrap_or_default()),
        ("ended", job.ended_at.as_deref().map(when::clock).unwrap_or_default()),
        ("waited", millis(job.wait_ms)),
        ("ran", millis(job.run_ms)),
        ("used", used.unwrap_or_default()),
        ("wrote", job.wrote()),
        ("held by", held("enforced")),
        ("not held by", held("missing")),
        ("agreed", agreed(&job)),
        ("content", job.content.clone()),
        ("version", job.version.clone()),
    ];
    output.facts(&value, &facts)?;
    Ok(())
}

fn agreed(job: &Listed) -> String {
    match job.consents_needed {
        0 => String::new(),
        needed => format!("{} of {needed}: {}", job.consents.len(), job.consents.join(", ")),
    }
}

impl Listed {
    /// Gives the label of its machine.
    pub fn machine(&self) -> String {
        self.target["label"].as_str().unwrap_or_default().to_owned()
    }

    /// Gives the exit status of a command that ran it and waited: the program's own where there is one.
    pub fn status(&self) -> ExitCode {
        let own = self.exit_code.map(|code| u8::try_from(code & 0xff).unwrap_or(FAILED));
        let by_signal = self.signal.as_deref().and_then(follow::signal_number);
        let status = match self.status.as_str() {
            "succeeded" => 0,
            "failed" => own.or(by_signal.map(|number| 128 + number)).unwrap_or(FAILED),
            // As timeout(1) and a shell after Ctrl-C have it.
            "timed_out" => 124,
            "cancelled" => 130,
            _ => FAILED,
        };
        ExitCode::from(status)
    }

    /// Says why it ended, where it was not its program's own doing.
    pub fn why(&self) -> String {
        self.reason
            .as_ref()
            .map(|why| format!("{} [{}]", why.sentence, why.code))
            .unwrap_or_default()
    }

    /// Gives its state for a table.
    pub fn cell(&self) -> Cell {
        let tone = match self.status.as_str() {
            "succeeded" => Tone::Good,
            "awaiting_consent" | "queued" | "running" => Tone::Warning,
            _ => Tone::Bad,
        };
        let text = match (self.status.as_str(), self.exit_code) {
            ("failed", Some(code)) => format!("failed ({code})"),
            (word, _) => word.replace('_', " "),
        };
        Cell::toned(&text, tone)
    }

    /// Says how long it ran.
    pub fn ran(&self) -> String {
        millis(self.run_ms)
    }

    fn wrote(&self) -> String {
        let Output_ { stdout_bytes, stdout_dropped, stderr_bytes, stderr_dropped } = self.output;
        let dropped = stdout_dropped + stderr_dropped;
        let kept = if dropped == 0 {
            String::new()
        } else {
            format!("; {} of it was over the limit and is not kept", when::size(dropped))
        };
        format!("{}, and {} of errors{kept}", when::size(stdout_bytes), when::size(stderr_bytes))
    }
}

fn millis(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => when::length(i64::try_from(ms / 1000).unwrap_or(i64::MAX)),
    }
}
