//! How a grant's matcher and conditions stand in its row: JSON objects, of which what is not said is left out.

use std::time::Duration;

use adit_domain::policy::selection::TargetKind;
use adit_domain::policy::{Conditions, Matcher};
use serde::{Deserialize, Serialize};

use crate::StoreError;

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct StoredMatcher {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<(String, String)>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct StoredConditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approval: bool,
}

/// Writes a matcher.
pub(crate) fn write_matcher(matcher: &Matcher) -> Result<String, StoreError> {
    crate::session::json(&StoredMatcher {
        kind: matcher.kind.map(|kind| kind.as_str().to_owned()),
        label: matcher.label.as_ref().map(ToString::to_string),
        tags: matcher.tags.clone(),
        team: matcher.team.as_ref().map(|(id, name)| (id.to_string(), name.clone())),
    })
}

/// Reads a matcher. One that cannot be read whole is none: it must not cover more than it says.
pub(crate) fn read_matcher(text: &str) -> Result<Matcher, StoreError> {
    let bad = || StoreError::Corrupt("matcher");
    let stored: StoredMatcher = serde_json::from_str(text).map_err(|_| bad())?;
    let kind = match stored.kind.as_deref() {
        None => None,
        Some("machine") => Some(TargetKind::Machine),
        Some(_) => return Err(bad()),
    };
    Ok(Matcher {
        kind,
        label: stored.label.map(|text| text.parse()).transpose().map_err(|_| bad())?,
        tags: stored.tags,
        team: match stored.team {
            None => None,
            Some((id, name)) => Some((id.parse().map_err(|_| bad())?, name)),
        },
    })
}

/// Writes conditions.
pub(crate) fn write_conditions(conditions: &Conditions) -> Result<String, StoreError> {
    let ms = |within: Duration| u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    crate::session::json(&StoredConditions {
        hours: conditions.hours.map(|hours| hours.to_string()),
        networks: conditions.networks.iter().map(ToString::to_string).collect(),
        second_factor_ms: conditions.second_factor_within.map(ms),
        approval: conditions.approval,
    })
}

/// Reads conditions. Those that cannot be read whole are none: they must not be less strict than what was set.
pub(crate) fn read_conditions(text: &str) -> Result<Conditions, StoreError> {
    let bad = || StoreError::Corrupt("conditions");
    let stored: StoredConditions = serde_json::from_str(text).map_err(|_| bad())?;
    let networks: Result<Vec<_>, _> = stored.networks.iter().map(|text| text.parse()).collect();
    Ok(Conditions {
        hours: stored.hours.map(|text| text.parse()).transpose().map_err(|_| bad())?,
        networks: networks.map_err(|_| bad())?,
        second_factor_within: stored.second_factor_ms.map(Duration::from_millis),
        approval: stored.approval,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_read_back() {
        let conditions = Conditions {
            hours: Some("mon-fri 08:00-18:00 +01:00".parse().unwrap()),
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            second_factor_within: Some(Duration::from_secs(300)),
            approval: true,
        };
        let text = write_conditions(&conditions).unwrap();
        assert_eq!(read_conditions(&text).unwrap(), conditions);
        assert_eq!(write_conditions(&Conditions::default()).unwrap(), "{}");
    }

    #[test]
    fn what_an_unknown_condition_says_is_not_left_out() {
        assert!(read_conditions(r#"{"moon":"full"}"#).is_err());
        assert!(read_conditions(r#"{"hours":"sometimes"}"#).is_err());
        assert!(read_matcher(r#"{"kind":"castle"}"#).is_err());
    }
}
