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
    /// Who: user:NAME, service:NAME or machine:LABEL
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
        self.client.output.open().done(&value, told)?;
        Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
    }
}
