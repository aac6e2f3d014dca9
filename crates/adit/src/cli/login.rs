//! `adit login`: keeps a gateway's address and a token for it.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use adit_domain::Secret;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Deserialize;
use serde_json::json;

use super::Ended;
use super::client::{Client, parse_base};
use super::credentials::{Credentials, Entry};
use super::failure::Failure;
use super::options::{Access, CredentialOptions, OutputOptions, Source, checked};

/// The longest line that is taken for a token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Signs in with an API token, which is read from standard input or asked for.
#[derive(Args, Debug)]
pub struct Login {
    /// The gateway's address
    #[arg(value_name = "URL")]
    address: String,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    credential: CredentialOptions,
}

#[derive(Deserialize)]
struct Me {
    name: String,
    #[serde(default)]
    kind: String,
}

impl Login {
    /// Checks the token with the gateway, then keeps both.
    pub async fn run(self) -> Ended {
        parse_base(&self.address)?;
        let (token, token_source) = match self.credential.given_token()? {
            Some(given) => given,
            None => (ask(&self.address)?, Source::Option),
        };
        let ca = match self.credential.ca() {
            Some(path) => Some(std::path::absolute(path).map_err(Failure::file("finding --ca"))?),
            None => None,
        };
        let access = Access {
            url: self.address.clone(),
            url_source: Source::Option,
            token,
            token_source,
            ca,
        };
        let me: Me = Client::of(&access)?.read(&["me"], &[]).await?;
        let mut credentials = Credentials::load()?;
        let entry = Entry { token: access.token.expose().clone(), ca: access.ca };
        credentials.keep(&self.address, entry);
        let path = credentials.save()?;
        let value = json!({ "url": self.address, "name": me.name, "kind": me.kind,
            "credentialsFile": path.display().to_string() });
        let sentence = format!(
            "You are {} at {}; the token is kept in {}.",
            me.name,
            self.address,
            path.display()
        );
        self.output.open().done(&value, &sentence)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the token from standard input: without showing it where somebody types it.
fn ask(url: &str) -> Result<Secret<String>, Failure> {
    let stdin = std::io::stdin();
    let _quiet = if stdin.is_terminal() {
        let mut stderr = std::io::stderr();
        let asked = write!(stderr, "API token for {url}: ").and_then(|()| stderr.flush());
        asked.map_err(Failure::file("asking for the token"))?;
        Some(Quiet::begin()?)
    } else {
        None
    };
    let line = Secret::new(read_line(stdin.lock())?);
    checked(line.expose()).map(Secret::new)
}

fn read_line(from: impl Read) -> Result<String, Failure> {
    let mut line = String::new();
    let mut limited = std::io::BufReader::new(from.take(MAX_TOKEN_BYTES));
    std::io::BufRead::read_line(&mut limited, &mut line)
        .map_err(Failure::file("reading the token"))?;
    Ok(line)
}

/// A terminal that shows nothing of what is typed until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self, Failure> {
        let wrong = |cause: rustix::io::Errno| Failure::file("hiding what you type")(cause.into());
        let before = tcgetattr(std::io::stdin()).map_err(wrong)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(wrong)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _terminal_went_away = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
