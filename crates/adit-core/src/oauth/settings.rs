//! What an operator may set of the OAuth2 server.

use std::time::Duration;

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
}

impl Default for OAuthSettings {
    fn default() -> Self {
        Self {
            access_life: Duration::from_secs(1800),
            refresh_life: Duration::from_secs(7 * 86_400),
            key_life: Duration::from_secs(90 * 86_400),
            key_lead: Duration::from_secs(600),
            secret_grace: Duration::from_secs(86_400),
        }
    }
}
