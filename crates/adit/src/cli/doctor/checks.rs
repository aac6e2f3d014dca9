//! What is looked at, in the order in which one thing needs another.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::evidence::{self, Settings};
use super::{Finding, State};
use crate::cli::client::{Client, is_loopback, read_all};
use crate::cli::failure::Failure;
use crate::cli::machine::Listed;
use crate::cli::options::GatewayOptions;
use crate::cli::when;

/// More machines than are looked at.
const MAX_MACHINES: usize = 10_000;

/// How many offline machines are named.
const NAMED: usize = 5;

/// Looks at everything; what needs something that is broken is left out.
pub async fn look(options: &GatewayOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(evidence::own_environment(|name| std::env::var(name).ok()));
    let client = match Client::open(options) {
        Ok(client) => client,
        Err(failure) => {
            findings.push(refused("settings", &failure, "Then run `adit doctor` again."));
            return findings;
        }
    };
    findings.push(Finding::good("settings", format!("The gateway is {}.", client.name())));
    let reached = reach(&client).await;
    let is_there = reached.state != State::Bad;
    findings.push(reached);
    if !is_there {
        return findings;
    }
    findings.push(encryption(&client));
    let (token, is_known) = token(&client).await;
    findings.push(token);
    if is_known {
        findings.extend(status(&client).await);
        findings.push(machines(&client).await);
    }
    findings
}

fn refused(check: &'static str, failure: &Failure, mend: &str) -> Finding {
    Finding::of(check, State::Bad, sentence(failure), mend)
}

/// Writes a failure as a sentence of its own.
fn sentence(failure: &Failure) -> String {
    capitalised(&failure.to_string())
}

/// Makes a sentence of words that follow a colon elsewhere.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[derive(Deserialize)]
struct Health {
    status: String,
    #[serde(default)]
    checks: BTreeMap<String, String>,
}

async fn reach(client: &Client) -> Finding {
    let asked = std::time::Instant::now();
    let answer = match client.probe("/health").await {
        Ok(answer) => answer,
        Err(failure) => {
            let mend = "Start it with `adit up` or `adit serve`, or correct the address.";
            return refused("gateway", &failure, mend);
        }
    };
    let took = asked.elapsed();
    match answer.json::<Health>().await {
        Ok(health) if health.status == "ok" => {
            Finding::good("gateway", format!("It answers in {} ms and is well.", took.as_millis()))
        }
        Ok(health) => {
            let wrong = health.checks.iter().filter(|(_, told)| *told != "ok");
            let wrong: Vec<String> = wrong.map(|(name, told)| format!("{name}: {told}")).collect();
            let mend = "Look at the gateway's log and its disk.";
            let sentence = format!("It answers, and is not well: {}.", wrong.join(", "));
            Finding::of("gateway", State::Bad, sentence, mend)
        }
        Err(_) => {
            let sentence = format!("Something answers at {}, and it is no gateway.", client.name());
            Finding::of("gateway", State::Bad, sentence, "Correct the address.")
        }
    }
}

fn encryption(client: &Client) -> Finding {
    match client.base().scheme() {
        "https" => Finding::good("encryption", "TLS, with a certificate that is trusted here."),
        _ if is_loopback(client.base()) => {
            Finding::good("encryption", "None is needed: the gateway is on this machine.")
        }
        _ => {
            let mend = "Give the gateway a certificate and use its https:// address.";
            Finding::of("encryption", State::Bad, "The connection is in the clear.", mend)
        }
    }
}

#[derive(Deserialize)]
struct Me {
    name: String,
    #[serde(default)]
    capabilities: Vec<String>,
}

async fn token(client: &Client) -> (Finding, bool) {
    match client.read::<Me>(&["me"], &[]).await {
        Ok(me) if me.capabilities.is_empty() => {
            let sentence = format!("You are {}, and may do nothing anywhere.", me.name);
            let mend = "Ask an administrator for a role (`adit grant add`).";
            (Finding::of("token", State::Warning, sentence, mend), true)
        }
        Ok(me) => (Finding::good("token", format!("It is valid: you are {}.", me.name)), true),
        Err(failure) => {
            let mend = "Get a new token (console, or `adit token add`) and run `adit login`.";
            (refused("token", &failure, mend), false)
        }
    }
}

#[derive(Deserialize)]
struct Status {
    version: String,
    now: String,
    settings: Settings,
}

async fn status(client: &Client) -> Vec<Finding> {
    let before = when::now();
    let status: Status = match client.read(&["status"], &[]).await {
        Ok(status) => status,
        Err(failure) => {
            let mend = "Update this command and the gateway to the same version.";
            return vec![Finding::of("status", State::Unknown, sentence(&failure), mend)];
        }
    };
    let middle = before + (when::now() - before) / 2;
    let clock = evidence::offset(&status.now, middle);
    let mut findings = vec![version(&status.version)];
    findings.extend(evidence::gather(client, status.settings, clock).await);
    findings
}

fn version(gateway: &str) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    if gateway == own {
        return Finding::good("version", format!("Both are {own}."));
    }
    let sentence = format!("The gateway is {gateway} and this command is {own}.");
    Finding::of("version", State::Warning, sentence, "Use the same version on both sides.")
}

async fn machines(client: &Client) -> Finding {
    let listed = client.list(&["machines"], &[], MAX_MACHINES).await;
    let machines: Vec<Listed> = match listed.and_then(|items| read_all(&items)) {
        Ok(machines) => machines,
        Err(failure) => {
            return Finding::of("machines", State::Unknown, sentence(&failure), "Try again.");
        }
    };
    count(&machines)
}

fn count(machines: &[Listed]) -> Finding {
    let away: Vec<&str> = machines
        .iter()
        .filter(|machine| machine.status != "online")
        .map(|machine| machine.label.as_str())
        .collect();
    if machines.is_empty() {
        let mend = "Enrol one with `adit machine token`, or ask for a role on one.";
        return Finding::of("machines", State::Warning, "There is none that you may see.", mend);
    }
    if away.is_empty() {
        let sentence = match machines.len() {
            1 => "The one machine is online.".to_owned(),
            many => format!("All {many} are online."),
        };
        return Finding::good("machines", sentence);
    }
    let named = away.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if away.len() > NAMED { " and more" } else { "" };
    let sentence = format!("{} of {} are not online: {named}{more}.", away.len(), machines.len());
    let mend = "On each, look at `adit agent status` and start `adit agent run`.";
    Finding::of("machines", State::Warning, sentence, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_away_is_named() {
        let machine = |label: &str, status: &str| -> Listed {
            serde_json::from_value(serde_json::json!({ "label": label, "status": status })).unwrap()
        };
        assert_eq!(count(&[machine("a", "online")]).state, State::Ok);
        let found = count(&[machine("a", "online"), machine("b", "offline")]);
        assert_eq!(found.state, State::Warning);
        assert!(found.sentence.contains("1 of 2") && found.sentence.contains('b'));
        assert_eq!(count(&[]).state, State::Warning);
    }

    #[test]
    fn another_version_is_a_warning() {
        assert_eq!(version(env!("CARGO_PKG_VERSION")).state, State::Ok);
        assert_eq!(version("0.0.0").state, State::Warning);
    }
}
