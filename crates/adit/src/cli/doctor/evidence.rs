//! What the audit log tells of trouble with sealed messages: clocks, secrets, rates, nonces.
//!
//! The gateway writes refusals into its audit log; they are counted here over the last hour, and [`adit_session::examine`] says what they
//! mean. `docs/troubleshooting.md` has a section for each of its codes.

use std::time::Duration;

use adit_session::{ClockOffset, Counts, SecretKey, Symptoms, examine};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Finding, State};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::when;

/// How far back the audit log is looked at.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// As many refusals of a kind are counted; more make no difference.
const COUNTED: usize = 200;

/// What this part of the examination is called.
const CHECK: &str = "sealed messages";

/// The gateway's settings as it tells them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    session_expiry_seconds: u64,
    rate_limit_tokens: u32,
    rate_limit_burst: u32,
    clock_skew_tolerance_seconds: u64,
    nonce_history_limit: u64,
}

impl Settings {
    /// Gives what the examination computes with; it never looks at the secret, so any will do.
    fn examined(self) -> Option<adit_session::Settings> {
        let mut settings = adit_session::Settings::new(SecretKey::generate().ok()?);
        settings.session_expiry = Duration::from_secs(self.session_expiry_seconds);
        settings.rate_limit_tokens = self.rate_limit_tokens;
        settings.rate_limit_burst = self.rate_limit_burst;
        settings.clock_skew_tolerance = Duration::from_secs(self.clock_skew_tolerance_seconds);
        settings.nonce_history_limit = u32::try_from(self.nonce_history_limit).unwrap_or(u32::MAX);
        Some(settings)
    }
}

/// Checks `SESSION_TOKEN_SECRET` and its like where this environment sets them, as it does on a gateway's own machine.
pub fn own_environment(lookup: impl Fn(&str) -> Option<String>) -> Option<Finding> {
    lookup("SESSION_TOKEN_SECRET")?;
    Some(match adit_session::Settings::from_lookup(lookup) {
        Ok(_) => Finding::good("session settings", "Those in this environment can be used."),
        Err(error) => Finding {
            check: "session settings",
            state: State::Bad,
            code: Some(error.code()),
            sentence: "Those in this environment cannot be used.".to_owned(),
            mend: Some(format!("{error}.")),
        },
    })
}

/// Compares the gateway's clock with ours.
pub fn offset(gateway: &str, here: OffsetDateTime) -> ClockOffset {
    match when::parse(gateway) {
        None => ClockOffset::Unknown,
        Some(there) if there > here => ClockOffset::Behind((there - here).unsigned_abs()),
        Some(there) => ClockOffset::Ahead((here - there).unsigned_abs()),
    }
}

/// Counts the refusals of the last hour, and says what they and the clocks mean.
pub async fn gather(client: &Client, settings: Settings, clock: ClockOffset) -> Vec<Finding> {
    match count(client).await {
        Ok(counts) => judge(settings, clock, counts),
        Err(failure) => {
            let mut findings = judge(settings, clock, Counts::default());
            findings.push(unreadable(&failure));
            findings
        }
    }
}

async fn count(client: &Client) -> Result<Counts, Failure> {
    let from = (when::now() - LOOK_BACK).format(&Rfc3339).unwrap_or_default();
    let mut counts = Counts::default();
    let kinds = [
        (("event", "SecureMessageHmacValidationFailed"), &mut counts.hmac_failed),
        (("event", "SecureMessageReplayDetected"), &mut counts.replayed),
        (("event", "SecureMessageTimestampOutOfRange"), &mut counts.out_of_range),
        (("event", "RateLimitExceeded"), &mut counts.rate_limited),
        (("q", "message.nonce_history"), &mut counts.history_refused),
    ];
    for (what, count) in kinds {
        let query = [what, ("from", from.as_str())];
        *count = client.list(&["audit"], &query, COUNTED).await?.len() as u64;
    }
    Ok(counts)
}

