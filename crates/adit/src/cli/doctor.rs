//! `adit doctor`: what is wrong between this client, its gateway and its machines, and how to mend it; and what the processes of this
//! machine may do.

mod checks;
mod evidence;
mod privileges;
mod sandbox;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::Ended;
use super::failure::Failure;
use super::options::ClientOptions;
use crate::output::{Cell, Output, Table, Tone};

/// Looks for what is wrong and says how to mend it; exits 125 where something is.
#[derive(Args, Debug)]
pub struct Doctor {
    #[command(flatten)]
    client: ClientOptions,
    /// Say what each process of Adit on this machine may do, and whether that is too much; asks no gateway, and sees most as root
    #[arg(long)]
    privileges: bool,
    /// Try each layer of the sandbox that holds jobs on this machine, and say which it can enforce; asks no gateway
    #[arg(long, conflicts_with = "privileges")]
    sandbox: bool,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Ok,
    /// It works, and something wants attention.
    Warning,
    /// It is wrong.
    Bad,
    /// It could not be looked at.
    Unknown,
}

/// What was looked at and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable name of what was looked at.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// The stable code, where `docs/troubleshooting.md` has a section for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What was found.
    pub sentence: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// Says that something is as it should be.
    pub fn good(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, state: State::Ok, code: None, sentence: sentence.into(), mend: None }
    }

    /// Says that something is not, and what to do.
    pub fn of(
        check: &'static str,
        state: State,
        sentence: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, state, code: None, sentence: sentence.into(), mend: Some(mend.into()) }
    }
}

impl Doctor {
    /// Looks for what is wrong.
    pub async fn run(self) -> Ended {
        let output = self.client.output.open();
        if self.privileges {
            return privileges::look(output);
        }
        if self.sandbox {
            return sandbox::look(output);
        }
        let findings = checks::look(&self.client.gateway).await;
        let bad = findings.iter().filter(|finding| finding.state == State::Bad).count();
        print(output, &findings, bad == 0)?;
        match findings.iter().find(|finding| finding.state == State::Bad) {
            None => Ok(ExitCode::SUCCESS),
            Some(first) => Err(Failure::Found {
                sentence: format!(
                    "{bad} of {} checks failed, first: {}",
                    findings.len(),
                    first.sentence
                ),
                code: "client.doctor",
            }),
        }
    }
}

fn print(output: Output, findings: &[Finding], ok: bool) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(output.json(&json!({ "ok": ok, "findings": findings }))?);
    }
    let mut table = Table::new(&["CHECK", "STATE", "WHAT WAS FOUND"]);
    for finding in findings {
        let mut told = finding.sentence.clone();
        told.extend(finding.mend.iter().map(|mend| format!(" {mend}")));
        told.extend(finding.code.iter().map(|code| format!(" [{code}]")));
        let (word, tone) = match finding.state {
            State::Ok => ("ok", Tone::Good),
            State::Warning => ("warning", Tone::Warning),
            State::Bad => ("bad", Tone::Bad),
            State::Unknown => ("unknown", Tone::Faint),
        };
        table.row([finding.check.into(), Cell::toned(word, tone), told.into()]);
    }
    output.list(&[], &table, "Nothing was looked at.")?;
    Ok(())
}
