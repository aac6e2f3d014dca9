//! The providers of company accounts, checked one by one; what is wrong is said with the provider's name.

use std::collections::BTreeSet;
use std::time::Duration;

use adit_core::company::settings::{
    GROUPS_CLAIM, Newcomers, ProviderKind, ProviderName, ProviderSettings, REFRESH_EVERY,
    SecondFactor, TeamRules, is_safe_address,
};
use adit_core::keys::read_secret;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::Provider;

/// The most providers: each has a button on the sign-in page.
const MAX_PROVIDERS: usize = 16;

/// GitHub's own site and API.
const GITHUB: (&str, &str) = ("https://github.com", "https://api.github.com");

/// What is asked of an issuer, and of GitHub, unless the settings say.
const OIDC_SCOPES: [&str; 3] = ["openid", "profile", "email"];
const GITHUB_SCOPES: [&str; 3] = ["read:user", "user:email", "read:org"];

/// Issuers that everybody in the world can have an account with.
const PUBLIC: [&str; 6] = [
    GITHUB.0,
    "https://accounts.google.com",
    "https://appleid.apple.com",
    "https://gitlab.com",
    "https://login.microsoftonline.com/common/v2.0",
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
];

/// Parameters that Adit sets itself.
const OURS: [&str; 9] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Reads the providers.
///
/// # Errors
/// A sentence that names the provider and the key.
pub fn providers(written: &[Provider]) -> anyhow::Result<Vec<ProviderSettings>> {
    if written.len() > MAX_PROVIDERS {
        bail!("there are more than {MAX_PROVIDERS} tables `[[sign_in.provider]]`");
    }
    let mut names = BTreeSet::new();
    let read = |one: &Provider| {
        let settings = provider(one).with_context(|| format!("sign_in.provider `{}`", one.name))?;
        if !names.insert(settings.name.clone()) {
            bail!("two tables `[[sign_in.provider]]` have the name `{}`", one.name);
        }
        Ok(settings)
    };
    written.iter().map(read).collect()
}

/// Tells a provider, without its secret.
pub fn shown(one: &ProviderSettings) -> Value {
    let (kind, issuer, api) = match &one.kind {
        ProviderKind::Oidc { issuer } => ("oidc", issuer, None),
        ProviderKind::GitHub { site, api } => ("github", site, Some(api)),
    };
    json!({
        "name": one.name.as_str(),
        "title": one.title,
        "kind": kind,
        "issuer": issuer,
        "api": api,
        "clientId": one.client_id,
        "clientSecret": if one.client_secret.is_some() { "set" } else { "none" },
        "scopes": one.scopes,
        "parameters": one.parameters,
        "groupsClaim": one.groups_claim,
        "allowedGroups": one.allowed_groups,
        "allowedDomains": one.allowed_domains,
        "createUsers": one.newcomers == Newcomers::Make,
        "teams": one.teams.of_groups,
        "teamsByName": one.teams.by_name,
        "makeTeams": one.teams.make,
        "refreshEverySeconds": one.refresh_every.as_secs(),
        "secondFactor": if one.second_factor == SecondFactor::Trust { "trust" } else { "ignore" },
    })
}

fn provider(one: &Provider) -> anyhow::Result<ProviderSettings> {
    let name: ProviderName = one.name.parse()?;
    let kind = kind(one)?;
    if one.client_id.is_empty() {
        bail!("client_id is empty");
    }
    let secret = one.client_secret_file.as_deref();
    let client_secret = secret.map(read_secret).transpose().context("client_secret_file")?;
    if client_secret.is_none() && matches!(kind, ProviderKind::GitHub { .. }) {
        bail!("client_secret_file is missing; GitHub has no public clients");
    }
    if one.teams_by_name && matches!(kind, ProviderKind::GitHub { .. }) {
        bail!(
            "teams_by_name is not for GitHub, where everybody can make an organisation with the name of a team; name them in teams"
        );
    }
    if let Some(ours) = OURS.iter().find(|ours| one.parameters.contains_key(**ours)) {
        bail!("parameters.{ours} is set by Adit itself");
    }
    let newcomers = newcomers(one, &kind)?;
    let scopes = scopes(one, &kind);
    let authorities = one.authorities.as_deref().map(std::fs::read);
    Ok(ProviderSettings {
        title: title(one)?,
        name,
        kind,
        client_id: one.client_id.clone(),
        client_secret,
        scopes,
        parameters: one.parameters.clone(),
        groups_claim: one.groups_claim.clone().unwrap_or_else(|| GROUPS_CLAIM.to_owned()),
        allowed_groups: one.allowed_groups.clone(),
        allowed_domains: one.allowed_domains.clone(),
        newcomers,
        teams: TeamRules {
            of_groups: one.teams.clone(),
            by_name: one.teams_by_name,
            make: one.make_teams,
        },
        refresh_every: refresh_every(one)?,
        second_factor: second_factor(one)?,
        authorities: authorities.transpose().context("authorities")?,
    })
}

fn kind(one: &Provider) -> anyhow::Result<ProviderKind> {
    let safe = |key: &str, address: &str| {
        if is_safe_address(address) {
            return Ok(address.to_owned());
        }
        bail!(
            "{key} is `{address}`; it must be an https address without a query (http on this host only)"
        )
    };
    match one.kind.as_str() {
        "oidc" => {
            let Some(issuer) = &one.issuer else { bail!("issuer is missing") };
            if one.api.is_some() {
                bail!("api is for GitHub only; an issuer's own document names its addresses");
            }
            Ok(ProviderKind::Oidc { issuer: safe("issuer", issuer)? })
        }
        "github" => {
            let site = one.issuer.as_deref().unwrap_or(GITHUB.0).trim_end_matches('/');
            let of_site =
                if site == GITHUB.0 { GITHUB.1.to_owned() } else { format!("{site}/api/v3") };
            let api = one.api.clone().unwrap_or(of_site);
            Ok(ProviderKind::GitHub {
                site: safe("issuer", site)?,
                api: safe("api", api.trim_end_matches('/'))?,
            })
        }
        other => bail!("kind is `oidc` or `github`, not `{other}`"),
    }
}

