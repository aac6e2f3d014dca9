//! What an operator may set of the OAuth2 server.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_domain::Capabilities;

/// Settings of the OAuth2 server.
#[derive(Clone, Debug)]
pub struct OAuthSettings {
    /// How long an access token counts (CMD-10).
    pub access_life: Duration,
    /// How long a refresh token counts (CMD-10).
    pub refresh_life: Duration,
    /// How old a signing key gets before another takes its place.
    pub key_life: Duration,
    /// How long a new signing key is known before it signs.
    pub key_lead: Duration,
    /// How long a client's old secret counts beside its new one.
    pub secret_grace: Duration,
    /// Whose tokens buy tokens of services here.
    pub trust: Vec<Trust>,
}

/// An issuer whose tokens buy tokens of one service, when they say what they must (RFC 8693).
#[derive(Clone, Debug)]
pub struct Trust {
    /// What people call it.
    pub name: String,
    /// The issuer's identifier, an HTTPS address.
    pub issuer: String,
    /// For whom its tokens must be.
    pub audience: String,
    /// The name of the service that they speak for here.
    pub service: String,
    /// The most that is given for one; none for all that the service is registered for.
    pub scopes: Option<Capabilities>,
    /// What they must say: each of these claims, with one of its values.
    pub claims: BTreeMap<String, Vec<String>>,
}

impl Default for OAuthSettings {
    fn default() -> Self {
        Self {
            access_life: Duration::from_secs(1800),
            refresh_life: Duration::from_secs(7 * 86_400),
            key_life: Duration::from_secs(90 * 86_400),
            key_lead: Duration::from_secs(600),
            secret_grace: Duration::from_secs(86_400),
            trust: Vec::new(),
        }
    }
}

impl Trust {
    /// Checks that the trust is not for more than its operator means.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("the trust `{}` {why}", self.name));
        if self.name.is_empty() {
            return Err("a trust has a name".to_owned());
        }
        if !is_secure(&self.issuer) {
            return wrong("has an issuer that is no address beginning with https://");
        }
        if self.audience.is_empty() {
            return wrong("names no audience; then tokens that were made for others would count");
        }
        if self.service.is_empty() {
            return wrong("names no service");
        }
        let empty = self.claims.values().any(Vec::is_empty);
        if self.claims.is_empty() || empty {
            return wrong(
                "names no claims; then everybody who gets a token of that issuer would be trusted",
            );
        }
        Ok(())
    }
}

/// Tells whether an address may be asked for keys: HTTPS, or this machine itself.
pub(super) fn is_secure(address: &str) -> bool {
    if let Some(rest) = address.strip_prefix("http://") {
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        return matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    }
    address
        .strip_prefix("https://")
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '#', '?']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> Trust {
        let text = |text: &str| text.to_owned();
        Trust {
            name: text("forge"),
            issuer: text("https://forge.example"),
            audience: text("adit"),
            service: text("ci"),
            scopes: None,
            claims: BTreeMap::from([(text("repository"), vec![text("org/app")])]),
        }
    }

    #[test]
    fn a_trust_that_would_let_everybody_in_is_refused() {
        // CMD-42
        assert_eq!(trust().check(), Ok(()));
        let refused = |change: fn(&mut Trust)| {
            let mut trust = trust();
            change(&mut trust);
            trust.check().unwrap_err()
        };
        assert!(refused(|t| t.claims.clear()).contains("names no claims"));
        assert!(refused(|t| t.audience.clear()).contains("names no audience"));
        for issuer in ["http://forge.example", "forge", "https://a@b", "http://127.0.0.1.evil/x"] {
            let trust = Trust { issuer: issuer.to_owned(), ..trust() };
            assert!(trust.check().is_err(), "{issuer}");
        }
    }
}
