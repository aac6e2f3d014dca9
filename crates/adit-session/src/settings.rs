//! Settings of the session core, under the environment names that integrators know.

use std::time::Duration;

use crate::secret::SecretKey;

/// How long, how many and how far apart.
#[derive(Debug)]
pub struct Settings {
    /// `SESSION_TOKEN_SECRET`: the key that token keys are derived from.
    pub session_token_secret: SecretKey,
    /// `SESSION_EXPIRY_SECONDS`: how long a token lives when it is signed.
    pub session_expiry: Duration,
    /// `RATE_LIMIT_TOKENS`: messages a second a session.
    pub rate_limit_tokens: u32,
    /// `RATE_LIMIT_BURST`: messages more that may come at once.
    pub rate_limit_burst: u32,
    /// `CLOCK_SKEW_TOLERANCE`: how far a message's time may be from ours, either way.
    pub clock_skew_tolerance: Duration,
    /// `NONCE_HISTORY_LIMIT`: nonces remembered a machine, raised to what the skew window needs.
    pub nonce_history_limit: u32,
    /// What is left of a token when it is refreshed.
    pub refresh_threshold: Duration,
    /// The longest that a session may live, whatever is refreshed.
    pub session_length_max: Duration,
    /// How long a session outlives its token, so that its owner can come back.
    pub grace: Duration,
}

impl Settings {
    /// Takes the defaults of everything but the secret.
    pub fn new(session_token_secret: SecretKey) -> Self {
        Self {
            session_token_secret,
            session_expiry: Duration::from_secs(300),
            rate_limit_tokens: 100,
            rate_limit_burst: 20,
            clock_skew_tolerance: Duration::from_secs(60),
            nonce_history_limit: 10_000,
            refresh_threshold: Duration::from_secs(60),
            session_length_max: Duration::from_secs(12 * 60 * 60),
            grace: Duration::from_secs(60),
        }
    }

    /// Reads the settings through a lookup of names, such as `|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// The secret is missing or bad, or a number is no number or out of its range.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let secret = lookup(SECRET).map(zeroize::Zeroizing::new);
        let secret = secret.as_deref().map(|text| text.trim()).unwrap_or_default();
        let mut settings = Self::new(SecretKey::from_hex(secret)?);
        let number = |row: &Range, default: u32| match lookup(row.name) {
            None => Ok(default),
            Some(text) => row.parse(&text),
        };
        settings.session_expiry = Duration::from_secs(number(&EXPIRY, 300)?.into());
        settings.rate_limit_tokens = number(&TOKENS, 100)?;
        settings.rate_limit_burst = number(&BURST, 20)?;
        settings.clock_skew_tolerance = Duration::from_secs(number(&SKEW, 60)?.into());
        settings.nonce_history_limit = number(&NONCES, 10_000)?;
        Ok(settings)
    }

    /// Messages that may come at once: tokens and burst.
    pub fn rate_limit_capacity(&self) -> u32 {
        self.rate_limit_tokens.saturating_add(self.rate_limit_burst)
    }

    /// The most messages of one session that can still be accepted at one moment, which its nonce history has to hold.
    pub fn nonces_needed_per_session(&self) -> u64 {
        let window_seconds = 2 * self.clock_skew_tolerance.as_secs() + 1;
        u64::from(self.rate_limit_capacity()) + u64::from(self.rate_limit_tokens) * window_seconds
    }
}

/// A setting that the session core refuses to start with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no secret.
    #[error("SESSION_TOKEN_SECRET is missing; {HOW_TO_MAKE_ONE}")]
    SecretMissing,
    /// The secret has the wrong length.
    #[error(
        "SESSION_TOKEN_SECRET has {characters} characters and needs 64 hex characters; {HOW_TO_MAKE_ONE}"
    )]
    SecretLength {
        /// How many characters there are.
        characters: usize,
    },
    /// The secret has the right length and other characters than hex.
    #[error("SESSION_TOKEN_SECRET has characters other than 0-9 and a-f; {HOW_TO_MAKE_ONE}")]
    SecretNotHex,
    /// The secret follows a pattern or stands in a manual.
    #[error("SESSION_TOKEN_SECRET is an example value that others know too; {HOW_TO_MAKE_ONE}")]
    SecretIsExample,
    /// A number is no number, or out of its range.
    #[error("{name} is not a whole number from {min} to {max}; leave it out for its default")]
    Number {
        /// Name of the setting.
        name: &'static str,
        /// Smallest value.
        min: u32,
        /// Largest value.
        max: u32,
    },
}

impl SettingsError {
    /// Stable code of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SecretMissing => "settings.secret_missing",
            Self::SecretLength { .. } => "settings.secret_length",
            Self::SecretNotHex => "settings.secret_not_hex",
            Self::SecretIsExample => "settings.secret_is_example",
            Self::Number { .. } => "settings.number",
        }
    }
}

struct Range {
    name: &'static str,
    min: u32,
    max: u32,
}

