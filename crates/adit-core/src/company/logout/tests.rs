use jsonwebtoken::{EncodingKey, Header};
use rcgen::PKCS_ECDSA_P256_SHA256;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.org";
const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// An issuer's key, and the set that names it.
struct Issuer {
    key: EncodingKey,
    keys: JwkSet,
}

impl Issuer {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("a".to_owned());
        Self { key, keys: JwkSet { keys: vec![jwk] } }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("a".to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    fn check(&self, claims: &Value) -> Result<Logout, BadLogout> {
        check(&self.sign(claims), &self.keys, ISSUER, "adit", NOW)
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "adit", "iat": NOW.0 / 1000, "exp": NOW.0 / 1000 + 120, "jti": "1",
        "sub": "ann", "sid": "s1", "events": {EVENT: {}},
    })
}

#[test]
fn a_good_logout_token_says_whose_sign_ins_end() {
    let logout = Issuer::new().check(&claims()).unwrap();
    let expected =
        Logout { subject: Some("ann".into()), sid: Some("s1".into()), once: Hash::of("1") };
    assert_eq!(logout, expected);
}

#[test]
fn a_token_of_another_kind_issuer_audience_or_time_is_not_believed() {
    let issuer = Issuer::new();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        issuer.check(&claims)
    };
    let old = NOW.0 / 1000 - 301;
    for (name, value, error) in [
        ("iss", json!("https://evil.example.org"), BadLogout::Untrue),
        ("iss", Value::Null, BadLogout::Untrue),
        ("aud", json!("other"), BadLogout::Untrue),
        ("aud", Value::Null, BadLogout::Untrue),
        ("iat", json!(old), BadLogout::Time),
        ("iat", json!(NOW.0 / 1000 + 301), BadLogout::Time),
        ("iat", json!(i64::MAX), BadLogout::Time),
        ("iat", Value::Null, BadLogout::Kind),
        ("exp", json!(old), BadLogout::Time),
        ("events", Value::Null, BadLogout::Kind),
        ("events", json!({"other": {}}), BadLogout::Kind),
        ("nonce", json!("n"), BadLogout::Kind),
        ("jti", Value::Null, BadLogout::Kind),
    ] {
        assert_eq!(with(name, value.clone()), Err(error), "{name}: {value}");
    }
    let mut nobody = claims();
    nobody.as_object_mut().unwrap().retain(|name, _| name != "sub" && name != "sid");
    assert_eq!(issuer.check(&nobody), Err(BadLogout::Kind));
}

#[test]
fn a_logout_token_of_another_key_is_not_believed() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let forged = other.sign(&claims());
    let checked = |token: &str| check(token, &issuer.keys, ISSUER, "adit", NOW);
    assert_eq!(checked(&forged), Err(BadLogout::Untrue));
    assert_eq!(checked("x.y.z"), Err(BadLogout::Form));
    assert_eq!(checked(""), Err(BadLogout::Form));
    let none = "eyJhbGciOiJub25lIn0.e30.";
    assert!(checked(none).is_err());
    let own = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims(),
        &EncodingKey::from_secret(b"adit"),
    );
    assert_eq!(checked(&own.unwrap()), Err(BadLogout::Untrue));
    let good = issuer.sign(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let bent = format!("{signed}.{first}{}", &signature[1..]);
    assert_eq!(checked(&bent), Err(BadLogout::Untrue));
}