fn title(one: &Provider) -> anyhow::Result<String> {
    let title = one.title.clone().unwrap_or_else(|| one.name.clone());
    let fits = (1..=40).contains(&title.chars().count()) && !title.chars().any(char::is_control);
    if fits { Ok(title) } else { bail!("title is 1 to 40 characters, as it stands on a button") }
}

fn scopes(one: &Provider, kind: &ProviderKind) -> Vec<String> {
    let own: &[&str] = match kind {
        ProviderKind::Oidc { .. } => &OIDC_SCOPES,
        ProviderKind::GitHub { .. } => &GITHUB_SCOPES,
    };
    one.scopes.clone().unwrap_or_else(|| own.iter().map(|scope| (*scope).to_owned()).collect())
}

fn newcomers(one: &Provider, kind: &ProviderKind) -> anyhow::Result<Newcomers> {
    if !one.create_users.unwrap_or(true) {
        return Ok(Newcomers::Refuse);
    }
    let (ProviderKind::Oidc { issuer: place } | ProviderKind::GitHub { site: place, .. }) = kind;
    let says_who = !one.allowed_groups.is_empty() || !one.allowed_domains.is_empty();
    if PUBLIC.contains(&place.trim_end_matches('/')) && !says_who {
        bail!(
            "everybody in the world can have an account at {place}: say who gets in with allowed_groups or allowed_domains, or set create_users = false"
        );
    }
    Ok(Newcomers::Make)
}

fn refresh_every(one: &Provider) -> anyhow::Result<Duration> {
    match one.refresh_every_seconds {
        None => Ok(REFRESH_EVERY),
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        Some(other) => bail!("refresh_every_seconds is {other}; it is 1 to 86400"),
    }
}

fn second_factor(one: &Provider) -> anyhow::Result<SecondFactor> {
    match one.second_factor.as_deref() {
        None | Some("ignore") => Ok(SecondFactor::Ignore),
        Some("trust") => Ok(SecondFactor::Trust),
        Some(other) => bail!("second_factor is `trust` or `ignore`, not `{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<ProviderSettings>> {
        let config: Config = toml::from_str(text)?;
        providers(&config.sign_in.provider)
    }

    /// A good table, with lines instead of or beside its own.
    fn table(lines: &str) -> String {
        let mut text = "[[sign_in.provider]]\n".to_owned();
        for own in [
            "name = \"work\"",
            "kind = \"oidc\"",
            "issuer = \"https://id.example.org\"",
            "client_id = \"adit\"",
        ] {
            let key = own.split(' ').next().unwrap_or_default();
            if !lines.lines().any(|line| line.starts_with(&format!("{key} "))) {
                text = format!("{text}{own}\n");
            }
        }
        format!("{text}{lines}\n")
    }

    fn refused(lines: &str) -> String {
        format!("{:#}", read(&table(lines)).expect_err(lines))
    }

    #[test]
    fn a_provider_has_defaults_for_the_rest() {
        let one = read(&table("")).unwrap().remove(0);
        assert_eq!((one.name.as_str(), &*one.title), ("work", "work"));
        assert_eq!(one.scopes, OIDC_SCOPES);
        assert_eq!((one.newcomers, one.second_factor), (Newcomers::Make, SecondFactor::Ignore));
        assert_eq!(one.refresh_every, REFRESH_EVERY);
    }

    #[test]
    fn what_is_wrong_with_a_provider_is_said_with_its_name_and_key() {
        // CMD-42
        for (lines, said) in [
            ("name = \"Work Id\"", "a provider's name is"),
            ("kind = \"saml\"", "kind is `oidc` or `github`"),
            ("issuer = \"http://id.example.org\"", "issuer is"),
            ("client_id = \"\"", "client_id is empty"),
            ("client_secret_file = \"/nowhere\"", "client_secret_file"),
            ("parameters = { state = \"x\" }", "parameters.state is set by Adit itself"),
            ("refresh_every_seconds = 0", "refresh_every_seconds is 0"),
            ("second_factor = \"yes\"", "second_factor is `trust` or `ignore`"),
            ("title = \"\"", "title is 1 to 40"),
            ("kind = \"github\"", "client_secret_file is missing"),
            ("issuer = \"https://accounts.google.com\"", "say who gets in"),
            ("authorities = \"/nowhere\"", "authorities"),
            ("client_secret = \"literal\"", "unknown field"),
        ] {
            let error = refused(lines);
            assert!(error.contains(said), "{lines}: {error}");
            assert!(error.contains("sign_in.provider") || said == "unknown field", "{error}");
        }
        let two = format!("{}{}", table(""), table(""));
        assert!(format!("{:#}", read(&two).unwrap_err()).contains("have the name `work`"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        // AGT-19
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let line = format!("client_secret_file = {:?}", path.display().to_string());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused(&line).contains("can be read by others"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let one = read(&table(&line)).unwrap().remove(0);
        assert!(!shown(&one).to_string().contains("s3cret"));
        assert_eq!(one.client_secret.unwrap().expose(), "s3cret");
    }
}
