//! Signing in from a machine without a browser (RFC 8628): a code is shown here, and typed where somebody is signed in.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::cli::bearer::{CLIENT_ID, Tokens};
use crate::cli::client::{Client, read};
use crate::cli::failure::Failure;
use crate::output::escape;

/// The way to ask, as RFC 8628 §3.4 names it.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How much longer to wait between two questions when the gateway says so (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The longest that a gateway may make this wait between two questions.
const SLOWEST: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    expires_in: u64,
    interval: u64,
}

/// Shows a code and waits until somebody has typed it and said yes.
///
/// # Errors
/// They said no, or did not answer in time, or the gateway does not answer.
pub async fn sign_in(url: &str, ca: Option<&Path>) -> Result<Tokens, Failure> {
    let client = Client::without_token(url, ca)?;
    let begun = client.form("/auth/device", &[("client_id", CLIENT_ID)]).await?;
    let begun: Begun = read(begun)?;
    eprintln!(
        "Open this address where you are signed in to the console, and type the code:\n\n  {}\n  {}\n\nWaiting for your answer…",
        escape(&begun.verification_uri),
        escape(&begun.user_code)
    );
    let until = Instant::now() + Duration::from_secs(begun.expires_in);
    let mut pause = Duration::from_secs(begun.interval.max(1)).min(SLOWEST);
    let fields = [
        ("grant_type", GRANT),
        ("client_id", CLIENT_ID),
        ("device_code", begun.device_code.as_str()),
    ];
    while Instant::now() < until {
        sleep(pause).await;
        match client.form("/auth/token", &fields).await {
            Ok(tokens) => return read(tokens),
            Err(Failure::Refused(problem)) if problem.code == "authorization_pending" => {}
            Err(Failure::Refused(problem)) if problem.code == "slow_down" => {
                pause = (pause + SLOWER).min(SLOWEST);
            }
            // A network that is away for a moment does not end the wait.
            Err(Failure::Unreachable { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Err(Failure::Found {
        sentence: "nobody typed the code in time; run `adit login` again".to_owned(),
        code: "client.not_approved",
    })
}
