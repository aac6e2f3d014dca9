//! What a request is signed with: a token that stands, or one of `adit login` that is renewed before it ends.
//!
//! A refresh token counts once, so that two commands that renew at the same time would end each other's sign-in: whoever renews
//! holds a lock, and looks first whether somebody else already did.

use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use adit_domain::Secret;
use reqwest::header::HeaderValue;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::credentials::{self, Credentials, Entry};
use super::failure::Failure;
use super::options::Access;

/// How long before its end a token is renewed, in seconds: a request under way must not lose it.
const EARLY: u64 = 60;

/// The id under which the command line is known to every gateway.
pub const CLIENT_ID: &str = "adit-cli";

/// A token, and when it has to be renewed.
pub struct Bearer {
    url: String,
    state: Mutex<State>,
}

struct State {
    header: Option<HeaderValue>,
    /// When the token ends, in Unix seconds; none for one that nothing renews.
    ends_at: Option<u64>,
}

/// Tokens as the gateway gives them (RFC 6749 §5.1).
#[derive(Deserialize)]
pub struct Tokens {
    /// What requests are signed with.
    pub access_token: String,
    /// How long it counts, in seconds.
    pub expires_in: u64,
    /// What it is renewed with.
    pub refresh_token: Option<String>,
}

impl Tokens {
    /// Gives what is kept of them.
    pub fn entry(self, ca: Option<std::path::PathBuf>) -> Entry {
        Entry {
            token: self.access_token,
            ca,
            ends_at: Some(now().saturating_add(self.expires_in)),
            refresh: self.refresh_token,
        }
    }
}

impl Bearer {
    /// Takes what was found.
    ///
    /// # Errors
    /// The token has characters that no token has.
    pub fn of(access: &Access) -> Result<Self, Failure> {
        let header = header(&access.token)?;
        let state = State { header: Some(header), ends_at: access.ends_at };
        Ok(Self { url: access.url.clone(), state: Mutex::new(state) })
    }

    /// Signs nothing: for a gateway at which nobody is signed in yet.
    pub fn none(url: &str) -> Self {
        let state = State { header: None, ends_at: None };
        Self { url: url.to_owned(), state: Mutex::new(state) }
    }

    /// Gives the header, renewing the token when it ends soon.
    ///
    /// # Errors
    /// The sign-in has ended, or the file of `adit login` cannot be used.
    pub async fn header<F, R>(&self, ask: F) -> Result<Option<HeaderValue>, Failure>
    where
        F: FnOnce(Secret<String>) -> R,
        R: Future<Output = Result<Tokens, Failure>>,
    {
        let mut state = self.state.lock().await;
        if state.ends_at.is_some_and(|at| at <= now() + EARLY) {
            let renewed = renew(&self.url, ask).await?;
            state.header = Some(header(&Secret::new(renewed.token.clone()))?);
            state.ends_at = renewed.ends_at;
        }
        Ok(state.header.clone())
    }
}

async fn renew<F, R>(url: &str, ask: F) -> Result<Entry, Failure>
where
    F: FnOnce(Secret<String>) -> R,
    R: Future<Output = Result<Tokens, Failure>>,
{
    let _held = lock()?;
    let mut kept = Credentials::load()?;
    let entry = kept.find(url).cloned().ok_or_else(|| Failure::NoToken(url.to_owned()))?;
    if entry.ends_at.is_none_or(|at| at > now() + EARLY) {
        return Ok(entry);
    }
    let refresh = entry.refresh.clone().ok_or_else(|| ended(url))?;
    let tokens = match ask(Secret::new(refresh)).await {
        Err(Failure::Refused(problem)) if problem.code == "invalid_grant" => {
            return Err(ended(url));
        }
        other => other?,
    };
    let renewed = tokens.entry(entry.ca);
    kept.renew(url, renewed.clone());
    kept.save()?;
    Ok(renewed)
}

fn ended(url: &str) -> Failure {
    Failure::Found {
        sentence: format!("your sign-in at {url} has ended; sign in again with `adit login {url}`"),
        code: "client.signed_out",
    }
}

/// Waits until no other command renews.
fn lock() -> Result<File, Failure> {
    let folder = credentials::folder().ok_or(Failure::NoGateway)?;
    let path = folder.join("credentials.lock");
    let what = || format!("locking {}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|cause| Failure::file(what())(cause.into()))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .map_err(|cause| Failure::file(what())(cause.into()))?;
    Ok(File::from(file))
}

fn header(token: &Secret<String>) -> Result<HeaderValue, Failure> {
    let text = Secret::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(text.expose())
        .map_err(|_| Failure::Usage("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
