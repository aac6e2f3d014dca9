//! What there is, in tables.

use serde::Deserialize;
use serde_json::Value;

use super::super::client::{Client, read, read_all};
use super::super::failure::Failure;
use super::super::when;
use super::scope::{Holders, Registry};
use crate::output::{Cell, Output, Table, Tone};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    instance_id: String,
    scope: String,
    agent_label: String,
    status: String,
    last_heartbeat: String,
    transport: Transport,
}

#[derive(Deserialize)]
struct Transport {
    strategies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    agent_label: String,
    instance_scope: String,
    assigned_at: String,
    assigned_by: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticket {
    id: String,
    scope: String,
    source: String,
    target: String,
    status: String,
    issued_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    session_id: String,
    scope: String,
    source: String,
    target: String,
    status: String,
    created_at: String,
    last_activity_at: String,
    #[serde(default)]
    reason: Option<String>,
}

fn tone(status: &str) -> Tone {
    match status {
        "active" | "issued" => Tone::Good,
        "stale" | "grace" => Tone::Warning,
        "dead" | "revoked" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn state(status: &str) -> Cell {
    Cell::toned(status, tone(status))
}

pub(super) async fn holders(client: &Client, output: Output) -> Result<(), Failure> {
    let value = client.fetch(&["capabilities"], &[]).await?;
    let items = value["holders"].as_array().cloned().unwrap_or_default();
    let all: Holders = read(value)?;
    let mut table = Table::new(&["MACHINE", "CAPABILITIES"]);
    for one in all.holders {
        table.row([one.agent_label.into(), one.capabilities.join(" ").into()]);
    }
    let empty = "Nobody holds a capability. Give one with `adit ticket give LABEL shell:connect`.";
    Ok(output.list(&items, &table, empty)?)
}

pub(super) async fn instances(client: &Client, output: Output) -> Result<(), Failure> {
    let registry: Registry = client.read(&["scopes"], &[]).await?;
    let mut table = Table::new(&["INSTANCE", "CAPABILITY", "MACHINE", "STATE", "BY", "HEARD OF"]);
    for one in read_all::<Instance>(&registry.instances)? {
        table.row([
            one.instance_id.into(),
            one.scope.into(),
            one.agent_label.into(),
            state(&one.status),
            one.transport.strategies.join(" ").into(),
            when::ago(&one.last_heartbeat, when::now()).into(),
        ]);
    }
    let empty = "No machine offers anything. Run `adit ticket offer shell:connect --to 127.0.0.1:22` on one.";
    Ok(output.list(&registry.instances, &table, empty)?)
}

pub(super) async fn assignments(client: &Client, output: Output) -> Result<(), Failure> {
    let registry: Registry = client.read(&["scopes"], &[]).await?;
    let instances: Vec<Instance> = read_all(&registry.instances)?;
    let mut table = Table::new(&["MACHINE", "IS LET IN TO", "FOR", "SINCE", "WHO SAID SO"]);
    for one in read_all::<Assignment>(&registry.assignments)? {
        let (scope, id) = one.instance_scope.rsplit_once(':').unwrap_or((&one.instance_scope, ""));
        let owner = instances.iter().find(|instance| instance.instance_id == id);
        table.row([
            one.agent_label.as_str().into(),
            owner.map_or(id, |owner| owner.agent_label.as_str()).into(),
            scope.into(),
            when::ago(&one.assigned_at, when::now()).into(),
            one.assigned_by.as_str().into(),
        ]);
    }
    let empty = "Nobody is let in anywhere. Assign with `adit ticket assign LABEL --to LABEL`.";
    Ok(output.list(&registry.assignments, &table, empty)?)
}

pub(super) async fn tickets(client: &Client, output: Output) -> Result<(), Failure> {
    let value = client.fetch(&[], &[]).await?;
    let items = value["tickets"].as_array().cloned().unwrap_or_default();
    let mut table = Table::new(&["TICKET", "CAPABILITY", "FROM", "FOR", "STATE", "ISSUED"]);
    for one in read_all::<Ticket>(&items)? {
        table.row([
            one.id.into(),
            one.scope.into(),
            one.source.into(),
            one.target.into(),
            state(&one.status),
            when::ago(&one.issued_at, when::now()).into(),
        ]);
    }
    let empty = "No ticket within the last hour. A source asks for one when an assigned machine runs `adit ticket use`.";
    Ok(output.list(&items, &table, empty)?)
}

pub(super) async fn sessions(client: &Client, output: Output) -> Result<(), Failure> {
    let value: Value = client.fetch(&["sessions"], &[]).await?;
    let items = value["sessions"].as_array().cloned().unwrap_or_default();
    let mut table = Table::new(&[
        "SESSION",
        "CAPABILITY",
        "MACHINE",
        "REACHES",
        "STATE",
        "BEGAN",
        "HEARD OF",
        "WHY OVER",
    ]);
    for one in read_all::<Session>(&items)? {
        table.row([
            one.session_id.into(),
            one.scope.into(),
            one.target.into(),
            one.source.into(),
            state(&one.status),
            when::ago(&one.created_at, when::now()).into(),
            when::ago(&one.last_activity_at, when::now()).into(),
            one.reason.unwrap_or_default().into(),
        ]);
    }
    Ok(output.list(&items, &table, "No session between machines within the last day.")?)
}
