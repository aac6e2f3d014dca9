//! `adit why`: whether somebody may do something, and by what.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;

use super::Ended;
use super::client::{Client, read};
use super::options::ClientOptions;

/// The exit status of a question that is answered with no.
const DENIED: u8 = 1;

/// Asks the policy; exits 0 where it allows and 1 where it denies.
#[derive(Args, Debug)]
pub struct Why {
    /// Who: user:NAME, team:NAME or service:NAME
    principal: String,
    /// What: a capability such as terminal:spawn
    capability: String,
    /// Where: a machine's label
    target: String,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Deserialize)]
struct Answer {
    allowed: bool,
    #[serde(default)]
    sentence: String,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    role: String,
    #[serde(default)]
    team: Option<String>,
    sentence: String,
}

impl Line {
    fn words(&self) -> String {
        let through = self.team.as_ref().map(|team| format!(" of the team {team}"));
        format!("the role {}{} {}", self.role, through.unwrap_or_default(), self.sentence)
    }
}

impl Why {
    /// Asks the policy.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let query = [
            ("principal", self.principal.as_str()),
            ("capability", &self.capability),
            ("target", &self.target),
        ];
        let value = client.fetch(&["why"], &query).await?;
        let answer: Answer = read(value.clone())?;
        let told = match (answer.sentence.as_str(), answer.allowed) {
            ("", true) => "Allowed.",
            ("", false) => "Denied.",
            (sentence, _) => sentence,
        };
        let output = self.client.output.open();
        output.done(&value, told)?;
        if !output.is_json() {
            for line in &answer.lines {
                output.line(&format!("  {}", crate::output::escape(&line.words())))?;
            }
        }
        Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
    }
}
