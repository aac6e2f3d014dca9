//! What a change would end, shown before it is made.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, read_all};
use super::{Failure, grant, when};
use crate::output::{Output, Table};

/// Whether a change is only looked at.
#[derive(Args, Debug)]
pub struct DryRun {
    /// Say which live sessions it would end, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ending {
    session: String,
    principal: Value,
    machine: String,
    started_at: Option<String>,
}

/// Shows what a change would end.
///
/// # Errors
/// The gateway refused or did not answer.
pub async fn show(client: &Client, output: Output, change: &Value) -> Result<(), Failure> {
    let value = client.create(&["what-ends"], change).await?;
    let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut table = Table::new(&["SESSION", "WHOSE", "MACHINE", "SINCE"]);
    for one in read_all::<Ending>(&items)? {
        table.row([
            one.session.into(),
            grant::name(&one.principal).into(),
            one.machine.into(),
            one.started_at.map(|at| when::ago(&at, when::now())).unwrap_or_default().into(),
        ]);
    }
    output.list(&items, &table, "It would end no session.")?;
    Ok(())
}
