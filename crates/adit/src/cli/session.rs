//! `adit sessions`: sessions, live and past.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::attachment::{Mode, request};
use super::client::{Client, read, read_all};
use super::connect::{self, Escape, parse_escape};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, grant, when};
use crate::output::{Cell, Output, Table, Tone};

/// How many sessions are listed unless told otherwise.
const LISTED: usize = 100;

/// How many live sessions are looked through for the beginning of an id.
const MAX_LIVE: usize = 10_000;

/// Works on sessions.
#[derive(Args, Debug)]
pub struct Sessions {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
enum Action {
    /// List sessions
    Ls {
        /// Which ones
        #[arg(long, value_enum, default_value_t = State::Live)]
        state: State,
        /// On this machine alone
        #[arg(long, value_name = "LABEL")]
        machine: Option<String>,
        /// Of this person alone
        #[arg(long, value_name = "user:NAME")]
        principal: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = LISTED)]
        limit: usize,
    },
    /// Show one session
    Show {
        /// Its id, or how it begins
        session: String,
        /// Show what is on its screen, too
        #[arg(long)]
        screen: bool,
    },
    /// Come back to a session, or look at somebody else's
    Join {
        /// Its id, or how it begins
        session: String,
        /// Only look
        #[arg(long)]
        watch: bool,
        /// The escape character, or "none"
        #[arg(long, short, default_value = "~", value_parser = parse_escape, value_name = "CHARACTER")]
        escape: Escape,
    },
    /// End a session for everybody
    Kill {
        /// Its id, or how it begins; may be given again
        #[arg(required = true)]
        sessions: Vec<String>,
    },
}

/// Which sessions are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// Those that live
    Live,
    /// Those that ended
    Past,
    /// Both
    All,
}

/// A session as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listed {
    /// Its id.
    pub id: String,
    principal: Value,
    machine: Value,
    kind: String,
    command: Vec<String>,
    /// opening, live, detached, reconnecting or ended.
    pub state: String,
    started_at: String,
    ended_at: Option<String>,
    ends_at: Option<String>,
    length_seconds: Option<f64>,
    reason: Option<Reason>,
    exit_status: Option<i32>,
    signal: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    viewers: Vec<Viewer>,
    recording: String,
    capabilities: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: String,
    sentence: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Viewer {
    name: String,
    can_type: bool,
}

impl Sessions {
    /// Works on sessions.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Ls { state, machine, principal, limit } => {
                let mut query = Vec::new();
                query.extend(machine.as_deref().map(|label| ("machine", label)));
                query.extend(principal.as_deref().map(|name| ("principal", name)));
                list(&client, output, state, query, limit).await
            }
            Action::Show { session, screen } => show(&client, output, &session, screen).await,
            Action::Join { session, watch, escape } => {
                let mode = if watch { Mode::View } else { Mode::Control };
                let id = find(&client, &session).await?;
                connect::connect(client, &request(&id, mode), mode, escape).await
            }
            Action::Kill { sessions } => kill(&client, output, &sessions).await,
        }
    }
}

