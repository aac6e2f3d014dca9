//! `adit audit`: who did what, and the proof that nobody edited it.

pub(super) mod offline;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Query, read};
use super::failure::Failure;
use super::options::ClientOptions;
use super::recording::{progress, save};
use super::{Ended, grant, when};
use crate::output::{Cell, Output, Table, Tone};

/// How many events are shown unless told otherwise.
const SHOWN: usize = 20;

/// How many events one look at the newest asks for while it follows.
const NEWEST: usize = 200;

/// How many event ids are remembered while it follows: more than come in one look.
const REMEMBERED: usize = 4 * NEWEST;

/// How long it waits for word of a change before it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Works on the audit log.
#[derive(Args, Debug)]
pub struct Audit {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the newest events, oldest first
    Tail {
        /// Go on with each new one
        #[arg(long, short)]
        follow: bool,
        /// How many at first
        #[arg(long, short = 'n', default_value_t = SHOWN)]
        lines: usize,
    },
    /// Show the events that match, newest first
    Search(Search),
    /// Check that nobody edited the log: at the gateway, or offline in an exported file
    Verify {
        /// An exported file, checked here and without a gateway
        #[arg(requires = "key")]
        file: Option<PathBuf>,
        /// The public key that signed the checkpoints: 64 hexadecimal digits, or @FILE
        #[arg(long, value_name = "KEY|@FILE", requires = "file")]
        key: Vec<String>,
        /// A checkpoint of the same log that was kept elsewhere; what it tells of must be there
        #[arg(long, value_name = "FILE", requires = "file")]
        checkpoint: Vec<PathBuf>,
    },
    /// Show the public key that signs checkpoints and recordings; keep it elsewhere
    Key,
    /// Write the log with its hashes and checkpoints, one line of JSON each
    Export {
        /// The file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which events.
#[derive(Args, Debug)]
struct Search {
    /// A text in any of their fields
    text: Option<String>,
    /// Who did it, such as user:ann
    #[arg(long)]
    actor: Option<String>,
    /// What happened, such as session.ended
    #[arg(long)]
    event: Option<String>,
    /// To what, such as machine:web-1
    #[arg(long)]
    target: Option<String>,
    /// How it went
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Not before this time, such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Not after this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Outcome {
    /// It was done
    Ok,
    /// It was refused
    Denied,
    /// It was allowed and did not succeed
    Failed,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    id: String,
    at: String,
    event: String,
    actor: Value,
    target: Value,
    outcome: String,
    sentence: String,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    sentence: String,
}

impl Audit {
    /// Works on the audit log.
    pub async fn run(self) -> Ended {
        let output = self.client.output.open();
        if let Action::Verify { file: Some(file), key, checkpoint } = &self.action {
            return offline::verify(output, file, key, checkpoint);
        }
        let client = Client::open(&self.client.gateway)?;
        match self.action {
            Action::Tail { follow, lines } => tail(&client, output, follow, lines).await,
            Action::Search(search) => search.run(&client, output).await,
            Action::Verify { .. } => verify(&client, output).await,
            Action::Key => key(&client, output).await,
            Action::Export { output } => export(&client, output).await,
        }
    }
}

impl Search {
    async fn run(self, client: &Client, output: Output) -> Ended {
        let outcome = self.outcome.map(|outcome| match outcome {
            Outcome::Ok => "ok",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        });
        let fields = [
            ("q", self.text.as_deref()),
            ("actor", self.actor.as_deref()),
            ("event", self.event.as_deref()),
            ("target", self.target.as_deref()),
            ("outcome", outcome),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
        ];
        let query: Vec<(&str, &str)> =
            fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let items = client.list(&["audit"], &query, self.limit).await?;
        output.list(&items, &tabulate(&items)?, "No event matches.")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn tabulate(items: &[Value]) -> Result<Table, Failure> {
    let mut table = Table::new(&["AT", "EVENT", "WHO", "TO WHAT", "OUTCOME", "WHAT HAPPENED"]);
    for item in items {
        let event: Event = read(item.clone())?;
        table.row([
            when::clock(&event.at).into(),
            (&event.event).into(),
            grant::name(&event.actor).into(),
            grant::name(&event.target).into(),
            outcome(&event.outcome),
            (&event.sentence).into(),
        ]);
    }
    Ok(table)
}

fn outcome(outcome: &str) -> Cell {
    let tone = match outcome {
        "ok" => Tone::Plain,
        "denied" => Tone::Warning,
        _ => Tone::Bad,
    };
    Cell::toned(outcome, tone)
}

async fn tail(client: &Client, output: Output, follow: bool, lines: usize) -> Ended {
    let mut items = client.list(&["audit"], &[], lines).await?;
    items.reverse();
    if !follow && !output.is_json() {
        output.list(&items, &tabulate(&items)?, "No events yet.")?;
        return Ok(ExitCode::SUCCESS);
    }
    for item in &items {
        print(output, item)?;
    }
    if follow { follow_on(client, output, &items).await } else { Ok(ExitCode::SUCCESS) }
}

/// Prints one event on one line.
fn print(output: Output, item: &Value) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(output.json(item)?);
    }
    let event: Event = read(item.clone())?;
    let line = format!(
        "{}  {}  {}  {}  {}  {}",
        when::clock(&event.at),
        event.event,
        grant::name(&event.actor),
        grant::name(&event.target),
        event.outcome,
        event.sentence
    );
    Ok(output.line(&line)?)
}

/// Prints each new event once, until the gateway goes or the user ends it.
async fn follow_on(client: &Client, output: Output, shown: &[Value]) -> Ended {
    let mut seen: HashSet<String> = shown.iter().filter_map(id).collect();
    let mut changes = client.stream(&["stream"], &[]).await?.bytes_stream();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let newest = client.list(&["audit"], &[], NEWEST).await?;
        if seen.len() > REMEMBERED {
            seen.retain(|known| newest.iter().filter_map(id).any(|id| id == *known));
        }
        for item in newest.iter().rev() {
            if id(item).is_some_and(|id| seen.insert(id)) {
                print(output, item)?;
            }
        }
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(_)) => {}
                _ => changes = client.stream(&["stream"], &[]).await?.bytes_stream(),
            },
            _ = look.tick() => {}
        }
    }
}

