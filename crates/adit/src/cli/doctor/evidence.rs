//! The traces of the four causes of trouble with sealed messages: the clock, the secret, the rate limit, the nonce history.
//!
//! The gateway writes each refusal into its audit log, so the log of the last hour says which of them is at work; `docs/troubleshooting.md`
//! has a page for each.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use super::{Finding, State};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::when;

/// How far back the audit log is looked at.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// As many events are counted; more are "at least so many".
const COUNTED: usize = 200;

/// The gateway's settings as it tells them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    clock_skew_tolerance_seconds: u64,
    nonce_history_limit: u64,
    nonce_history_needed: u64,
}

impl Settings {
    /// Gives how far two clocks may differ.
    pub fn skew(&self) -> Duration {
        Duration::from_secs(self.clock_skew_tolerance_seconds)
    }

    /// Compares the nonce history with what the skew window needs.
    pub fn nonces(&self) -> Finding {
        let (limit, needed) = (self.nonce_history_limit, self.nonce_history_needed);
        if limit >= needed {
            let sentence = format!("{limit} nonces are kept, and a session needs {needed}.");
            return Finding::good("nonce history", sentence);
        }
        let sentence = format!(
            "NONCE_HISTORY_LIMIT is {limit}, and one session alone may need {needed} within the \
             clock's tolerance; the gateway keeps {needed} instead."
        );
        let mend = format!(
            "Set NONCE_HISTORY_LIMIT to {needed} times the sessions of a machine, or lower \
             RATE_LIMIT_TOKENS or CLOCK_SKEW_TOLERANCE."
        );
        Finding::of("nonce history", State::Warning, sentence, mend)
    }
}

/// Checks `SESSION_TOKEN_SECRET` where this environment sets it, as it does on a gateway's own machine.
pub fn own_environment(lookup: impl Fn(&str) -> Option<String>) -> Option<Finding> {
    lookup("SESSION_TOKEN_SECRET")?;
    Some(match adit_session::Settings::from_lookup(lookup) {
        Ok(_) => Finding::good("session settings", "The ones in this environment can be used."),
        Err(error) => Finding::of(
            "session settings",
            State::Bad,
            format!("The ones in this environment cannot be used: {error}"),
            "Make a secret with `openssl rand -hex 32`, and give all gateways the same one.",
        ),
    })
}

/// What the audit log tells of one cause.
struct Trace {
    check: &'static str,
    query: (&'static str, &'static str),
    none: &'static str,
    some: &'static str,
    mend: &'static str,
}

const TRACES: &[Trace] = &[
    Trace {
        check: "session secret",
        query: ("event", "SecureMessageHmacValidationFailed"),
        none: "No message failed its HMAC in the last hour.",
        some: "messages failed their HMAC in the last hour: a machine or an integrator signs with another secret.",
        mend: "Give both sides the machine's current secret; after a rotation, restart what kept \
            the old one. If nobody rotated it, look at who sends them.",
    },
    Trace {
        check: "message times",
        query: ("event", "SecureMessageTimestampOutOfRange"),
        none: "No message came from outside the clock's tolerance in the last hour.",
        some: "messages came from outside the clock's tolerance in the last hour.",
        mend: "Set the sender's clock by NTP, or raise CLOCK_SKEW_TOLERANCE.",
    },
    Trace {
        check: "replays",
        query: ("event", "SecureMessageReplayDetected"),
        none: "No message came twice in the last hour.",
        some: "messages came twice in the last hour.",
        mend: "A client that sends again must make a new nonce and time each time. If none does, \
            somebody replays what they heard.",
    },
    Trace {
        check: "nonces refused",
        query: ("q", "message.nonce_history_full"),
        none: "No message was refused for a full nonce history in the last hour.",
        some: "messages were refused in the last hour because the nonce history was full.",
        mend: "Raise NONCE_HISTORY_LIMIT, or lower RATE_LIMIT_TOKENS or CLOCK_SKEW_TOLERANCE.",
    },
    Trace {
        check: "rate limits",
        query: ("event", "RateLimitExceeded"),
        none: "No session was over its rate in the last hour.",
        some: "times a session was over its rate in the last hour (each stands for ten messages).",
        mend: "Adit's own clients wait and send again by themselves; an integrator's should, too. \
            For more, raise RATE_LIMIT_TOKENS and RATE_LIMIT_BURST.",
    },
];

/// Looks for the traces of each cause in the audit log.
pub async fn of_audit(client: &Client) -> Vec<Finding> {
    let from = (when::now() - LOOK_BACK).format(&Rfc3339).unwrap_or_default();
    let mut findings = Vec::new();
    for trace in TRACES {
        let query = [trace.query, ("from", from.as_str())];
        match client.list(&["audit"], &query, COUNTED).await {
            Ok(events) => findings.push(trace.judge(&events)),
            Err(failure) => {
                findings.push(unreadable(&failure));
                break;
            }
        }
    }
    findings
}

fn unreadable(failure: &Failure) -> Finding {
    Finding::of(
        "audit log",
        State::Unknown,
        format!("It cannot be read with this token: {failure}"),
        "Ask somebody with audit:read to run `adit doctor`.",
    )
}

impl Trace {
    fn judge(&self, events: &[Value]) -> Finding {
        let Some(newest) = events.first() else { return Finding::good(self.check, self.none) };
        let at_least = if events.len() >= COUNTED { "at least " } else { "" };
        let at = newest.get("at").and_then(Value::as_str).unwrap_or_default();
        let sentence =
            format!("{at_least}{} {} The newest: {}.", events.len(), self.some, when::clock(at));
        Finding::of(self.check, State::Warning, sentence, self.mend)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nonce_history_that_is_too_small_is_found() {
        // SES-44
        let with = |limit| Settings {
            clock_skew_tolerance_seconds: 60,
            nonce_history_limit: limit,
            nonce_history_needed: 12_020,
        };
        assert_eq!(with(12_020).nonces().state, State::Ok);
        let found = with(10_000).nonces();
        assert_eq!(found.state, State::Warning);
        assert!(found.mend.unwrap().contains("NONCE_HISTORY_LIMIT"));
    }

    #[test]
    fn a_wrong_secret_and_limits_that_were_hit_are_found() {
        // SES-44
        for check in ["session secret", "rate limits", "message times", "replays", "nonces refused"]
        {
            let trace = TRACES.iter().find(|trace| trace.check == check).unwrap();
            assert_eq!(trace.judge(&[]).state, State::Ok, "{check}");
            let event = json!({ "at": "2026-11-22T12:00:00Z" });
            let found = trace.judge(&[event.clone(), event]);
            assert_eq!(found.state, State::Warning, "{check}");
            assert!(found.sentence.starts_with("2 ") && found.mend.is_some(), "{check}");
        }
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
        let good = "8f0c6f5a1d2e3b4c5d6e7f8091a2b3c4d5e6f70819aabbccddeeff0011223344";
        assert_eq!(with(good).unwrap().state, State::Ok);
        assert!(own_environment(|_| None).is_none());
    }
}
