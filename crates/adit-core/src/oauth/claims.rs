//! What an access token says (RFC 9068 §2.2).

use adit_domain::{Capabilities, PrincipalId, Timestamp, TokenId, scope};
use serde::{Deserialize, Serialize};

/// How far ahead of this clock the one of the gateway that issued a token may be, in seconds.
const SKEW: i64 = 60;

/// The longest life that a token is believed to have, in seconds: what the settings allow at most.
pub const MAX_LIFE: i64 = 3600;

/// The claims, in the one form in which this server writes them: whole numbers, one audience, nothing unknown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// For whom it speaks: a principal's id.
    pub sub: String,
    /// For whom it is.
    pub aud: String,
    /// From when on it is refused, in Unix seconds.
    pub exp: i64,
    /// When it was issued, in Unix seconds.
    pub iat: i64,
    /// Its id.
    pub jti: String,
    /// Who holds it.
    pub client_id: String,
    /// What it opens.
    pub scope: String,
}

/// An access token that is well signed and about now, for here.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its id.
    pub id: TokenId,
    /// For whom it speaks.
    pub subject: PrincipalId,
    /// What it opens.
    pub scopes: Capabilities,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Claims {
    /// Reads claims whose signature was checked, for an issuer and an audience, at a time.
    ///
    /// `None` for anything that this server would not have written.
    pub fn read(payload: &[u8], iss: &str, aud: &str, now: Timestamp) -> Option<Statement> {
        let claims: Self = serde_json::from_slice(payload).ok()?;
        let seconds = now.seconds();
        let about_now = claims.iat <= seconds + SKEW
            && claims.exp > claims.iat
            && claims.exp.checked_sub(claims.iat)? <= MAX_LIFE
            && claims.exp > seconds;
        if claims.iss != iss || claims.aud != aud || !about_now {
            return None;
        }
        Some(Statement {
            id: claims.jti.parse().ok()?,
            subject: claims.sub.parse().ok()?,
            scopes: scope::read(&claims.scope).ok()?,
            expires_at: Timestamp(claims.exp.checked_mul(1000)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const ID: &str = "01900000-0000-7000-8000-000000000007";

    fn good() -> Value {
        json!({"iss": "https://a", "sub": ID, "aud": "https://a/api/v1", "exp": 1_800_000_060, "iat": 1_800_000_000,
            "jti": ID, "client_id": ID, "scope": "terminal:spawn"})
    }

    fn read(claims: &Value) -> Option<Statement> {
        Claims::read(claims.to_string().as_bytes(), "https://a", "https://a/api/v1", NOW)
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = good();
        claims[name] = value;
        claims
    }

    #[test]
    fn claims_that_this_server_writes_are_read() {
        let statement = read(&good()).unwrap();
        assert_eq!(statement.scopes.names(), ["terminal:spawn"]);
        assert_eq!(statement.expires_at, Timestamp(1_800_000_060_000));
    }

    #[test]
    fn a_token_without_an_end_or_with_an_odd_one_is_refused() {
        // BRW-11
        let mut without = good();
        without.as_object_mut().unwrap().remove("exp");
        assert!(read(&without).is_none());
        let odd = [
            json!("1800000060"),
            json!(1_800_000_060.5),
            json!(1e308),
            json!(-1),
            json!(null),
            json!([1_800_000_060]),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1_800_000_000),
        ];
        for exp in odd {
            assert!(read(&with("exp", exp.clone())).is_none(), "{exp}");
        }
    }

    #[test]
    fn a_token_of_the_future_is_refused() {
        // BRW-11
        assert!(read(&with("iat", json!(1_800_000_059))).is_some());
        let mut late = with("iat", json!(1_800_000_061));
        late["exp"] = json!(1_800_000_090);
        assert!(read(&late).is_none());
        for odd in [json!("now"), json!(1e308), json!(i64::MIN)] {
            assert!(read(&with("iat", odd)).is_none());
        }
        assert!(read(&with("nbf", json!(1_900_000_000))).is_none());
    }

    #[test]
    fn a_token_for_another_audience_is_refused() {
        // BRW-12
        let mut without = good();
        without.as_object_mut().unwrap().remove("aud");
        assert!(read(&without).is_none());
        for aud in [
            json!("https://b/api/v1"),
            json!(["https://b"]),
            json!(["https://a/api/v1"]),
            json!(""),
        ] {
            assert!(read(&with("aud", aud.clone())).is_none(), "{aud}");
        }
        assert!(read(&with("iss", json!("https://b"))).is_none());
    }

    #[test]
    fn a_token_that_says_more_or_less_is_refused() {
        for name in ["iss", "sub", "iat", "jti", "client_id", "scope"] {
            let mut without = good();
            without.as_object_mut().unwrap().remove(name);
            assert!(read(&without).is_none(), "{name}");
        }
        for (name, value) in [("admin", json!(true)), ("scope", json!("*")), ("jti", json!("1"))] {
            assert!(read(&with(name, value)).is_none(), "{name}");
        }
    }
}
