//! What usually is wrong when sessions trouble somebody, found from counts and clocks: HMAC failures, expiring sessions, rate limits and replays.

use std::fmt;
use std::time::Duration;

use crate::refusal::Refusal;
use crate::secret::MachineSecret;
use crate::settings::Settings;

/// How many messages were refused, by what mattered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Wrong HMAC.
    pub hmac_failed: u64,
    /// Seen before.
    pub replayed: u64,
    /// Too old or too new.
    pub out_of_range: u64,
    /// Over a rate.
    pub rate_limited: u64,
    /// No room, or no safe start, in the nonce history.
    pub history_refused: u64,
    /// After the token's end.
    pub expired: u64,
    /// Everything else.
    pub other: u64,
}

impl Counts {
    /// Counts one refusal.
    pub fn count(&mut self, refusal: &Refusal) {
        let count = match refusal {
            Refusal::HmacMismatch => &mut self.hmac_failed,
            Refusal::Replayed => &mut self.replayed,
            Refusal::TimestampOutOfRange => &mut self.out_of_range,
            Refusal::RateLimited(_) => &mut self.rate_limited,
            Refusal::NonceHistoryFull
            | Refusal::NonceHistoryClosed
            | Refusal::NonceHistoryUnavailable
            | Refusal::TooManySessions => &mut self.history_refused,
            Refusal::SessionExpired => &mut self.expired,
            Refusal::TooLarge
            | Refusal::Malformed(_)
            | Refusal::WrongDirection
            | Refusal::MachineMismatch
            | Refusal::SessionMismatch
            | Refusal::SessionNotLive
            | Refusal::TokenInvalid
            | Refusal::CapabilityMissing
            | Refusal::StoreUnavailable => &mut self.other,
        };
        *count = count.saturating_add(1);
    }
}

/// Tells whether two ends have the same secret, and does not tell the secret: 32 bits of an HMAC under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    /// Takes the fingerprint of a machine's secret.
    pub fn of(secret: &MachineSecret) -> Self {
        let tag = secret.sign(&[b"adit-session fingerprint v1"]);
        let mut first = [0; 4];
        first.copy_from_slice(&tag.as_ref()[..4]);
        Self(first)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::lower_hex::text(&self.0))
    }
}

/// What one end knows of itself and of the other.
#[derive(Debug, Clone, Copy)]
pub struct Symptoms {
    /// How far the clocks of both ends are apart, and which is ahead.
    pub clock: ClockOffset,
    /// Fingerprints of the secret at both ends, where both are known.
    pub secrets: Option<(Fingerprint, Fingerprint)>,
    /// Refusals since the start.
    pub counts: Counts,
}

/// How far this clock is from the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockOffset {
    /// Nobody knows.
    Unknown,
    /// This clock is ahead by so much.
    Ahead(Duration),
    /// This clock is behind by so much.
    Behind(Duration),
}

impl ClockOffset {
    fn apart(self) -> Duration {
        match self {
            Self::Unknown => Duration::ZERO,
            Self::Ahead(apart) | Self::Behind(apart) => apart,
        }
    }
}

