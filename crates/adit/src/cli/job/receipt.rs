//! `adit jobs verify`: receipts, held against a key that the user names; no gateway is asked.

use std::path::Path;
use std::process::ExitCode;

use adit_wire::receipt::{BadReceipt, Receipt, SignedReceipt};
use adit_wire::recording::PublicKey;
use serde_json::json;

use super::super::Ended;
use super::super::audit::offline::{each_line, parse_key};
use super::super::failure::Failure;
use crate::output::Output;

/// Verifies each receipt of a file.
pub(super) fn verify(output: Output, file: &Path, keys: &[String]) -> Ended {
    let keys: Vec<PublicKey> = keys.iter().map(|key| parse_key(key)).collect::<Result<_, _>>()?;
    let mut receipts = Vec::new();
    each_line(file, |number, text| {
        let opened = SignedReceipt::parse(text).and_then(|signed| signed.open(&keys));
        receipts.push(opened.map_err(|why| broken(file, number, why))?);
        Ok(())
    })?;
    if receipts.is_empty() {
        let sentence =
            format!("{} has no receipt. `adit jobs receipt` writes one.", file.display());
        return Err(Failure::Found { sentence, code: "receipt.broken" });
    }
    let value: Vec<_> = receipts
        .iter()
        .map(|receipt| json!({ "job": receipt.job, "state": receipt.state, "ok": true }))
        .collect();
    output.done(&json!(value), &receipts.iter().map(sentence).collect::<Vec<_>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn sentence(receipt: &Receipt) -> String {
    let Receipt { job, principal, template, label, state, .. } = receipt;
    let exit = receipt.exit.map_or(String::new(), |exit| format!(", exit status {exit}"));
    format!("{job} holds: {principal} ran {template} on {label}, and it {}{exit}.", ended(state))
}

fn ended(state: &str) -> &str {
    match state {
        "timed_out" => "ran out of time",
        "cancelled" => "was cancelled",
        "lost" => "was lost",
        other => other,
    }
}

fn broken(file: &Path, number: usize, why: BadReceipt) -> Failure {
    let next = match why {
        BadReceipt::Form => "Take it anew with `adit jobs receipt`.",
        BadReceipt::Signature => {
            "It was changed, or another key signed it: name the key that the gateway had then (`adit audit key`)."
        }
    };
    let sentence = format!("{}, line {number}: {why}. {next}", file.display());
    Failure::Found { sentence, code: "receipt.broken" }
}