impl Range {
    fn parse(&self, text: &str) -> Result<u32, SettingsError> {
        let number =
            text.trim().parse::<u32>().ok().filter(|number| (self.min..=self.max).contains(number));
        number.ok_or(SettingsError::Number { name: self.name, min: self.min, max: self.max })
    }
}

const SECRET: &str = "SESSION_TOKEN_SECRET";
const HOW_TO_MAKE_ONE: &str = "make one with `openssl rand -hex 32`";
/// A token that lives longer than the longest session says nothing.
const EXPIRY: Range = Range { name: "SESSION_EXPIRY_SECONDS", min: 1, max: 43_200 };
/// Chosen: a million a second is more than one processor opens.
const TOKENS: Range = Range { name: "RATE_LIMIT_TOKENS", min: 1, max: 1_000_000 };
const BURST: Range = Range { name: "RATE_LIMIT_BURST", min: 0, max: 1_000_000 };
/// Chosen: ten minutes; every second more is a second in which a nonce has to be remembered.
const SKEW: Range = Range { name: "CLOCK_SKEW_TOLERANCE", min: 1, max: 600 };
const NONCES: Range = Range { name: "NONCE_HISTORY_LIMIT", min: 1, max: 2_000_000 };

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "8f4c2b9e6d1a7035c8e2f94b5a6d0c3e17f82a9b4d5c6e0f3a1b7c8d9e2f4051";

    fn with(name: &'static str, value: &'static str) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|wanted| {
            if wanted == name {
                Some(value.into())
            } else {
                (wanted == SECRET).then(|| GOOD.into())
            }
        })
    }

    // SES-1
    #[test]
    fn a_missing_short_or_wrong_secret_is_refused_with_how_to_make_one() {
        let cases = [
            ("", "settings.secret_missing"),
            ("abc", "settings.secret_length"),
            (&GOOD[..62], "settings.secret_length"),
            (
                "zf4c2b9e6d1a7035c8e2f94b5a6d0c3e17f82a9b4d5c6e0f3a1b7c8d9e2f4051",
                "settings.secret_not_hex",
            ),
        ];
        for (secret, code) in cases {
            let error = Settings::from_lookup(|name| (name == SECRET).then(|| secret.to_string()))
                .unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains("openssl rand -hex 32"));
        }
    }

    // SES-1
    #[test]
    fn example_secrets_are_refused() {
        let mut examples: Vec<String> =
            "0123456789abcdefABCDEF".chars().map(|digit| digit.to_string().repeat(64)).collect();
        examples.extend(
            [
                "0123456789abcdef",
                "deadbeef",
                "cafebabe",
                "DEADBEEF",
                "00ff",
                "fedcba9876543210",
                "changeme".replace(|c: char| !c.is_ascii_hexdigit(), "a").as_str(),
            ]
            .map(|part| part.repeat(64 / part.len())),
        );
        examples.push((0..32).map(|byte| format!("{byte:02x}")).collect());
        examples.push((1..=32).map(|byte| format!("{byte:02x}")).collect());
        examples.push("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into());
        for example in examples {
            assert_eq!(
                SecretKey::from_hex(&example).unwrap_err(),
                SettingsError::SecretIsExample,
                "{example}"
            );
        }
    }

    // SES-1
    #[test]
    fn a_generated_secret_is_taken_back() {
        let key = SecretKey::generate().unwrap();
        assert!(SecretKey::from_hex(&key.expose_hex()).is_ok());
    }

    // SES-2, SES-3, SES-4, SES-5, SES-6, SES-7
    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = with("", "").unwrap();
        assert_eq!(settings.session_expiry, Duration::from_secs(300));
        assert_eq!((settings.rate_limit_tokens, settings.rate_limit_burst), (100, 20));
        assert_eq!(settings.clock_skew_tolerance, Duration::from_secs(60));
        assert_eq!(settings.nonce_history_limit, 10_000);
        assert_eq!(settings.refresh_threshold, Duration::from_secs(60));
    }

    // SES-2, SES-3, SES-4, SES-5, SES-6
    #[test]
    fn a_number_out_of_range_is_refused_by_its_name() {
        for (name, value) in [
            ("SESSION_EXPIRY_SECONDS", "0"),
            ("RATE_LIMIT_TOKENS", "many"),
            ("RATE_LIMIT_BURST", "-1"),
            ("CLOCK_SKEW_TOLERANCE", "601"),
            ("NONCE_HISTORY_LIMIT", "1e4"),
        ] {
            assert!(with(name, value).unwrap_err().to_string().starts_with(name));
        }
        assert_eq!(
            with("SESSION_EXPIRY_SECONDS", "60").unwrap().session_expiry,
            Duration::from_secs(60)
        );
    }

    // SES-1, SES-26
    #[test]
    fn settings_never_show_the_secret() {
        let shown = format!("{:?}", with("", "").unwrap());
        assert!(shown.contains("hidden") && !shown.contains(&GOOD[..8]));
    }
}
