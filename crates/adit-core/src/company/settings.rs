//! What an operator sets about a provider of company accounts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use adit_domain::Secret;

/// How often an issuer is asked again unless the settings say.
pub const REFRESH_EVERY: Duration = Duration::from_secs(15 * 60);

/// The claim that lists groups unless the settings say.
pub const GROUPS_CLAIM: &str = "groups";

/// The longest name of a provider: it stands in addresses and on a button.
const MAX_NAME: usize = 32;

/// A provider's name: a part of our callback's address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProviderName(String);

/// A text that is no provider's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a provider's name is 1 to 32 of a-z 0-9 - and begins with a letter; `local` is taken")]
pub struct BadProviderName;

impl ProviderName {
    /// Gives the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = BadProviderName;
    fn from_str(text: &str) -> Result<Self, BadProviderName> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // `local` is where memberships come from that people made here.
        if starts_well && plain && text.len() <= MAX_NAME && text != "local" {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadProviderName)
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a provider is spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProviderKind {
    /// OpenID Connect: everything else is in the issuer's own document.
    Oidc {
        /// The issuer, as its ID tokens name it.
        issuer: String,
    },
    /// GitHub's OAuth 2.
    GitHub {
        /// Where people sign in: `https://github.com`.
        site: String,
        /// Where its API is: `https://api.github.com`.
        api: String,
    },
}

/// Whether the issuer's word on a second factor counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondFactor {
    /// A second factor that the issuer saw was shown to Adit as well.
    Trust,
    /// Adit asks for its own.
    Ignore,
}

/// What becomes of somebody whom no user here stands for yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Newcomers {
    /// A user is made.
    Make,
    /// They are refused.
    Refuse,
}

/// Which teams follow the issuer's groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TeamRules {
    /// The team of each group.
    pub of_groups: BTreeMap<String, String>,
    /// Whether a group that is not among them stands for the team of the same name.
    pub by_name: bool,
    /// Whether a team that is not there is made.
    pub make: bool,
}

impl TeamRules {
    /// Gives the team that a group stands for.
    pub fn team_of(&self, group: &str) -> Option<String> {
        let named = self.of_groups.get(group).cloned();
        named.or_else(|| self.by_name.then(|| group.to_owned()))
    }
}

/// One provider.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Its name.
    pub name: ProviderName,
    /// What its button says.
    pub title: String,
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Our name at the provider.
    pub client_id: String,
    /// What proves that we are it; a public client has none.
    pub client_secret: Option<Secret<String>>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// What else goes to the issuer with the browser.
    pub parameters: BTreeMap<String, String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Only members of one of these groups get in; empty: everybody.
    pub allowed_groups: Vec<String>,
    /// Only addresses of one of these domains get in, where the issuer verified them; empty: all.
    pub allowed_domains: Vec<String>,
    /// What becomes of somebody new.
    pub newcomers: Newcomers,
    /// Which teams follow groups.
    pub teams: TeamRules,
    /// How often the issuer is asked again.
    pub refresh_every: Duration,
    /// Whether its word on a second factor counts.
    pub second_factor: SecondFactor,
    /// Certificates, PEM, that its server's is held against; none for the system's.
    pub authorities: Option<Vec<u8>>,
}

/// Tells whether an address may be a provider's: HTTPS, or plain HTTP on this host, where nobody listens in.
pub fn is_safe_address(address: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(address) else { return false };
    let bare = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let here = bare == "localhost"
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain && (url.scheme() == "https" || url.scheme() == "http" && here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_name_fits_an_address() {
        assert_eq!("work-id".parse::<ProviderName>().unwrap().as_str(), "work-id");
        for bad in ["", "Work", "a/b", "a.b", "1a", "..", "-a", "local", &"a".repeat(33)] {
            assert_eq!(bad.parse::<ProviderName>(), Err(BadProviderName), "{bad}");
        }
    }

    #[test]
    fn a_provider_is_reached_by_tls_or_on_this_host() {
        for good in ["https://id.example.org/realms/a", "http://127.0.0.1:9", "http://[::1]:9"] {
            assert!(is_safe_address(good), "{good}");
        }
        for bad in [
            "http://id.example.org",
            "ftp://a",
            "x",
            "https://a:b@c",
            "https://a/?b",
            "https://a/#b",
        ] {
            assert!(!is_safe_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_group_is_the_team_that_the_settings_name_and_its_own_where_they_say_so() {
        let of_groups = BTreeMap::from([("eng".to_owned(), "engineers".to_owned())]);
        let rules = |by_name| TeamRules { of_groups: of_groups.clone(), by_name, make: false };
        assert_eq!(rules(false).team_of("eng").as_deref(), Some("engineers"));
        assert_eq!(rules(false).team_of("ops"), None);
        assert_eq!(rules(true).team_of("eng").as_deref(), Some("engineers"));
        assert_eq!(rules(true).team_of("ops").as_deref(), Some("ops"));
    }
}
