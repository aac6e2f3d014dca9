//! Somebody as an issuer tells of them, and the name that a new user gets of it.

use adit_domain::{PrincipalKind, PrincipalName, Secret, Timestamp};
use serde_json::{Map, Value};

use super::settings::ProviderSettings;
use crate::people::FIRST_ADMIN;

/// The most groups that are read: Entra's tokens list 200 and leave the rest out.
const MAX_GROUPS: usize = 500;

/// The longest name of a group that is read, in bytes.
const MAX_GROUP: usize = 200;

/// The longest subject (OpenID Connect Core §2).
const MAX_SUBJECT: usize = 255;

/// Tells whether a text can be a subject.
pub fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_SUBJECT && !text.chars().any(char::is_control)
}

/// Names that mean something here; a newcomer gets another.
const KEPT: [&str; 5] = [FIRST_ADMIN, "anonymous", "gateway", "root", "system"];

/// How many names are tried for a newcomer.
const MAX_TRIES: usize = 100;

/// Somebody as an issuer tells of them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The issuer's lasting name for them.
    pub subject: String,
    /// What people call them there.
    pub name: String,
    /// Their address, where the issuer says that it verified it.
    pub email: Option<String>,
    /// Their groups; none where the issuer was not asked for them.
    pub groups: Option<Vec<String>>,
    /// When the issuer saw a second factor, if it did.
    pub second_factor_at: Option<Timestamp>,
    /// The issuer's session.
    pub sid: Option<String>,
    /// What the issuer can be asked again with.
    pub refresh: Option<Secret<String>>,
}

impl Person {
    /// Somebody of whom nothing is known but the issuer's name for them.
    pub fn named(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            name: subject.to_owned(),
            email: None,
            groups: None,
            second_factor_at: None,
            sid: None,
            refresh: None,
        }
    }

    /// Reads claims (OpenID Connect Core §5.1).
    pub fn of_claims(subject: String, claims: &Map<String, Value>, groups_claim: &str) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(printable);
        let email = text("email").filter(|email| email.contains('@'));
        // BRW-23: the boolean true, and neither a text that says so nor its absence.
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let name = text("preferred_username").or_else(|| email.clone()).or_else(|| text("name"));
        Self {
            name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| subject.clone()),
            email: email.filter(|_| verified),
            groups: Some(groups(claims.get(groups_claim))),
            second_factor_at: second_factor(claims),
            sid: text("sid"),
            refresh: None,
            subject,
        }
    }

    /// Tells whether the settings let them in, or else why not. Of whom nothing new is known, nothing new is said.
    ///
    /// # Errors
    /// A sentence for the audit log.
    pub fn check(&self, settings: &ProviderSettings) -> Result<(), &'static str> {
        let Some(groups) = &self.groups else { return Ok(()) };
        let is_member = |group| groups.contains(group);
        if !settings.allowed_groups.is_empty() && !settings.allowed_groups.iter().any(is_member) {
            return Err("not in one of the groups that may sign in");
        }
        let domain = self.email.as_ref().and_then(|email| email.rsplit_once('@'));
        let is_of = |allowed: &String| {
            domain.is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(allowed))
        };
        if !settings.allowed_domains.is_empty() && !settings.allowed_domains.iter().any(is_of) {
            return Err("no verified address of a domain that may sign in");
        }
        Ok(())
    }

    /// Gives names for a new user, the best first.
    pub fn names(&self) -> Vec<PrincipalName> {
        let local = self.name.split('@').next().unwrap_or_default();
        let stem = plain(local);
        let numbered = |n: usize| match n {
            1 => stem.clone(),
            n => format!("{stem}-{n}"),
        };
        (1..=MAX_TRIES)
            .map(numbered)
            .filter(|name| !KEPT.contains(&name.as_str()))
            .filter_map(|name| PrincipalName::new(PrincipalKind::User, &name).ok())
            .collect()
    }
}

/// The longest stem: room for a number behind it.
const MAX_STEM: usize = 60;

