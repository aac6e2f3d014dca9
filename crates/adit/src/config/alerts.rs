//! The table `[alerts]`: what counts as out of the ordinary, and the webhook that carries it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_core::alert::{AlertSettings, WebhookSettings};
use adit_core::keys::read_secret;
use adit_domain::Secret;
use adit_domain::anomaly::{MAX_BURST, Thresholds};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// Alerts about what is out of the ordinary in the audit log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// So many refusals of one actor within `refusals_seconds` are an alert, 2 to 200; absent: 10.
    pub refusals: Option<u64>,
    /// Absent: 300.
    pub refusals_seconds: Option<u64>,
    /// So many failed jobs and acts of one actor within `failures_seconds` are an alert, 2 to 200; absent: 5.
    pub failures: Option<u64>,
    /// Absent: 600.
    pub failures_seconds: Option<u64>,
    /// More different machines than this of one actor within `machines_seconds` are an alert, 1 to 199; absent: 10.
    pub machines: Option<u64>,
    /// Absent: 600.
    pub machines_seconds: Option<u64>,
    /// How long a user must have run commands before a new one is an alert, in seconds; absent: 604800, a week.
    pub learn_commands_seconds: Option<u64>,
    /// On how many different days a user must have acted before an hour of the week is an alert, at most 60; absent: 14.
    pub learn_days: Option<u64>,
    /// How long an alert stands for what else has the same cause, in seconds, 60 to 604800; absent: 3600.
    pub cool_down_seconds: Option<u64>,
    /// An `https://` address that each alert is posted to, signed.
    pub webhook: Option<String>,
    /// A file with the secret that the webhook is signed with: at least 32 characters, readable by its owner only.
    pub webhook_secret_file: Option<PathBuf>,
    /// Whether the webhook may be at an address that is not public, loopback in clear among them; absent: no.
    pub webhook_allow_private: bool,
}

impl Alerts {
    /// Makes settings of the table.
    ///
    /// # Errors
    /// When a value is out of its range, or the webhook cannot be used.
    pub fn settings(&self) -> anyhow::Result<AlertSettings> {
        Ok(AlertSettings { thresholds: self.thresholds()?, webhook: self.webhook()? })
    }

    /// Tells the settings, checked and without secrets.
    ///
    /// # Errors
    /// When a value is out of its range, or the webhook cannot be used.
    pub fn shown(&self) -> anyhow::Result<Value> {
        let AlertSettings { thresholds: set, webhook } = self.settings()?;
        let host = webhook.and_then(|hook| {
            let url: reqwest::Url = hook.url.expose().parse().ok()?;
            Some(url.origin().ascii_serialization())
        });
        Ok(json!({
            "refusals": set.refusals.count,
            "refusalsSeconds": set.refusals.window.as_secs(),
            "failures": set.failures.count,
            "failuresSeconds": set.failures.window.as_secs(),
            "machines": set.machines.count,
            "machinesSeconds": set.machines.window.as_secs(),
            "learnCommandsSeconds": set.learn_commands.as_secs(),
            "learnDays": set.learn_days,
            "coolDownSeconds": set.cool_down.as_secs(),
            "webhook": host,
            "webhookAllowPrivate": self.webhook_allow_private,
        }))
    }

    fn thresholds(&self) -> anyhow::Result<Thresholds> {
        let mut set = Thresholds::default();
        let most = u64::try_from(MAX_BURST)?;
        let bursts = [
            ("refusals", &mut set.refusals, (self.refusals, self.refusals_seconds), 2..=most),
            ("failures", &mut set.failures, (self.failures, self.failures_seconds), 2..=most),
            ("machines", &mut set.machines, (self.machines, self.machines_seconds), 1..=most - 1),
        ];
        for (name, burst, (count, seconds), range) in bursts {
            if let Some(count) = within(name, count, range)? {
                burst.count = usize::try_from(count)?;
            }
            let window = within(&format!("{name}_seconds"), seconds, 1..=DAY)?;
            burst.window = window.map_or(burst.window, Duration::from_secs);
        }
        let seconds = within("learn_commands_seconds", self.learn_commands_seconds, 0..=60 * DAY)?;
        set.learn_commands = seconds.map_or(set.learn_commands, Duration::from_secs);
        if let Some(days) = within("learn_days", self.learn_days, 0..=60)? {
            set.learn_days = u32::try_from(days)?;
        }
        let seconds = within("cool_down_seconds", self.cool_down_seconds, 60..=7 * DAY)?;
        set.cool_down = seconds.map_or(set.cool_down, Duration::from_secs);
        Ok(set)
    }

    fn webhook(&self) -> anyhow::Result<Option<WebhookSettings>> {
        let Some(text) = &self.webhook else { return Ok(None) };
        let url: reqwest::Url = text.parse().context("alerts.webhook is no address")?;
        let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        match url.scheme() {
            "https" => {}
            "http" if here && self.webhook_allow_private => {}
            _ => bail!("alerts.webhook would be told in clear; write it as https://…"),
        }
        let path = self.webhook_secret_file.as_ref();
        let secret = secret(path.context("alerts.webhook needs alerts.webhook_secret_file")?)?;
        let url = Secret::new(url.to_string());
        Ok(Some(WebhookSettings { url, secret, allow_private: self.webhook_allow_private }))
    }
}

fn secret(path: &Path) -> anyhow::Result<Secret<String>> {
    let read = read_secret(path).context("alerts.webhook_secret_file")?;
    let secret = read.expose().trim().to_owned();
    if secret.len() < MIN_SECRET {
        bail!(
            "the webhook's secret in {} is under {MIN_SECRET} characters; make one with `openssl rand -hex 32`",
            path.display()
        );
    }
    Ok(Secret::new(secret))
}

fn within(
    name: &str,
    given: Option<u64>,
    range: RangeInclusive<u64>,
) -> anyhow::Result<Option<u64>> {
    let Some(given) = given else { return Ok(None) };
    if !range.contains(&given) {
        bail!("alerts.{name} is {given}; it is {} to {}", range.start(), range.end());
    }
    Ok(Some(given))
}

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The shortest secret, in bytes: as long as the signature's hash.
const MIN_SECRET: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let alerts: Alerts = toml::from_str(text).unwrap();
        format!("{:#}", alerts.settings().unwrap_err())
    }

    #[test]
    fn a_setting_of_alerts_out_of_range_is_refused_by_its_name() {
        // CMD-41
        assert_eq!(refused("refusals = 1"), "alerts.refusals is 1; it is 2 to 200");
        assert_eq!(refused("machines = 200"), "alerts.machines is 200; it is 1 to 199");
        assert!(refused("cool_down_seconds = 1").starts_with("alerts.cool_down_seconds is 1"));
    }

    #[test]
    fn a_webhook_in_clear_or_without_a_secret_is_refused() {
        // CMD-41
        assert!(refused("webhook = 'http://example.com/'").contains("in clear"));
        assert!(refused("webhook = 'http://127.0.0.1/'").contains("in clear"));
        assert!(refused("webhook = 'https://example.com/'").contains("webhook_secret_file"));
    }
}