/// One thing that is wrong, or that limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The clocks are further apart than messages may be.
    #[error("this clock is {} s from the gateway's and {} s are tolerated: set it by NTP", .apart.as_secs(), .tolerated.as_secs())]
    ClockSkewed {
        /// How far.
        apart: Duration,
        /// How far is tolerated.
        tolerated: Duration,
    },
    /// The clocks are more than half of that apart.
    #[error("this clock is {} s from the gateway's and {} s are tolerated: set it by NTP before it matters", .apart.as_secs(), .tolerated.as_secs())]
    ClockDrifting {
        /// How far.
        apart: Duration,
        /// How far is tolerated.
        tolerated: Duration,
    },
    /// Messages were too old or too new, and nobody compared the clocks or they agree now.
    #[error(
        "{count} messages were too old or too new: compare the clocks of both ends, and look for messages that wait in a queue"
    )]
    TimesOutOfRange {
        /// How many.
        count: u64,
    },
    /// Both ends have different secrets.
    #[error(
        "the machine's secret here ({here}) is not the one there ({there}): give both the same, or rotate it"
    )]
    SecretDiffers {
        /// Fingerprint here.
        here: Fingerprint,
        /// Fingerprint there.
        there: Fingerprint,
    },
    /// HMACs are wrong and nobody compared the secrets.
    #[error(
        "{count} messages had a wrong HMAC: compare the secrets' fingerprints at both ends, and look for a proxy that rewrites JSON"
    )]
    HmacFailing {
        /// How many.
        count: u64,
    },
    /// Messages came after their token's end.
    #[error(
        "{count} messages came after the end of their token: use the token that validation gives back, or raise SESSION_EXPIRY_SECONDS from {expiry_seconds}"
    )]
    TokensExpiring {
        /// How many.
        count: u64,
        /// How long a token lives.
        expiry_seconds: u64,
    },
    /// A rate limit was hit.
    #[error(
        "{count} messages were over the rate of {per_second} a second and {burst} more: hold and send them later, or raise RATE_LIMIT_TOKENS"
    )]
    RateLimited {
        /// How many.
        count: u64,
        /// Messages a second.
        per_second: u32,
        /// Burst.
        burst: u32,
    },
    /// The history is asked to hold less than the skew window needs; it holds what is needed all the same.
    #[error(
        "NONCE_HISTORY_LIMIT is {limit} and one session at full rate needs {needed}: it is raised by itself; set it, or lower CLOCK_SKEW_TOLERANCE or RATE_LIMIT_TOKENS"
    )]
    NonceHistorySmall {
        /// What is set.
        limit: u32,
        /// What one session needs.
        needed: u64,
    },
    /// The history refused messages.
    #[error(
        "{count} messages found no room or no safe start in the nonce history: fewer sessions of the JSON form on this machine, or a lower rate"
    )]
    NonceHistoryRefusing {
        /// How many.
        count: u64,
    },
    /// Messages came twice.
    #[error(
        "{count} messages came twice: seal a message anew before sending it again, and look for a proxy that repeats requests"
    )]
    Replays {
        /// How many.
        count: u64,
    },
}

impl Finding {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClockSkewed { .. } => "clock.skewed",
            Self::ClockDrifting { .. } => "clock.drifting",
            Self::TimesOutOfRange { .. } => "clock.out_of_range",
            Self::SecretDiffers { .. } => "secret.differs",
            Self::HmacFailing { .. } => "hmac.failing",
            Self::TokensExpiring { .. } => "token.expiring",
            Self::RateLimited { .. } => "rate.limited",
            Self::NonceHistorySmall { .. } => "nonces.small",
            Self::NonceHistoryRefusing { .. } => "nonces.refusing",
            Self::Replays { .. } => "messages.replayed",
        }
    }

    /// Tells what keeps sessions from working from what only deserves a look.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::ClockSkewed { .. }
            | Self::SecretDiffers { .. }
            | Self::NonceHistoryRefusing { .. } => true,
            Self::ClockDrifting { .. }
            | Self::TimesOutOfRange { .. }
            | Self::HmacFailing { .. }
            | Self::TokensExpiring { .. }
            | Self::RateLimited { .. }
            | Self::NonceHistorySmall { .. }
            | Self::Replays { .. } => false,
        }
    }
}

/// Finds what is wrong, the most likely cause first.
pub fn examine(settings: &Settings, symptoms: &Symptoms) -> Vec<Finding> {
    let counts = symptoms.counts;
    let some = |count: u64| (count > 0).then_some(count);
    let expiry_seconds = settings.session_expiry.as_secs();
    let (per_second, burst) = (settings.rate_limit_tokens, settings.rate_limit_burst);
    let findings = [
        clock(settings, symptoms.clock, counts.out_of_range),
        secret(symptoms.secrets, counts.hmac_failed),
        some(counts.expired).map(|count| Finding::TokensExpiring { count, expiry_seconds }),
        some(counts.rate_limited).map(|count| Finding::RateLimited { count, per_second, burst }),
        some(counts.history_refused).map(|count| Finding::NonceHistoryRefusing { count }),
        history(settings),
        some(counts.replayed).map(|count| Finding::Replays { count }),
    ];
    findings.into_iter().flatten().collect()
}

fn clock(settings: &Settings, offset: ClockOffset, out_of_range: u64) -> Option<Finding> {
    let (apart, tolerated) = (offset.apart(), settings.clock_skew_tolerance);
    match apart {
        _ if apart > tolerated => Some(Finding::ClockSkewed { apart, tolerated }),
        _ if apart > tolerated / 2 => Some(Finding::ClockDrifting { apart, tolerated }),
        _ => (out_of_range > 0).then_some(Finding::TimesOutOfRange { count: out_of_range }),
    }
}

