use adit_domain::Ids as _;
use aws_lc_rs::hmac;

use super::*;
use crate::random::SystemIds;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn claims() -> Claims {
    let text = |text: &str| text.to_owned();
    Claims {
        iss: text("https://a"),
        sub: text("s"),
        aud: text("a"),
        exp: 1,
        iat: 0,
        jti: text("j"),
        client_id: text("c"),
        scope: text(""),
    }
}

fn row(new: NewSigningKey) -> SigningKeyRow {
    let NewSigningKey { id, public, sealed, signs_from, at } = new;
    SigningKeyRow { id, public, sealed, created_at: at, signs_from }
}

fn made(ring: &Keyring, signs_from: Timestamp) -> SigningKeyRow {
    row(ring.make(KeyId(SystemIds.uuid()), signs_from, NOW))
}

fn ring_of_one() -> (Keyring, SigningKeyRow) {
    let ring = Keyring::new(SECRET);
    let key = made(&ring, NOW);
    ring.take(vec![key.clone()]);
    (ring, key)
}

#[test]
fn what_a_key_signed_is_believed() {
    let (ring, _) = ring_of_one();
    let token = ring.sign(&claims(), NOW).unwrap();
    let payload = serde_json::to_vec(&claims()).unwrap();
    assert_eq!(ring.verify(&token, NOW), Verified::Signed(payload));
}

#[test]
fn a_token_without_a_signature_is_refused_whatever_its_header_says() {
    // BRW-07
    let (ring, key) = ring_of_one();
    let good = ring.sign(&claims(), NOW).unwrap();
    let payload = good.split('.').nth(1).unwrap();
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        for header in
            [json!({"alg": alg, "typ": "at+jwt", "kid": key.id.to_string()}), json!({"alg": alg})]
        {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", "AA"] {
                let forged = format!("{header}.{payload}.{signature}");
                assert_eq!(ring.verify(&forged, NOW), Verified::UnknownKey, "{alg}");
            }
        }
    }
    let header = good.split('.').next().unwrap();
    assert_eq!(ring.verify(&format!("{header}.{payload}."), NOW), Verified::Wrong);
    assert_eq!(ring.verify(&format!("{header}.{payload}"), NOW), Verified::Wrong);
}

#[test]
fn a_token_that_is_signed_with_the_public_key_as_a_secret_is_refused() {
    // BRW-08
    let (ring, key) = ring_of_one();
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
    let jwk = &ring.published(NOW)[0];
    let spki = [
        &hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap()[..],
        &key.public,
    ]
    .concat();
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", spki.clone()));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y}).to_string();
    let secrets = [key.public.clone(), spki, pem.into_bytes(), jwk.into_bytes()];
    for secret in secrets {
        for typ in ["at+jwt", "JWT"] {
            let header = json!({"alg": "HS256", "typ": typ, "kid": key.id.to_string()});
            let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header.to_string()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
            let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            assert_eq!(ring.verify(&forged, NOW), Verified::UnknownKey);
        }
    }
}

#[test]
fn a_token_that_was_changed_anywhere_is_refused() {
    let (ring, _) = ring_of_one();
    let token = ring.sign(&claims(), NOW).unwrap();
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(!matches!(ring.verify(&changed, NOW), Verified::Signed(_)), "at {at}");
    }
    for odd in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        &"a".repeat(5000),
        &format!("{token}.x"),
        &format!("{token}="),
    ] {
        assert!(!matches!(ring.verify(odd, NOW), Verified::Signed(_)), "{odd}");
    }
}

#[test]
fn a_new_key_is_published_before_it_signs_and_the_old_one_accepted_until_its_last_token_expires() {
    // R63
    let ring = Keyring::new(SECRET);
    let turn = NOW + Duration::from_secs(600);
    let (old, new) = (made(&ring, NOW), made(&ring, turn));
    ring.take(vec![old.clone(), new.clone()]);
    let before = turn - Duration::from_millis(1);
    let published = |now| ring.published(now).into_iter().map(|key| key.id).collect::<Vec<_>>();
    let last = ring.sign(&claims(), before).unwrap();
    let first = ring.sign(&claims(), turn).unwrap();
    assert_ne!(last.split('.').next(), first.split('.').next());
    assert_eq!(published(NOW), [old.id, new.id]);
    let expires = before + Duration::from_secs(MAX_LIFE as u64);
    assert!(matches!(ring.verify(&last, expires), Verified::Signed(_)));
    assert_eq!(published(expires), [old.id, new.id]);
    let over = turn + OVERLAP;
    assert_eq!(ring.verify(&last, over), Verified::Wrong);
    assert!(matches!(ring.verify(&first, over), Verified::Signed(_)));
    assert_eq!((published(over), ring.over(over)), (vec![new.id], vec![old.id]));
    assert_eq!(ring.over(expires), []);
}

#[test]
fn a_key_that_another_secret_sealed_is_left_out() {
    let (ring, key) = ring_of_one();
    let other = Keyring::new("another");
    other.take(vec![key.clone()]);
    assert!(other.sign(&claims(), NOW).is_err());
    let mut moved = key;
    moved.id = KeyId(SystemIds.uuid());
    ring.take(vec![moved]);
    assert!(ring.sign(&claims(), NOW).is_err());
}
