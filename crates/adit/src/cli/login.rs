//! `adit login`: signs in, and keeps a gateway's address and a token for it.

mod device;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use adit_domain::Secret;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, parse_base, read};
use super::credentials::{Credentials, Entry};
use super::failure::Failure;
use super::options::{Access, CredentialOptions, OutputOptions, Source, checked};
use super::{Ended, ask};

/// How often a code may be wrong before the command gives up; the gateway counts too.
const CODE_TRIES: u32 = 3;

/// Signs in: by a code that is typed into the console, as a user with a password and, where there is one, a second factor, or with an API
/// token.
#[derive(Args, Debug)]
pub struct Login {
    /// The gateway's address
    #[arg(value_name = "URL")]
    address: String,
    /// Sign in as this user with a password, for twelve hours
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Ask for an API token here, and not for a yes in the console
    #[arg(long)]
    api_token: bool,
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
        let ca = match self.credential.ca() {
            Some(path) => Some(std::path::absolute(path).map_err(Failure::file("finding --ca"))?),
            None => None,
        };
        let given = match (&self.user, self.credential.given_token()?) {
            (Some(user), _) => {
                let token = with_password(&self.address, ca.as_deref(), user).await?;
                Some((token, Source::Option))
            }
            (None, Some(given)) => Some(given),
            (None, None) => self.asked()?.map(|token| (token, Source::Option)),
        };
        let (entry, token_source) = match given {
            Some((token, source)) => {
                let token = token.expose().clone();
                (Entry { token, ca, ends_at: None, refresh: None }, source)
            }
            None => {
                let tokens = device::sign_in(&self.address, ca.as_deref()).await?;
                (tokens.entry(ca), Source::Option)
            }
        };
        let access = Access {
            url: self.address.clone(),
            url_source: Source::Option,
            token: Secret::new(entry.token.clone()),
            token_source,
            ca: entry.ca.clone(),
            ends_at: None,
        };
        let me: Me = Client::of(&access)?.read(&["me"], &[]).await?;
        let mut credentials = Credentials::load()?;
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

    /// Reads the API token that somebody types or pipes in; none where nobody does.
    fn asked(&self) -> Result<Option<Secret<String>>, Failure> {
        if std::io::stdin().is_terminal() {
            return if self.api_token { ask_token(&self.address).map(Some) } else { Ok(None) };
        }
        let line = ask::secret("")?;
        if line.expose().trim().is_empty() && !self.api_token {
            return Ok(None);
        }
        checked(line.expose()).map(Secret::new).map(Some)
    }
}

fn ask_token(url: &str) -> Result<Secret<String>, Failure> {
    let line = ask::secret(&format!("API token for {url}: "))?;
    checked(line.expose()).map(Secret::new)
}

/// Where a sign-in stands, as the gateway tells it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    done: bool,
    step: Option<String>,
    methods: Vec<String>,
    token: Option<String>,
}

async fn with_password(
    url: &str,
    ca: Option<&Path>,
    user: &str,
) -> Result<Secret<String>, Failure> {
    let client = Client::without_token(url, ca)?;
    let user = user.strip_prefix("user:").unwrap_or(user);
    let password = ask::secret(&format!("Password of {user} at {url}: "))?;
    let body = json!({ "name": user, "password": password.expose(), "wanted": "client" });
    let mut state: State = read(client.create(&["sign-in", "password"], &body).await?)?;
    if !state.done {
        state = second_factor(&client, state).await?;
    }
    let token = state.token.ok_or_else(|| Failure::Answer("no token is in it".to_owned()))?;
    Ok(Secret::new(token))
}

async fn second_factor(client: &Client, state: State) -> Result<State, Failure> {
    if !state.methods.iter().any(|method| method == "authenticator") {
        return Err(Failure::Found {
            sentence: "your second factor is a passkey, which a terminal cannot use: \
                       make a token in the console and give it to `adit login`"
                .to_owned(),
            code: "client.passkey_only",
        });
    }
    let mut tries = 1;
    loop {
        let code = ask::secret("Code of your authenticator, or a recovery code: ")?;
        let body = json!({ "step": state.step, "code": code.expose() });
        match client.create(&["sign-in", "second-factor"], &body).await {
            Err(Failure::Refused(problem))
                if problem.code == "auth.proof_refused" && tries < CODE_TRIES =>
            {
                tries += 1;
                eprintln!("{}", problem.detail);
            }
            other => return read(other?),
        }
    }
}