fn secret(secrets: Option<(Fingerprint, Fingerprint)>, failed: u64) -> Option<Finding> {
    match secrets {
        Some((here, there)) if here != there => Some(Finding::SecretDiffers { here, there }),
        _ => (failed > 0).then_some(Finding::HmacFailing { count: failed }),
    }
}

/// The default limit is below what the default rate needs, so only a limit that was set lower is worth a word.
fn history(settings: &Settings) -> Option<Finding> {
    let (limit, needed) = (settings.nonce_history_limit, settings.nonces_needed_per_session());
    let set_lower = limit < DEFAULT_NONCE_HISTORY_LIMIT || needed > DEFAULT_NONCES_NEEDED;
    let small = u64::from(limit) < needed && set_lower;
    small.then_some(Finding::NonceHistorySmall { limit, needed })
}

const DEFAULT_NONCE_HISTORY_LIMIT: u32 = 10_000;
/// 100 messages a second for 121 seconds, and 120 at once.
const DEFAULT_NONCES_NEEDED: u64 = 12_220;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    const HEALTHY: Symptoms = Symptoms {
        clock: ClockOffset::Ahead(Duration::from_secs(1)),
        secrets: None,
        counts: COUNTS,
    };
    const COUNTS: Counts = Counts {
        hmac_failed: 0,
        replayed: 0,
        out_of_range: 0,
        rate_limited: 0,
        history_refused: 0,
        expired: 0,
        other: 0,
    };

    fn settings() -> Settings {
        Settings::new(SecretKey::generate().unwrap())
    }

    fn codes(symptoms: Symptoms) -> Vec<&'static str> {
        examine(&settings(), &symptoms).iter().map(Finding::code).collect()
    }

    fn fingerprint(secret: &str) -> Fingerprint {
        Fingerprint::of(&MachineSecret::new(secret).unwrap())
    }

    // SES-44
    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        assert_eq!(codes(HEALTHY), Vec::<&str>::new());
        assert_eq!(settings().nonces_needed_per_session(), DEFAULT_NONCES_NEEDED);
    }

    // SES-44
    #[test]
    fn a_clock_that_is_off_is_found_either_way() {
        for (seconds, code) in [(61, "clock.skewed"), (31, "clock.drifting")] {
            let apart = Duration::from_secs(seconds);
            for clock in [ClockOffset::Ahead(apart), ClockOffset::Behind(apart)] {
                assert_eq!(codes(Symptoms { clock, ..HEALTHY }), [code]);
            }
        }
    }

    // SES-44
    #[test]
    fn a_wrong_secret_is_found_and_not_shown() {
        let (here, there) =
            (fingerprint("the secret of this machine"), fingerprint("another one of sixteen"));
        let found = examine(&settings(), &Symptoms { secrets: Some((here, there)), ..HEALTHY });
        assert_eq!(found, [Finding::SecretDiffers { here, there }]);
        assert!(found[0].is_fault() && !found[0].to_string().contains("machine's secret of"));
        assert_eq!(codes(Symptoms { secrets: Some((here, here)), ..HEALTHY }), Vec::<&str>::new());
    }

    // SES-44
    #[test]
    fn each_count_has_its_finding() {
        let cases = [
            (Counts { out_of_range: 3, ..COUNTS }, "clock.out_of_range"),
            (Counts { hmac_failed: 3, ..COUNTS }, "hmac.failing"),
            (Counts { expired: 3, ..COUNTS }, "token.expiring"),
            (Counts { rate_limited: 3, ..COUNTS }, "rate.limited"),
            (Counts { history_refused: 3, ..COUNTS }, "nonces.refusing"),
            (Counts { replayed: 3, ..COUNTS }, "messages.replayed"),
        ];
        for (counts, code) in cases {
            assert_eq!(codes(Symptoms { counts, ..HEALTHY }), [code]);
        }
    }

    // SES-6, SES-44
    #[test]
    fn too_small_a_history_is_found() {
        let mut settings = settings();
        settings.nonce_history_limit = 500;
        let found = examine(&settings, &HEALTHY);
        assert_eq!(found, [Finding::NonceHistorySmall { limit: 500, needed: 12_220 }]);
        settings.nonce_history_limit = 10_000;
        settings.rate_limit_tokens = 1000;
        assert_eq!(examine(&settings, &HEALTHY)[0].code(), "nonces.small");
    }
}
