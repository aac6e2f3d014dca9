//! `adit recordings`: what sessions showed, kept so that nobody can change it unseen.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, grant, when};
use crate::output::{Cell, Output, Table, Tone};

/// How many recordings are listed unless told otherwise.
const LISTED: usize = 100;

/// More places than a person looks at.
const MAX_FOUND: usize = 10_000;

/// Works on recordings.
#[derive(Args, Debug)]
pub struct Recordings {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with recordings.
#[derive(Debug, Subcommand)]
enum Action {
    /// List recordings
    Ls {
        /// Of this machine alone
        #[arg(long, value_name = "LABEL")]
        machine: Option<String>,
        /// Of this person alone
        #[arg(long, value_name = "user:NAME")]
        principal: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
    /// Check that a recording is as it was written; the first bad byte is named
    Verify {
        /// The recording's id, which is its session's; may be given again
        #[arg(required = true)]
        recordings: Vec<String>,
    },
    /// Write a recording into a file
    Export {
        /// The recording's id, which is its session's
        recording: String,
        /// The file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The form of the file
        #[arg(long, value_enum, default_value_t = Format::Cast)]
        format: Format,
    },
    /// Find a text in what a recording shows
    Search {
        /// The recording's id, which is its session's
        recording: String,
        /// The text
        text: String,
    },
    /// Delete a recording before its time; its fingerprint stays in the audit log
    Rm {
        /// The recording's id, which is its session's
        recording: String,
    },
}

/// The form of an exported recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// asciicast version 2, which any player reads
    Cast,
    /// Adit's own form with its hashes and signature, byte for byte
    Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    machine: Value,
    principal: Value,
    started_at: String,
    length_seconds: Option<f64>,
    bytes: u64,
    state: String,
    deleted: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    sentence: String,
}

#[derive(Debug, Deserialize)]
struct Place {
    at: f64,
    #[serde(default)]
    row: u64,
    text: String,
}

impl Recordings {
    /// Works on recordings.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls { machine, principal, limit } => {
                let mut query = Vec::new();
                query.extend(machine.as_deref().map(|label| ("machine", label)));
                query.extend(principal.as_deref().map(|name| ("principal", name)));
                list(&client, output, &query, limit).await
            }
            Action::Verify { recordings } => verify(&client, output, &recordings).await,
            Action::Export { recording, output: to, format } => {
                export(&client, &recording, to, format).await
            }
            Action::Search { recording, text } => search(&client, output, &recording, &text).await,
            Action::Rm { recording } => {
                client.remove(&["recordings", &recording]).await?;
                let sentence = "The recording is deleted; its fingerprint stays in the audit log.";
                output.done(&json!({ "removed": recording }), sentence)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn list(client: &Client, output: Output, query: &[(&str, &str)], limit: usize) -> Ended {
    let items = client.list(&["recordings"], query, limit).await?;
    let mut table =
        Table::new(&["RECORDING", "MACHINE", "WHO", "STARTED", "LENGTH", "SIZE", "STATE"]);
    for recording in read_all::<Listed>(&items)? {
        let label = recording.machine.get("label").and_then(Value::as_str);
        // A fraction of a second is not shown.
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second is not shown")]
        let length = recording.length_seconds.map(|seconds| when::length(seconds as i64));
        table.row([
            (&recording.id).into(),
            label.map_or_else(|| grant::name(&recording.machine), str::to_owned).into(),
            grant::name(&recording.principal).into(),
            when::ago(&recording.started_at, when::now()).into(),
            length.unwrap_or_default().into(),
            when::size(recording.bytes).into(),
            state(&recording),
        ]);
    }
    output.list(&items, &table, "No recordings yet. Each session that ends leaves one.")?;
    Ok(ExitCode::SUCCESS)
}

fn state(recording: &Listed) -> Cell {
    let is_deleted = recording.deleted.as_ref().is_some_and(|told| match told {
        Value::Bool(told) => *told,
        other => !other.is_null(),
    });
    match recording.state.as_str() {
        _ if is_deleted => Cell::toned("deleted", Tone::Faint),
        "complete" => Cell::toned("complete", Tone::Good),
        "incomplete" => Cell::toned("incomplete", Tone::Warning),
        other => Cell::toned(other, Tone::Plain),
    }
}

async fn verify(client: &Client, output: Output, recordings: &[String]) -> Ended {
    let mut broken = None;
    for recording in recordings {
        let value = client.fetch(&["recordings", recording, "verify"], &[]).await?;
        let verdict: Verdict = read(value.clone())?;
        output.done(&value, &format!("{recording}: {}", verdict.sentence))?;
        if !verdict.ok && broken.is_none() {
            broken = Some(format!("the recording {recording} does not hold: {}", verdict.sentence));
        }
    }
    match broken {
        Some(sentence) => Err(Failure::Found { sentence, code: "recording.broken" }),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn search(client: &Client, output: Output, recording: &str, text: &str) -> Ended {
    let path = ["recordings", recording, "search"];
    let items = client.list(&path, &[("q", text)], MAX_FOUND).await?;
    let mut table = Table::new(&["AT", "ROW", "TEXT"]);
    for place in read_all::<Place>(&items)? {
        let seconds = format!("{:.1}", place.at);
        table.row([seconds.into(), place.row.to_string().into(), place.text.trim().into()]);
    }
    output.list(&items, &table, "That text is nowhere in the recording.")?;
    Ok(ExitCode::SUCCESS)
}

async fn export(client: &Client, recording: &str, to: Option<PathBuf>, format: Format) -> Ended {
    let part = match format {
        Format::Cast => "cast",
        Format::Raw => "raw",
    };
    let answer = client.stream(&["recordings", recording, part], &[]).await?;
    match to {
        None => {
            save(answer, std::io::stdout().lock(), ProgressBar::hidden()).await?;
        }
        Some(path) => {
            let what = format!("writing {}", path.display());
            let file = std::fs::File::create(&path).map_err(Failure::file(&what))?;
            let bar = progress(answer.content_length());
            let bytes = save(answer, file, bar).await?;
            eprintln!("{}: {}", path.display(), when::size(bytes));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an answer's body as it comes and gives its length.
///
/// # Errors
/// The connection or the file failed.
pub async fn save(
    answer: reqwest::Response,
    mut to: impl Write,
    bar: ProgressBar,
) -> Result<u64, Failure> {
    let url = answer.url().origin().ascii_serialization();
    let mut bytes = 0;
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|cause| Failure::unreachable(&url, &cause))?;
        to.write_all(&piece)?;
        bytes += piece.len() as u64;
        bar.set_position(bytes);
    }
    to.flush()?;
    bar.finish_and_clear();
    Ok(bytes)
}

/// Makes a bar on standard error where somebody looks at it.
pub fn progress(length: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match length {
        Some(length) => ProgressBar::new(length).with_style(
            ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left")
                .expect("the template is well formed"),
        ),
        None => ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("{spinner} {bytes}").expect("the template is well formed"),
        ),
    }
}