async fn list<'a>(
    client: &Client,
    output: Output,
    state: State,
    mut query: Vec<(&'a str, &'a str)>,
    limit: usize,
) -> Ended {
    match state {
        State::Live => query.push(("state", "live")),
        State::Past => query.push(("state", "past")),
        State::All => {}
    }
    let items = client.list(&["sessions"], &query, limit).await?;
    let mut table =
        Table::new(&["SESSION", "MACHINE", "WHO", "WHAT", "STATE", "STARTED", "LENGTH"]);
    for session in read_all::<Listed>(&items)? {
        table.row([
            (&session.id).into(),
            target(&session.machine).into(),
            grant::name(&session.principal).into(),
            session.what().into(),
            session.state_cell(),
            when::ago(&session.started_at, when::now()).into(),
            session.length().into(),
        ]);
    }
    let empty = match state {
        State::Live => "No live sessions. Open one with `adit connect MACHINE`.",
        State::Past | State::All => "No sessions yet. Open one with `adit connect MACHINE`.",
    };
    output.list(&items, &table, empty)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a machine's label alone.
fn target(machine: &Value) -> String {
    let label = machine.get("label").and_then(Value::as_str);
    label.map_or_else(|| grant::name(machine), str::to_owned)
}

impl Listed {
    fn what(&self) -> String {
        if self.command.is_empty() { self.kind.clone() } else { self.command.join(" ") }
    }

    fn length(&self) -> String {
        // Lengths are far below 2^53 seconds, so nothing is lost but the fraction.
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second is not shown")]
        self.length_seconds.map_or(String::new(), |seconds| when::length(seconds as i64))
    }

    fn state_cell(&self) -> Cell {
        match (self.state.as_str(), &self.reason) {
            ("live", _) => Cell::toned("live", Tone::Good),
            ("ended", Some(reason)) => Cell::toned(&reason.code, Tone::Faint),
            ("ended", None) => Cell::toned("ended", Tone::Faint),
            (other, _) => Cell::toned(other, Tone::Warning),
        }
    }

    fn ending(&self) -> String {
        match (&self.reason, self.exit_status, &self.signal) {
            (Some(reason), ..) => format!("{} [{}]", reason.sentence, reason.code),
            (None, Some(status), _) => format!("status {status}"),
            (None, None, Some(signal)) => format!("SIG{signal}"),
            (None, None, None) => String::new(),
        }
    }

    fn watching(&self) -> String {
        let told = |viewer: &Viewer| {
            format!("{} ({})", viewer.name, if viewer.can_type { "types" } else { "watches" })
        };
        self.viewers.iter().map(told).collect::<Vec<_>>().join(", ")
    }
}

async fn show(client: &Client, output: Output, session: &str, screen: bool) -> Ended {
    let id = find(client, session).await?;
    let mut value = client.fetch(&["sessions", &id], &[]).await?;
    let shown: Listed = read(value.clone())?;
    let picture = match screen {
        true => Some(client.fetch(&["sessions", &id, "screen"], &[]).await?),
        false => None,
    };
    if let Some(picture) = &picture {
        value["screen"] = picture.clone();
    }
    let facts = [
        ("session", shown.id.clone()),
        ("who", grant::name(&shown.principal)),
        ("machine", target(&shown.machine)),
        ("what", shown.what()),
        ("state", shown.state.clone()),
        ("why", shown.ending()),
        ("started", when::clock(&shown.started_at)),
        ("ended", shown.ended_at.as_deref().map(when::clock).unwrap_or_default()),
        ("ends at the latest", shown.ends_at.as_deref().map(when::clock).unwrap_or_default()),
        ("length", shown.length()),
        ("typed", when::size(shown.bytes_in)),
        ("shown", when::size(shown.bytes_out)),
        ("present", shown.watching()),
        ("recording", shown.recording.clone()),
        ("it may", shown.capabilities.join(" ")),
    ];
    output.facts(&value, &facts)?;
    if let (Some(picture), false) = (picture, output.is_json()) {
        let lines = picture.get("lines").and_then(Value::as_array);
        for line in lines.into_iter().flatten().filter_map(Value::as_str) {
            output.line(line.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn kill(client: &Client, output: Output, sessions: &[String]) -> Ended {
    let mut ended = Vec::new();
    for session in sessions {
        let id = find(client, session).await?;
        client.remove(&["sessions", &id]).await?;
        if !output.is_json() {
            output.line(&format!("Session {id} is ended."))?;
        }
        ended.push(id);
    }
    if output.is_json() {
        output.json(&json!({ "ended": ended }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds a session's whole id from how it begins.
///
/// # Errors
/// No live session begins so, or more than one, or the gateway refused.
pub async fn find(client: &Client, text: &str) -> Result<String, Failure> {
    if uuid::Uuid::try_parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    let items = client.list(&["sessions"], &[("state", "live")], MAX_LIVE).await?;
    let live: Vec<Listed> = read_all(&items)?;
    let mut found = live.into_iter().filter(|session| session.id.starts_with(text));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id),
        (None, _) => Err(Failure::Found {
            sentence: format!(
                "no live session's id begins with {text}; `adit sessions ls` lists them"
            ),
            code: "session.unknown",
        }),
        (Some(_), Some(_)) => Err(Failure::Found {
            sentence: format!("more than one session's id begins with {text}; give more of it"),
            code: "session.unknown",
        }),
    }
}