fn id(item: &Value) -> Option<String> {
    read::<Event>(item.clone()).ok().map(|event| event.id)
}

async fn verify(client: &Client, output: Output) -> Ended {
    let query: Query<'_> = &[];
    let value = client.fetch(&["audit", "verify"], query).await?;
    let verdict: Verdict = read(value.clone())?;
    conclude(output, &value, verdict.ok, &verdict.sentence)
}

async fn key(client: &Client, output: Output) -> Ended {
    let status: Status = client.read(&["status"], &[]).await?;
    output.done(&serde_json::json!({ "key": status.audit_key }), &status.audit_key)?;
    Ok(ExitCode::SUCCESS)
}

/// What this command reads of the gateway's status.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    audit_key: String,
}

/// Says what a verification found; a log that does not hold is a failure.
fn conclude(output: Output, value: &Value, holds: bool, sentence: &str) -> Ended {
    if holds || output.is_json() {
        output.done(value, sentence)?;
    }
    if holds {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Found { sentence: sentence.to_owned(), code: "audit.broken" })
}

async fn export(client: &Client, to: Option<PathBuf>) -> Ended {
    let answer = client.stream(&["audit", "export"], &[]).await?;
    match to {
        None => {
            save(answer, std::io::stdout().lock(), indicatif::ProgressBar::hidden()).await?;
        }
        Some(path) => {
            let what = format!("writing {}", path.display());
            let file = std::fs::File::create(&path).map_err(Failure::file(what))?;
            let bar = progress(answer.content_length());
            let bytes = save(answer, file, bar).await?;
            eprintln!("{}: {}", path.display(), when::size(bytes));
        }
    }
    Ok(ExitCode::SUCCESS)
}
