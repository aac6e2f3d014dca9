//! Somebody else's token buys one of ours (RFC 8693): a CI job shows what its own system says of it, and gets a token of one service.

use std::net::IpAddr;

use adit_domain::{Capabilities, PrincipalKind, PrincipalName, Secret, TenantId, Timestamp, scope};
use adit_store::{Flow, Service};
use serde_json::Value;

use super::Issued;
use super::client::Client;
use super::fault::{Fault, Reason};
use super::settings::Trust;
use crate::Gateway;
use crate::audit::Actor;

/// The longest token of somebody else's that is looked at, in bytes: a CI system's have about 2,000.
const MAX_TOKEN: usize = 16 * 1024;

/// How far another's clock may differ, in seconds.
const SKEW: i64 = 60;

/// The longest subject that is kept, in characters.
const MAX_SUBJECT: usize = 256;

/// The kinds of token that are taken, as they are named (RFC 8693 §3).
pub const SUBJECT_KINDS: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"];

/// The kind that is given.
pub const ISSUED_KIND: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Gateway {
    /// Gives an access token of a service for somebody else's token.
    ///
    /// # Errors
    /// [`Reason::InvalidGrant`] alike for a token that is not trusted for whatever reason; the log has it. [`Reason::InvalidScope`].
    pub async fn token_for_token(
        &self,
        shown: &Secret<String>,
        kind: &str,
        scope: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        if !SUBJECT_KINDS.contains(&kind) {
            return Err(Fault::request("There is no such subject_token_type; show an ID token."));
        }
        let actor = Actor::nobody(address);
        let (trust, claims) = match self.trusted(shown.expose()).await {
            Ok(found) => found,
            Err(why) => {
                tracing::info!(why, "somebody else's token bought nothing");
                return Err(self.refused_token(&actor, not_trusted()).await);
            }
        };
        let Some(service) = self.trusted_service(&trust).await? else {
            tracing::warn!(trust.name, trust.service, "a trust names a service that is not there");
            return Err(self.refused_token(&actor, not_trusted()).await);
        };
        let subject = claims["sub"].as_str().unwrap_or_default();
        let subject: String = subject.chars().take(MAX_SUBJECT).collect();
        let client = Client::Service(Box::new(service.clone()));
        let scopes = within(&client, &trust, scope)?;
        let flow = (Flow::Exchange, Some(format!("{}: {subject}", trust.name)));
        self.issue_alone(&client, &service.principal, scopes, flow, address).await
    }

    /// Finds the trust that a token is good for, and what the token says.
    async fn trusted(&self, shown: &str) -> Result<(Trust, Value), &'static str> {
        if shown.len() > MAX_TOKEN {
            return Err("it is too long");
        }
        let issuer = issuer_of(shown).ok_or("it is no JWT that names its issuer")?;
        let all = &self.settings.oauth.trust;
        if !all.iter().any(|trust| trust.issuer == issuer) {
            return Err("nobody trusts its issuer");
        }
        let claims = self.oauth.issuers.verify(&issuer, shown).await?;
        let now = self.clock.now();
        let mut why = "it is for another audience, or does not say what it must";
        for trust in all.iter().filter(|trust| trust.issuer == issuer) {
            match fits(trust, &claims, now) {
                Ok(()) => return Ok((trust.clone(), claims)),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    async fn trusted_service(&self, trust: &Trust) -> Result<Option<Service>, Fault> {
        let tenant = self.store.tenant(TenantId::SEED);
        let Ok(name) = PrincipalName::new(PrincipalKind::Service, &trust.service) else {
            return Ok(None);
        };
        match tenant.find_principal_named(&name).await? {
            Some(account) => Ok(tenant.find_service(account.principal.id).await?),
            None => Ok(None),
        }
    }
}

fn not_trusted() -> Fault {
    Fault::new(Reason::InvalidGrant, "This token is not trusted here. The gateway's log says why.")
}

fn within(client: &Client, trust: &Trust, asked: Option<&str>) -> Result<Capabilities, Fault> {
    let most = client.scopes().and(trust.scopes.unwrap_or_else(Capabilities::all));
    let wanted = match asked.map(str::trim).filter(|asked| !asked.is_empty()) {
        Some(asked) => scope::read(asked)?,
        None => most,
    };
    if wanted.is_empty() || !most.has_all(wanted) {
        let sentence = "That scope is more than is given for this token.";
        return Err(Fault::new(Reason::InvalidScope, sentence));
    }
    Ok(wanted)
}

/// Reads who a token says that it is from, before anything is checked: only whose keys to look at depends on it.
fn issuer_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    claims["iss"].as_str().map(str::to_owned)
}

fn fits(trust: &Trust, claims: &Value, now: Timestamp) -> Result<(), &'static str> {
    let seconds = now.seconds();
    let time = |name: &str| claims[name].as_i64();
    if claims["iss"].as_str() != Some(&trust.issuer) {
        return Err("it is of another issuer");
    }
    if time("exp").is_none_or(|exp| exp <= seconds.saturating_sub(SKEW)) {
        return Err("it has expired, or has no end");
    }
    let ahead = |name: &str| time(name).is_some_and(|at| at > seconds.saturating_add(SKEW));
    if time("iat").is_none()
        || ahead("iat")
        || ahead("nbf")
        || (time("nbf").is_none() && !claims["nbf"].is_null())
    {
        return Err("it is of the future, or does not say when it was made");
    }
    let named = match &claims["aud"] {
        Value::String(one) => *one == trust.audience,
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(&trust.audience)),
        _ => false,
    };
    if !named {
        return Err("it is for another audience");
    }
    let says = |(name, values): (&String, &Vec<String>)| {
        claims[name].as_str().is_some_and(|said| values.iter().any(|value| value == said))
    };
    if trust.claims.iter().all(says) { Ok(()) } else { Err("it does not say what it must") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn trust() -> Trust {
        let text = |text: &str| text.to_owned();
        let claims =
            [("repository", vec!["org/app"]), ("ref", vec!["refs/heads/main", "refs/heads/next"])];
        let claims = claims.map(|(name, all)| (text(name), all.into_iter().map(text).collect()));
        Trust {
            name: text("forge"),
            issuer: text("https://forge.example"),
            audience: text("adit"),
            service: text("ci"),
            scopes: None,
            claims: BTreeMap::from(claims),
        }
    }

    fn claims() -> Value {
        json!({"iss": "https://forge.example", "aud": "adit", "sub": "job", "exp": 1_800_000_300, "iat": 1_800_000_000,
            "repository": "org/app", "ref": "refs/heads/next"})
    }

    #[test]
    fn a_token_that_says_what_it_must_fits() {
        // BEY-4
        assert_eq!(fits(&trust(), &claims(), NOW), Ok(()));
        let mut several = claims();
        several["aud"] = json!(["other", "adit"]);
        assert_eq!(fits(&trust(), &several, NOW), Ok(()));
    }

    #[test]
    fn a_token_that_says_anything_else_does_not() {
        // BRW-11, BRW-12, BEY-4
        for (name, value) in [
            ("iss", json!("https://forge.example/")),
            ("aud", json!("other")),
            ("aud", json!(["other"])),
            ("aud", Value::Null),
            ("exp", json!(1_799_999_940)),
            ("exp", json!("1800000300")),
            ("exp", json!(1e308)),
            ("exp", Value::Null),
            ("iat", json!(1_800_000_061)),
            ("iat", Value::Null),
            ("nbf", json!(1_800_000_061)),
            ("nbf", json!("soon")),
            ("repository", json!("org/app2")),
            ("repository", json!(["org/app"])),
            ("repository", Value::Null),
            ("ref", json!("refs/heads/evil")),
        ] {
            let mut odd = claims();
            odd[name] = value.clone();
            assert!(fits(&trust(), &odd, NOW).is_err(), "{name}: {value}");
        }
    }
}