/// Says what the counts and the clocks mean.
fn judge(settings: Settings, clock: ClockOffset, counts: Counts) -> Vec<Finding> {
    let Some(settings) = settings.examined() else { return Vec::new() };
    let found = examine(&settings, &Symptoms { clock, secrets: None, counts });
    let is_about_clock = |code: &str| matches!(code, "clock.skewed" | "clock.drifting");
    let mut findings: Vec<Finding> = found
        .iter()
        .map(|finding| {
            let told = finding.to_string();
            let (sentence, mend) = told.split_once(": ").unwrap_or((&told, ""));
            Finding {
                check: if is_about_clock(finding.code()) { "clock" } else { CHECK },
                state: if finding.is_fault() { State::Bad } else { State::Warning },
                code: Some(finding.code()),
                sentence: super::checks::capitalised(sentence),
                mend: Some(super::checks::capitalised(mend)).filter(|mend| mend.len() > 1),
            }
        })
        .collect();
    if !findings.iter().any(|finding| finding.check == "clock") {
        findings.insert(0, clock_is_right(clock));
    }
    if !findings.iter().any(|finding| finding.check == CHECK) {
        findings.push(Finding::good(CHECK, "None was refused in the last hour."));
    }
    findings
}

fn clock_is_right(clock: ClockOffset) -> Finding {
    match clock {
        ClockOffset::Unknown => {
            Finding::of("clock", State::Unknown, "The gateway told no time.", "Update it.")
        }
        ClockOffset::Ahead(apart) | ClockOffset::Behind(apart) => {
            let sentence = format!("It is {:.1} s from the gateway's.", apart.as_secs_f64());
            Finding::good("clock", sentence)
        }
    }
}

fn unreadable(failure: &Failure) -> Finding {
    Finding::of(
        "audit log",
        State::Unknown,
        format!("This token cannot read it: {failure}"),
        "Ask somebody with audit:read to run `adit doctor`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        session_expiry_seconds: 300,
        rate_limit_tokens: 100,
        rate_limit_burst: 20,
        clock_skew_tolerance_seconds: 60,
        nonce_history_limit: 10_000,
    };

    const RIGHT: ClockOffset = ClockOffset::Ahead(Duration::from_millis(200));

    fn codes(settings: Settings, clock: ClockOffset, counts: Counts) -> Vec<&'static str> {
        judge(settings, clock, counts).iter().filter_map(|finding| finding.code).collect()
    }

    #[test]
    fn a_gateway_that_is_well_has_nothing_to_mend() {
        // SES-44
        let findings = judge(SETTINGS, RIGHT, Counts::default());
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
        assert_eq!(findings.len(), 2);
    }

    #[test]
    fn each_of_the_four_causes_is_found_by_itself() {
        // SES-44
        let none = Counts::default();
        let skewed =
            offset("2026-11-22T12:02:00.000Z", when::parse("2026-11-22T12:00:00Z").unwrap());
        assert_eq!(codes(SETTINGS, skewed, none), ["clock.skewed"]);
        let secret = Counts { hmac_failed: 2, ..none };
        assert_eq!(codes(SETTINGS, RIGHT, secret), ["hmac.failing"]);
        let limits = Counts { rate_limited: 2, ..none };
        assert_eq!(codes(SETTINGS, RIGHT, limits), ["rate.limited"]);
        let small = Settings { nonce_history_limit: 500, ..SETTINGS };
        assert_eq!(codes(small, RIGHT, none), ["nonces.small"]);
    }

    #[test]
    fn a_secret_of_no_use_in_this_environment_is_found_and_not_repeated() {
        // SES-44
        let with = |secret: &'static str| {
            own_environment(move |name| (name == "SESSION_TOKEN_SECRET").then(|| secret.to_owned()))
        };
        let found = with("hunter2hunter2").unwrap();
        assert_eq!(found.state, State::Bad);
        assert!(!format!("{found:?}").contains("hunter2"));
        assert!(own_environment(|_| None).is_none());
    }
}
