//! Logout tokens, by which an issuer ends sign-ins at once (OpenID Connect Back-Channel Logout 1.0).

use std::time::Duration;

use adit_domain::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::person::is_subject;
use crate::token::Hash;

/// The event that a logout token tells of (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How old a logout token may be, and how far ahead of our clock; it is sent when it is made.
const AGE: Duration = Duration::from_secs(300);

/// How long a token that was taken is remembered: longer than it would be believed.
pub const REMEMBERED: Duration = Duration::from_secs(3 * 300);

/// The longest logout token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Signatures that count: those by a key that we do not have ourselves.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What an issuer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// Whose sign-ins.
    pub subject: Option<String>,
    /// In which of the issuer's sessions; none for all.
    pub sid: Option<String>,
    /// The hash of the token's id, which counts once.
    pub once: Hash,
}

/// Why a logout token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLogout {
    /// It cannot be read.
    #[error("the logout token cannot be read")]
    Form,
    /// Its signature is of no key of the issuer.
    #[error("the logout token is signed with a key that is not there")]
    Key,
    /// Signature, issuer or audience does not hold.
    #[error("the logout token is not of this issuer for this gateway")]
    Untrue,
    /// It is too old, or of a time to come.
    #[error("the logout token is too old or of a time to come")]
    Time,
    /// It is a token of another kind: an ID token, for one.
    #[error("the token is no logout token")]
    Kind,
}

/// Checks a logout token (§2.6).
///
/// # Errors
/// [`BadLogout`].
pub fn check(
    token: &str,
    keys: &JwkSet,
    issuer: &str,
    client: &str,
    now: Timestamp,
) -> Result<Logout, BadLogout> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadLogout::Form)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(BadLogout::Untrue);
    }
    let key = find_key(keys, header.kid.as_deref()).ok_or(BadLogout::Key)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| BadLogout::Key)?;
    let mut wanted = Validation::new(header.alg);
    wanted.set_issuer(&[issuer]);
    wanted.set_audience(&[client]);
    wanted.set_required_spec_claims(&["iss", "aud"]);
    // The times are held against the gateway's clock below.
    wanted.validate_exp = false;
    let read = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &wanted);
    let claims = read.map_err(|_| BadLogout::Untrue)?.claims;
    check_times(&claims, now)?;
    logout_of(&claims)
}

/// Finds the key of a name; one without a name is meant where there is only one.
fn find_key<'a>(keys: &'a JwkSet, name: Option<&str>) -> Option<&'a Jwk> {
    match (name, &keys.keys[..]) {
        (Some(name), _) => keys.find(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), BadLogout> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    let at = |seconds: i64| seconds.checked_mul(1000).map(Timestamp).ok_or(BadLogout::Time);
    let made = at(seconds("iat").ok_or(BadLogout::Kind)?)?;
    let ended = match seconds("exp") {
        Some(end) => at(end)? + AGE <= now,
        None => false,
    };
    let fits = made <= now + AGE && now <= made + AGE && !ended;
    if fits { Ok(()) } else { Err(BadLogout::Time) }
}

fn logout_of(claims: &Map<String, Value>) -> Result<Logout, BadLogout> {
    let text = |name: &str| {
        let found = claims.get(name).and_then(Value::as_str);
        found.filter(|text| is_subject(text)).map(str::to_owned)
    };
    let tells =
        claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object);
    // A nonce is what tells an ID token from a logout token.
    if !tells || claims.contains_key("nonce") {
        return Err(BadLogout::Kind);
    }
    let (subject, sid) = (text("sub"), text("sid"));
    if subject.is_none() && sid.is_none() {
        return Err(BadLogout::Kind);
    }
    let id = text("jti").ok_or(BadLogout::Kind)?;
    Ok(Logout { subject, sid, once: Hash::of(&id) })
}

#[cfg(test)]
mod tests;
