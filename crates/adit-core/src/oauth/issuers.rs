//! The keys of issuers that are trusted: read from where they publish them, kept for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::settings::is_secure;

/// How long an issuer may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// How long keys are believed before they are read again.
const KEEP: Duration = Duration::from_secs(600);

/// How long after a look a token that names an unknown key leads to another: nobody makes the gateway ask for every forgery.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The algorithms that are taken: a public key checks them, so that nobody can sign with what everybody knows.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Keys that were read.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    read: Mutex<HashMap<String, Read>>,
}

#[derive(Clone, Debug)]
struct Read {
    keys: Arc<JwkSet>,
    at: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// Checks the signature of a token with its issuer's keys, and gives what was signed.
    pub(crate) async fn verify(&self, issuer: &str, token: &str) -> Result<Value, &'static str> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| "its header cannot be read")?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err("it is signed in a way that is not taken");
        }
        let keys = self.keys(issuer, header.kid.as_deref()).await?;
        let key = find(&keys, header.kid.as_deref()).ok_or("it names no key of its issuer")?;
        let key = DecodingKey::from_jwk(key).map_err(|_| "its key cannot be read")?;
        let mut validation = Validation::new(header.alg);
        // Whom it is for and until when is looked at where the trust is, by the gateway's own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation);
        decoded.map(|token| token.claims).map_err(|_| "its signature is wrong")
    }

    async fn keys(&self, issuer: &str, wanted: Option<&str>) -> Result<Arc<JwkSet>, &'static str> {
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned();
        if let Some(Read { keys, at }) = known {
            let has = find(&keys, wanted).is_some();
            if at.elapsed() < if has { KEEP } else { LOOK_AGAIN } {
                return Ok(keys);
            }
        }
        let keys = Arc::new(fetch_keys(issuer).await.map_err(|error| {
            tracing::warn!(issuer, %error, "the keys of an issuer could not be read");
            "its issuer's keys could not be read"
        })?);
        let read = Read { keys: Arc::clone(&keys), at: Instant::now() };
        let mut all = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(issuer.to_owned(), read);
        Ok(keys)
    }
}

fn find<'a>(keys: &'a JwkSet, wanted: Option<&str>) -> Option<&'a Jwk> {
    match wanted {
        Some(kid) => keys.find(kid),
        None => keys.keys.first().filter(|_| keys.keys.len() == 1),
    }
}

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    Long,
    #[error("the answer cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the issuer says that it is {0}")]
    Other(String),
    #[error("its keys are at {0}, which is no https:// address")]
    Insecure(String),
}

async fn fetch_keys(issuer: &str) -> Result<JwkSet, FetchError> {
    let mut builder =
        reqwest::Client::builder().timeout(WITHIN).redirect(reqwest::redirect::Policy::none());
    if issuer.starts_with("http://") {
        // On this machine itself; a proxy would be elsewhere.
        builder = builder.no_proxy();
    }
    let client = builder.build()?;
    let base = issuer.trim_end_matches('/');
    let found: Discovery =
        fetch(&client, &format!("{base}/.well-known/openid-configuration")).await?;
    if found.issuer != issuer {
        return Err(FetchError::Other(found.issuer));
    }
    if !is_secure(&found.jwks_uri) {
        return Err(FetchError::Insecure(found.jwks_uri));
    }
    fetch(&client, &found.jwks_uri).await
}

async fn fetch<T: DeserializeOwned>(client: &reqwest::Client, url: &str) -> Result<T, FetchError> {
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if bytes.len() + piece.len() > MAX_ANSWER {
            return Err(FetchError::Long);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(serde_json::from_slice(&bytes)?)
}