/// Makes a text a user's name: small letters, digits and a few marks, with a letter or digit first.
fn plain(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '.' | '_' | '+' | '-') => c,
        _ => '-',
    };
    let all: String = text.chars().map(letter).collect();
    let begins = all.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let name: String = begins.chars().take(MAX_STEM).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "user".to_owned() } else { name.to_owned() }
}

/// Leaves out what a list must not show, and cuts what is longer than an address may be.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(254).collect()
}

/// Reads a claim that lists groups, or names one.
fn groups(claim: Option<&Value>) -> Vec<String> {
    let many = match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => vec![],
    };
    let fits = |group: &&str| !group.is_empty() && group.len() <= MAX_GROUP;
    let mut groups: Vec<String> =
        many.into_iter().filter(fits).take(MAX_GROUPS).map(printable).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Reads when a second factor was seen: `amr` with `mfa` (RFC 8176), or an `acr` that names one.
fn second_factor(claims: &Map<String, Value>) -> Option<Timestamp> {
    let amr = claims.get("amr").and_then(Value::as_array);
    let by_amr = amr.is_some_and(|list| list.iter().any(|one| one == "mfa"));
    // OpenID Connect EAP ACR Values 1.0: proof against phishing, in hardware or not.
    let acr = claims.get("acr").and_then(Value::as_str);
    let by_acr = matches!(acr, Some("phr" | "phrh"));
    let seconds = claims.get("auth_time").or_else(|| claims.get("iat")).and_then(Value::as_i64)?;
    (by_amr || by_acr).then_some(Timestamp(seconds.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn person(claims: Value) -> Person {
        Person::of_claims("s".to_owned(), claims.as_object().unwrap(), "groups")
    }

    #[test]
    fn an_address_counts_only_when_the_issuer_says_true() {
        // BRW-23
        let with = |verified: Value| {
            person(json!({"email": "ann@example.org", "email_verified": verified})).email
        };
        assert_eq!(with(json!(true)).as_deref(), Some("ann@example.org"));
        for no in [json!(false), json!("true"), json!(1), Value::Null] {
            assert_eq!(with(no.clone()), None, "{no}");
        }
        assert_eq!(person(json!({"email": "ann@example.org"})).email, None);
    }

    #[test]
    fn a_new_user_gets_a_name_that_is_well_formed() {
        let first = |name: &str| person(json!({"preferred_username": name})).names()[0].clone();
        for (given, made) in [
            ("Ann", "ann"),
            ("ann@example.org", "ann"),
            ("Ann Lee", "ann-lee"),
            ("_Ånn", "nn"),
            ("\u{202e}x", "x"),
            ("日本", "user"),
            ("", "s"),
            ("admin", "admin-2"),
            ("root", "root-2"),
        ] {
            assert_eq!(first(given).name(), made, "{given}");
        }
        let long = first(&"x".repeat(300));
        assert_eq!(long.name().len(), MAX_STEM);
    }

    #[test]
    fn names_that_are_taken_are_numbered() {
        let names = person(json!({"preferred_username": "ann"})).names();
        assert_eq!((names[1].name(), names.len()), ("ann-2", MAX_TRIES));
    }

    #[test]
    fn a_second_factor_is_one_that_the_issuer_names() {
        let at = |claims: Value| person(claims).second_factor_at;
        let seen = Some(Timestamp(5_000));
        assert_eq!(at(json!({"amr": ["pwd", "mfa"], "auth_time": 5})), seen);
        assert_eq!(at(json!({"acr": "phr", "iat": 5})), seen);
        assert_eq!(at(json!({"amr": ["pwd"], "auth_time": 5})), None);
        assert_eq!(at(json!({"amr": "mfa", "auth_time": 5})), None);
        assert_eq!(at(json!({"amr": ["mfa"]})), None);
    }

    #[test]
    fn groups_are_read_from_a_list_or_a_word() {
        let of = |claim: Value| person(json!({"groups": claim})).groups.unwrap();
        assert_eq!(of(json!(["b", "a", "b", 3, ""])), ["a", "b"]);
        assert_eq!(of(json!("a")), ["a"]);
        assert_eq!(of(json!({"a": 1})), [""; 0]);
        assert_eq!(of(json!(vec!["g"; 10_000])).len(), 1);
    }
}
